package wire

import (
	"bytes"
	"testing"
)

func TestIntAuthCoversTheSameOctetsWhetherFragmentedOrNot(t *testing.T) {
	h := Header{SPIi: 0x0102030405060708, SPIr: 0x1112131415161718, Exchange: IKEIntermediate, Flags: FlagInitiator, MessageID: 1}
	ps := []Payload{&KE{Method: 36, Data: []byte{0xa, 0xb, 0xc, 0xd}}}
	want := unhex(t, "0102030405060708 1112131415161718 2e202b08 00000001 0000002c"+
		"2200 0010"+ // SK: first payload KE, adjusted length
		"0000000c 00240000 0a0b0c0d")
	g := newGCM(t, testKey())
	whole, err := AppendSealed(nil, h, ps, g)
	if err != nil {
		t.Fatal(err)
	}
	m := parsed(t, whole)
	c, err := m.Decrypt(g)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.IntAuth(m.Header); !bytes.Equal(got, want) {
		t.Errorf("as one message\n%x, want\n%x", got, want)
	}
	out, err := SealFragments(h, c.First, c.Plain, g, HeaderLen+8+25+5, 10)
	if err != nil || len(out) != 3 {
		t.Fatalf("%d fragments, error %v", len(out), err)
	}
	r := Reassembly{MaxFragments: 10, MaxOctets: 100}
	for _, b := range out {
		m = parsed(t, b)
		if _, err := r.Add(m, g); err != nil {
			t.Fatal(err)
		}
	}
	c = r.Content()
	if got := c.IntAuth(m.Header); !bytes.Equal(got, want) {
		t.Errorf("from fragments\n%x, want\n%x", got, want)
	}
	// A reserved octet is covered as the sender wrote it, that of the first
	// fragment.
	c.Reserved, want[HeaderLen+1] = 0x05, 0x05
	if got := c.IntAuth(h); !bytes.Equal(got, want) {
		t.Errorf("with a reserved octet\n%x, want\n%x", got, want)
	}
	if got := (Content{}).IntAuth(h); len(got) != HeaderLen+4 || got[HeaderLen+3] != 4 {
		t.Errorf("of an empty message %x", got)
	}
}

package wire

import (
	"bytes"
	"errors"
	"math/rand"
	"testing"
)

// cbc stands for a cipher with padding to 16 octets; it only frames.
type cbc struct{}

func (cbc) Overhead(n int) int { return 16 + 16 - n%16 + 16 }

func (c cbc) Seal(dst, _, plain []byte) ([]byte, error) {
	pad := 15 - len(plain)%16
	dst = append(dst, make([]byte, 16)...)
	dst = append(dst, plain...)
	dst = append(dst, make([]byte, pad)...)
	dst = append(dst, byte(pad))
	return append(dst, make([]byte, 16)...), nil
}

func (cbc) Open(dst, _, sealed []byte) ([]byte, error) {
	if len(sealed) < 48 || len(sealed)%16 != 0 {
		return nil, errors.New("length")
	}
	b := sealed[16 : len(sealed)-16]
	return append(dst, b[:len(b)-1-int(b[len(b)-1])]...), nil
}

func testKey() []byte { return bytes.Repeat([]byte{7}, 36) }

func parsed(t *testing.T, b []byte) *Message {
	t.Helper()
	m, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestFragmentsFitAndComeTogetherInAnyOrder(t *testing.T) {
	h := Header{SPIi: 1, SPIr: 2, Exchange: IKEAuth, Flags: FlagInitiator, MessageID: 1}
	rnd := rand.New(rand.NewSource(1))
	inner := []Payload{&Cert{Encoding: CertX509, Data: make([]byte, 3000)}, NewNotify(InitialContact, nil)}
	rnd.Read(inner[0].(*Cert).Data)
	plain, err := AppendPayloads(nil, inner)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		s      Sealer
		o      Opener
		max, n int
	}{
		{"GCM, IPv4 minimum", newGCM(t, testKey()), newGCM(t, testKey()), 576 - 28, 7},
		{"GCM, IPv6 minimum", newGCM(t, testKey()), newGCM(t, testKey()), 1280 - 48 - 4, 3},
		{"CBC, IPv4 minimum", cbc{}, cbc{}, 576 - 28, 7},
		{"all in one", newGCM(t, testKey()), newGCM(t, testKey()), 65535, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := SealFragments(h, TypeCert, plain, c.s, c.max, 20)
			if err != nil {
				t.Fatal(err)
			}
			if len(out) != c.n {
				t.Errorf("%d fragments, want %d", len(out), c.n)
			}
			r := Reassembly{MaxFragments: 20, MaxOctets: 4000}
			complete, longest := false, 0
			for k, i := range rnd.Perm(len(out)) {
				if len(out[i]) > c.max {
					t.Errorf("fragment of %d octets", len(out[i]))
				}
				longest = max(longest, len(out[i]))
				m := parsed(t, out[i])
				if m.MessageID != 1 || m.Exchange != IKEAuth || m.Flags != FlagInitiator || m.SPIr != 2 {
					t.Errorf("header %+v", m.Header)
				}
				if p := m.SKF(); (p.Number == 1) != (p.First == TypeCert) || p.Number != 1 && p.First != 0 {
					t.Errorf("fragment %d has first payload %s", p.Number, p.First)
				}
				if complete, err = r.Add(m, c.o); err != nil || complete != (k == len(out)-1) {
					t.Fatalf("after %d fragments: complete %v, error %v", k+1, complete, err)
				}
				if _, err := r.Add(m, c.o); !errors.Is(err, ErrFragmentTwice) && !errors.Is(err, ErrFragmentNoRest) {
					t.Errorf("the same fragment again: %v", err)
				}
			}
			c := r.Content()
			if c.First != TypeCert || !bytes.Equal(c.Plain, plain) {
				t.Errorf("put together as %s, %d octets", c.First, len(c.Plain))
			}
			if ps, err := c.Payloads(); err != nil || len(ps) != 2 || ps[1].String() != "N(INITIAL_CONTACT)" {
				t.Errorf("payloads %v, error %v", ps, err)
			}
			if r.LongestFragment() != longest {
				t.Errorf("longest fragment %d, want %d", r.LongestFragment(), longest)
			}
		})
	}
}

func TestEmptyContentIsOneFragment(t *testing.T) {
	g := newGCM(t, testKey())
	out, err := SealFragments(Header{Exchange: Informational}, NoNext, nil, g, 500, 1)
	if err != nil || len(out) != 1 {
		t.Fatalf("%d fragments, error %v", len(out), err)
	}
	r := Reassembly{MaxFragments: 1}
	if complete, err := r.Add(parsed(t, out[0]), g); err != nil || !complete {
		t.Fatalf("complete %v, error %v", complete, err)
	}
	if ps, err := r.Content().Payloads(); err != nil || len(ps) != 0 {
		t.Errorf("payloads %v, error %v", ps, err)
	}
}

func TestFragmentingFailsWithoutRoomOrBeyondTheLimit(t *testing.T) {
	g := newGCM(t, testKey())
	for _, c := range []struct{ size, max, limit int }{
		{10, HeaderLen + 4 + 4 + 25, 100},       // overhead alone fills it
		{10, 0, 100},                            // nothing fits
		{10, -1, 100},                           // nothing fits
		{101, HeaderLen + 4 + 4 + 25 + 10, 10},  // eleven are needed
		{70000, HeaderLen + 4 + 4 + 26, 100000}, // numbers have 16 bits
	} {
		if out, err := SealFragments(Header{}, TypeNotify, make([]byte, c.size), g, c.max, c.limit); err == nil {
			t.Errorf("%+v: %d fragments", c, len(out))
		}
	}
	out, err := SealFragments(Header{}, TypeNotify, make([]byte, 100), g, HeaderLen+4+4+25+10, 10)
	if err != nil || len(out) != 10 {
		t.Errorf("%d fragments, error %v", len(out), err)
	}
}

// fragments seals n octets in as many fragments as said.
func fragments(t *testing.T, g *gcm, plain []byte, count int) []*Message {
	t.Helper()
	chunk := (len(plain) + count - 1) / count
	out, err := SealFragments(Header{Exchange: IKEAuth, MessageID: 1}, TypeNotify, plain, g, HeaderLen+4+4+25+chunk, 1000)
	if err != nil || len(out) != count {
		t.Fatalf("%d fragments, want %d, error %v", len(out), count, err)
	}
	ms := make([]*Message, len(out))
	for i, b := range out {
		ms[i] = parsed(t, b)
	}
	return ms
}

// RFC 7383 section 2.6, in its order.
func TestReassemblyKeepsTheRulesOfSection26(t *testing.T) {
	g := newGCM(t, testKey())
	plain := make([]byte, 120)
	rand.New(rand.NewSource(2)).Read(plain)
	three, four, six := fragments(t, g, plain, 3), fragments(t, g, plain, 4), fragments(t, g, plain, 6)

	t.Run("a set with more fragments starts anew", func(t *testing.T) {
		r := Reassembly{MaxFragments: 10, MaxOctets: 120}
		for _, m := range []*Message{three[0], three[1], four[2], four[0]} {
			if complete, err := r.Add(m, g); complete || err != nil {
				t.Fatalf("complete %v, error %v", complete, err)
			}
		}
		if _, err := r.Add(three[2], g); !errors.Is(err, ErrFragmentOld) {
			t.Errorf("a fragment of the older set: %v", err)
		}
		if _, err := r.Add(four[3], g); err != nil {
			t.Error(err)
		}
		if complete, err := r.Add(four[1], g); !complete || err != nil {
			t.Fatalf("complete %v, error %v", complete, err)
		}
		if c := r.Content(); c.First != TypeNotify || !bytes.Equal(c.Plain, plain) {
			t.Errorf("put together as %s, %x", c.First, c.Plain)
		}
		if _, err := r.Add(six[0], g); !errors.Is(err, ErrFragmentNoRest) {
			t.Errorf("a fragment after the end: %v", err)
		}
	})
	t.Run("a forged fragment changes nothing", func(t *testing.T) {
		r := Reassembly{MaxFragments: 10, MaxOctets: 120}
		if _, err := r.Add(three[0], g); err != nil {
			t.Fatal(err)
		}
		forged := append([]byte{}, six[1].Raw...)
		forged[len(forged)-1] ^= 1
		if _, err := r.Add(parsed(t, forged), g); err == nil {
			t.Fatal("a forged fragment was taken")
		}
		if r.total != 3 || r.have != 1 {
			t.Fatalf("%d of %d fragments after a forged one", r.have, r.total)
		}
		if _, err := r.Add(three[2], g); err != nil {
			t.Error(err)
		}
		if complete, err := r.Add(three[1], g); !complete || err != nil {
			t.Errorf("complete %v, error %v", complete, err)
		}
	})
	t.Run("another fragment count is authenticated", func(t *testing.T) {
		r := Reassembly{MaxFragments: 10, MaxOctets: 120}
		b := append([]byte{}, three[0].Raw...)
		b[HeaderLen+7] = 1
		if complete, err := r.Add(parsed(t, b), g); complete || err == nil {
			t.Errorf("fragment 1 of 3 was taken as 1 of 1: complete %v, error %v", complete, err)
		}
	})
	t.Run("limits hold", func(t *testing.T) {
		r := Reassembly{MaxFragments: 5, MaxOctets: 79}
		if _, err := r.Add(six[0], g); !errors.Is(err, ErrFragmentLimit) {
			t.Errorf("six fragments where five are allowed: %v", err)
		}
		if _, err := r.Add(three[0], g); err != nil {
			t.Error(err)
		}
		if _, err := r.Add(three[1], g); !errors.Is(err, ErrFragmentLimit) {
			t.Errorf("80 octets where 79 are allowed: %v", err)
		}
		if r.octets != 40 || r.have != 1 {
			t.Errorf("%d octets in %d fragments", r.octets, r.have)
		}
		// A new set begins with all the room.
		if _, err := r.Add(four[0], g); err != nil || r.octets != 30 {
			t.Errorf("%d octets, error %v", r.octets, err)
		}
		if _, err := (&Reassembly{}).Add(three[0], g); !errors.Is(err, ErrFragmentLimit) {
			t.Errorf("the zero value took a fragment: %v", err)
		}
	})
	t.Run("numbers are checked", func(t *testing.T) {
		r := Reassembly{MaxFragments: 5, MaxOctets: 100}
		if _, err := r.Add(three[0], g); err != nil {
			t.Fatal(err)
		}
		for _, p := range []*SKF{{}, {Total: 3}, {Number: 4, Total: 3}} {
			if err := r.Wanted(p); !errors.Is(err, ErrFragmentNumber) {
				t.Errorf("%s: %v", p, err)
			}
		}
		if c := r.Content(); c.Plain != nil {
			t.Errorf("an incomplete message has content %x", c.Plain)
		}
	})
	t.Run("other messages are refused", func(t *testing.T) {
		r := Reassembly{MaxFragments: 5, MaxOctets: 100}
		b, err := AppendSealed(nil, Header{Exchange: IKEAuth}, nil, g)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Add(parsed(t, b), g); !errors.Is(err, ErrNotSealed) {
			t.Errorf("an SK message: %v", err)
		}
		if _, err := three[0].Open(g); !errors.Is(err, ErrNotSealed) {
			t.Errorf("an SKF message opened as SK: %v", err)
		}
	})
}

func TestSampleFragmentsMakeTheSampleMessage(t *testing.T) {
	var whole []byte
	r := Reassembly{MaxFragments: 3, MaxOctets: 1000}
	complete := false
	for _, s := range samples(t) {
		if s.fields["is"] == "IKE_AUTH request 1: SK" {
			whole = s.bytes(t, "inner")
		}
		if s.fields["chunk"] == "" {
			continue
		}
		var err error
		if complete, err = r.Add(parsed(t, s.bytes(t, "message")), newGCM(t, s.bytes(t, "key"))); err != nil {
			t.Fatal(err)
		}
	}
	if !complete || whole == nil {
		t.Fatalf("complete %v", complete)
	}
	if c := r.Content(); !bytes.Equal(c.Plain, whole) {
		t.Errorf("put together as\n%x, want\n%x", c.Plain, whole)
	}
}

// wrong is a sealer whose Overhead does not keep its word.
type wrong struct{ *gcm }

func (wrong) Overhead(int) int { return 24 }

func TestSealingFailsRatherThanSendAWrongLength(t *testing.T) {
	g := newGCM(t, testKey())
	if _, err := AppendSealed(nil, Header{}, nil, wrong{g}); err == nil {
		t.Error("a message with a wrong length was written")
	}
	if _, err := AppendSealedBytes(nil, Header{}, TypeVendor, make([]byte, 65536-4-25), g); err == nil {
		t.Error("an SK payload of 65536 octets was written")
	}
	b, err := AppendSealedBytes(nil, Header{}, TypeVendor, make([]byte, 65535-4-25), g)
	if err != nil || len(b) != HeaderLen+65535 {
		t.Errorf("%d octets, error %v", len(b), err)
	}
}

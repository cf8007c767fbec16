package wire

import (
	"bytes"
	"testing"
)

// Seeds are the messages of testdata/messages.txt; an input that fails belongs
// into testdata/fuzz, where every later test run tries it.

func FuzzParse(f *testing.F) {
	for _, s := range samples(f) {
		f.Add(s.bytes(f, "message"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		m, err := Parse(b)
		if !bytes.Equal(b, before) {
			t.Fatal("the input was changed")
		}
		if err != nil {
			if m != nil {
				t.Fatal("a message with an error")
			}
			if len(err.Error()) > 300 {
				t.Fatalf("error of %d octets", len(err.Error()))
			}
			return
		}
		checkLine(t, m.String())
		checkChain(t, m.Payloads)
		one, err := m.Append(nil)
		if err != nil {
			t.Fatalf("encode: %v", err)
		}
		if len(one) > len(b) {
			t.Fatalf("%d octets became %d", len(b), len(one))
		}
		m2, err := Parse(one)
		if err != nil {
			t.Fatalf("parse again: %v", err)
		}
		two, err := m2.Append(nil)
		if err != nil || !bytes.Equal(one, two) {
			t.Fatalf("encoded twice (%v):\n%x\n%x", err, one, two)
		}
		if m.SK() != nil && m.SKF() != nil {
			t.Fatal("both SK and SKF")
		}
	})
}

func FuzzInner(f *testing.F) {
	for _, s := range samples(f) {
		if s.fields["inner"] != "" {
			m, err := Parse(s.bytes(f, "message"))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(uint8(m.SK().First), s.bytes(f, "inner"))
		}
	}
	f.Fuzz(func(t *testing.T, first uint8, b []byte) {
		ps, err := ParsePayloadsOf(0, PayloadType(first), b)
		if err != nil {
			return
		}
		checkChain(t, ps)
		for _, p := range ps {
			if p.Type() == TypeSK || p.Type() == TypeSKF {
				t.Fatal("an encrypted payload inside one")
			}
		}
		one, err := AppendPayloads(nil, ps)
		if err != nil {
			t.Fatalf("encode: %v", err)
		}
		ps2, err := ParsePayloadsOf(0, firstType(ps), one)
		if err != nil {
			t.Fatalf("parse again: %v", err)
		}
		two, err := AppendPayloads(nil, ps2)
		if err != nil || !bytes.Equal(one, two) {
			t.Fatalf("encoded twice (%v):\n%x\n%x", err, one, two)
		}
	})
}

func checkChain(t *testing.T, ps []Payload) {
	if len(ps) > MaxPayloads {
		t.Fatalf("%d payloads", len(ps))
	}
	for _, p := range ps {
		checkLine(t, p.String())
		if s, ok := p.(*SA); ok {
			for _, o := range s.Offers() {
				checkLine(t, o.String())
			}
		}
		if s, ok := p.(*TS); ok {
			for _, sel := range s.Selectors {
				if _, host := sel.Host(); host && !sel.Covers(sel.First, sel.Protocol) && sel.AllPorts() {
					t.Fatalf("%s does not cover itself", sel)
				}
			}
		}
	}
	if c, err := Collect(ps); err == nil && c.Error() != nil && !c.Error().Kind.IsError() {
		t.Fatal("a status is taken for an error")
	}
	UnsupportedCritical(ps)
}

func checkLine(t *testing.T, line string) {
	if len(line) > 20000 {
		t.Fatalf("line of %d octets", len(line))
	}
	for _, r := range line {
		if r < ' ' || r == 0x7f {
			t.Fatalf("control character in %q", line)
		}
	}
}

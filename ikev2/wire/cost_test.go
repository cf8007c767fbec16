package wire

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"testing"
)

// hostile fills the longest UDP datagram with one payload over and over.
func hostile(kind PayloadType, body []byte) []byte {
	b := Header{Next: kind, Exchange: CreateChildSA}.Append(nil)
	last := len(b)
	for len(b)+genericLen+len(body) <= 65507 {
		last = len(b)
		b = append(b, byte(kind), 0)
		b = binary.BigEndian.AppendUint16(b, uint16(genericLen+len(body)))
		b = append(b, body...)
	}
	b[last] = byte(NoNext)
	binary.BigEndian.PutUint32(b[24:], uint32(len(b)))
	return b
}

// Memory stays within a small multiple of the datagram whatever it holds, so
// that unauthenticated messages are no lever.
func TestHostileMessagesCostLittleMemory(t *testing.T) {
	repeat := func(head, unit string, n int) []byte {
		return append(unhex(t, head), bytes.Repeat(unhex(t, unit), n)...)
	}
	transforms := repeat("000007f8010100fe", "0300000801000001", 254)
	transforms[len(transforms)-8] = lastSubstruc
	for _, c := range []struct {
		name string
		b    []byte
		ok   bool
	}{
		{"empty payloads", hostile(TypeVendor, nil), false},
		{"notifies", hostile(TypeNotify, repeat("00000001", "00", 504)), true},
		{"transforms", hostile(TypeSA, transforms), true},
		{"proposals", hostile(TypeSA, repeat("", "0200000801010000", 8000)), false},
		{"SPIs", hostile(TypeDelete, repeat("03043fec", "00000100", 0x3fec)), true},
		{"selectors", hostile(TypeTSi, repeat("ff000000", "070000100000000001010101 01010101", 255)), true},
		{"selectors that are not there", hostile(TypeTSi, repeat("ff000000", "00", 600)), false},
		{"unknown selectors", hostile(TypeTSi, repeat("ff000000", "09000004", 255)), true},
		{"attributes", hostile(TypeCP, repeat("01000000", "00010000", MaxCPAttrs)), false},
		{"longer attributes", hostile(TypeCP, repeat("01000000", "0001000400000000", MaxCPAttrs)), true},
		{"too many attributes", hostile(TypeCP, repeat("01000000", "00010000", MaxCPAttrs+1)), false},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Parse(c.b)
		runtime.ReadMemStats(&after)
		if (err == nil) != c.ok {
			t.Errorf("%s: error %v", c.name, err)
		}
		spent := after.TotalAlloc - before.TotalAlloc
		if spent > 1<<20 {
			t.Errorf("%s: %d octets took %d (error %v)", c.name, len(c.b), spent, err)
		}
		t.Logf("%s: %d octets took %d (error %v)", c.name, len(c.b), spent, err)
	}
}

func BenchmarkParse(b *testing.B) {
	s := samples(b)[0].bytes(b, "message")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(s); err != nil {
			b.Fatal(err)
		}
	}
}

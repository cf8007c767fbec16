package der

import (
	"bytes"
	"encoding/asn1"
	"encoding/hex"
	"testing"
	"time"
)

func raw(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestOnlyTheShortestLengthIsRead(t *testing.T) {
	for s, want := range map[string]int{
		"0400": 0, "040105": 1, "04": -1, "": -1, "0401": -1, "0480": -1, "04800000": -1,
		"04810105": -1, "0481": -1, "048180": -1, "04820080": -1, "0482": -1, "0484000000010000": -1, "04ff": -1,
		"1f0100": -1, "3f810100": -1,
	} {
		in := Input(raw(t, s))
		_, body, whole, ok := in.Next()
		if ok != (want >= 0) || ok && (len(body) != want || len(whole) != len(s)/2) {
			t.Errorf("%q: %x, %v", s, body, ok)
		}
	}
	for _, n := range []int{0, 1, 127, 128, 255, 256, 65535, 65536, 1 << 20} {
		e := Element(OctetString, make([]byte, n/2), make([]byte, n-n/2))
		body, ok := Only(e, OctetString)
		if !ok || len(body) != n {
			t.Errorf("%d octets come back as %d", n, len(body))
		}
		var std []byte
		if rest, err := asn1.Unmarshal(e, &std); err != nil || len(rest) != 0 || len(std) != n {
			t.Errorf("%d octets: the standard library says %v", n, err)
		}
		if _, ok := Only(append(e, 0), OctetString); ok {
			t.Errorf("%d octets and one more", n)
		}
		if _, ok := Only(e, Sequence); ok {
			t.Error("another tag")
		}
	}
}

func TestIntegers(t *testing.T) {
	for s, want := range map[string]int{
		"020100": 0, "020101": 1, "02017f": 127, "02020080": 128, "02047fffffff": 1<<31 - 1,
		"0200": -1, "020180": -1, "02020001": -1, "0202007f": -1, "0205008000000000": -1, "02050080000000": -1, "0404": -1, "0201": -1,
	} {
		in := Input(raw(t, s))
		n, ok := in.Small()
		if ok != (want >= 0) || ok && n != want {
			t.Errorf("%s: %d, %v", s, n, ok)
		}
	}
	for _, m := range []string{"", "00", "01", "80", "0080", "00007f", "ff00"} {
		e := AppendUnsigned(nil, raw(t, m))
		in := Input(e)
		back, ok := in.Unsigned()
		if !ok || !bytes.Equal(back, bytes.TrimLeft(raw(t, m), "\x00")) {
			t.Errorf("%s: %x, %x", m, e, back)
		}
	}
}

func TestBoolsAndBits(t *testing.T) {
	for s, want := range map[string]string{"0101ff": "true", "010100": "false", "010101": "no", "0100": "no", "0102ffff": "no"} {
		in := Input(raw(t, s))
		v, ok := in.Bool()
		if got := map[bool]string{true: "true", false: "false"}[v]; ok && got != want || !ok && want != "no" {
			t.Errorf("%s: %v, %v", s, v, ok)
		}
	}
	for s, want := range map[string]int{
		"030100": 0, "03020780": 1, "030205a0": 1 | 4, "03020106": 1<<5 | 1<<6, "0303070080": 1 << 8,
		"0300": -1, "030101": -1, "03020880": -1, "030207c0": -1, "030400000000": -1,
	} {
		in := Input(raw(t, s))
		bits, ok := in.NamedBits()
		if ok != (want >= 0) || ok && int(bits) != want {
			t.Errorf("%s: %b, %v", s, bits, ok)
		}
	}
	for s, want := range map[string]bool{"030100": true, "03020041": true, "03020140": false, "0300": false} {
		in := Input(raw(t, s))
		if _, ok := in.Bits(); ok != want {
			t.Errorf("%s: %v", s, ok)
		}
	}
}

func TestTimes(t *testing.T) {
	for s, want := range map[string]string{
		"\x17\x0d260615120000Z":   "2026-06-15T12:00:00Z",
		"\x17\x0d491231235959Z":   "2049-12-31T23:59:59Z",
		"\x17\x0d500101000000Z":   "1950-01-01T00:00:00Z",
		"\x18\x0f20500101000000Z": "2050-01-01T00:00:00Z",
		"\x18\x0f99991231235959Z": "9999-12-31T23:59:59Z",
		"\x17\x0d240229000000Z":   "2024-02-29T00:00:00Z",
		"\x17\x0d230229000000Z":   "", "\x17\x0d261315120000Z": "", "\x17\x0d260615240000Z": "", "\x17\x0d260615126000Z": "", "\x17\x0d260615120060Z": "",
		"\x17\x0d2606151200000": "", "\x17\x0b2606151200Z": "", "\x17\x112606151200+0100": "", "\x18\x112026061512000.0Z": "", "\x17\x0d26061a120000Z": "", "\x17\x0d260600120000Z": "", "\x04\x0d260615120000Z": "",
	} {
		in := Input(s)
		got, ok := in.Time()
		if ok != (want != "") || ok && got.Format(time.RFC3339) != want {
			t.Errorf("%q: %s, %v", s, got, ok)
		}
	}
}

func TestObjectIdentifiers(t *testing.T) {
	for s, want := range map[string]string{
		"2a864886f70d01010b": "1.2.840.113549.1.1.11", "2b6570": "1.3.101.112", "55040a": "2.5.4.10", "883703": "2.999.3", "00": "0.0",
	} {
		if got := Dotted(raw(t, s)); got != want {
			t.Errorf("%s: %s, want %s", s, got, want)
		}
		if back, ok := ParseDotted(want); !ok || !bytes.Equal(back, raw(t, s)) {
			t.Errorf("%s: %x, %v", want, back, ok)
		}
	}
	for _, s := range []string{"", "80", "2a86", "2affffffffffffffffffffff7f"} {
		if got := Dotted(raw(t, s)); got != "#"+s {
			t.Errorf("%s: %s", s, got)
		}
	}
	for _, s := range []string{"", "1", "1.", ".1", "1..2", "3.1", "1.40", "1.a", "1.2 ", "1.02", "1.999999999999999999", "1.2.99999999999999999999999"} {
		if got, ok := ParseDotted(s); ok {
			t.Errorf("%q: %x", s, got)
		}
	}
}

// Whatever is read is inside the input, and what is left is behind it.
func FuzzInput(f *testing.F) {
	f.Add([]byte{0x30, 3, 2, 1, 5})
	f.Add([]byte{0x30, 0x82, 1, 0})
	f.Add([]byte("\x17\x0d260615120000Z"))
	f.Fuzz(func(t *testing.T, data []byte) {
		in := Input(data)
		read := 0
		for len(in) > 0 {
			sub := in
			_, _ = sub.Small()
			sub = in
			_, _ = sub.NamedBits()
			sub = in
			_, _ = sub.Time()
			tag, body, whole, ok := in.Next()
			if !ok {
				return
			}
			_ = Dotted(body)
			if again := Element(tag, body); !bytes.Equal(again, whole) || !bytes.Equal(data[read:read+len(whole)], whole) {
				t.Fatalf("%x written as %x", whole, again)
			}
			read += len(whole)
		}
	})
}

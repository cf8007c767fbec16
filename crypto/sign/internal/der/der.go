// Package der reads and writes the distinguished encoding rules of ASN.1 (X.690)
// as far as keys, certificates and signatures need them. It is strict where the
// rules are: lengths in their one shortest form, no indefinite length, integers
// without surplus octets. It never copies and never recurses; what it returns
// points into its input.
package der

import "time"

// Tags. Context-specific ones come from Context.
const (
	Boolean         byte = 0x01
	Integer         byte = 0x02
	BitString       byte = 0x03
	OctetString     byte = 0x04
	Null            byte = 0x05
	OID             byte = 0x06
	Enumerated      byte = 0x0a
	UTF8String      byte = 0x0c
	NumericString   byte = 0x12
	PrintableString byte = 0x13
	TeletexString   byte = 0x14
	IA5String       byte = 0x16
	UTCTime         byte = 0x17
	GeneralizedTime byte = 0x18
	UniversalString byte = 0x1c
	BMPString       byte = 0x1e
	Sequence        byte = 0x30
	Set             byte = 0x31
)

// Context is the tag [n], primitive.
func Context(n byte) byte { return 0x80 | n }

// Explicit is the tag [n], constructed.
func Explicit(n byte) byte { return 0xa0 | n }

// Input is what is left to read.
type Input []byte

// Next reads any element: its tag, its contents, and all of it.
func (in *Input) Next() (tag byte, body, whole Input, ok bool) {
	b := *in
	if len(b) < 2 || b[0]&0x1f == 0x1f {
		return 0, nil, nil, false // tags of more than one octet don't occur here
	}
	head, n := 2, int(b[1])
	if b[1] >= 0x80 {
		octets := int(b[1] & 0x7f)
		if octets == 0 || octets > 3 || len(b) < 2+octets {
			return 0, nil, nil, false
		}
		n = 0
		for _, c := range b[2 : 2+octets] {
			n = n<<8 | int(c)
		}
		if n < 0x80 || n>>(8*(octets-1)) == 0 {
			return 0, nil, nil, false // not the shortest form
		}
		head += octets
	}
	if len(b)-head < n {
		return 0, nil, nil, false
	}
	*in = b[head+n:]
	return b[0], b[head : head+n : head+n], b[: head+n : head+n], true
}

// Read reads an element with the tag and returns its contents.
func (in *Input) Read(tag byte) (body Input, ok bool) {
	if !in.Is(tag) {
		return nil, false
	}
	_, body, _, ok = in.Next()
	return body, ok
}

// Whole reads an element with the tag and returns all of it.
func (in *Input) Whole(tag byte) (whole Input, ok bool) {
	if !in.Is(tag) {
		return nil, false
	}
	_, _, whole, ok = in.Next()
	return whole, ok
}

// Only reads an element with the tag that must be all there is.
func Only(b []byte, tag byte) (body Input, ok bool) {
	in := Input(b)
	body, ok = in.Read(tag)
	return body, ok && len(in) == 0
}

// Is reports whether the next element has the tag.
func (in Input) Is(tag byte) bool { return len(in) > 0 && in[0] == tag }

// Bool reads a BOOLEAN.
func (in *Input) Bool() (value, ok bool) {
	b, ok := in.Read(Boolean)
	if !ok || len(b) != 1 || b[0] != 0 && b[0] != 0xff {
		return false, false
	}
	return b[0] != 0, true
}

// Unsigned reads an INTEGER that is not negative and returns its magnitude
// without leading zeros; zero is empty.
func (in *Input) Unsigned() (magnitude []byte, ok bool) {
	b, ok := in.Read(Integer)
	if !ok || len(b) == 0 || b[0] >= 0x80 {
		return nil, false
	}
	if b[0] != 0 {
		return b, true
	}
	if len(b) > 1 && b[1] < 0x80 {
		return nil, false
	}
	return b[1:], true
}

// Signed reads an INTEGER in its shortest form and returns its contents, in two's
// complement.
func (in *Input) Signed() (contents []byte, ok bool) {
	b, ok := in.Read(Integer)
	if !ok || len(b) == 0 {
		return nil, false
	}
	if len(b) > 1 && (b[0] == 0 && b[1] < 0x80 || b[0] == 0xff && b[1] >= 0x80) {
		return nil, false
	}
	return b, true
}

// Small reads an INTEGER from 0 to 2^31-1.
func (in *Input) Small() (n int, ok bool) {
	b, ok := in.Unsigned()
	if !ok || len(b) > 4 || len(b) == 4 && b[0] >= 0x80 {
		return 0, false
	}
	for _, c := range b {
		n = n<<8 | int(c)
	}
	return n, true
}

// Bits reads a BIT STRING of whole octets.
func (in *Input) Bits() (octets []byte, ok bool) {
	b, ok := in.Read(BitString)
	if !ok || len(b) == 0 || b[0] != 0 {
		return nil, false
	}
	return b[1:], true
}

// NamedBits reads a BIT STRING of up to 16 named bits; bit 0 is the lowest of
// the result.
func (in *Input) NamedBits() (bits uint16, ok bool) {
	b, ok := in.Read(BitString)
	if !ok || len(b) == 0 || len(b) > 3 || b[0] > 7 || len(b) == 1 && b[0] != 0 {
		return 0, false
	}
	if len(b) > 1 && b[len(b)-1]&(1<<b[0]-1) != 0 {
		return 0, false // unused bits are zero
	}
	for i, c := range b[1:] {
		for k := range 8 {
			if c&(0x80>>k) != 0 {
				bits |= 1 << (8*i + k)
			}
		}
	}
	return bits, true
}

// Time reads a UTCTime or GeneralizedTime in the one form of RFC 5280 section
// 4.1.2.5: with seconds, without fractions, in UTC.
func (in *Input) Time() (t time.Time, ok bool) {
	tag, b, _, ok := in.Next()
	switch {
	case !ok:
		return t, false
	case tag == UTCTime && len(b) == 13:
		// Two digits of a year: 1950 to 2049.
		century := "20"
		if b[0] >= '5' {
			century = "19"
		}
		b = append([]byte(century), b...)
	case tag != GeneralizedTime || len(b) != 15:
		return t, false
	}
	var f [6]int // year, month, day, hour, minute, second
	at := 0
	for i, digits := range [6]int{4, 2, 2, 2, 2, 2} {
		for _, c := range b[at : at+digits] {
			if c < '0' || c > '9' {
				return t, false
			}
			f[i] = f[i]*10 + int(c-'0')
		}
		at += digits
	}
	t = time.Date(f[0], time.Month(f[1]), f[2], f[3], f[4], f[5], 0, time.UTC)
	// Date moves what is out of range on to the next unit; nothing may move.
	if b[14] != 'Z' || t.Year() != f[0] || int(t.Month()) != f[1] || t.Day() != f[2] ||
		t.Hour() != f[3] || t.Minute() != f[4] || t.Second() != f[5] {
		return time.Time{}, false
	}
	return t, true
}

// Append appends an element whose contents are the parts in a row.
func Append(b []byte, tag byte, parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	b = append(b, tag)
	switch {
	case n < 0x80:
		b = append(b, byte(n))
	case n < 0x100:
		b = append(b, 0x81, byte(n))
	case n < 0x10000:
		b = append(b, 0x82, byte(n>>8), byte(n))
	default:
		b = append(b, 0x83, byte(n>>16), byte(n>>8), byte(n))
	}
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// Element is Append to nothing.
func Element(tag byte, parts ...[]byte) []byte { return Append(nil, tag, parts...) }

// AppendUnsigned appends the INTEGER of a magnitude.
func AppendUnsigned(b, magnitude []byte) []byte {
	for len(magnitude) > 0 && magnitude[0] == 0 {
		magnitude = magnitude[1:]
	}
	if len(magnitude) == 0 || magnitude[0] >= 0x80 {
		return Append(b, Integer, []byte{0}, magnitude)
	}
	return Append(b, Integer, magnitude)
}

// ValidOID reports whether these can be the contents of an OID: whole arcs in
// their shortest form, of less than 2^56 each.
func ValidOID(oid []byte) bool {
	if len(oid) == 0 || len(oid) > 64 || oid[len(oid)-1] >= 0x80 {
		return false
	}
	length := 0
	for _, c := range oid {
		if length++; length > 8 || length == 1 && c == 0x80 {
			return false
		}
		if c < 0x80 {
			length = 0
		}
	}
	return true
}

// Dotted writes the contents of an OID with dots, or as hexadecimal when they
// are none.
func Dotted(oid []byte) string {
	if !ValidOID(oid) {
		return hexadecimal(oid)
	}
	var out []byte
	var n uint64
	for _, c := range oid {
		n = n<<7 | uint64(c&0x7f)
		if c >= 0x80 {
			continue
		}
		if out == nil {
			first := min(n/40, 2)
			out = append(decimal(out, first), '.')
			n -= first * 40
		} else {
			out = append(out, '.')
		}
		out = decimal(out, n)
		n = 0
	}
	return string(out)
}

func decimal(b []byte, n uint64) []byte {
	if n >= 10 {
		b = decimal(b, n/10)
	}
	return append(b, '0'+byte(n%10))
}

func hexadecimal(b []byte) string {
	const digits = "0123456789abcdef"
	out := []byte("#")
	for _, c := range b[:min(len(b), 64)] {
		out = append(out, digits[c>>4], digits[c&15])
	}
	return string(out)
}

// ParseDotted is the reverse of Dotted for OIDs of at least two arcs.
func ParseDotted(s string) (oid []byte, ok bool) {
	var arcs []uint64
	n, digits := uint64(0), 0
	for i := 0; i <= len(s); i++ {
		switch {
		case i == len(s) || s[i] == '.':
			if digits == 0 {
				return nil, false
			}
			arcs = append(arcs, n)
			n, digits = 0, 0
		case s[i] < '0' || s[i] > '9' || n >= 1<<56 || len(arcs) > 64 || digits > 0 && n == 0:
			return nil, false
		default:
			n = n*10 + uint64(s[i]-'0')
			digits++
		}
	}
	if len(arcs) < 2 || arcs[0] > 2 || arcs[0] < 2 && arcs[1] >= 40 {
		return nil, false
	}
	arcs[1] += 40 * arcs[0]
	for _, a := range arcs[1:] {
		shift := 0
		for a>>shift >= 0x80 {
			shift += 7
		}
		for ; shift > 0; shift -= 7 {
			oid = append(oid, 0x80|byte(a>>shift))
		}
		oid = append(oid, byte(a&0x7f))
	}
	return oid, ValidOID(oid)
}

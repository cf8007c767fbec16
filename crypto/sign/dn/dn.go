// Package dn handles distinguished names: between the DER of certificates and
// ID_DER_ASN1_DN and the text a person writes ("C=CH, O=example, CN=moon"),
// comparing them, and matching them against patterns in which a value is "*".
//
// The order of the text is the order of the DER, most general first, as most
// IPsec software writes it, and the reverse of RFC 4514. Escapes are those of
// RFC 4514. Names are compared attribute by attribute as RFC 5280 section 7.1
// has it: whatever the string types, without regard to case (of ASCII letters)
// and to surplus spaces.
package dn

import (
	"bytes"
	"crypto/x509"
	"slices"
	"sort"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"
)

// String types that cryptobyte has no name for.
const (
	numericString   = der.Tag(18)
	universalString = der.Tag(28)
	bmpString       = der.Tag(30)
)

// maxAttributes bounds a name.
const maxAttributes = 64

// attribute is one AttributeTypeAndValue.
type attribute struct {
	joined bool   // in one RDN with the attribute before it
	oid    string // contents of the OBJECT IDENTIFIER
	tag    der.Tag
	value  []byte // contents
}

// maxOID bounds the contents of an attribute's OID in bytes.
const maxOID = 64

func isOID(contents []byte) bool {
	var o x509.OID
	return len(contents) <= maxOID && o.UnmarshalBinary(contents) == nil
}

// read takes a Name apart.
func read(name []byte) (out []attribute, ok bool) {
	in := cryptobyte.String(name)
	var rdns cryptobyte.String
	if !in.ReadASN1(&rdns, der.SEQUENCE) || !in.Empty() {
		return nil, false
	}
	for !rdns.Empty() {
		var set cryptobyte.String
		if !rdns.ReadASN1(&set, der.SET) || set.Empty() {
			return nil, false
		}
		for first := true; !set.Empty(); first = false {
			var seq, oid, value cryptobyte.String
			var tag der.Tag
			if !set.ReadASN1(&seq, der.SEQUENCE) || !seq.ReadASN1(&oid, der.OBJECT_IDENTIFIER) || !isOID(oid) ||
				!seq.ReadAnyASN1(&value, &tag) || !seq.Empty() || len(out) == maxAttributes {
				return nil, false
			}
			out = append(out, attribute{!first, string(oid), tag, value})
		}
	}
	return out, true
}

// element is one element of DER.
func element(tag der.Tag, contents ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(tag, func(b *cryptobyte.Builder) {
		for _, c := range contents {
			b.AddBytes(c)
		}
	})
	return b.BytesOrPanic()
}

// write puts a Name together. The attributes of one RDN are sorted, as DER wants
// the elements of a SET.
func write(attributes []attribute) []byte {
	var rdns, set [][]byte
	for i, a := range attributes {
		set = append(set, element(der.SEQUENCE, element(der.OBJECT_IDENTIFIER, []byte(a.oid)), element(a.tag, a.value)))
		if i+1 == len(attributes) || !attributes[i+1].joined {
			sort.Slice(set, func(j, k int) bool { return bytes.Compare(set[j], set[k]) < 0 })
			rdns = append(rdns, element(der.SET, set...))
			set = nil
		}
	}
	return element(der.SEQUENCE, rdns...)
}

// Valid reports whether name is the DER of a distinguished name.
func Valid(name []byte) bool {
	_, ok := read(name)
	return ok
}

// Empty reports whether name has no attributes.
func Empty(name []byte) bool {
	a, ok := read(name)
	return ok && len(a) == 0
}

// Equal reports whether two names in DER mean the same.
func Equal(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return Valid(a)
	}
	x, ok := read(a)
	y, ok2 := read(b)
	return ok && ok2 && slices.EqualFunc(x, y, attribute.equal)
}

// Key is a form of a name that is equal for two names exactly when Equal says so,
// to compare many; empty for what is no name.
func Key(name []byte) string {
	attributes, ok := read(name)
	if !ok {
		return ""
	}
	key := []byte{'N'}
	add := func(s string) { key = append(append(key, byte(len(s)>>8), byte(len(s))), s...) }
	for _, a := range attributes {
		how, value := byte('B'), string(a.value)
		if s, ok := a.text(); ok {
			how, value = 'T', fold(s)
		}
		if a.joined {
			key = append(key, '+')
		}
		key = append(key, how)
		if how == 'B' {
			key = append(key, byte(a.tag))
		}
		add(a.oid)
		add(value)
	}
	return string(key)
}

// Within reports whether name begins with all of base: what a directoryName
// constraint permits (RFC 5280 section 4.2.1.10).
func Within(base, name []byte) bool {
	x, ok := read(base)
	y, ok2 := read(name)
	if !ok || !ok2 || len(y) < len(x) || len(y) > len(x) && y[len(x)].joined {
		return false
	}
	return slices.EqualFunc(x, y[:len(x)], attribute.equal)
}

// Match reports whether name fits pattern: the same attributes in the same
// order, each with an equal value or "*" in the pattern.
func Match(pattern, name []byte) bool {
	x, ok := read(pattern)
	y, ok2 := read(name)
	return ok && ok2 && slices.EqualFunc(x, y, func(p, a attribute) bool {
		return p.joined == a.joined && p.oid == a.oid && p.wild() || p.equal(a)
	})
}

// Count says how many attributes of a pattern are "*" and how many are not.
func Count(pattern []byte) (wild, literal int) {
	attributes, _ := read(pattern)
	for _, a := range attributes {
		if a.wild() {
			wild++
		}
	}
	return wild, len(attributes) - wild
}

// Overlap reports whether some name fits both patterns.
func Overlap(a, b []byte) bool {
	x, ok := read(a)
	y, ok2 := read(b)
	return ok && ok2 && slices.EqualFunc(x, y, func(p, q attribute) bool {
		return p.joined == q.joined && p.oid == q.oid && (p.wild() || q.wild() || p.equal(q))
	})
}

func (a attribute) wild() bool { return len(a.value) == 1 && a.value[0] == '*' && isText(a.tag) }

func (a attribute) equal(b attribute) bool {
	if a.joined != b.joined || a.oid != b.oid {
		return false
	}
	if a.tag == b.tag && bytes.Equal(a.value, b.value) {
		return true
	}
	s, ok := a.text()
	t, ok2 := b.text()
	return ok && ok2 && fold(s) == fold(t)
}

func isText(tag der.Tag) bool {
	switch tag {
	case der.UTF8String, der.PrintableString, der.IA5String, der.T61String, numericString, bmpString, universalString:
		return true
	}
	return false
}

// text is the value as UTF-8.
func (a attribute) text() (string, bool) {
	switch a.tag {
	case der.UTF8String:
		return string(a.value), utf8.Valid(a.value)
	case der.PrintableString, der.IA5String, numericString:
		for _, c := range a.value {
			if c >= utf8.RuneSelf {
				return "", false
			}
		}
		return string(a.value), true
	case der.T61String: // Latin 1 by custom
		var out []byte
		for _, c := range a.value {
			out = utf8.AppendRune(out, rune(c))
		}
		return string(out), true
	case bmpString:
		if len(a.value)%2 != 0 {
			return "", false
		}
		var units []uint16
		for v := a.value; len(v) > 0; v = v[2:] {
			units = append(units, uint16(v[0])<<8|uint16(v[1]))
		}
		return string(utf16.Decode(units)), true
	case universalString:
		if len(a.value)%4 != 0 {
			return "", false
		}
		var out []byte
		for v := a.value; len(v) > 0; v = v[4:] {
			out = utf8.AppendRune(out, rune(uint32(v[0])<<24|uint32(v[1])<<16|uint32(v[2])<<8|uint32(v[3])))
		}
		return string(out), true
	}
	return "", false
}

// fold brings equal values to one form: ASCII letters small, spaces single and
// none at the ends.
func fold(s string) string {
	out := make([]byte, 0, len(s))
	for i := range len(s) {
		switch c := s[i]; {
		case c == ' ' && (len(out) == 0 || out[len(out)-1] == ' '):
		case c >= 'A' && c <= 'Z':
			out = append(out, c+'a'-'A')
		default:
			out = append(out, c)
		}
	}
	return string(bytes.TrimSuffix(out, []byte{' '}))
}

// Mail returns the mail addresses among a name's attributes.
func Mail(name []byte) (out []string) {
	attributes, _ := read(name)
	for _, a := range attributes {
		if s, ok := a.text(); ok && a.oid == oidEmail {
			out = append(out, s)
		}
	}
	return out
}

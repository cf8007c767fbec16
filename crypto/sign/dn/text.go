package dn

import (
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"
)

// names are the attributes' short names. The first one of an OID is written;
// all are read, without regard to case.
var names = [...]struct{ name, oid string }{
	{"C", "\x55\x04\x06"}, {"ST", "\x55\x04\x08"}, {"L", "\x55\x04\x07"},
	{"O", "\x55\x04\x0a"}, {"OU", "\x55\x04\x0b"}, {"CN", "\x55\x04\x03"},
	{"E", oidEmail}, {"emailAddress", oidEmail}, {"email", oidEmail},
	{"DC", "\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19"},
	{"UID", "\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x01"},
	{"serialNumber", "\x55\x04\x05"}, {"SN", "\x55\x04\x04"}, {"surname", "\x55\x04\x04"},
	{"G", "\x55\x04\x2a"}, {"GN", "\x55\x04\x2a"}, {"givenName", "\x55\x04\x2a"},
	{"I", "\x55\x04\x2b"}, {"T", "\x55\x04\x0c"}, {"title", "\x55\x04\x0c"},
	{"D", "\x55\x04\x0d"}, {"STREET", "\x55\x04\x09"}, {"postalCode", "\x55\x04\x11"},
	{"dnQualifier", "\x55\x04\x2e"}, {"N", "\x55\x04\x29"}, {"pseudonym", "\x55\x04\x41"},
	{"organizationIdentifier", "\x55\x04\x61"},
}

const (
	oidEmail = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01"
	oidDC    = "\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19"
)

// Format writes a name in DER as text that Parse reads back to an equal name.
// Bytes that are no name come out as "#" and hexadecimal.
func Format(name []byte) string {
	attributes, ok := read(name)
	if !ok {
		return "#" + hex.EncodeToString(name[:min(len(name), 64)])
	}
	var b strings.Builder
	for i, a := range attributes {
		switch {
		case a.joined:
			b.WriteByte('+')
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(attributeName(a.oid))
		b.WriteByte('=')
		if s, ok := a.text(); ok && s != "" {
			escape(&b, s)
		} else {
			b.WriteString("#" + hex.EncodeToString(element(a.tag, a.value)))
		}
	}
	return b.String()
}

func attributeName(oid string) string {
	for _, n := range names {
		if n.oid == oid {
			return n.name
		}
	}
	var o x509.OID
	_ = o.UnmarshalBinary([]byte(oid)) // read has seen that it is one
	return o.String()
}

// escape writes a value by RFC 4514 section 2.4; control characters and what
// only looks like text become hexadecimal pairs.
func escape(b *strings.Builder, s string) {
	for i, r := range s {
		switch {
		case strings.ContainsRune(`,+"\<>;/`, r), r == '#' && i == 0, r == ' ' && (i == 0 || i == len(s)-1):
			b.WriteByte('\\')
			b.WriteRune(r)
		case Hidden(r):
			for _, c := range []byte(string(r)) {
				fmt.Fprintf(b, "\\%02x", c)
			}
		default:
			b.WriteRune(r)
		}
	}
}

// Hidden reports whether a character must not reach a terminal as it is: control
// characters, those without width, and those that turn the direction of text.
func Hidden(r rune) bool {
	return r < ' ' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError ||
		r >= 0x200b && r <= 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2060 && r <= 0x206f || r == 0xfeff
}

// Parse reads a name as a person writes it, into DER:
//
//	C=CH, O=example, CN=moon       attributes from the most general on
//	/C=CH/O=example/CN=moon        the same
//	O=Foo\, Inc., CN=moon          a backslash before , + " \ / or a pair of hexadecimal digits
//	O="Foo, Inc.", CN=moon         or quotes around the value
//	CN=moon+UID=7                  two attributes in one RDN
//	2.5.4.65=x, CN=#0c016d         an attribute by OID; a value in DER
func Parse(s string) ([]byte, error) {
	if !utf8.ValidString(s) || len(s) > 1024 {
		return nil, fmt.Errorf("distinguished name %.60q is no UTF-8 text of at most 1024 bytes", s)
	}
	separator := byte(',')
	rest := strings.TrimLeft(s, " ")
	if after, ok := strings.CutPrefix(rest, "/"); ok {
		separator, rest = '/', after
	}
	var attributes []attribute
	joined := false
	for {
		a, n, err := parseAttribute(rest, separator)
		if err != nil {
			return nil, fmt.Errorf("distinguished name %q: %w", s, err)
		}
		if a.joined = joined; len(attributes) == maxAttributes {
			return nil, fmt.Errorf("distinguished name %.60q has more than %d attributes", s, maxAttributes)
		}
		attributes = append(attributes, a)
		if rest = rest[n:]; rest == "" {
			return write(attributes), nil
		}
		joined = rest[0] == '+'
		rest = rest[1:]
	}
}

// parseAttribute reads one "type=value" and says where it ends.
func parseAttribute(s string, separator byte) (a attribute, n int, err error) {
	eq := strings.IndexByte(s, '=')
	typ := strings.TrimSpace(s[:max(eq, 0)])
	if eq < 0 || typ == "" {
		return a, 0, fmt.Errorf("%.40q has no attribute before a %q; write for example \"C=CH, O=example, CN=moon\"", strings.TrimSpace(s), "=")
	}
	for _, k := range names {
		if strings.EqualFold(k.name, typ) {
			a.oid = k.oid
		}
	}
	if a.oid == "" {
		oid, err := x509.ParseOID(typ)
		if err == nil {
			var contents []byte
			contents, err = oid.MarshalBinary()
			a.oid = string(contents)
		}
		if err != nil || len(a.oid) > maxOID {
			return a, 0, fmt.Errorf("unknown attribute %.40q; write C, ST, L, O, OU, CN, E, DC, UID or an OID such as 2.5.4.65", typ)
		}
	}
	value, n, err := parseValue(s[eq+1:], separator)
	n += eq + 1
	switch {
	case err != nil:
		return a, 0, fmt.Errorf("%s: %w", typ, err)
	case len(value) == 0:
		return a, 0, fmt.Errorf("%s has no value; write one, or leave %s out", typ, typ)
	}
	if value[0] == '#' && strings.HasPrefix(strings.TrimLeft(s[eq+1:], " "), "#") {
		raw, err := hex.DecodeString(string(value[1:]))
		in := cryptobyte.String(raw)
		var body cryptobyte.String
		if err != nil || !in.ReadAnyASN1(&body, &a.tag) || !in.Empty() {
			return a, 0, fmt.Errorf("%s: after # the DER of a value must follow in hexadecimal", typ)
		}
		a.value = body
		return a, n, nil
	}
	if !utf8.Valid(value) {
		return a, 0, fmt.Errorf("%s: the escaped value is no UTF-8 text", typ)
	}
	a.tag, a.value = stringTag(a.oid, value), value
	return a, n, nil
}

// parseValue reads up to an unescaped separator or plus sign.
func parseValue(s string, separator byte) (value []byte, n int, err error) {
	i := len(s) - len(strings.TrimLeft(s, " "))
	quoted := i < len(s) && s[i] == '"'
	if quoted {
		i++
	}
	keep := 0 // trailing spaces behind this length are not part of the value
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\':
			char, used := unescape(s[i+1:])
			if used == 0 {
				return nil, 0, fmt.Errorf("a backslash must stand before a special character or two hexadecimal digits")
			}
			value = append(value, char)
			keep = len(value)
			i += used
		case quoted && c == '"':
			rest := strings.TrimLeft(s[i+1:], " ")
			if rest != "" && rest[0] != separator && rest[0] != '+' {
				return nil, 0, fmt.Errorf("after the closing quote stands %.20q", rest)
			}
			return value, len(s) - len(rest), nil
		case !quoted && (c == separator || c == '+'):
			return value[:keep], i, nil
		case !quoted && c == '"':
			return nil, 0, fmt.Errorf("a quote stands inside the value; put a backslash before it")
		default:
			value = append(value, c)
			if c != ' ' || quoted {
				keep = len(value)
			}
		}
	}
	if quoted {
		return nil, 0, fmt.Errorf("the closing quote is missing")
	}
	return value[:keep], len(s), nil
}

func unescape(s string) (char byte, used int) {
	if len(s) >= 2 {
		if b, err := hex.DecodeString(s[:2]); err == nil {
			return b[0], 2
		}
	}
	if len(s) > 0 && strings.IndexByte(`,+"\<>;=/# `, s[0]) >= 0 {
		return s[0], 1
	}
	return 0, 0
}

// stringTag picks the string type: IA5String for mail addresses and domain
// components (RFC 5280 appendix A), PrintableString where it can hold the value,
// else UTF8String.
func stringTag(oid string, value []byte) der.Tag {
	ascii := true
	printable := true
	for _, c := range value {
		ascii = ascii && c < utf8.RuneSelf
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte(" '()+,-./:=?", c) >= 0:
		default:
			printable = false
		}
	}
	switch {
	case ascii && (oid == oidEmail || oid == oidDC):
		return der.IA5String
	case printable:
		return der.PrintableString
	}
	return der.UTF8String
}

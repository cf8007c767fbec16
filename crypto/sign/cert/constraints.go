package cert

import (
	"fmt"
	"net/netip"
	"strings"

	"greseal/crypto/sign"
	"greseal/crypto/sign/dn"
	"greseal/crypto/sign/internal/der"
)

// constraints are the name constraints of an authority (RFC 5280 section
// 4.2.1.10): what certificates below it may name.
type constraints struct{ permitted, excluded subtrees }

type subtrees struct {
	dns       []string // small letters; ".example.net" is what is below example.net
	mail      []string // a mailbox, a host, or with a leading dot what is below it
	addresses []netip.Prefix
	directory [][]byte
	uri       bool // not compared: a certificate with such a name is refused
	other     bool
}

func parseConstraints(value []byte) (*constraints, bool) {
	in, ok := der.Only(value, der.Sequence)
	if !ok || len(in) == 0 {
		return nil, false
	}
	c := &constraints{}
	for n, into := range [...]*subtrees{&c.permitted, &c.excluded} {
		if !in.Is(der.Explicit(byte(n))) {
			continue
		}
		list, ok := in.Read(der.Explicit(byte(n)))
		if !ok || len(list) == 0 || !into.parse(list) {
			return nil, false
		}
	}
	return c, len(in) == 0
}

func (s *subtrees) parse(list der.Input) bool {
	for count := 0; len(list) > 0; count++ {
		subtree, ok := list.Read(der.Sequence)
		tag, base, _, ok2 := subtree.Next()
		// Minimum is 0 and maximum absent, always.
		if !ok || !ok2 || len(subtree) != 0 || count == maxNames || !s.add(tag, base) {
			return false
		}
	}
	return true
}

func (s *subtrees) add(tag byte, base der.Input) bool {
	text := lower(string(base))
	switch tag {
	case der.Context(1):
		s.mail = append(s.mail, text)
		return len(base) == 0 || isASCII(base)
	case der.Context(2):
		s.dns = append(s.dns, text)
		return len(base) == 0 || isASCII(base)
	case der.Explicit(4):
		s.directory = append(s.directory, base)
		return dn.Valid(base)
	case der.Context(6):
		s.uri = true
	case der.Context(7):
		half := len(base) / 2
		if len(base) != 8 && len(base) != 32 {
			return false
		}
		length := 0
		for length < 8*half && base[half+length/8]&(0x80>>(length%8)) != 0 {
			length++
		}
		for i := length; i < 8*half; i++ {
			if base[half+i/8]&(0x80>>(i%8)) != 0 {
				return false // a mask with holes
			}
		}
		a, _ := netip.AddrFromSlice(base[:half])
		s.addresses = append(s.addresses, netip.PrefixFrom(a, length))
	default:
		s.other = true
	}
	return true
}

// check holds one certificate to the constraints of an authority above it.
func (k *constraints) check(c, authority *Certificate) error {
	bad := ""
	try := func(name string, limited bool, within func(*subtrees) (kinds bool, ok bool)) {
		if bad != "" {
			return
		}
		if limited {
			bad = name
			return
		}
		if any, ok := within(&k.permitted); any && !ok {
			bad = name
		}
		if _, ok := within(&k.excluded); ok {
			bad = name
		}
	}
	for _, n := range c.names.dns {
		try(n, false, func(s *subtrees) (bool, bool) { return anyOf(s.dns, n, withinDomain) })
	}
	mail := c.names.mail
	if !c.names.present {
		mail = dn.Mail(c.subject)
	}
	for _, n := range mail {
		try(n, false, func(s *subtrees) (bool, bool) { return anyOf(s.mail, n, withinMail) })
	}
	for _, a := range c.names.addresses {
		try(a.String(), false, func(s *subtrees) (bool, bool) {
			return anyOf(s.addresses, a, func(p netip.Prefix, a netip.Addr) bool { return p.Contains(a) })
		})
	}
	directory := c.names.directory
	if !dn.Empty(c.subject) {
		directory = append([][]byte{c.subject}, directory...)
	}
	for _, n := range directory {
		try(dn.Format(n), false, func(s *subtrees) (bool, bool) { return anyOf(s.directory, n, dn.Within) })
	}
	none := func(*subtrees) (bool, bool) { return false, false }
	try("a URI", c.names.uri && (k.permitted.uri || k.excluded.uri), none)
	try("a name of a rare kind", c.names.other && (k.permitted.other || k.excluded.other), none)
	if bad == "" {
		return nil
	}
	return &sign.Error{
		Reason: sign.NameConstraint,
		Detail: fmt.Sprintf("certificate %s names %s, which its authority %s may not certify (name constraints)", c, bad, authority),
		Remedy: "let an authority issue it that may, or leave that name out",
	}
}

func anyOf[B, N any](bases []B, name N, within func(B, N) bool) (some, ok bool) {
	for _, b := range bases {
		if within(b, name) {
			return true, true
		}
	}
	return len(bases) > 0, false
}

// withinDomain: the base itself and all below it; with a leading dot only what
// is below; an empty base is everything.
func withinDomain(base, name string) bool {
	name = lower(name)
	if base == "" || strings.HasPrefix(base, ".") {
		return strings.HasSuffix(name, base) && len(name) > len(base)
	}
	return name == base || strings.HasSuffix(name, "."+base)
}

func withinMail(base, name string) bool {
	at := strings.LastIndexByte(name, '@')
	host := lower(name[at+1:])
	switch {
	case base == "":
		return true
	case strings.Contains(base, "@"):
		b := strings.LastIndexByte(base, '@')
		return at >= 0 && strings.EqualFold(name[:at], base[:b]) && host == base[b+1:]
	case strings.HasPrefix(base, "."):
		return strings.HasSuffix(host, base) && len(host) > len(base)
	}
	return host == base
}

func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

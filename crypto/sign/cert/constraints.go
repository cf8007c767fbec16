package cert

import (
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"

	"greseal/crypto/sign"
	"greseal/crypto/sign/dn"
)

// context is the tag [n].
func context(n uint8) der.Tag { return der.Tag(n).ContextSpecific() }

// directoryName is the tag of that kind of GeneralName.
var directoryName = context(4).Constructed()

// directoryLimits are the directory names that an authority's name constraints
// permit and exclude (RFC 5280 section 4.2.1.10). crypto/x509 sees to all other
// kinds of names.
type directoryLimits struct{ permitted, excluded [][]byte }

// readLimits reads them. When nothing else kept crypto/x509 from handling a
// critical extension, it is handled now.
func (c *Certificate) readLimits() error {
	value, present := c.extension(extConstraints)
	if !present {
		return nil
	}
	rare := false
	in := cryptobyte.String(value)
	ok := in.ReadASN1(&in, der.SEQUENCE)
	for n, into := range [...]*[][]byte{&c.limits.permitted, &c.limits.excluded} {
		var list cryptobyte.String
		ok = ok && in.ReadOptionalASN1(&list, nil, context(uint8(n)).Constructed())
		for ok && !list.Empty() {
			var subtree, base cryptobyte.String
			var tag der.Tag
			ok = list.ReadASN1(&subtree, der.SEQUENCE) && subtree.ReadAnyASN1(&base, &tag)
			switch tag {
			case directoryName:
				ok = ok && subtree.Empty() && dn.Valid(base)
				*into = append(*into, base)
			case context(1), context(2), context(6), context(7):
			default:
				rare = true
			}
		}
	}
	if !ok {
		return malformed("its name constraints")
	}
	if !rare {
		c.std.UnhandledCriticalExtensions = slices.DeleteFunc(c.std.UnhandledCriticalExtensions,
			asn1.ObjectIdentifier{2, 5, 29, extConstraints}.Equal)
	}
	return nil
}

// checkLimits holds a certificate to what an authority above it may name where
// crypto/x509 does not look, or not closely enough: directory names; mail
// addresses in a subject without alternative names; and a mail host, which for
// crypto/x509 permits all hosts below it, too.
func (c *Certificate) checkLimits(authority *Certificate) error {
	names := c.directory
	if !dn.Empty(c.std.RawSubject) {
		names = append([][]byte{c.std.RawSubject}, names...)
	}
	for _, n := range names {
		if !allowed(n, authority.limits.permitted, authority.limits.excluded, dn.Within) {
			return mayNotName(c, dn.Format(n), authority.String())
		}
	}
	mail := c.std.EmailAddresses
	if _, alternative := c.extension(extSubjectAltName); !alternative {
		mail = dn.Mail(c.std.RawSubject)
	}
	for _, n := range mail {
		if !allowed(n, authority.std.PermittedEmailAddresses, authority.std.ExcludedEmailAddresses, withinMail) {
			return mayNotName(c, n, authority.String())
		}
	}
	return nil
}

func allowed[T any](name T, permitted, excluded []T, within func(base, name T) bool) bool {
	in := func(base T) bool { return within(base, name) }
	return !slices.ContainsFunc(excluded, in) && (len(permitted) == 0 || slices.ContainsFunc(permitted, in))
}

// withinMail: base is a mailbox, a host, or with a leading dot what is below it;
// an empty one is everything.
func withinMail(base, name string) bool {
	at := strings.LastIndexByte(name, '@')
	box, host := name[:max(at, 0)], name[at+1:]
	b := strings.LastIndexByte(base, '@')
	switch {
	case base == "":
		return true
	case b >= 0:
		return at >= 0 && strings.EqualFold(box, base[:b]) && strings.EqualFold(host, base[b+1:])
	case base[0] == '.':
		return len(host) > len(base) && strings.EqualFold(host[len(host)-len(base):], base)
	}
	return strings.EqualFold(host, base)
}

func mayNotName(c *Certificate, name, authority string) error {
	return &sign.Error{
		Reason: sign.NameConstraint,
		Detail: fmt.Sprintf("certificate %s names %s, which its authority %s may not certify (name constraints)", c, name, authority),
		Remedy: "let an authority issue it that may, or leave that name out",
	}
}

// limited names the authorities of a path that have name constraints.
func (path Chain) limited() (out string) {
	for _, c := range path[1:] {
		if _, present := c.extension(extConstraints); present {
			if out != "" {
				out += " or "
			}
			out += c.String()
		}
	}
	return out
}

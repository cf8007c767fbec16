package id

import (
	"fmt"
	"net/netip"
	"strings"

	"greseal/crypto/sign/dn"
)

// Pattern is what a responder expects of an identity. The zero value fits every
// one.
type Pattern struct {
	typ    uint8        // 0: any
	exact  ID           // without a wildcard
	suffix string       // FQDN: ".example.net"; RFC822: "@example.net"; in small letters
	prefix netip.Prefix // IPv4, IPv6
	name   string       // DN: DER in which a value may be "*"
}

// Any fits every identity.
var Any = Pattern{}

// Exact is the pattern of one identity; of an unset one, Any.
func Exact(i ID) Pattern { return Pattern{typ: i.Type, exact: i} }

// ParsePattern reads what Parse reads, and:
//
//   - any identity
//     *.example.net             any domain name that ends so, of one label more or of several
//     *@example.net             any mail address of that domain
//     192.0.2.0/24              any address in it
//     C=CH, O=example, CN=*     any value for that attribute
func ParsePattern(s string) (Pattern, error) {
	switch s {
	case "*", "%any", "any":
		return Any, nil
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		if p.Masked() != p {
			return Pattern{}, fmt.Errorf("identity %q has bits behind its prefix length; write %s", s, p.Masked())
		}
		typ := IPv6
		if p.Addr().Is4() {
			typ = IPv4
		}
		if p.IsSingleIP() {
			return Exact(Addr(p.Addr())), nil
		}
		return Pattern{typ: typ, prefix: p}, nil
	}
	i, err := Parse(s)
	if err != nil {
		return Pattern{}, err
	}
	switch i.Type {
	case DN:
		if wild, _ := dn.Count([]byte(i.Data)); wild > 0 {
			return Pattern{typ: DN, name: i.Data}, nil
		}
	case FQDN, RFC822:
		if !strings.Contains(i.Data, "*") {
			break
		}
		p := Pattern{typ: i.Type, suffix: lower(i.Data[1:])}
		mark := "."
		if i.Type == RFC822 {
			mark = "@"
		}
		if i.Data[0] != '*' || strings.Contains(p.suffix, "*") || !strings.HasPrefix(p.suffix, mark) || len(p.suffix) < 2 {
			return Pattern{}, fmt.Errorf("identity %q: the * must stand for all before the first dot, or before the @; write for example *.example.net or *@example.net", s)
		}
		return p, nil
	}
	return Exact(i), nil
}

// IsWild reports whether the pattern fits more than one identity.
func (p Pattern) IsWild() bool { return !p.exact.IsSet() }

// Exact is the identity of a pattern without wildcards, else unset.
func (p Pattern) Exact() ID { return p.exact }

// Matches reports whether the identity fits. An unset identity fits nothing.
func (p Pattern) Matches(i ID) bool {
	switch {
	case !i.IsSet():
		return false
	case p.typ == 0:
		return true
	case p.typ != i.Type:
		return false
	case p.exact.IsSet():
		return p.exact.Equal(i)
	}
	switch p.typ {
	case FQDN, RFC822:
		return len(i.Data) > len(p.suffix) && lower(i.Data[len(i.Data)-len(p.suffix):]) == p.suffix
	case IPv4, IPv6:
		a, ok := i.Addr()
		return ok && p.prefix.Contains(a)
	case DN:
		return dn.Match([]byte(p.name), []byte(i.Data))
	}
	return false
}

// exactly is the specificity of a pattern without wildcards, above all others.
const exactly = 1 << 16

// Specificity orders the patterns that fit one identity, the most specific one
// highest: no wildcard; then the longer suffix or
// prefix, or the greater number of attributes written out; then Any, with 0.
func (p Pattern) Specificity() int {
	switch {
	case p.typ == 0:
		return 0
	case p.exact.IsSet():
		return exactly
	case p.typ == DN:
		_, literal := dn.Count([]byte(p.name))
		return 1 + literal
	case p.typ == IPv4 || p.typ == IPv6:
		return 1 + p.prefix.Bits()
	}
	return 1 + len(p.suffix)
}

// Tie reports whether some identity fits both patterns and neither is more
// specific, so that it could not be told which one is meant.
func Tie(p, q Pattern) bool {
	if p.Specificity() != q.Specificity() || p.typ != q.typ {
		return false
	}
	switch {
	case p.typ == 0:
		return true
	case p.exact.IsSet():
		return p.exact.Equal(q.exact)
	case p.typ == DN:
		return dn.Overlap([]byte(p.name), []byte(q.name))
	case p.typ == IPv4 || p.typ == IPv6:
		return p.prefix == q.prefix
	}
	return p.suffix == q.suffix
}

// Class is the same for patterns that tie: among many, only those of one class
// need to be compared.
func (p Pattern) Class() string {
	typ := string(rune(p.typ))
	switch {
	case p.exact.IsSet() && p.typ == DN:
		return typ + dn.Key([]byte(p.exact.Data))
	case p.exact.IsSet():
		return typ + lower(p.exact.Data)
	case p.prefix.IsValid():
		return typ + p.prefix.String()
	}
	return typ + "*" + p.suffix // of DNs with a wildcard all
}

// String writes the pattern so that ParsePattern reads it back.
func (p Pattern) String() string {
	switch {
	case p.typ == 0:
		return "any"
	case p.exact.IsSet():
		return p.exact.String()
	case p.typ == DN:
		return dn.Format([]byte(p.name))
	case p.typ == IPv4 || p.typ == IPv6:
		return p.prefix.String()
	}
	s := "*" + p.suffix
	if q, err := ParsePattern(s); err != nil || q != p {
		return "fqdn:" + s // like *.@, which would be a mail address; those need no prefix
	}
	return s
}

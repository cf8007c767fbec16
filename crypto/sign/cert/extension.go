package cert

import (
	"net/netip"
	"slices"

	"greseal/crypto/sign"
	"greseal/crypto/sign/dn"
	"greseal/crypto/sign/internal/der"
)

// extensions are those we act on (RFC 5280 section 4.2).
type extensions struct {
	hasBasic bool
	ca       bool
	maxPath  int // -1: no limit

	hasUsage bool
	usage    uint16

	purposes []string // contents of the OIDs of extended key usage; nil: absent

	names       names
	constraints *constraints

	subjectKeyID, authorityKeyID []byte

	critical string // the first critical extension that is not known here
}

// Bits of keyUsage (RFC 5280 section 4.2.1.3).
const (
	digitalSignature uint16 = 1 << 0
	nonRepudiation   uint16 = 1 << 1
	keyCertSign      uint16 = 1 << 5
	cRLSign          uint16 = 1 << 6
)

// Last octets of the extensions' OIDs, 2.5.29.n.
const (
	extSubjectKeyID   = 14
	extKeyUsage       = 15
	extSubjectAltName = 17
	extBasic          = 19
	extConstraints    = 30
	extPolicies       = 32
	extAuthorityKeyID = 35
	extExtendedUsage  = 37
)

const oidPolicyConstraints = "\x55\x1d\x24"

// maxExtensions and maxNames bound what a certificate can make us keep.
const (
	maxExtensions = 64
	maxNames      = 256
)

func (x *extensions) parse(list der.Input) error {
	var seen []string
	for len(list) > 0 {
		ext, ok := list.Read(der.Sequence)
		oid, ok2 := ext.Read(der.OID)
		critical := false
		if ext.Is(der.Boolean) {
			// FALSE is the default and left out in DER; some issuers write it.
			if critical, ok = ext.Bool(); !ok {
				return malformed("an extension")
			}
		}
		value, ok3 := ext.Read(der.OctetString)
		if !ok || !ok2 || !ok3 || len(ext) != 0 || len(seen) == maxExtensions {
			return malformed("an extension")
		}
		if slices.Contains(seen, string(oid)) {
			return malformed("it has extension " + der.Dotted(oid) + " twice")
		}
		seen = append(seen, string(oid))
		known := false
		if len(oid) == 3 && oid[0] == 0x55 && oid[1] == 0x1d {
			if known, ok = x.one(oid[2], value); !ok {
				return malformed("its extension " + der.Dotted(oid))
			}
		}
		// Policies are not followed here, so an authority that insists on them is
		// not one to trust blindly, even if it did not mark that critical.
		if critical && !known && x.critical == "" || string(oid) == oidPolicyConstraints {
			x.critical = der.Dotted(oid)
		}
	}
	return nil
}

func (x *extensions) one(n byte, value []byte) (known, ok bool) {
	switch n {
	case extSubjectKeyID:
		x.subjectKeyID, ok = der.Only(value, der.OctetString)
		return true, ok
	case extKeyUsage:
		in := der.Input(value)
		x.usage, ok = in.NamedBits()
		x.hasUsage = true
		return true, ok && len(in) == 0
	case extSubjectAltName:
		x.names.present = true
		in, ok := der.Only(value, der.Sequence)
		return true, ok && len(in) > 0 && x.names.parse(in)
	case extBasic:
		return true, x.parseBasic(value)
	case extConstraints:
		x.constraints, ok = parseConstraints(value)
		return true, ok
	case extPolicies:
		// Any policy will do for us, so there is nothing to check.
		_, ok := der.Only(value, der.Sequence)
		return true, ok
	case extAuthorityKeyID:
		in, ok := der.Only(value, der.Sequence)
		if in.Is(der.Context(0)) {
			x.authorityKeyID, ok = in.Read(der.Context(0))
		}
		return true, ok
	case extExtendedUsage:
		in, ok := der.Only(value, der.Sequence)
		for ok && len(in) > 0 {
			var oid der.Input
			oid, ok = in.Read(der.OID)
			x.purposes = append(x.purposes, string(oid))
		}
		return true, ok && len(x.purposes) > 0
	}
	return false, true
}

func (x *extensions) parseBasic(value []byte) (ok bool) {
	in, ok := der.Only(value, der.Sequence)
	x.hasBasic = true
	if ok && in.Is(der.Boolean) {
		x.ca, ok = in.Bool()
	}
	if ok && in.Is(der.Integer) {
		x.maxPath, ok = in.Small()
		ok = ok && x.ca
	}
	return ok && len(in) == 0
}

// parse reads GeneralNames.
func (n *names) parse(in der.Input) (ok bool) {
	for count := 0; len(in) > 0; count++ {
		tag, body, _, ok := in.Next()
		if !ok || count == maxNames || !n.add(tag, body) {
			return false
		}
	}
	return true
}

func (n *names) add(tag byte, body der.Input) bool {
	switch tag {
	case der.Context(1):
		n.mail = append(n.mail, string(body))
		return isASCII(body)
	case der.Context(2):
		n.dns = append(n.dns, string(body))
		return isASCII(body)
	case der.Explicit(4):
		n.directory = append(n.directory, body)
		return dn.Valid(body)
	case der.Context(6):
		n.uri = true
	case der.Context(7):
		a, ok := netip.AddrFromSlice(body)
		n.addresses = append(n.addresses, a)
		return ok && !a.Is4In6()
	default: // otherName, x400Address, ediPartyName, registeredID
		n.other = true
	}
	return true
}

func isASCII(b []byte) bool {
	return len(b) > 0 && !slices.ContainsFunc(b, func(c byte) bool { return c <= ' ' || c >= 0x7f })
}

// Extended key usages that an IKE peer's certificate may have, one of them at
// least when there are any: anyExtendedKeyUsage, serverAuth, clientAuth,
// ipsecEndSystem, ipsecTunnel, ipsecUser, ipsecIKE (RFC 4945 section 5.1.3.12)
// and iKEIntermediate, which older software asks for.
var ikePurposes = [...]string{
	"\x55\x1d\x25\x00",
	"\x2b\x06\x01\x05\x05\x07\x03\x01", "\x2b\x06\x01\x05\x05\x07\x03\x02",
	"\x2b\x06\x01\x05\x05\x07\x03\x05", "\x2b\x06\x01\x05\x05\x07\x03\x06", "\x2b\x06\x01\x05\x05\x07\x03\x07",
	"\x2b\x06\x01\x05\x05\x07\x03\x11",
	"\x2b\x06\x01\x05\x05\x08\x02\x02",
}

// forIKE reports whether the extended key usages allow IKE.
func (x *extensions) forIKE() bool {
	return x.purposes == nil || slices.ContainsFunc(ikePurposes[:], func(p string) bool { return slices.Contains(x.purposes, p) })
}

// checkUse is what a peer's own certificate must be for.
func (c *Certificate) checkUse() error {
	switch {
	case c.hasUsage && c.usage&(digitalSignature|nonRepudiation) == 0:
		return &sign.Error{Reason: sign.Usage, Detail: "certificate " + c.String() + " is not for signing (key usage)", Remedy: "issue it with key usage digitalSignature"}
	case !c.forIKE():
		return &sign.Error{Reason: sign.Usage, Detail: "certificate " + c.String() + " is not for IKE (extended key usage)", Remedy: "issue it without extended key usage, or with serverAuth, clientAuth or ipsecIKE"}
	}
	return nil
}

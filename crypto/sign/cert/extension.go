package cert

import (
	"crypto/x509"
	"encoding/asn1"
	"slices"

	"greseal/crypto/sign"
)

// The last arcs of extensions' OIDs, 2.5.29.n (RFC 5280 section 4.2).
const (
	extKeyUsage       = 15
	extSubjectAltName = 17
	extConstraints    = 30
	extExtendedUsage  = 37
)

// extension is the value of an extension of 2.5.29.
func (c *Certificate) extension(n int) (value []byte, present bool) {
	for _, e := range c.std.Extensions {
		if e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, n}) {
			return e.Value, true
		}
	}
	return nil, false
}

// mayBeUsed reports whether a key usage allows one of these. Without the
// extension everything is; with an empty one, which crypto/x509 takes for none,
// nothing.
func (c *Certificate) mayBeUsed(usage x509.KeyUsage) bool {
	_, limited := c.extension(extKeyUsage)
	return !limited || c.std.KeyUsage&usage != 0
}

// Extended key usages that an IKE peer's certificate may have, one of them at
// least when there are any (RFC 4945 section 5.1.3.12).
var (
	ikeUsages = [...]x509.ExtKeyUsage{
		x509.ExtKeyUsageAny, x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth,
		x509.ExtKeyUsageIPSECEndSystem, x509.ExtKeyUsageIPSECTunnel, x509.ExtKeyUsageIPSECUser,
	}
	ikeUsageOIDs = [...]asn1.ObjectIdentifier{
		{1, 3, 6, 1, 5, 5, 7, 3, 17}, // ipsecIKE
		{1, 3, 6, 1, 5, 5, 8, 2, 2},  // iKEIntermediate, which older software asks for
	}
)

// forIKE reports whether the extended key usages allow IKE. It is ours, because
// crypto/x509 does not know the two OIDs.
func (c *Certificate) forIKE() bool {
	known, other := c.std.ExtKeyUsage, c.std.UnknownExtKeyUsage
	return len(known)+len(other) == 0 ||
		slices.ContainsFunc(ikeUsages[:], func(u x509.ExtKeyUsage) bool { return slices.Contains(known, u) }) ||
		slices.ContainsFunc(ikeUsageOIDs[:], func(u asn1.ObjectIdentifier) bool { return slices.ContainsFunc(other, u.Equal) })
}

// checkUse is what a peer's own certificate must be for.
func (c *Certificate) checkUse() error {
	switch {
	case !c.mayBeUsed(x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment):
		return &sign.Error{Reason: sign.Usage, Detail: "certificate " + c.String() + " is not for signing (key usage)", Remedy: "issue it with key usage digitalSignature"}
	case !c.forIKE():
		return &sign.Error{Reason: sign.Usage, Detail: "certificate " + c.String() + " is not for IKE (extended key usage)", Remedy: "issue it without extended key usage, or with serverAuth, clientAuth or ipsecIKE"}
	}
	return nil
}

// Package cert is X.509 (RFC 5280) as IKEv2 needs it (RFC 4945): certificates
// and their files, the path from a peer's certificate to a trust anchor, the
// identities a certificate stands for, revocation lists from files, and which
// certificate answers a CERTREQ.
//
// crypto/x509 reads certificates and judges paths. This package finds the paths,
// explains what is wrong with one, and refuses what crypto/x509 passes: RSA below
// 2048 bits, key usage without digitalSignature, directory names and mail hosts
// outside an authority's name constraints, more than 12 certificates of a peer,
// and anything but complete revocation lists. Revocation lists are read here. It
// takes, as RFC 5280 wants, what crypto/x509 alone would not: names that differ in
// case, spaces or string type only, critical directoryName constraints, and keys
// for RSASSA-PSS alone (with a salt as long as the hash). NIST's suite is the
// judge, and pkits_test.go lists where the verdict is another one, and why.
//
// It is pure: the time is an argument, files are read by the caller, no system
// store of authorities is looked at, nothing is fetched. To authenticate with
// one's own certificate: NewCredential. To judge a peer: Parse each CERT payload,
// Anchors.Verify the first of them with the others, CheckIdentity, then
// sign.Verify with its PublicKey.
//
// Errors are *sign.Error: a reason, what is wrong, and what to change where.
package cert

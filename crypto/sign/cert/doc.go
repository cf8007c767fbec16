// Package cert is X.509 (RFC 5280) as IKEv2 needs it (RFC 4945): certificates
// and their files, the path from a peer's certificate to a trust anchor, the
// identities a certificate stands for, revocation lists from files, and which
// certificate answers a CERTREQ.
//
// It is a reader of its own and not crypto/x509, which would cost a router's
// flash 590 kB for the same. It takes less than that package does: version 3
// certificates with RSA (2048 bits or more), ECDSA and Ed25519 keys and SHA-2,
// DER without exceptions. Whatever it accepts that package accepts too; the
// tests hold it to that.
//
// It is pure: the time is an argument, files are read by the caller, no system
// store of authorities is looked at, nothing is fetched. To authenticate with
// one's own certificate: NewCredential. To judge a peer: Parse each CERT payload,
// Anchors.Verify the first of them with the others, CheckIdentity, then
// sign.Verify with its PublicKey.
//
// Errors are *sign.Error: a reason, what is wrong, and what to change where.
package cert

// Package cert is X.509 (RFC 5280) as IKEv2 needs it (RFC 4945): certificates
// and their files, the path from a peer's certificate to a trust anchor, the
// identities a certificate stands for, revocation lists from files, and which
// certificate answers a CERTREQ.
//
// It is a reader of its own and not crypto/x509, which would make the mipsle
// binary half a megabyte larger where this makes it a fifth of one. It takes
// less than that package does: RSA from 2048 bits on, ECDSA and Ed25519 keys,
// SHA-2, DER without exceptions, and no authority that insists on certificate
// policies. It takes more where RFC 5280 does: names that differ in case, spaces
// or string type only, directoryName constraints, self-issued authorities that
// don't count for path lengths, and keys for RSASSA-PSS alone. In all else the
// tests hold it to the same verdicts, and to NIST's suite.
//
// It is pure: the time is an argument, files are read by the caller, no system
// store of authorities is looked at, nothing is fetched. To authenticate with
// one's own certificate: NewCredential. To judge a peer: Parse each CERT payload,
// Anchors.Verify the first of them with the others, CheckIdentity, then
// sign.Verify with its PublicKey.
//
// Errors are *sign.Error: a reason, what is wrong, and what to change where.
package cert

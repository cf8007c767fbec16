// Package sign is how one side of an IKE SA proves with a private key who it is:
// keys and their files, the AUTH data of RFC 7427 (method 14), of RFC 7296
// (method 1) and of RFC 4754 (methods 9 to 11), Ed25519 by RFC 8420, and raw
// public keys by RFC 7670. Certificates stand in the package cert beside it,
// identities in id, distinguished names in dn.
//
// It is pure: octets in, octets or an error out, with no sockets, no files, no
// clock and no state. The algorithms are the standard library's. Nothing below
// RSA 2048 is taken, and SHA-1 only in method 1 with a peer that knows nothing
// better, because the RFC gives that peer no other hash.
//
// To authenticate: ParsePrivateKey, PrivateKey.Choose with what the peer's
// SIGNATURE_HASH_ALGORITHMS said, PrivateKey.Sign over the octets of RFC 7296
// section 2.15. To be convinced: get the peer's PublicKey from a verified
// certificate or from the configuration, then Verify.
package sign

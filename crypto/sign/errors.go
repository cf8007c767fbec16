package sign

// Reason is what is wrong, for those who act on it.
type Reason uint8

// Reasons.
const (
	Malformed       Reason = iota + 1 // it can't be read
	Encrypted                         // a private key behind a passphrase
	Unsupported                       // a kind of key or algorithm we don't have
	WeakKey                           // RSA below 2048 bits
	WeakHash                          // SHA-1 or MD5
	KeyMismatch                       // private key and certificate, or key and algorithm, don't belong together
	NoCommonHash                      // the peer takes no hash that our key can sign with
	BadSignature                      // the signature is wrong
	NoClock                           // the time to judge by was not given
	NotYetValid                       // a certificate's time has not come
	Expired                           // a certificate's time is over
	UnknownIssuer                     // no path to a trust anchor
	NotAuthority                      // an issuer that may not issue: CA flag, key usage, path length
	Usage                             // a certificate for other purposes: key usage, extended key usage
	NameConstraint                    // an authority may not name this
	CriticalUnknown                   // a critical extension we don't know
	NameMismatch                      // the certificate doesn't have the identity
	Revoked                           // on a revocation list
	NoRevocation                      // revocation lists are in use, and none says anything on this certificate now
	TooLarge                          // more or larger than is taken
)

// Error is a refusal: what is wrong, and what a person changes where.
type Error struct {
	Reason Reason
	Detail string // one clause, lower-case
	Remedy string // one clause, may be empty
}

func (e *Error) Error() string {
	if e.Remedy == "" {
		return e.Detail
	}
	return e.Detail + "; " + e.Remedy
}

func refuse(reason Reason, detail, remedy string) error {
	return &Error{Reason: reason, Detail: detail, Remedy: remedy}
}

package kex

import (
	stdecdh "crypto/ecdh"
	"fmt"
	"io"

	"greseal/crypto/suite"
)

type ecdhExchange struct {
	group  uint16
	secret *stdecdh.PrivateKey
	public []byte
}

func curve(group uint16) stdecdh.Curve {
	switch group {
	case suite.KE_ECP_256:
		return stdecdh.P256()
	case suite.KE_ECP_384:
		return stdecdh.P384()
	case suite.KE_ECP_521:
		return stdecdh.P521()
	}
	return stdecdh.X25519()
}

// newECDH draws scalars itself: since Go 1.26 GenerateKey takes no notice of
// its reader, and the machine must be deterministic for its tests.
func newECDH(group uint16, rand io.Reader) (Exchange, error) {
	c := curve(group)
	scalar := make([]byte, map[uint16]int{
		suite.KE_CURVE25519: 32, suite.KE_ECP_256: 32, suite.KE_ECP_384: 48, suite.KE_ECP_521: 66,
	}[group])
	defer clear(scalar)
	// A scalar of the NIST curves is refused when it is 0 or not below the
	// order, with a probability of at most 2^-32 (P-521: one half without its
	// seven surplus bits); a reader that always does so is broken.
	for range 64 {
		if _, err := io.ReadFull(rand, scalar); err != nil {
			return nil, fmt.Errorf("randomness for %s: %w", name(group), err)
		}
		if group == suite.KE_ECP_521 {
			scalar[0] &= 1
		}
		secret, err := c.NewPrivateKey(scalar)
		if err != nil {
			continue
		}
		public := secret.PublicKey().Bytes()
		if group != suite.KE_CURVE25519 {
			public = public[1:] // RFC 5903 section 7: x | y, no point format octet
		}
		return &ecdhExchange{group, secret, public}, nil
	}
	return nil, fmt.Errorf("randomness for %s: no usable scalar in 64 tries", name(group))
}

func (x *ecdhExchange) Group() uint16  { return x.group }
func (x *ecdhExchange) Public() []byte { return x.public }

// Shared returns the x coordinate (RFC 5903 section 7), or Curve25519's output.
// The library checks that a point is on its curve (RFC 6989 section 2.3), and
// that Curve25519's result is not all zero (RFC 8031 section 3.1).
func (x *ecdhExchange) Shared(peer []byte) ([]byte, error) {
	if len(peer) != PublicLen(x.group) {
		return nil, lengthError(x.group, len(peer), PublicLen(x.group))
	}
	point := peer
	if x.group != suite.KE_CURVE25519 {
		point = append([]byte{4}, peer...) // uncompressed
	}
	public, err := curve(x.group).NewPublicKey(point)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: not a point of the curve", name(x.group), ErrPublic)
	}
	shared, err := x.secret.ECDH(public)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: a point of low order", name(x.group), ErrPublic)
	}
	return shared, nil
}

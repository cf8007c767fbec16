// Package kex holds the key exchange methods of IKEv2 (transform type 4): the
// MODP groups of RFC 7296 appendix B and RFC 3526, the ECP groups of RFC 5903,
// Curve25519 of RFC 8031 and ML-KEM of draft-ietf-ipsecme-ikev2-mlkem, in the
// form their values have in a KE payload.
//
// Every exchange makes a secret of its own and no secret is used for a second
// one; public values are checked as RFC 6989 asks before they meet a secret.
// The elliptic curves are those of the standard library, in constant time. MODP
// is math/big, which is not, and therefore last in every default list.
package kex

import (
	"crypto/mlkem"
	"errors"
	"fmt"
	"io"

	"greseal/crypto/suite"
)

// ErrPublic is wrapped by every error about a peer's public value: RFC 6989
// section 2.5 says what an exchange does then.
var ErrPublic = errors.New("invalid public value")

// Exchange is one side of one key exchange. It holds its secret until it is
// dropped.
type Exchange interface {
	// Group is the transform ID.
	Group() uint16
	// Public is the value to send in the KE payload. The caller may keep it
	// but not change it.
	Public() []byte
	// Shared checks the peer's KE data and returns the shared secret, with
	// its leading zeros. It may be called again when the first peer value
	// turns out to have come from somebody else.
	Shared(peer []byte) ([]byte, error)
}

// New starts an exchange with a fresh secret from rand. ML-KEM has two unlike
// sides: New is its initiator, and its responder is Respond.
func New(group uint16, rand io.Reader) (Exchange, error) {
	switch group {
	case suite.KE_CURVE25519, suite.KE_ECP_256, suite.KE_ECP_384, suite.KE_ECP_521:
		return newECDH(group, rand)
	case suite.KE_MODP_1024, suite.KE_MODP_1536, suite.KE_MODP_2048, suite.KE_MODP_3072, suite.KE_MODP_4096:
		return newMODP(group, rand)
	case suite.KE_MLKEM_768, suite.KE_MLKEM_1024:
		return newMLKEM(group, rand)
	}
	return nil, fmt.Errorf("key exchange %s is not implemented", name(group))
}

// Respond is the responder's whole part: it answers the initiator's public
// value with one of its own and returns it with the shared secret. Methods in
// which the responder's value depends on the initiator's (encapsulation) exist
// in this form only.
func Respond(group uint16, rand io.Reader, peer []byte) (public, shared []byte, err error) {
	if want := PublicLen(group); want != 0 && len(peer) != want {
		return nil, nil, lengthError(group, len(peer), want)
	}
	if isKEM(group) {
		return respondMLKEM(group, peer)
	}
	x, err := New(group, rand)
	if err != nil {
		return nil, nil, err
	}
	if shared, err = x.Shared(peer); err != nil {
		return nil, nil, err
	}
	return x.Public(), shared, nil
}

// PublicLen is the exact length in octets of the KE data that an initiator sends
// for the group, 0 for an unknown group.
func PublicLen(group uint16) int {
	switch group {
	case suite.KE_CURVE25519:
		return 32
	case suite.KE_ECP_256:
		return 64
	case suite.KE_ECP_384:
		return 96
	case suite.KE_ECP_521:
		return 132
	case suite.KE_MLKEM_768:
		return mlkem.EncapsulationKeySize768
	case suite.KE_MLKEM_1024:
		return mlkem.EncapsulationKeySize1024
	}
	return modpBits(group) / 8
}

// ResponseLen is the exact length in octets of the KE data that a responder
// sends: as PublicLen, but for ML-KEM a ciphertext.
func ResponseLen(group uint16) int {
	switch group {
	case suite.KE_MLKEM_768:
		return mlkem.CiphertextSize768
	case suite.KE_MLKEM_1024:
		return mlkem.CiphertextSize1024
	}
	return PublicLen(group)
}

func name(group uint16) string {
	return suite.Transform{Type: suite.TypeKE, ID: group}.String()
}

func lengthError(group uint16, got, want int) error {
	return fmt.Errorf("%s: %w: %d octets instead of %d", name(group), ErrPublic, got, want)
}

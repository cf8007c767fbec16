package kex

import (
	"crypto/mlkem"
	"fmt"
	"io"

	"greseal/crypto/suite"
)

// ML-KEM (FIPS 203) as draft-ietf-ipsecme-ikev2-mlkem uses it: the initiator's
// KE data is an encapsulation key, the responder's a ciphertext, and the 32
// octets of shared secret take the place of g^ir. It is an additional key
// exchange (RFC 9370): in IKE_SA_INIT its values would not fit a datagram.
//
// A ciphertext that was changed on its way is no error: decapsulation then
// yields an unrelated secret (implicit rejection), and the exchange fails when
// keys are first used.

// decapsulator is one of the library's two private key types.
type decapsulator interface {
	Decapsulate(ciphertext []byte) (shared []byte, err error)
}

type mlkemExchange struct {
	group  uint16
	secret decapsulator
	public []byte
}

func isKEM(group uint16) bool {
	return group == suite.KE_MLKEM_768 || group == suite.KE_MLKEM_1024
}

// newMLKEM is the initiator: a fresh key pair from a seed of 64 octets.
func newMLKEM(group uint16, rand io.Reader) (Exchange, error) {
	var seed [mlkem.SeedSize]byte
	defer clear(seed[:])
	if _, err := io.ReadFull(rand, seed[:]); err != nil {
		return nil, fmt.Errorf("randomness for %s: %w", name(group), err)
	}
	if group == suite.KE_MLKEM_768 {
		k, err := mlkem.NewDecapsulationKey768(seed[:])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name(group), err)
		}
		return &mlkemExchange{group, k, k.EncapsulationKey().Bytes()}, nil
	}
	k, err := mlkem.NewDecapsulationKey1024(seed[:])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name(group), err)
	}
	return &mlkemExchange{group, k, k.EncapsulationKey().Bytes()}, nil
}

func (x *mlkemExchange) Group() uint16  { return x.group }
func (x *mlkemExchange) Public() []byte { return x.public }

// Shared takes the responder's ciphertext. Its length is all that can be
// checked (FIPS 203 section 7.3).
func (x *mlkemExchange) Shared(ciphertext []byte) ([]byte, error) {
	if want := ResponseLen(x.group); len(ciphertext) != want {
		return nil, lengthError(x.group, len(ciphertext), want)
	}
	shared, err := x.secret.Decapsulate(ciphertext)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %v", name(x.group), ErrPublic, err)
	}
	return shared, nil
}

// respondMLKEM is the responder: it encapsulates to the initiator's key after
// the checks of FIPS 203 section 7.2. The library draws the randomness itself,
// from the same source as crypto/rand; it takes no reader.
func respondMLKEM(group uint16, peer []byte) (ciphertext, shared []byte, err error) {
	if group == suite.KE_MLKEM_768 {
		k, err := mlkem.NewEncapsulationKey768(peer)
		if err != nil {
			return nil, nil, modulusError(group)
		}
		shared, ciphertext = k.Encapsulate()
		return ciphertext, shared, nil
	}
	k, err := mlkem.NewEncapsulationKey1024(peer)
	if err != nil {
		return nil, nil, modulusError(group)
	}
	shared, ciphertext = k.Encapsulate()
	return ciphertext, shared, nil
}

func modulusError(group uint16) error {
	return fmt.Errorf("%s: %w: a coefficient of the encapsulation key is not below 3329", name(group), ErrPublic)
}

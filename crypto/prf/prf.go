// Package prf is the key derivation of IKEv2: prf and prf+ (RFC 7296 section
// 2.13), SKEYSEED and the keys of an IKE SA (section 2.14), of a rekeyed one
// (section 2.18) and of a Child SA (section 2.17), and their forms with several
// key exchanges (RFC 9370 section 2.2). It keeps no state and knows no messages.
package prf

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"

	"greseal/crypto/suite"
)

// PRF is a pseudorandom function. The zero value is not usable.
type PRF struct {
	id      uint16
	newHash func() hash.Hash
}

// New returns the PRF with this transform ID.
func New(id uint16) (PRF, error) {
	switch id {
	case suite.PRF_HMAC_SHA2_256:
		return PRF{id, sha256.New}, nil
	case suite.PRF_HMAC_SHA2_384:
		return PRF{id, sha512.New384}, nil
	case suite.PRF_HMAC_SHA2_512:
		return PRF{id, sha512.New}, nil
	case suite.PRF_HMAC_SHA1:
		return PRF{id, sha1.New}, nil
	}
	return PRF{}, fmt.Errorf("%s is not implemented", suite.Transform{Type: suite.TypePRF, ID: id})
}

// ID is the transform ID.
func (p PRF) ID() uint16 { return p.id }

// Size is the length of the output in octets, and with HMAC also the preferred
// key length (RFC 7296 section 2.13).
func (p PRF) Size() int { return p.newHash().Size() }

// Sum is prf(key, data), the data being the parts one after the other.
func (p PRF) Sum(key []byte, data ...[]byte) []byte {
	mac := hmac.New(p.newHash, key)
	for _, d := range data {
		mac.Write(d)
	}
	return mac.Sum(nil)
}

// Plus is the first n octets of prf+ (RFC 7296 section 2.13):
//
//	prf+ (K,S) = T1 | T2 | T3 | ...    T1 = prf (K, S | 0x01)
//	                                   Ti = prf (K, Ti-1 | S | i)
//
// It ends after 255 blocks, which is its error.
func (p PRF) Plus(key []byte, n int, seed ...[]byte) ([]byte, error) {
	size := p.Size()
	if n < 0 || n > 255*size {
		return nil, fmt.Errorf("prf+ of %d octets, but it gives no more than %d", n, 255*size)
	}
	mac := hmac.New(p.newHash, key)
	out := make([]byte, 0, n+size)
	for i := byte(1); len(out) < n; i++ {
		mac.Reset()
		if i > 1 {
			mac.Write(out[len(out)-size:])
		}
		for _, s := range seed {
			mac.Write(s)
		}
		mac.Write([]byte{i})
		out = mac.Sum(out)
	}
	clear(out[n:]) // keys that were not asked for
	return out[:n:n], nil
}

// SKEYSEED is that of a first IKE SA (RFC 7296 section 2.14):
//
//	SKEYSEED = prf(Ni | Nr, g^ir)
//
// An HMAC takes nonces of any length; the PRFs with a key of fixed length would
// truncate them here.
func (p PRF) SKEYSEED(ni, nr, shared []byte) []byte {
	key := make([]byte, 0, len(ni)+len(nr))
	key = append(append(key, ni...), nr...)
	return p.Sum(key, shared)
}

// NextSKEYSEED is that of a rekeyed IKE SA, by the PRF and SK_d of the old one
// (RFC 7296 section 2.18):
//
//	SKEYSEED = prf(SK_d (old), g^ir (new) | Ni | Nr)
//
// The same form chains the additional key exchanges of RFC 9370, which p must
// then be the SA's own PRF for: after each IKE_INTERMEDIATE exchange with the
// secret SK(n) it is SKEYSEED(n) = prf(SK_d(n-1), SK(n) | Ni | Nr) (section
// 2.2.2), and in a rekey with more than one the further ones are added:
// prf(SK_d, SK(0) | Ni | Nr | SK(1) | ... SK(n)) (section 2.2.4).
func (p PRF) NextSKEYSEED(skd, shared, ni, nr []byte, additional ...[]byte) []byte {
	return p.Sum(skd, append([][]byte{shared, ni, nr}, additional...)...)
}

// KEYMAT is the keying material of a Child SA (RFC 7296 section 2.17):
//
//	KEYMAT = prf+(SK_d, Ni | Nr)              without a key exchange
//	KEYMAT = prf+(SK_d, g^ir (new) | Ni | Nr) with one
//
// shared is empty for the first form. With additional key exchanges it is
// prf+(SK_d, SK(0) | Ni | Nr | SK(1) | ... SK(n)) (RFC 9370 section 2.2.4).
func (p PRF) KEYMAT(skd []byte, n int, shared, ni, nr []byte, additional ...[]byte) ([]byte, error) {
	return p.Plus(skd, n, append([][]byte{shared, ni, nr}, additional...)...)
}

var errShort = errors.New("an empty SKEYSEED or SK_d")

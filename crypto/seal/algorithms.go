package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"

	"golang.org/x/crypto/chacha20poly1305"

	"greseal/crypto/suite"
)

// NonceBytes is the length of the nonce of every AEAD here: salt and then IV.
const NonceBytes = 12

// AEAD returns the combined-mode cipher of t. key is as taken from the keying
// material: the cipher's key and then the 4 octet salt, which is returned.
func AEAD(t suite.Transform, key []byte) (cipher.AEAD, [4]byte, error) {
	var salt [4]byte
	if !t.IsAEAD() {
		return nil, salt, fmt.Errorf("%s is no AEAD that is implemented", t)
	}
	if err := checkKey(t, key); err != nil {
		return nil, salt, err
	}
	n := len(key) - len(salt)
	copy(salt[:], key[n:])
	if t.ID == suite.ENCR_CHACHA20_POLY1305 {
		a, err := chacha20poly1305.New(key[:n])
		return a, salt, err
	}
	block, err := aes.NewCipher(key[:n])
	if err != nil {
		return nil, salt, err
	}
	a, err := cipher.NewGCM(block)
	return a, salt, err
}

// Block returns the block cipher of t, which is used in CBC mode.
func Block(t suite.Transform, key []byte) (cipher.Block, error) {
	if t.Type != suite.TypeEncr || t.ID != suite.ENCR_AES_CBC {
		return nil, fmt.Errorf("%s is no block cipher that is implemented", t)
	}
	if err := checkKey(t, key); err != nil {
		return nil, err
	}
	return aes.NewCipher(key)
}

// MAC returns the keyed hash of integrity algorithm t, whose output is to be
// cut to t.ICVBytes octets (RFC 4868 section 2.3).
func MAC(t suite.Transform, key []byte) (hash.Hash, error) {
	if t.Type != suite.TypeInteg || t.ICVBytes() == 0 {
		return nil, fmt.Errorf("%s is not implemented", t)
	}
	if err := checkKey(t, key); err != nil {
		return nil, err
	}
	switch t.ID {
	case suite.AUTH_HMAC_SHA2_256_128:
		return hmac.New(sha256.New, key), nil
	case suite.AUTH_HMAC_SHA2_384_192:
		return hmac.New(sha512.New384, key), nil
	case suite.AUTH_HMAC_SHA2_512_256:
		return hmac.New(sha512.New, key), nil
	case suite.AUTH_HMAC_SHA1_96:
		return hmac.New(sha1.New, key), nil
	}
	return nil, fmt.Errorf("%s is not implemented", t)
}

func checkKey(t suite.Transform, key []byte) error {
	if want := t.KeyBytes(); len(key) != want {
		return fmt.Errorf("%s takes a key of %d octets, not of %d", t, want, len(key))
	}
	return nil
}

// Supported returns nil when SK payloads can be protected with this pair: an
// AEAD without an integrity algorithm, or AES-CBC with one.
func Supported(encr, integ suite.Transform) error {
	switch {
	case encr.Type != suite.TypeEncr || encr.BlockBytes() == 0:
		return fmt.Errorf("%s is not implemented", encr)
	case encr.ID != suite.ENCR_CHACHA20_POLY1305 && encr.KeyLen != 128 && encr.KeyLen != 192 && encr.KeyLen != 256,
		encr.ID == suite.ENCR_CHACHA20_POLY1305 && encr.KeyLen != 0:
		return fmt.Errorf("%s has no such key length", encr)
	case encr.IsAEAD() && integ.ID != suite.AUTH_NONE:
		return fmt.Errorf("%s carries its own integrity check and takes no %s", encr, integ)
	case !encr.IsAEAD() && (integ.Type != suite.TypeInteg || integ.ICVBytes() == 0):
		return fmt.Errorf("%s needs an integrity algorithm that is implemented, not %s", encr, integ)
	}
	return nil
}

package xfrm

import (
	"fmt"

	"greseal/crypto/suite"
)

// algorithm is what the kernel calls an ESP algorithm.
type algorithm struct {
	aead, crypt, auth string
	icvBits           uint32
}

// algorithmFor translates the transforms of a Child SA.
func algorithmFor(encr, integ suite.Transform) (algorithm, error) {
	a := algorithm{}
	switch encr.ID {
	case suite.ENCR_AES_GCM_16:
		a.aead = "rfc4106(gcm(aes))"
	case suite.ENCR_CHACHA20_POLY1305:
		a.aead = "rfc7539esp(chacha20,poly1305)"
	case suite.ENCR_AES_CBC:
		a.crypt = "cbc(aes)"
	}
	if encr.Type != suite.TypeEncr || a == (algorithm{}) {
		return a, fmt.Errorf("ESP algorithm %s: not known to the kernel datapath", AlgorithmName(encr, integ))
	}
	if a.aead != "" {
		a.icvBits = uint32(encr.ICVBytes()) * 8
		return a, nil
	}
	switch integ.ID {
	case suite.AUTH_HMAC_SHA2_256_128:
		a.auth = "hmac(sha256)"
	case suite.AUTH_HMAC_SHA2_384_192:
		a.auth = "hmac(sha384)"
	case suite.AUTH_HMAC_SHA2_512_256:
		a.auth = "hmac(sha512)"
	case suite.AUTH_HMAC_SHA1_96:
		a.auth = "hmac(sha1)"
	default:
		return a, fmt.Errorf("ESP algorithm %s: not known to the kernel datapath", AlgorithmName(encr, integ))
	}
	// Always given: the kernel's default for SHA-256 is 96 bits.
	a.icvBits = uint32(integ.ICVBytes()) * 8
	return a, nil
}

// AlgorithmName is the algorithm as written in a proposal.
func AlgorithmName(encr, integ suite.Transform) string {
	if integ.ID == suite.AUTH_NONE {
		return encr.Word()
	}
	return encr.Word() + "-" + integ.Word()
}

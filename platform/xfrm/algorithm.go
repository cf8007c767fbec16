package xfrm

import (
	"fmt"

	"github.com/vishvananda/netlink/nl"

	"greseal/crypto/suite"
)

// algorithm is what the kernel calls an ESP algorithm.
type algorithm struct {
	aead, crypt, auth string
	icvBits           uint32
}

// The kernel's names.
var (
	aeads  = map[uint16]string{suite.ENCR_AES_GCM_16: "rfc4106(gcm(aes))", suite.ENCR_CHACHA20_POLY1305: "rfc7539esp(chacha20,poly1305)"}
	crypts = map[uint16]string{suite.ENCR_AES_CBC: "cbc(aes)"}
	auths  = map[uint16]string{
		suite.AUTH_HMAC_SHA2_256_128: "hmac(sha256)", suite.AUTH_HMAC_SHA2_384_192: "hmac(sha384)",
		suite.AUTH_HMAC_SHA2_512_256: "hmac(sha512)", suite.AUTH_HMAC_SHA1_96: "hmac(sha1)",
	}
)

// algorithmFor translates the transforms of a Child SA.
func algorithmFor(encr, integ suite.Transform) (algorithm, error) {
	a := algorithm{aead: aeads[encr.ID], crypt: crypts[encr.ID]}
	if encr.Type != suite.TypeEncr || a == (algorithm{}) {
		return a, fmt.Errorf("ESP algorithm %s: not known to the kernel datapath", AlgorithmName(encr, integ))
	}
	if a.aead != "" {
		a.icvBits = uint32(encr.ICVBytes()) * 8
		return a, nil
	}
	if a.auth = auths[integ.ID]; a.auth == "" {
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

// transformOf translates back: the name that an attribute of an SA begins with, and the
// length of its key in bits. The zero Transform is for what greseal does not install.
func transformOf(attr uint16, name string, keyBits uint32) suite.Transform {
	typ, names := suite.TypeEncr, aeads
	switch attr {
	case nl.XFRMA_ALG_CRYPT:
		names = crypts
	case nl.XFRMA_ALG_AUTH_TRUNC:
		typ, names = suite.TypeInteg, auths
	}
	for id, known := range names {
		t := suite.Transform{Type: typ, ID: id}
		switch {
		case known != name:
			continue
		case id == suite.ENCR_AES_GCM_16 && typ == suite.TypeEncr:
			t.KeyLen = uint16(keyBits - 32) // less the salt (RFC 4106 section 8.1)
		case id == suite.ENCR_AES_CBC && typ == suite.TypeEncr:
			t.KeyLen = uint16(keyBits)
		}
		return t
	}
	return suite.Transform{}
}

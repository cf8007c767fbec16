package suite

import "strconv"

// Encryption algorithms (transform type 1).
const (
	ENCR_3DES              uint16 = 3  // named for explanations only
	ENCR_NULL              uint16 = 11 // named for explanations only
	ENCR_AES_CBC           uint16 = 12
	ENCR_AES_GCM_16        uint16 = 20
	ENCR_CHACHA20_POLY1305 uint16 = 28
)

// Pseudorandom functions (transform type 2).
const (
	PRF_HMAC_SHA1     uint16 = 2
	PRF_HMAC_SHA2_256 uint16 = 5
	PRF_HMAC_SHA2_384 uint16 = 6
	PRF_HMAC_SHA2_512 uint16 = 7
)

// Integrity algorithms (transform type 3).
const (
	AUTH_NONE              uint16 = 0
	AUTH_HMAC_SHA1_96      uint16 = 2
	AUTH_HMAC_SHA2_256_128 uint16 = 12
	AUTH_HMAC_SHA2_384_192 uint16 = 13
	AUTH_HMAC_SHA2_512_256 uint16 = 14
)

// Key exchange methods (transform types 4 and 6 to 12).
const (
	KE_NONE       uint16 = 0
	KE_MODP_1024  uint16 = 2
	KE_MODP_1536  uint16 = 5
	KE_MODP_2048  uint16 = 14
	KE_MODP_3072  uint16 = 15
	KE_MODP_4096  uint16 = 16
	KE_ECP_256    uint16 = 19
	KE_ECP_384    uint16 = 20
	KE_ECP_521    uint16 = 21
	KE_CURVE25519 uint16 = 31
	KE_MLKEM_768  uint16 = 36
	KE_MLKEM_1024 uint16 = 37
)

// Sequence numbers (transform type 5).
const (
	ESN_NO  uint16 = 0
	ESN_YES uint16 = 1
)

// The registries' names. More of them than are implemented, because a person
// who reads why a proposal was refused should see the peer's names, not numbers.
var (
	encrNames = map[uint16]string{
		1: "ENCR_DES_IV64", 2: "ENCR_DES", 3: "ENCR_3DES", 4: "ENCR_RC5", 5: "ENCR_IDEA",
		6: "ENCR_CAST", 7: "ENCR_BLOWFISH", 8: "ENCR_3IDEA", 9: "ENCR_DES_IV32",
		11: "ENCR_NULL", 12: "ENCR_AES_CBC", 13: "ENCR_AES_CTR",
		14: "ENCR_AES_CCM_8", 15: "ENCR_AES_CCM_12", 16: "ENCR_AES_CCM_16",
		18: "ENCR_AES_GCM_8", 19: "ENCR_AES_GCM_12", 20: "ENCR_AES_GCM_16",
		21: "ENCR_NULL_AUTH_AES_GMAC", 23: "ENCR_CAMELLIA_CBC", 24: "ENCR_CAMELLIA_CTR",
		25: "ENCR_CAMELLIA_CCM_8", 26: "ENCR_CAMELLIA_CCM_12", 27: "ENCR_CAMELLIA_CCM_16",
		28: "ENCR_CHACHA20_POLY1305", 29: "ENCR_AES_CCM_8_IIV",
		30: "ENCR_AES_GCM_16_IIV", 31: "ENCR_CHACHA20_POLY1305_IIV",
	}
	prfNames = map[uint16]string{
		1: "PRF_HMAC_MD5", 2: "PRF_HMAC_SHA1", 3: "PRF_HMAC_TIGER", 4: "PRF_AES128_XCBC",
		5: "PRF_HMAC_SHA2_256", 6: "PRF_HMAC_SHA2_384", 7: "PRF_HMAC_SHA2_512",
		8: "PRF_AES128_CMAC",
	}
	integNames = map[uint16]string{
		0: "NONE", 1: "AUTH_HMAC_MD5_96", 2: "AUTH_HMAC_SHA1_96", 3: "AUTH_DES_MAC",
		4: "AUTH_KPDK_MD5", 5: "AUTH_AES_XCBC_96", 6: "AUTH_HMAC_MD5_128",
		7: "AUTH_HMAC_SHA1_160", 8: "AUTH_AES_CMAC_96", 9: "AUTH_AES_128_GMAC",
		10: "AUTH_AES_192_GMAC", 11: "AUTH_AES_256_GMAC", 12: "AUTH_HMAC_SHA2_256_128",
		13: "AUTH_HMAC_SHA2_384_192", 14: "AUTH_HMAC_SHA2_512_256",
	}
	keNames = map[uint16]string{
		0: "NONE", 1: "768-bit MODP Group", 2: "1024-bit MODP Group", 5: "1536-bit MODP Group",
		14: "2048-bit MODP Group", 15: "3072-bit MODP Group", 16: "4096-bit MODP Group",
		17: "6144-bit MODP Group", 18: "8192-bit MODP Group",
		19: "256-bit random ECP group", 20: "384-bit random ECP group", 21: "521-bit random ECP group",
		22: "1024-bit MODP Group with 160-bit Prime Order Subgroup",
		23: "2048-bit MODP Group with 224-bit Prime Order Subgroup",
		24: "2048-bit MODP Group with 256-bit Prime Order Subgroup",
		25: "192-bit Random ECP Group", 26: "224-bit Random ECP Group",
		27: "brainpoolP224r1", 28: "brainpoolP256r1", 29: "brainpoolP384r1", 30: "brainpoolP512r1",
		31: "Curve25519", 32: "Curve448", 33: "GOST3410_2012_256", 34: "GOST3410_2012_512",
		35: "ml-kem-512", 36: "ml-kem-768", 37: "ml-kem-1024",
	}
	esnNames = map[uint16]string{
		0: "No Extended Sequence Numbers", 1: "Extended Sequence Numbers",
	}
)

// String is the registry's name of the protocol.
func (p Protocol) String() string {
	if p >= IKE && p <= ESP {
		return [...]string{IKE: "IKE", AH: "AH", ESP: "ESP"}[p]
	}
	return "protocol " + strconv.Itoa(int(p))
}

// IsKE reports whether t chooses a key exchange method, the first (type 4) or
// an additional one (RFC 9370).
func (t Type) IsKE() bool { return t == TypeKE || t.IsAddKE() }

// IsAddKE reports whether t is one of the additional key exchanges of RFC 9370.
func (t Type) IsAddKE() bool { return t >= TypeAddKE1 && t <= TypeAddKE7 }

// Known reports whether t is a transform type that this package can match.
func (t Type) Known() bool { return t >= TypeEncr && t <= TypeAddKE7 }

// types are the registry's short names of transform types, and the names of their IDs.
var types = [...]struct {
	name string
	ids  map[uint16]string
}{
	TypeEncr:  {"ENCR", encrNames},
	TypePRF:   {"PRF", prfNames},
	TypeInteg: {"INTEG", integNames},
	TypeKE:    {"KE", keNames},
	TypeESN:   {"ESN", esnNames},
}

// String is the registry's short name of the transform type.
func (t Type) String() string {
	switch {
	case t >= TypeEncr && t <= TypeESN:
		return types[t].name
	case t.IsAddKE():
		return "ADDKE" + strconv.Itoa(int(t-TypeAddKE1)+1)
	}
	return "transform type " + strconv.Itoa(int(t))
}

// registry returns the names of t's transform IDs, nil when t is unknown.
func (t Type) registry() map[uint16]string {
	if t.IsAddKE() {
		t = TypeKE
	}
	if int(t) >= len(types) {
		return nil
	}
	return types[t].ids
}

// String is the registry's name: "ENCR_AES_GCM_16-256" (the key length in bits
// behind it), "PRF_HMAC_SHA2_384", "AUTH_HMAC_SHA2_256_128", "KE Curve25519",
// "ADDKE1 ml-kem-768", "Extended Sequence Numbers"; "ENCR 99" when the registry
// has no such number.
func (t Transform) String() string {
	if t.Type == 0 {
		return "none"
	}
	if t == Unusable(t.Type) {
		return t.Type.String() + " with an attribute of unknown type"
	}
	s, named := t.Type.registry()[t.ID]
	switch {
	case !named:
		s = t.Type.String() + " " + strconv.Itoa(int(t.ID))
	case t.Type.IsKE(), t.ID == 0 && t.Type == TypeInteg:
		s = t.Type.String() + " " + s
	}
	if t.KeyLen != 0 {
		s += "-" + strconv.Itoa(int(t.KeyLen))
	}
	return s
}

// Unusable stands in a received proposal for a transform of type t that carries
// an attribute we don't understand: RFC 7296 section 3.3.6 has the transform
// ignored but the rest of the proposal read. Unlike a transform that is left
// out, it keeps its type present, so that "nothing usable" is never taken for
// "none". It matches nothing.
func Unusable(t Type) Transform { return Transform{Type: t, ID: 0xffff, KeyLen: 0xffff} }

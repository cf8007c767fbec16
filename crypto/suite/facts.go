package suite

// fact is what the rest of the project computes with: octets unless it says
// otherwise. Sources: RFC 3602, 4106, 7634 (ENCR), RFC 4868 and 2404 (PRF, INTEG).
type fact struct {
	aead  bool
	salt  int // part of KEYMAT that goes into the nonce
	iv    int // on the wire
	icv   int
	block int // padding granularity of the cipher
	key   int // fixed key length; 0 when the key length attribute gives it
}

var encrFacts = map[uint16]fact{
	ENCR_AES_CBC:           {iv: 16, block: 16},
	ENCR_AES_GCM_16:        {aead: true, salt: 4, iv: 8, icv: 16, block: 1},
	ENCR_CHACHA20_POLY1305: {aead: true, salt: 4, iv: 8, icv: 16, block: 1, key: 32},
}

var integFacts = map[uint16]fact{
	AUTH_HMAC_SHA1_96:      {key: 20, icv: 12},
	AUTH_HMAC_SHA2_256_128: {key: 32, icv: 16},
	AUTH_HMAC_SHA2_384_192: {key: 48, icv: 24},
	AUTH_HMAC_SHA2_512_256: {key: 64, icv: 32},
}

// The preferred key length of an HMAC is its output length (RFC 7296 section 2.13).
var prfFacts = map[uint16]fact{
	PRF_HMAC_SHA1:     {key: 20},
	PRF_HMAC_SHA2_256: {key: 32},
	PRF_HMAC_SHA2_384: {key: 48},
	PRF_HMAC_SHA2_512: {key: 64},
}

// Plain is t without a key length that says nothing: some give a cipher that has
// one only, such as ChaCha20-Poly1305, a key length attribute all the same.
func (t Transform) Plain() Transform {
	if t.Type == TypeEncr && t.KeyLen != 0 && int(t.KeyLen) == 8*t.fact().key {
		t.KeyLen = 0
	}
	return t
}

func (t Transform) fact() fact {
	switch t.Type {
	case TypeEncr:
		return encrFacts[t.ID]
	case TypePRF:
		return prfFacts[t.ID]
	case TypeInteg:
		return integFacts[t.ID]
	}
	return fact{}
}

// IsAEAD reports whether t is an encryption algorithm that carries its own
// integrity check. It is false for algorithms this package doesn't compute with.
func (t Transform) IsAEAD() bool { return t.fact().aead }

// KeyBytes is the number of octets that t takes from KEYMAT, or from prf+ for
// SK_e and SK_a: key and salt for an AEAD, the key for all others. For a PRF it
// is the preferred key length (SK_d, SK_pi, SK_pr). 0 for an unknown algorithm.
func (t Transform) KeyBytes() int {
	f := t.fact()
	if t.Type != TypeEncr || f.block == 0 {
		return f.key
	}
	if f.key != 0 {
		return f.key + f.salt
	}
	return int(t.KeyLen)/8 + f.salt
}

// SaltBytes is the part of KeyBytes, at its end, that goes into the nonce.
func (t Transform) SaltBytes() int { return t.fact().salt }

// IVBytes is the length of the IV on the wire.
func (t Transform) IVBytes() int { return t.fact().iv }

// ICVBytes is the length of the integrity check value: of an AEAD, or of an
// integrity algorithm.
func (t Transform) ICVBytes() int { return t.fact().icv }

// BlockBytes is the multiple to which plaintext is padded: 16 for AES-CBC, 1
// for an AEAD (ESP itself asks for 4), 0 for an unknown algorithm.
func (t Transform) BlockBytes() int { return t.fact().block }

// Weak reports whether t is only there for peers that can do nothing better:
// it is used when written out by the user, and warned about.
func (t Transform) Weak() bool {
	switch {
	case t.Type == TypePRF:
		return t.ID == PRF_HMAC_SHA1
	case t.Type == TypeInteg:
		return t.ID == AUTH_HMAC_SHA1_96
	case t.Type.IsKE():
		return t.ID == KE_MODP_1024 || t.ID == KE_MODP_1536
	}
	return false
}

// IsAEAD reports whether the suite has an AEAD and so no INTEG transform.
func (s Suite) IsAEAD() bool { return s.Encr.IsAEAD() }

// EncrKeyBytes is the number of octets SK_ei, SK_er or one direction of an ESP
// SA takes, salt included.
func (s Suite) EncrKeyBytes() int { return s.Encr.KeyBytes() }

// IntegKeyBytes is the number of octets of SK_ai, SK_ar or of one direction's
// ESP integrity key; 0 with an AEAD.
func (s Suite) IntegKeyBytes() int { return s.Integ.KeyBytes() }

// PRFKeyBytes is the number of octets of SK_d, SK_pi and SK_pr.
func (s Suite) PRFKeyBytes() int { return s.PRF.KeyBytes() }

// HasAddKE reports whether additional key exchanges were agreed (RFC 9370).
func (s Suite) HasAddKE() bool { return s.AddKE != [7]Transform{} }

// Weak reports whether any of the suite's transforms is weak.
func (s Suite) Weak() bool {
	for _, t := range s.transforms() {
		if t.Weak() {
			return true
		}
	}
	return false
}

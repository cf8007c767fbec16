package sign

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/big"
	"math/bits"

	"greseal/crypto/sign/internal/der"
)

// Kind is a kind of key.
type Kind uint8

// Kinds.
const (
	RSA Kind = iota + 1
	P256
	P384
	P521
	Ed25519
)

// Bounds of an RSA modulus in bits. The upper one bounds the time a peer's key
// can cost.
const (
	minRSA = 2048
	maxRSA = 8192
)

// PublicKey is a public key we can verify with; it is never changed.
type PublicKey struct {
	kind Kind
	rsa  *rsa.PublicKey
	ec   *ecdsa.PublicKey
	ed   ed25519.PublicKey
	// pss: an id-RSASSA-PSS key, which makes no other signatures (RFC 4055
	// section 1.2); with pssHash, with no other hash, and at least pssSalt
	// octets of salt.
	pss     bool
	pssHash Hash
	pssSalt int
	spki    []byte
}

// Kind is its kind.
func (k *PublicKey) Kind() Kind { return k.kind }

// SPKI is the SubjectPublicKeyInfo in DER: the data of a CERT payload with
// encoding 15 (RFC 7670). It must not be changed.
func (k *PublicKey) SPKI() []byte { return k.spki }

// String says what it is: "RSA 3072", "ECDSA P-256", "Ed25519".
func (k *PublicKey) String() string {
	switch {
	case k.pss:
		return fmt.Sprintf("RSA-PSS %d", k.rsa.N.BitLen())
	case k.kind == RSA:
		return fmt.Sprintf("RSA %d", k.rsa.N.BitLen())
	}
	return k.kind.String()
}

// String names the kind.
func (k Kind) String() string {
	switch k {
	case RSA:
		return "RSA"
	case P256:
		return "ECDSA P-256"
	case P384:
		return "ECDSA P-384"
	case P521:
		return "ECDSA P-521"
	case Ed25519:
		return "Ed25519"
	}
	return "no key"
}

// Equal reports whether both are the same key.
func (k *PublicKey) Equal(o *PublicKey) bool { return o != nil && bytes.Equal(k.point(), o.point()) }

// point is what makes the key, without the ways to write it down.
func (k *PublicKey) point() []byte {
	switch k.kind {
	case RSA:
		return rsaPublicKey(k.rsa)
	case Ed25519:
		return k.ed
	}
	b, err := k.ec.Bytes()
	if err != nil {
		return k.spki // made from valid points only
	}
	return b
}

// Fingerprint is "sha256:" and the hash of the SubjectPublicKeyInfo in
// hexadecimal, the same that
//
//	openssl pkey -pubin -in FILE -outform DER | sha256sum
//
// prints.
func (k *PublicKey) Fingerprint() string {
	d := sha256.Sum256(k.spki)
	return "sha256:" + hex.EncodeToString(d[:])
}

// ShortFingerprint is the fingerprint cut to 16 digits: enough to tell keys
// apart on a screen, too little to trust one by.
func (k *PublicKey) ShortFingerprint() string { return k.Fingerprint()[:len("sha256:")+16] }

// KeyHash is the SHA-1 hash of the SubjectPublicKeyInfo, by which CERTREQ names
// an authority (RFC 7296 section 3.7). It names, it does not protect.
func (k *PublicKey) KeyHash() [sha1.Size]byte { return sha1.Sum(k.spki) }

// ParsePublicKey reads a SubjectPublicKeyInfo in DER, as it stands in a
// certificate or in a CERT payload with encoding 15. The error is an *Error.
func ParsePublicKey(spki []byte) (*PublicKey, error) {
	in, ok := der.Only(spki, der.Sequence)
	algorithm, ok2 := in.Read(der.Sequence)
	id, ok3 := algorithm.Read(der.OID)
	key, ok4 := in.Bits()
	if !ok || !ok2 || !ok3 || !ok4 || len(in) != 0 {
		return nil, refuse(Malformed, "the public key is malformed", "")
	}
	k := &PublicKey{spki: bytes.Clone(spki)}
	params := []byte(algorithm)
	switch string(id) {
	case oidRSA:
		if !bytes.Equal(params, null) { // RFC 3279 section 2.3.1
			return nil, refuse(Malformed, "the RSA public key is malformed", "")
		}
		return k.parseRSA(key)
	case oidPSS:
		k.pss = true
		if len(params) != 0 {
			a, err := parsePSS(params)
			if err != nil {
				return nil, err
			}
			k.pssHash, k.pssSalt = a.Hash, a.Salt
		}
		return k.parseRSA(key)
	case oidEC:
		kind, err := curveKind(params)
		if err != nil {
			return nil, err
		}
		k.kind = kind
		if k.ec, err = ecdsa.ParseUncompressedPublicKey(kind.curve(), key); err != nil {
			return nil, refuse(Malformed, "the "+kind.String()+" public key is no uncompressed point of the curve", "write it anew with openssl pkey -ec_conv_form uncompressed")
		}
		return k, nil
	case oidEd25519:
		if len(params) != 0 || len(key) != ed25519.PublicKeySize {
			return nil, refuse(Malformed, "the Ed25519 public key is malformed", "")
		}
		k.kind, k.ed = Ed25519, ed25519.PublicKey(bytes.Clone(key))
		return k, nil
	}
	return nil, foreignKey(id)
}

const useKeys = "use an RSA (2048 bits or more), ECDSA (P-256, P-384 or P-521) or Ed25519 key"

func foreignKey(id []byte) error {
	what := "of type " + der.Dotted(id)
	switch string(id) {
	case oidEd448:
		what = "an Ed448 key"
	case oidX25519:
		what = "an X25519 key, which can't sign"
	case oidDSA:
		what = "a DSA key"
	}
	return refuse(Unsupported, "the key is "+what+" and is not supported", useKeys)
}

func (k *PublicKey) parseRSA(key []byte) (*PublicKey, error) {
	in, ok := der.Only(key, der.Sequence)
	n, ok2 := in.Unsigned()
	e, ok3 := in.Small()
	if !ok || !ok2 || !ok3 || len(in) != 0 {
		return nil, refuse(Malformed, "the RSA public key is malformed, or its exponent is larger than 2^31", useKeys)
	}
	if err := checkRSA(n, e); err != nil {
		return nil, err
	}
	k.kind, k.rsa = RSA, &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: e}
	return k, nil
}

// checkRSA looks at a modulus without leading zeros and an exponent.
func checkRSA(n []byte, e int) error {
	length := 0
	if len(n) > 0 {
		length = 8*len(n) - bits.LeadingZeros8(n[0])
	}
	switch {
	case length < minRSA:
		return refuse(WeakKey, fmt.Sprintf("the RSA key has %d bits, fewer than %d", length, minRSA), useKeys)
	case length > maxRSA:
		return refuse(Unsupported, fmt.Sprintf("the RSA key has %d bits, more than %d", length, maxRSA), useKeys)
	case e < 3 || e&1 == 0 || n[len(n)-1]&1 == 0:
		return refuse(Malformed, "the RSA key is no RSA key: modulus and exponent must be odd and the exponent at least 3", useKeys)
	}
	return nil
}

// rsaPublicKey is the RSAPublicKey of RFC 8017 appendix A.1.1.
func rsaPublicKey(k *rsa.PublicKey) []byte {
	e := []byte{byte(k.E >> 24), byte(k.E >> 16), byte(k.E >> 8), byte(k.E)}
	return der.Element(der.Sequence, der.AppendUnsigned(nil, k.N.Bytes()), der.AppendUnsigned(nil, e))
}

// curveKind reads ECParameters, of which only named curves exist in
// certificates (RFC 5480 section 2.1.1).
func curveKind(params []byte) (Kind, error) {
	in := der.Input(params)
	id, ok := in.Read(der.OID)
	switch {
	case !ok && in.Is(der.Sequence):
		return 0, refuse(Unsupported, "the ECDSA key spells its curve out instead of naming it", "make it with a named curve: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:named_curve")
	case !ok || len(in) != 0:
		return 0, refuse(Malformed, "the ECDSA key names no curve", "")
	}
	switch s := string(id); {
	case s == oidP256:
		return P256, nil
	case s == oidP384:
		return P384, nil
	case s == oidP521:
		return P521, nil
	case s == oidK1:
		return 0, refuse(Unsupported, "the ECDSA key is on curve secp256k1, which is not supported", useKeys)
	case len(s) > len(oidBrain) && s[:len(oidBrain)] == oidBrain:
		return 0, refuse(Unsupported, "the ECDSA key is on a Brainpool curve, which is not supported", useKeys)
	}
	return 0, refuse(Unsupported, "the ECDSA key is on curve "+der.Dotted(id)+", which is not supported", useKeys)
}

func (k Kind) curve() elliptic.Curve {
	switch k {
	case P384:
		return elliptic.P384()
	case P521:
		return elliptic.P521()
	}
	return elliptic.P256()
}

// size is the length of a coordinate in octets.
func (k Kind) size() int {
	switch k {
	case P256:
		return 32
	case P384:
		return 48
	case P521:
		return 66
	}
	return 0
}

// marshal makes the SubjectPublicKeyInfo.
func (k *PublicKey) marshal() []byte {
	var algorithm []byte
	switch {
	case k.pss && k.pssHash != 0:
		for _, h := range hashOctets {
			if h.hash == k.pssHash { // and the default trailer left out, as in DER
				algorithm = der.Element(der.Sequence, oid(oidPSS), Algorithm{PSS, h.hash, k.pssSalt}.pssParams(h.sha2, nil))
			}
		}
	case k.pss:
		algorithm = der.Element(der.Sequence, oid(oidPSS))
	case k.kind == RSA:
		algorithm = der.Element(der.Sequence, oid(oidRSA), null)
	case k.kind == Ed25519:
		algorithm = der.Element(der.Sequence, oid(oidEd25519))
	default:
		algorithm = der.Element(der.Sequence, oid(oidEC), oid(k.kind.curveOID()))
	}
	return der.Element(der.Sequence, algorithm, der.Element(der.BitString, []byte{0}, k.point()))
}

func (k Kind) curveOID() string {
	switch k {
	case P384:
		return oidP384
	case P521:
		return oidP521
	}
	return oidP256
}

// VerifySignature checks a signature of message, as in a certificate. The error
// is an *Error.
func (k *PublicKey) VerifySignature(a Algorithm, message, signature []byte) error {
	ok := false
	switch {
	case a.Scheme == EdDSA && k.kind == Ed25519:
		ok = len(signature) == ed25519.SignatureSize && ed25519.Verify(k.ed, message, signature)
	case a.Scheme == ECDSA && k.ec != nil:
		ok = ecdsa.VerifyASN1(k.ec, a.Hash.sum(message), signature)
	case a.Scheme == PKCS1 && k.kind == RSA && !k.pss:
		ok = rsa.VerifyPKCS1v15(k.rsa, a.Hash.crypto(), a.Hash.sum(message), signature) == nil
	case a.Scheme == PSS && k.kind == RSA:
		if k.pssHash != 0 && k.pssHash != a.Hash || a.Salt < k.pssSalt {
			return refuse(KeyMismatch, fmt.Sprintf("the key makes signatures by RSASSA-PSS with %s and at least %d octets of salt only, but this is one with %s and %d", k.pssHash, k.pssSalt, a.Hash, a.Salt), "")
		}
		ok = a.Salt > 0 && rsa.VerifyPSS(k.rsa, a.Hash.crypto(), a.Hash.sum(message), signature, &rsa.PSSOptions{SaltLength: a.Salt}) == nil
	default:
		return refuse(KeyMismatch, fmt.Sprintf("the signature is %s, which a key of type %s can't make", a, k), "")
	}
	if !ok {
		return refuse(BadSignature, fmt.Sprintf("the signature (%s) is wrong", a), "")
	}
	return nil
}

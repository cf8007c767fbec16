package sign

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"
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
	if k < RSA || k > Ed25519 {
		return "no key"
	}
	return [...]string{RSA: "RSA", P256: "ECDSA P-256", P384: "ECDSA P-384", P521: "ECDSA P-521", Ed25519: "Ed25519"}[k]
}

// Std is the key as crypto/x509 has it: *rsa.PublicKey, *ecdsa.PublicKey or
// ed25519.PublicKey.
func (k *PublicKey) Std() crypto.PublicKey {
	switch k.kind {
	case RSA:
		return k.rsa
	case Ed25519:
		return k.ed
	}
	return k.ec
}

// Equal reports whether both are the same key, however it is written down.
func (k *PublicKey) Equal(o *PublicKey) bool {
	if o == nil || k.kind != o.kind {
		return false
	}
	switch k.kind {
	case RSA:
		return k.rsa.Equal(o.rsa)
	case Ed25519:
		return k.ed.Equal(o.ed)
	}
	return k.ec.Equal(o.ec)
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
	in := cryptobyte.String(spki)
	var bits []byte
	ok := in.ReadASN1(&in, der.SEQUENCE)
	oid, params, ok2 := readIdentifier(&in)
	if !ok || !ok2 || !in.ReadASN1BitStringAsBytes(&bits) || !in.Empty() {
		return nil, refuse(Malformed, "the public key is malformed", "")
	}
	if err := checkKeyType(oid, params); err != nil {
		return nil, err
	}
	if !oid.Equal(oidPSS) {
		std, err := x509.ParsePKIXPublicKey(spki)
		if err != nil {
			return nil, refuse(Malformed, "the public key is malformed ("+plain(err)+")", useKeys)
		}
		return newPublicKey(std, bytes.Clone(spki))
	}
	// crypto/x509 does not know this type.
	std, err := x509.ParsePKCS1PublicKey(bits)
	if err != nil {
		return nil, refuse(Malformed, "the RSA-PSS public key is malformed ("+plain(err)+")", useKeys)
	}
	k, err := newPublicKey(std, bytes.Clone(spki))
	if err == nil {
		err = k.restrict(params)
	}
	if err != nil {
		return nil, err
	}
	return k, nil
}

// newPublicKey takes a key of the standard library. Its kind must be one of ours.
func newPublicKey(std crypto.PublicKey, spki []byte) (*PublicKey, error) {
	k := &PublicKey{spki: spki}
	switch std := std.(type) {
	case *rsa.PublicKey:
		if err := checkRSA(std); err != nil {
			return nil, err
		}
		k.kind, k.rsa = RSA, std
		return k, nil
	case *ecdsa.PublicKey:
		k.ec = std
		for _, kind := range [...]Kind{P256, P384, P521} {
			if std.Curve == kind.curve() {
				k.kind = kind
				return k, nil
			}
		}
	case ed25519.PublicKey:
		k.kind, k.ed = Ed25519, bytes.Clone(std)
		return k, nil
	}
	return nil, refuse(Unsupported, "the key is of another kind", useKeys)
}

// restrict makes an RSA key one for RSASSA-PSS alone (RFC 4055 section 3.1).
func (k *PublicKey) restrict(params cryptobyte.String) error {
	k.pss = true
	if len(params) == 0 {
		return nil
	}
	a, err := parsePSS(params)
	k.pssHash, k.pssSalt = a.Hash, a.Salt
	return err
}

// plain is an error of crypto/x509 without the name of that package.
func plain(err error) string { return strings.TrimPrefix(err.Error(), "x509: ") }

const useKeys = "use an RSA (2048 bits or more), ECDSA (P-256, P-384 or P-521) or Ed25519 key"

var (
	oidEC       = asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1} // id-ecPublicKey
	oidBrain    = asn1.ObjectIdentifier{1, 3, 36, 3, 3, 2, 8, 1, 1}
	keyTypes    = [...]asn1.ObjectIdentifier{{1, 2, 840, 113549, 1, 1, 1}, oidPSS, oidEC, {1, 3, 101, 112}}
	curves      = [...]asn1.ObjectIdentifier{{1, 2, 840, 10045, 3, 1, 7}, {1, 3, 132, 0, 34}, {1, 3, 132, 0, 35}}
	foreignKeys = [...]struct {
		oid  asn1.ObjectIdentifier
		name string
	}{
		{asn1.ObjectIdentifier{1, 3, 101, 113}, "Ed448"},
		{asn1.ObjectIdentifier{1, 3, 101, 110}, "X25519"},
		{asn1.ObjectIdentifier{1, 2, 840, 10040, 4, 1}, "DSA"},
		{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 3, 2}, "DSA"}, // with SHA2-256
	}
)

// foreignName names what is not supported, or gives its OID.
func foreignName(oid asn1.ObjectIdentifier) string {
	for _, f := range foreignKeys {
		if oid.Equal(f.oid) {
			return f.name
		}
	}
	return oid.String()
}

// checkKeyType says what is wrong with a kind of key that is not ours; params are
// those of its AlgorithmIdentifier.
func checkKeyType(oid asn1.ObjectIdentifier, params cryptobyte.String) error {
	if !slices.ContainsFunc(keyTypes[:], oid.Equal) {
		return refuse(Unsupported, "the key is of type "+foreignName(oid)+", which is not supported", useKeys)
	}
	if !oid.Equal(oidEC) {
		return nil
	}
	return checkCurve(params)
}

// checkCurve reads ECParameters, of which only named curves exist in certificates
// (RFC 5480 section 2.1.1).
func checkCurve(params cryptobyte.String) error {
	var curve asn1.ObjectIdentifier
	name := ""
	switch {
	case params.PeekASN1Tag(der.SEQUENCE):
		return refuse(Unsupported, "the ECDSA key spells its curve out instead of naming it", "make it with a named curve: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:named_curve")
	case !params.ReadASN1ObjectIdentifier(&curve) || !params.Empty():
		return refuse(Malformed, "the ECDSA key names no curve", "")
	case slices.ContainsFunc(curves[:], curve.Equal):
		return nil
	case len(curve) > len(oidBrain) && curve[:len(oidBrain)].Equal(oidBrain):
		name = " (Brainpool)"
	case curve.Equal(asn1.ObjectIdentifier{1, 3, 132, 0, 10}):
		name = " (secp256k1)"
	}
	return refuse(Unsupported, "the ECDSA key is on curve "+curve.String()+name+", which is not supported", useKeys)
}

func checkRSA(k *rsa.PublicKey) error {
	switch length := k.N.BitLen(); {
	case length < minRSA:
		return refuse(WeakKey, fmt.Sprintf("the RSA key has %d bits, fewer than %d", length, minRSA), useKeys)
	case length > maxRSA:
		return refuse(Unsupported, fmt.Sprintf("the RSA key has %d bits, more than %d", length, maxRSA), useKeys)
	case k.E < 3 || k.E > math.MaxInt32 || k.E&1 == 0 || k.N.Bit(0) == 0:
		return refuse(Malformed, "the RSA key is no RSA key: modulus and exponent must be odd, and the exponent 3 to 2^31", useKeys)
	}
	return nil
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

// size is the length of a coordinate in bytes.
func (k Kind) size() int { return (k.curve().Params().BitSize + 7) / 8 }

// marshal makes the SubjectPublicKeyInfo. An error is a key that was not checked.
func (k *PublicKey) marshal() ([]byte, error) {
	if k.pss {
		return k.marshalPSS(), nil
	}
	return x509.MarshalPKIXPublicKey(k.Std())
}

func (k *PublicKey) marshalPSS() []byte {
	algorithm := identifier(oidPSS, nil)
	if k.pssHash != 0 { // the default trailer is left out, as DER has it
		algorithm = Algorithm{PSS, k.pssHash, k.pssSalt}.pssIdentifier(nil)
	}
	var b cryptobyte.Builder
	b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(algorithm)
		b.AddASN1BitString(x509.MarshalPKCS1PublicKey(k.rsa))
	})
	return b.BytesOrPanic()
}

// Makes reports whether the key can make such signatures, and may: an *Error with
// KeyMismatch.
func (k *PublicKey) Makes(a Algorithm) error {
	can := false
	switch a.Scheme {
	case EdDSA:
		can = k.kind == Ed25519
	case ECDSA:
		can = k.ec != nil
	case PKCS1:
		can = k.kind == RSA && !k.pss
	case PSS:
		if k.pssHash != 0 && k.pssHash != a.Hash || a.Salt < k.pssSalt {
			return refuse(KeyMismatch, fmt.Sprintf("the key makes signatures by RSASSA-PSS with %s and at least %d bytes of salt only, but this is one with %s and %d", k.pssHash, k.pssSalt, a.Hash, a.Salt), "")
		}
		can = k.kind == RSA
	}
	if !can {
		return refuse(KeyMismatch, fmt.Sprintf("the signature is %s, which a key of type %s can't make", a, k), "")
	}
	return nil
}

// VerifySignature checks a signature of message, as in a certificate. The error
// is an *Error.
func (k *PublicKey) VerifySignature(a Algorithm, message, signature []byte) error {
	if err := k.Makes(a); err != nil {
		return err
	}
	ok := false
	switch a.Scheme {
	case EdDSA:
		ok = len(signature) == ed25519.SignatureSize && ed25519.Verify(k.ed, message, signature)
	case ECDSA:
		ok = ecdsa.VerifyASN1(k.ec, a.Hash.sum(message), signature)
	case PKCS1:
		ok = rsa.VerifyPKCS1v15(k.rsa, a.Hash.crypto(), a.Hash.sum(message), signature) == nil
	case PSS:
		ok = a.Salt > 0 && rsa.VerifyPSS(k.rsa, a.Hash.crypto(), a.Hash.sum(message), signature, &rsa.PSSOptions{SaltLength: a.Salt}) == nil
	}
	if !ok {
		return refuse(BadSignature, fmt.Sprintf("the signature (%s) is wrong", a), "")
	}
	return nil
}

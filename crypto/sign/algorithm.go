package sign

import (
	"bytes"
	"encoding/asn1"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"
)

// Scheme is a family of signature algorithms.
type Scheme uint8

// Schemes.
const (
	PKCS1 Scheme = iota + 1 // RSASSA-PKCS1-v1_5
	PSS                     // RSASSA-PSS with MGF1 of the same hash
	ECDSA
	EdDSA // Ed25519
)

// Algorithm is what an AlgorithmIdentifier of a signature says. The zero value
// is none.
type Algorithm struct {
	Scheme Scheme
	Hash   Hash // Identity for EdDSA
	Salt   int  // PSS: bytes of salt
}

// String names it for people: "RSASSA-PSS with SHA2-256", "Ed25519".
func (a Algorithm) String() string {
	switch a.Scheme {
	case PKCS1:
		return "RSASSA-PKCS1-v1_5 with " + a.Hash.String()
	case PSS:
		return "RSASSA-PSS with " + a.Hash.String()
	case ECDSA:
		return "ECDSA with " + a.Hash.String()
	case EdDSA:
		return "Ed25519"
	}
	return "none"
}

var (
	oidPSS       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}
	oidMGF1      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 8}
	oidMD5RSA    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 4}
	oidSHA1ECDSA = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 1}
)

// signatures are the algorithms that their OID alone tells, hashes those of
// RSASSA-PSS.
var (
	signatures = [...]struct {
		oid asn1.ObjectIdentifier
		Algorithm
	}{
		{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 5}, Algorithm{PKCS1, SHA1, 0}},
		{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, Algorithm{PKCS1, SHA2_256, 0}},
		{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 12}, Algorithm{PKCS1, SHA2_384, 0}},
		{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 13}, Algorithm{PKCS1, SHA2_512, 0}},
		{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}, Algorithm{ECDSA, SHA2_256, 0}},
		{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}, Algorithm{ECDSA, SHA2_384, 0}},
		{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}, Algorithm{ECDSA, SHA2_512, 0}},
		{asn1.ObjectIdentifier{1, 3, 101, 112}, Algorithm{EdDSA, Identity, 0}},
	}
	hashes = [...]struct {
		oid  asn1.ObjectIdentifier
		hash Hash
	}{
		{asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}, SHA1},
		{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}, SHA2_256},
		{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}, SHA2_384},
		{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}, SHA2_512},
	}
)

// explicit is the tag [n], constructed.
func explicit(n uint8) der.Tag { return der.Tag(n).ContextSpecific().Constructed() }

// AlgorithmIdentifier is the DER form in the encoding RFC 7427 appendix A
// prints: NULL parameters for RSASSA-PKCS1-v1_5, all parameters spelled out for
// RSASSA-PSS, none for ECDSA and Ed25519. Nil for what has no such form here.
func (a Algorithm) AlgorithmIdentifier() []byte {
	if a.Scheme == PSS {
		// The default trailer is spelled out, as in RFC 7427.
		return a.pssIdentifier(func(b *cryptobyte.Builder) {
			b.AddASN1(explicit(3), func(b *cryptobyte.Builder) { b.AddASN1Int64(1) })
		})
	}
	for _, s := range signatures {
		if s.Algorithm == a {
			return identifier(s.oid, func(b *cryptobyte.Builder) {
				if a.Scheme == PKCS1 {
					b.AddBytes(asn1.NullBytes)
				}
			})
		}
	}
	return nil
}

// identifier makes an AlgorithmIdentifier.
func identifier(oid asn1.ObjectIdentifier, params cryptobyte.BuilderContinuation) []byte {
	var b cryptobyte.Builder
	b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		if params != nil {
			params(b)
		}
	})
	return b.BytesOrPanic()
}

// pssIdentifier has RSASSA-PSS-params; nil for a hash we don't have.
func (a Algorithm) pssIdentifier(trailer cryptobyte.BuilderContinuation) []byte {
	for _, h := range hashes {
		if h.hash != a.Hash || h.hash == SHA1 {
			continue
		}
		hash := identifier(h.oid, func(b *cryptobyte.Builder) { b.AddBytes(asn1.NullBytes) })
		mgf1 := identifier(oidMGF1, func(b *cryptobyte.Builder) { b.AddBytes(hash) })
		return identifier(oidPSS, func(b *cryptobyte.Builder) {
			b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(explicit(0), func(b *cryptobyte.Builder) { b.AddBytes(hash) })
				b.AddASN1(explicit(1), func(b *cryptobyte.Builder) { b.AddBytes(mgf1) })
				b.AddASN1(explicit(2), func(b *cryptobyte.Builder) { b.AddASN1Int64(int64(a.Salt)) })
				if trailer != nil {
					trailer(b)
				}
			})
		})
	}
	return nil
}

// readIdentifier reads an AlgorithmIdentifier; params are what follows the OID.
func readIdentifier(in *cryptobyte.String) (oid asn1.ObjectIdentifier, params cryptobyte.String, ok bool) {
	ok = in.ReadASN1(&params, der.SEQUENCE) && params.ReadASN1ObjectIdentifier(&oid)
	return oid, params, ok
}

func absentOrNull(params []byte) bool {
	return len(params) == 0 || bytes.Equal(params, asn1.NullBytes)
}

// ParseAlgorithm reads the AlgorithmIdentifier of a signature. RSA and ECDSA may
// have NULL parameters or none (RFC 7427 section 3), Ed25519 has none (RFC
// 8410), RSASSA-PSS has its own (RFC 4055 section 3.1); its MGF1 must use the
// same hash. SHA-1 is read for RSASSA-PKCS1-v1_5 so that the caller can say what
// he thinks of it; all other weak or foreign algorithms are an *Error.
func ParseAlgorithm(identifier []byte) (Algorithm, error) {
	in := cryptobyte.String(identifier)
	oid, params, ok := readIdentifier(&in)
	switch {
	case !ok || !in.Empty():
		return Algorithm{}, refuse(Malformed, "the signature's AlgorithmIdentifier is malformed", "")
	case oid.Equal(oidPSS):
		return parsePSS(params)
	case oid.Equal(oidMD5RSA):
		return Algorithm{}, weakHash("MD5")
	case oid.Equal(oidSHA1ECDSA):
		return Algorithm{}, weakHash("SHA1")
	}
	for _, s := range signatures {
		switch {
		case !oid.Equal(s.oid):
		case s.Scheme == EdDSA && len(params) > 0, !absentOrNull(params):
			return Algorithm{}, refuse(Malformed, "signature algorithm "+s.String()+" has parameters it can't have", "")
		default:
			return s.Algorithm, nil
		}
	}
	return Algorithm{}, refuse(Unsupported, "signature algorithm "+foreignName(oid)+" is not supported", "use RSA, ECDSA (P-256, P-384, P-521) or Ed25519 with SHA-2")
}

func weakHash(name string) error {
	return refuse(WeakHash, "the signature is made with "+name+", which can be forged", "sign with SHA2-256")
}

// parsePSS reads RSASSA-PSS-params. What is left out of them means SHA-1.
func parsePSS(params cryptobyte.String) (Algorithm, error) {
	a, mgf, ok := readPSS(params)
	switch {
	case !ok:
		return Algorithm{}, refuse(Malformed, "the parameters of RSASSA-PSS are malformed", "")
	case a.Hash == SHA1 || mgf == SHA1:
		return Algorithm{}, refuse(WeakHash, "the signature is RSASSA-PSS with SHA1, which can be forged", "use RSASSA-PSS with SHA2-256")
	case a.Hash == 0 || a.Hash != mgf:
		return Algorithm{}, refuse(Unsupported, "RSASSA-PSS with a hash other than SHA-2, or with another one in MGF1, is not supported", "use RSASSA-PSS with SHA2-256 in both places")
	case a.Salt == 0:
		return Algorithm{}, refuse(Unsupported, "RSASSA-PSS without salt is not supported", "use a salt as long as the hash")
	}
	return a, nil
}

// readPSS reads the parameters whatever they are; mgf is MGF1's hash.
func readPSS(params cryptobyte.String) (a Algorithm, mgf Hash, ok bool) {
	a.Scheme = PSS
	var seq, hash, gen cryptobyte.String
	var hasHash, hasGen bool
	var trailer int
	if !params.ReadASN1(&seq, der.SEQUENCE) || !params.Empty() ||
		!seq.ReadOptionalASN1(&hash, &hasHash, explicit(0)) ||
		!seq.ReadOptionalASN1(&gen, &hasGen, explicit(1)) ||
		!seq.ReadOptionalASN1Integer(&a.Salt, explicit(2), 20) ||
		!seq.ReadOptionalASN1Integer(&trailer, explicit(3), 1) ||
		!seq.Empty() || a.Salt < 0 || a.Salt > maxRSA/8 || trailer != 1 {
		return a, 0, false
	}
	if a.Hash, ok = pssHash(hash, hasHash); !ok || !hasGen {
		return a, SHA1, ok
	}
	oid, params, ok := readIdentifier(&gen)
	if !ok || !gen.Empty() || !oid.Equal(oidMGF1) {
		return a, 0, false
	}
	mgf, ok = pssHash(params, true)
	return a, mgf, ok
}

// pssHash reads the AlgorithmIdentifier of a hash, SHA-1 when it is absent; 0 for
// an unknown one. The parameters are NULL or absent (RFC 4055 section 2.1).
func pssHash(in cryptobyte.String, present bool) (h Hash, ok bool) {
	if !present {
		return SHA1, true
	}
	oid, params, ok := readIdentifier(&in)
	if !ok || !in.Empty() || !absentOrNull(params) {
		return 0, false
	}
	for _, c := range hashes {
		if oid.Equal(c.oid) {
			return c.hash, true
		}
	}
	return 0, true
}

package sign

import (
	"bytes"

	"greseal/crypto/sign/internal/der"
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
	Salt   int  // PSS: octets of salt
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

// Contents of OBJECT IDENTIFIERs.
const (
	oidPKCS1   = "\x2a\x86\x48\x86\xf7\x0d\x01\x01" // and one more octet: 1.2.840.113549.1.1
	oidRSA     = oidPKCS1 + "\x01"
	oidMGF1    = oidPKCS1 + "\x08"
	oidPSS     = oidPKCS1 + "\x0a"
	oidSHA1    = "\x2b\x0e\x03\x02\x1a"
	oidSHA2    = "\x60\x86\x48\x01\x65\x03\x04\x02"     // and one more octet
	oidECDSA   = "\x2a\x86\x48\xce\x3d\x04\x03"         // ecdsa-with-SHA2, and one more octet
	oidECDSA1  = "\x2a\x86\x48\xce\x3d\x04\x01"         // ecdsa-with-SHA1
	oidEC      = "\x2a\x86\x48\xce\x3d\x02\x01"         // id-ecPublicKey
	oidP256    = "\x2a\x86\x48\xce\x3d\x03\x01\x07"     // secp256r1
	oidP384    = "\x2b\x81\x04\x00\x22"                 // secp384r1
	oidP521    = "\x2b\x81\x04\x00\x23"                 // secp521r1
	oidEd25519 = "\x2b\x65\x70"                         // 1.3.101.112
	oidEd448   = "\x2b\x65\x71"                         // 1.3.101.113
	oidX25519  = "\x2b\x65\x6e"                         // 1.3.101.110
	oidDSA     = "\x2a\x86\x48\xce\x38\x04\x01"         // 1.2.840.10040.4.1
	oidGroup   = "\x2a\x86\x48\xce\x3d\x01\x01"         // prime-field, in explicit curve parameters
	oidBrain   = "\x2b\x24\x03\x03\x02\x08\x01\x01"     // brainpool curves, and one more octet
	oidK1      = "\x2b\x81\x04\x00\x0a"                 // secp256k1
	oidMD5RSA  = oidPKCS1 + "\x04"                      // md5WithRSAEncryption
	oidSHA1RSA = oidPKCS1 + "\x05"                      // sha1WithRSAEncryption
	oidDSASHA  = "\x60\x86\x48\x01\x65\x03\x04\x03\x02" // dsa-with-sha256
)

// The last octets of the RSA, ECDSA and SHA-2 identifiers.
var hashOctets = [...]struct {
	hash             Hash
	rsa, ecdsa, sha2 byte
}{
	{SHA2_256, 0x0b, 2, 1}, {SHA2_384, 0x0c, 3, 2}, {SHA2_512, 0x0d, 4, 3},
}

var null = []byte{der.Null, 0}

// AlgorithmIdentifier is the DER form in the encoding RFC 7427 appendix A
// prints: NULL parameters for RSASSA-PKCS1-v1_5, all parameters spelled out for
// RSASSA-PSS, none for ECDSA and Ed25519. Nil for what has no such form here.
func (a Algorithm) AlgorithmIdentifier() []byte {
	switch a.Scheme {
	case EdDSA:
		return der.Element(der.Sequence, oid(oidEd25519))
	case PKCS1:
		if a.Hash == SHA1 {
			return der.Element(der.Sequence, oid(oidSHA1RSA), null)
		}
	}
	for _, h := range hashOctets {
		if h.hash != a.Hash {
			continue
		}
		switch a.Scheme {
		case PKCS1:
			return der.Element(der.Sequence, oid(oidPKCS1, h.rsa), null)
		case ECDSA:
			return der.Element(der.Sequence, oid(oidECDSA, h.ecdsa))
		case PSS:
			// The default trailer is spelled out, as in RFC 7427.
			return der.Element(der.Sequence, oid(oidPSS), a.pssParams(h.sha2, der.Element(der.Explicit(3), []byte{der.Integer, 1, 1})))
		}
	}
	return nil
}

// pssParams are RSASSA-PSS-params with the last octet of the hash's OID.
func (a Algorithm) pssParams(sha2 byte, trailer []byte) []byte {
	hash := der.Element(der.Sequence, oid(oidSHA2, sha2), null)
	return der.Element(der.Sequence,
		der.Element(der.Explicit(0), hash),
		der.Element(der.Explicit(1), der.Element(der.Sequence, oid(oidMGF1), hash)),
		der.Element(der.Explicit(2), der.AppendUnsigned(nil, []byte{byte(a.Salt >> 8), byte(a.Salt)})), trailer)
}

func oid(prefix string, last ...byte) []byte {
	return der.Element(der.OID, []byte(prefix), last)
}

// ParseAlgorithm reads the AlgorithmIdentifier of a signature. RSA and ECDSA may
// have NULL parameters or none (RFC 7427 section 3), Ed25519 has none (RFC
// 8410), RSASSA-PSS has its own (RFC 4055 section 3.1); its MGF1 must use the
// same hash. SHA-1 is read for RSASSA-PKCS1-v1_5 so that the caller can say what
// he thinks of it; all other weak or foreign algorithms are an *Error.
func ParseAlgorithm(identifier []byte) (Algorithm, error) {
	seq, ok := der.Only(identifier, der.Sequence)
	id, ok2 := seq.Read(der.OID)
	if !ok || !ok2 {
		return Algorithm{}, refuse(Malformed, "the signature's AlgorithmIdentifier is malformed", "")
	}
	params := []byte(seq)
	plain := len(params) == 0 || bytes.Equal(params, null)
	a := Algorithm{}
	switch s := string(id); {
	case s == oidEd25519:
		a, plain = Algorithm{EdDSA, Identity, 0}, len(params) == 0
	case s == oidPSS:
		return parsePSS(params)
	case s == oidSHA1RSA:
		a = Algorithm{PKCS1, SHA1, 0}
	case s == oidMD5RSA, s == oidECDSA1:
		return a, refuse(WeakHash, "the signature is made with "+weakName(s)+", which can be forged", "sign with SHA2-256")
	case len(s) == len(oidPKCS1)+1 && s[:len(oidPKCS1)] == oidPKCS1:
		for _, h := range hashOctets {
			if h.rsa == s[len(oidPKCS1)] {
				a = Algorithm{PKCS1, h.hash, 0}
			}
		}
	case len(s) == len(oidECDSA)+1 && s[:len(oidECDSA)] == oidECDSA:
		for _, h := range hashOctets {
			if h.ecdsa == s[len(oidECDSA)] {
				a = Algorithm{ECDSA, h.hash, 0}
			}
		}
	}
	switch {
	case a.Scheme == 0:
		return a, refuse(Unsupported, "signature algorithm "+foreignName(id)+" is not supported", "use RSA, ECDSA (P-256, P-384, P-521) or Ed25519 with SHA-2")
	case !plain:
		return Algorithm{}, refuse(Malformed, "signature algorithm "+a.String()+" has parameters it can't have", "")
	}
	return a, nil
}

func weakName(oid string) string {
	if oid == oidMD5RSA {
		return "MD5"
	}
	return "SHA1"
}

func foreignName(id []byte) string {
	switch string(id) {
	case oidEd448:
		return "Ed448"
	case oidDSA, oidDSASHA:
		return "DSA"
	}
	return der.Dotted(id)
}

// parsePSS reads RSASSA-PSS-params. What is left out of them means SHA-1.
func parsePSS(params []byte) (Algorithm, error) {
	bad := refuse(Malformed, "the parameters of RSASSA-PSS are malformed", "")
	seq, ok := der.Only(params, der.Sequence)
	if !ok {
		return Algorithm{}, bad
	}
	a, mgf := Algorithm{PSS, SHA1, 20}, SHA1
	if seq.Is(der.Explicit(0)) {
		e, _ := seq.Read(der.Explicit(0))
		if a.Hash, ok = pssHash(e); !ok {
			return Algorithm{}, bad
		}
	}
	if seq.Is(der.Explicit(1)) {
		e, ok := seq.Read(der.Explicit(1))
		gen, ok2 := der.Only(e, der.Sequence)
		id, ok3 := gen.Read(der.OID)
		if !ok || !ok2 || !ok3 || string(id) != oidMGF1 {
			return Algorithm{}, bad
		}
		if mgf, ok = pssHash(der.Input(gen)); !ok {
			return Algorithm{}, bad
		}
	}
	if seq.Is(der.Explicit(2)) {
		e, _ := seq.Read(der.Explicit(2))
		if a.Salt, ok = e.Small(); !ok || len(e) != 0 || a.Salt > maxRSA/8 {
			return Algorithm{}, bad
		}
	}
	if seq.Is(der.Explicit(3)) {
		e, ok := seq.Read(der.Explicit(3))
		if n, ok2 := e.Small(); !ok || !ok2 || n != 1 || len(e) != 0 {
			return Algorithm{}, bad
		}
	}
	switch {
	case len(seq) != 0:
		return Algorithm{}, bad
	case a.Hash == SHA1 || mgf == SHA1:
		return Algorithm{}, refuse(WeakHash, "the signature is RSASSA-PSS with SHA1, which can be forged", "use RSASSA-PSS with SHA2-256")
	case a.Hash == 0 || a.Hash != mgf:
		return Algorithm{}, refuse(Unsupported, "RSASSA-PSS with a hash other than SHA-2, or with another one in MGF1, is not supported", "use RSASSA-PSS with SHA2-256 in both places")
	case a.Salt == 0:
		return Algorithm{}, refuse(Unsupported, "RSASSA-PSS without salt is not supported", "use a salt as long as the hash")
	}
	return a, nil
}

// pssHash reads the AlgorithmIdentifier of a hash; 0 for an unknown one. The
// parameters are NULL or absent (RFC 4055 section 2.1).
func pssHash(b der.Input) (h Hash, ok bool) {
	seq, ok := der.Only(b, der.Sequence)
	id, ok2 := seq.Read(der.OID)
	if !ok || !ok2 || len(seq) != 0 && !bytes.Equal(seq, null) {
		return 0, false
	}
	if string(id) == oidSHA1 {
		return SHA1, true
	}
	for _, c := range hashOctets {
		if string(id) == oidSHA2+string([]byte{c.sha2}) {
			return c.hash, true
		}
	}
	return 0, true
}

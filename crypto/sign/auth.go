package sign

import (
	"crypto/ed25519"
	"crypto/rsa"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strconv"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"
)

// Method is an authentication method (RFC 7296 section 3.8) that signs.
type Method uint8

// Methods.
const (
	MethodRSA      Method = 1
	MethodECDSA256 Method = 9  // RFC 4754
	MethodECDSA384 Method = 10 // RFC 4754
	MethodECDSA521 Method = 11 // RFC 4754
	MethodDigital  Method = 14 // RFC 7427
)

// String is the registry's name.
func (m Method) String() string {
	switch m {
	case MethodRSA:
		return "RSA Digital Signature"
	case MethodECDSA256:
		return "ECDSA with SHA-256 on the P-256 curve"
	case MethodECDSA384:
		return "ECDSA with SHA-384 on the P-384 curve"
	case MethodECDSA521:
		return "ECDSA with SHA-512 on the P-521 curve"
	case MethodDigital:
		return "Digital Signature"
	}
	return "authentication method " + strconv.Itoa(int(m))
}

// IsSignature reports whether the method is one that Verify knows.
func (m Method) IsSignature() bool {
	return m == MethodRSA || m >= MethodECDSA256 && m <= MethodECDSA521 || m == MethodDigital
}

// legacy is the curve and hash of methods 9 to 11.
func (m Method) legacy() (Kind, Hash) {
	switch m {
	case MethodECDSA384:
		return P384, SHA2_384
	case MethodECDSA521:
		return P521, SHA2_512
	}
	return P256, SHA2_256
}

// Auth is how an AUTH payload is signed.
type Auth struct {
	Method    Method
	Algorithm Algorithm
}

// String is for status and logs: "RSASSA-PSS with SHA2-256", "ECDSA with
// SHA2-256 (method 9)".
func (a Auth) String() string {
	if a.Method == MethodDigital {
		return a.Algorithm.String()
	}
	return fmt.Sprintf("%s (method %d)", a.Algorithm, a.Method)
}

// Support is what is known of the peer when we sign.
type Support struct {
	// Announced: it sent SIGNATURE_HASH_ALGORITHMS, and Hashes is what was in
	// it. (We must have sent ours too.)
	Announced bool
	Hashes    []Hash
	// Theirs is how the peer signed, when its AUTH was verified before ours is
	// made (the responder); a peer is answered in its own RSA padding and, in
	// method 1, its own hash. The zero value: not known.
	Theirs Auth
}

// Choose picks how to sign for the peer: method 14 when it announced hashes,
// with RSASSA-PSS before RSASSA-PKCS1-v1_5 (RFC 8247 section 3.2), the hash that
// fits the key's strength first. Without an announcement ECDSA keys use methods
// 9 to 11, and RSA keys method 1 with SHA-1, the one hash that such a peer must
// know, or with the one it used itself. The error is an *Error.
func (k *PrivateKey) Choose(s Support) (Auth, error) {
	p := k.public
	if !s.Announced {
		return k.chooseOld(s)
	}
	var want []Hash
	scheme := ECDSA
	switch p.kind {
	case Ed25519:
		scheme, want = EdDSA, []Hash{Identity}
	case RSA:
		scheme, want = PSS, []Hash{SHA2_256, SHA2_384, SHA2_512}
		if s.Theirs.Algorithm.Scheme == PKCS1 && !p.pss {
			scheme = PKCS1
		}
		if p.rsa.N.BitLen() > 4096 {
			slices.Reverse(want)
		}
		if p.pssHash != 0 {
			want = []Hash{p.pssHash}
		}
	case P256:
		want = []Hash{SHA2_256, SHA2_384, SHA2_512}
	case P384:
		want = []Hash{SHA2_384, SHA2_512, SHA2_256}
	case P521:
		want = []Hash{SHA2_512, SHA2_384, SHA2_256}
	}
	for _, h := range want {
		if !slices.Contains(s.Hashes, h) {
			continue
		}
		a := Algorithm{Scheme: scheme, Hash: h}
		if scheme == PSS {
			a.Salt = max(h.crypto().Size(), p.pssSalt)
		}
		return Auth{MethodDigital, a}, nil
	}
	remedy := "let the peer take SHA2-256"
	if p.kind == Ed25519 {
		remedy = "use an ECDSA or RSA key here, or a peer that can do Ed25519 (RFC 8420)"
	}
	return Auth{}, refuse(NoCommonHash, fmt.Sprintf("our %s key signs with %s, and the peer takes %s", p, hashNames(want), hashNames(s.Hashes)), remedy)
}

func (k *PrivateKey) chooseOld(s Support) (Auth, error) {
	p := k.public
	switch {
	case p.kind == P256:
		return Auth{MethodECDSA256, Algorithm{ECDSA, SHA2_256, 0}}, nil
	case p.kind == P384:
		return Auth{MethodECDSA384, Algorithm{ECDSA, SHA2_384, 0}}, nil
	case p.kind == P521:
		return Auth{MethodECDSA521, Algorithm{ECDSA, SHA2_512, 0}}, nil
	case p.kind == RSA && !p.pss:
		hash := SHA1
		if s.Theirs.Method == MethodRSA {
			hash = s.Theirs.Algorithm.Hash
		}
		return Auth{MethodRSA, Algorithm{PKCS1, hash, 0}}, nil
	}
	return Auth{}, refuse(NoCommonHash, fmt.Sprintf("our key is %s, and the peer has no RFC 7427 signatures, which such a key needs", p), "use an ECDSA or plain RSA key here, or newer software at the peer")
}

// Sign makes the authentication data over octets (InitiatorSignedOctets or
// ResponderSignedOctets, RFC 7296 section 2.15). Only RSASSA-PSS draws from
// rand; ECDSA takes its nonce from key and message (RFC 6979), so that no weak
// randomness can reveal the key.
func (k *PrivateKey) Sign(a Auth, octets []byte, rand io.Reader) ([]byte, error) {
	sig, err := k.sign(a.Algorithm, octets, rand)
	if err != nil {
		return nil, fmt.Errorf("signing by %s with our %s: %w", a, k, err)
	}
	switch {
	case a.Method == MethodRSA && a.Algorithm.Scheme == PKCS1:
		return sig, nil
	case a.Method >= MethodECDSA256 && a.Method <= MethodECDSA521:
		kind, hash := a.Method.legacy()
		if kind == k.public.kind && hash == a.Algorithm.Hash {
			return rawSignature(sig, kind.size())
		}
	case a.Method == MethodDigital:
		if id := a.Algorithm.AlgorithmIdentifier(); len(id) > 0 && len(id) < 256 && a.Algorithm.Hash != SHA1 {
			return append(append([]byte{byte(len(id))}, id...), sig...), nil
		}
	}
	return nil, fmt.Errorf("signing by %s with our %s: the two don't go together", a, k)
}

func (k *PrivateKey) sign(a Algorithm, message []byte, rand io.Reader) ([]byte, error) {
	switch {
	case a.Scheme == EdDSA && k.ed != nil:
		return ed25519.Sign(k.ed, message), nil
	case a.Scheme == ECDSA && k.ec != nil && a.Hash.crypto() != 0:
		return k.ec.Sign(nil, a.Hash.sum(message), a.Hash.crypto())
	case a.Scheme == PKCS1 && k.rsa != nil && !k.public.pss && a.Hash.crypto() != 0:
		return rsa.SignPKCS1v15(nil, k.rsa, a.Hash.crypto(), a.Hash.sum(message))
	case a.Scheme == PSS && k.rsa != nil && a.Hash.crypto() != 0 && a.Salt > 0:
		return rsa.SignPSS(rand, k.rsa, a.Hash.crypto(), a.Hash.sum(message), &rsa.PSSOptions{SaltLength: a.Salt})
	}
	return nil, refuse(KeyMismatch, "the key can't make such a signature", "")
}

// Verify checks the authentication data of the peer's AUTH payload over octets
// with its public key, and returns how it was signed. announced says that both
// sides sent SIGNATURE_HASH_ALGORITHMS; then SHA-1 is refused (method 14 must be
// used, RFC 7427 section 3; methods 9 to 11, and 1 with SHA-2, are as good and
// are taken from a peer that does not keep to that). The error is an *Error.
func Verify(public *PublicKey, m Method, data, octets []byte, announced bool) (Auth, error) {
	switch m {
	case MethodRSA:
		return verifyRSA(public, data, octets, announced)
	case MethodECDSA256, MethodECDSA384, MethodECDSA521:
		kind, hash := m.legacy()
		a := Auth{m, Algorithm{ECDSA, hash, 0}}
		if public.kind != kind {
			return a, refuse(KeyMismatch, fmt.Sprintf("the peer authenticates by %s, and its key is %s", m, public), "give the peer the key its certificate is for")
		}
		if len(data) != 2*kind.size() {
			return a, refuse(Malformed, fmt.Sprintf("the AUTH payload has %d octets of signature, %s needs %d", len(data), m, 2*kind.size()), "")
		}
		return a, explain(public.VerifySignature(a.Algorithm, octets, derSignature(data)))
	case MethodDigital:
		end := 1
		if len(data) > 0 {
			end += int(data[0])
		}
		if len(data) < end {
			return Auth{Method: m}, refuse(Malformed, "the AUTH payload ends within its AlgorithmIdentifier", "")
		}
		alg, err := ParseAlgorithm(data[1:end])
		a := Auth{m, alg}
		switch {
		case err != nil:
			return a, err
		case alg.Hash == SHA1:
			return a, refuse(WeakHash, fmt.Sprintf("the peer signed by %s, which we did not announce", alg), "let the peer sign with SHA2-256")
		}
		return a, explain(public.VerifySignature(alg, octets, data[end:]))
	}
	return Auth{Method: m}, refuse(Unsupported, "the peer authenticates by "+m.String()+", which is no signature we know", "let both sides authenticate by certificate, or both by raw key")
}

// verifyRSA tries the hashes that method 1 leaves open; the signature itself
// says which one it is for (RFC 8017 section 9.2).
func verifyRSA(public *PublicKey, data, octets []byte, announced bool) (Auth, error) {
	a := Auth{MethodRSA, Algorithm{PKCS1, SHA1, 0}}
	if public.kind != RSA || public.pss {
		return a, refuse(KeyMismatch, fmt.Sprintf("the peer authenticates by %s, and its key is %s", MethodRSA, public), "give the peer the key its certificate is for")
	}
	for _, h := range [...]Hash{SHA2_256, SHA1, SHA2_384, SHA2_512} {
		a.Algorithm.Hash = h
		if public.VerifySignature(a.Algorithm, octets, data) != nil {
			continue
		}
		if h == SHA1 && announced {
			return a, refuse(WeakHash, "the peer signed by RSA with SHA1 although both sides can do better", "let the peer use Digital Signature authentication (RFC 7427)")
		}
		return a, nil
	}
	a.Algorithm.Hash = SHA1
	return a, explain(refuse(BadSignature, "the signature (RSA Digital Signature) is wrong", ""))
}

// explain adds to a wrong signature over octets that both sides know what can
// have made it wrong.
func explain(err error) error {
	if e, ok := err.(*Error); ok && e.Reason == BadSignature {
		return refuse(BadSignature, e.Detail, "the peer's private key is not that of the certificate or public key we know it by, or the IKE_SA_INIT messages were changed on their way")
	}
	return err
}

// derSignature makes the Ecdsa-Sig-Value of r and s in a row.
func derSignature(raw []byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(new(big.Int).SetBytes(raw[:len(raw)/2]))
		b.AddASN1BigInt(new(big.Int).SetBytes(raw[len(raw)/2:]))
	})
	return b.BytesOrPanic()
}

// rawSignature is the reverse, each number size bytes long (RFC 4754 section 7).
func rawSignature(sig []byte, size int) ([]byte, error) {
	var r, s big.Int
	in := cryptobyte.String(sig)
	if !in.ReadASN1(&in, der.SEQUENCE) || !in.ReadASN1Integer(&r) || !in.ReadASN1Integer(&s) || !in.Empty() ||
		r.Sign() < 0 || s.Sign() < 0 || r.BitLen() > 8*size || s.BitLen() > 8*size {
		return nil, fmt.Errorf("an ECDSA signature of another form than expected")
	}
	out := make([]byte, 2*size)
	r.FillBytes(out[:size])
	s.FillBytes(out[size:])
	return out, nil
}

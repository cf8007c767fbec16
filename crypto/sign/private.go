package sign

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"greseal/crypto/sign/internal/der"
)

// PrivateKey is a private key we can sign with. It never shows itself in
// formatted output.
type PrivateKey struct {
	// Behind a pointer, because fmt prints unexported fields of whatever holds a
	// key without asking its methods; of a pointer it prints the address.
	*secret
	public *PublicKey
}

type secret struct {
	rsa *rsa.PrivateKey
	ec  *ecdsa.PrivateKey
	ed  ed25519.PrivateKey
}

// Public is the public half.
func (k *PrivateKey) Public() *PublicKey { return k.public }

// String says what kind of key it is and nothing else.
func (k PrivateKey) String() string {
	if k.public == nil {
		return "no private key"
	}
	return k.public.String() + " private key (redacted)"
}

// GoString is String.
func (k PrivateKey) GoString() string { return k.String() }

// Format writes String whatever the verb.
func (k PrivateKey) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, k.String()) }

// LogValue is String.
func (k PrivateKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText fails: a key is written with PEM, on purpose.
func (PrivateKey) MarshalText() ([]byte, error) {
	return nil, errors.New("a private key is not marshalled")
}

// Generate makes an Ed25519 or ECDSA key from rand. RSA keys come from other
// tools: they would only be made for peers that can do nothing better.
func Generate(kind Kind, rand io.Reader) (*PrivateKey, error) {
	switch kind {
	case Ed25519:
		seed := make([]byte, ed25519.SeedSize)
		defer clear(seed)
		if _, err := io.ReadFull(rand, seed); err != nil {
			return nil, fmt.Errorf("randomness for an Ed25519 key: %w", err)
		}
		return fromEd25519(seed), nil
	case P256, P384, P521:
		// The library's GenerateKey takes no reader. A scalar that is 0 or not
		// below the order is drawn again.
		scalar := make([]byte, kind.size())
		defer clear(scalar)
		for range 64 {
			if _, err := io.ReadFull(rand, scalar); err != nil {
				return nil, fmt.Errorf("randomness for an %s key: %w", kind, err)
			}
			if kind == P521 {
				scalar[0] &= 1
			}
			if k, err := ecdsa.ParseRawPrivateKey(kind.curve(), scalar); err == nil {
				return fromECDSA(kind, k), nil
			}
		}
		return nil, fmt.Errorf("randomness for an %s key: no usable scalar in 64 tries", kind)
	}
	return nil, refuse(Unsupported, kind.String()+" keys are not made here", "use ed25519 or ecdsa, or make it with openssl genpkey")
}

func fromEd25519(seed []byte) *PrivateKey {
	k := ed25519.NewKeyFromSeed(seed)
	p := &PublicKey{kind: Ed25519, ed: ed25519.PublicKey(k[ed25519.SeedSize:])}
	p.spki = p.marshal()
	return &PrivateKey{&secret{ed: k}, p}
}

func fromECDSA(kind Kind, k *ecdsa.PrivateKey) *PrivateKey {
	p := &PublicKey{kind: kind, ec: &k.PublicKey}
	p.spki = p.marshal()
	return &PrivateKey{&secret{ec: k}, p}
}

// PEM is the key as a PKCS #8 file (RFC 5958), for greseal genkey; nil for RSA,
// which is not made here.
func (k *PrivateKey) PEM() []byte {
	var algorithm, key []byte
	switch {
	case k.ed != nil:
		algorithm = der.Element(der.Sequence, oid(oidEd25519))
		key = der.Element(der.OctetString, k.ed.Seed())
	case k.ec != nil:
		scalar, err := k.ec.Bytes()
		if err != nil {
			return nil
		}
		algorithm = der.Element(der.Sequence, oid(oidEC), oid(k.public.kind.curveOID()))
		key = der.Element(der.Sequence, []byte{der.Integer, 1, 1}, der.Element(der.OctetString, scalar),
			der.Element(der.Explicit(1), der.Element(der.BitString, []byte{0}, k.public.point())))
	default:
		return nil
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der.Element(der.Sequence,
		[]byte{der.Integer, 1, 0}, algorithm, der.Element(der.OctetString, key))})
}

// PEM is the key as a "PUBLIC KEY" file, to be carried to the other side.
func (k *PublicKey) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.spki})
}

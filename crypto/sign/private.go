package sign

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
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
		return newPrivateKey(ed25519.NewKeyFromSeed(seed))
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
				return newPrivateKey(k)
			}
		}
		return nil, fmt.Errorf("randomness for an %s key: no usable scalar in 64 tries", kind)
	}
	return nil, refuse(Unsupported, kind.String()+" keys are not made here", "use ed25519 or ecdsa, or make it with openssl genpkey")
}

// newPrivateKey takes a key of the standard library. Its kind must be one of ours.
func newPrivateKey(std any) (*PrivateKey, error) {
	signer, ok := std.(crypto.Signer)
	if !ok {
		return nil, refuse(Unsupported, "the key can't sign", useKeys)
	}
	public, err := newPublicKey(signer.Public(), nil)
	if err != nil {
		return nil, err
	}
	if public.spki, err = public.marshal(); err != nil {
		return nil, malformedKey(public.kind.String())
	}
	k := &PrivateKey{&secret{}, public}
	switch std := std.(type) {
	case *rsa.PrivateKey:
		k.rsa = std
	case *ecdsa.PrivateKey:
		k.ec = std
	case ed25519.PrivateKey:
		k.ed = std
	}
	return k, nil
}

// PEM is the key as a PKCS #8 file (RFC 5958), for greseal genkey; nil for RSA,
// which is not made here.
func (k *PrivateKey) PEM() []byte {
	var std any = k.ec
	switch {
	case k.ed != nil:
		std = k.ed
	case k.ec == nil:
		return nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(std)
	if err != nil {
		return nil
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// PEM is the key as a "PUBLIC KEY" file, to be carried to the other side.
func (k *PublicKey) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.spki})
}

package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// keys sign the indexes: Ed25519 in usign's form for opkg, ECDSA P-256 for apk.
// Both signatures depend on key and message alone, so that a feed made twice is
// the same.
type keys struct {
	opkg ed25519.PrivateKey
	apk  *ecdsa.PrivateKey
}

// loadKeys reads the two keys, or makes them on first use.
func loadKeys(dir string) (keys, error) {
	var k keys
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return k, err
	}
	read := func(name string, make func() (any, error)) (any, error) {
		path := filepath.Join(dir, name)
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			key, err := make()
			if err != nil {
				return nil, err
			}
			der, err := x509.MarshalPKCS8PrivateKey(key)
			if err != nil {
				return nil, err
			}
			fmt.Println("  a new key to sign with:", path)
			return key, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
		}
		if err != nil {
			return nil, err
		}
		b, _ := pem.Decode(text)
		if b == nil {
			return nil, fmt.Errorf("%s holds no key in PEM form", path)
		}
		return x509.ParsePKCS8PrivateKey(b.Bytes)
	}
	opkg, err := read("opkg.pem", func() (any, error) {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	})
	if err != nil {
		return k, err
	}
	apk, err := read("apk.pem", func() (any, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) })
	if err != nil {
		return k, err
	}
	var ok1, ok2 bool
	k.opkg, ok1 = opkg.(ed25519.PrivateKey)
	k.apk, ok2 = apk.(*ecdsa.PrivateKey)
	if !ok1 || !ok2 {
		return k, fmt.Errorf("%s: opkg.pem must be an Ed25519 key and apk.pem one of P-256; remove them to have new ones made", dir)
	}
	return k, nil
}

// id is usign's name of the key.
func (k keys) id() []byte {
	sum := sha256.Sum256(k.opkg.Public().(ed25519.PublicKey))
	return sum[:8]
}

// fingerprint is the name opkg wants the public key by.
func (k keys) fingerprint() string { return fmt.Sprintf("%x", k.id()) }

// usign is a detached signature in usign's form: "Ed", the key's name, the
// signature.
func (k keys) usign(message []byte) []byte {
	return usignFile("signed by key "+k.fingerprint(), k.id(), ed25519.Sign(k.opkg, message))
}

func (k keys) usignPublic() []byte {
	return usignFile("public key "+k.fingerprint(), k.id(), k.opkg.Public().(ed25519.PublicKey))
}

func usignFile(comment string, id, what []byte) []byte {
	raw := append(append([]byte("Ed"), id...), what...)
	return []byte("untrusted comment: " + comment + "\n" + base64.StdEncoding.EncodeToString(raw) + "\n")
}

// apkID is apk's name of the key: the hash of its point.
func (k keys) apkID() ([]byte, error) {
	point, err := k.apk.PublicKey.Bytes()
	if err != nil {
		return nil, err
	}
	sum := sha512.Sum512(point)
	return sum[:16], nil
}

// apkSign signs with the nonce of RFC 6979, which Go takes without a source of
// randomness.
func (k keys) apkSign(message []byte) ([]byte, error) {
	sum := sha512.Sum512(message)
	return k.apk.Sign(nil, sum[:], crypto.SHA512)
}

func (k keys) apkPublic() ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(&k.apk.PublicKey)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = pem.Encode(&b, &pem.Block{Type: "PUBLIC KEY", Bytes: der})
	return b.Bytes(), err
}

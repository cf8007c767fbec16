package sign

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"

	"greseal/crypto/sign/internal/der"
)

// maxKeyFile bounds a key file in octets.
const maxKeyFile = 64 << 10

// ParsePrivateKey reads a private key file: PEM, or DER, of PKCS #8 ("PRIVATE
// KEY"), PKCS #1 ("RSA PRIVATE KEY") or SEC 1 ("EC PRIVATE KEY"). It must hold
// one private key; other things beside it, such as "EC PARAMETERS" or a
// certificate, are passed over. The error is an *Error and never quotes the
// file.
func ParsePrivateKey(file []byte) (*PrivateKey, error) {
	if len(file) > maxKeyFile {
		return nil, refuse(TooLarge, "the file is too large for a private key", "name the file that holds the key")
	}
	if len(file) > 0 && file[0] == der.Sequence {
		return parsePrivateDER(file)
	}
	var found *PrivateKey
	var others []string
	for rest := file; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		parse := parsePrivateDER
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
			return nil, refuse(Encrypted, "the private key is encrypted with a passphrase, which nobody can type when a router starts",
				"decrypt it with openssl pkey -in FILE -out NEW, and make NEW readable by its owner only")
		case block.Type == "PRIVATE KEY":
			parse = parsePKCS8
		case block.Type == "RSA PRIVATE KEY":
			parse = parsePKCS1
		case block.Type == "EC PRIVATE KEY":
			parse = func(b []byte) (*PrivateKey, error) { return parseSEC1(b, 0) }
		case block.Type == "DSA PRIVATE KEY":
			return nil, foreignKey([]byte(oidDSA))
		case block.Type == "OPENSSH PRIVATE KEY":
			return nil, refuse(Unsupported, "the private key is in OpenSSH's own format", "convert it with ssh-keygen -p -m PKCS8 -f FILE, or make one with greseal genkey")
		default:
			others = append(others, fmt.Sprintf("%.40q", block.Type))
			continue
		}
		k, err := parse(block.Bytes)
		if err != nil {
			return nil, err
		}
		if found != nil {
			return nil, refuse(Malformed, "the file holds more than one private key", "leave one in it")
		}
		found = k
	}
	switch {
	case found != nil:
		return found, nil
	case len(others) > 0:
		return nil, refuse(Malformed, "the file holds "+strings.Join(others[:min(len(others), 4)], ", ")+" and no private key", "name the file that holds the private key")
	case bytes.Contains(file, []byte("-----BEGIN")):
		return nil, refuse(Malformed, "the file has a PEM block that can't be decoded", "copy it again, whole, from -----BEGIN to -----END")
	}
	return nil, refuse(Malformed, "the file holds no PEM block and is no DER", "it must begin with -----BEGIN PRIVATE KEY-----; greseal genkey makes one")
}

func malformedKey(what string) error {
	return refuse(Malformed, "the "+what+" private key is malformed", "copy it again, or make a new one")
}

// parsePrivateDER tells the three forms apart by what follows their version: an
// AlgorithmIdentifier, a modulus, or a scalar.
func parsePrivateDER(b []byte) (*PrivateKey, error) {
	in, ok := der.Only(b, der.Sequence)
	_, ok2 := in.Small()
	switch {
	case !ok || !ok2:
	case in.Is(der.Sequence):
		return parsePKCS8(b)
	case in.Is(der.Integer):
		return parsePKCS1(b)
	case in.Is(der.OctetString):
		return parseSEC1(b, 0)
	}
	return nil, refuse(Malformed, "the file is no private key in DER", "name the file that holds the private key")
}

// parsePKCS8 reads a PrivateKeyInfo (RFC 5208), or OneAsymmetricKey (RFC 5958).
func parsePKCS8(b []byte) (*PrivateKey, error) {
	in, ok := der.Only(b, der.Sequence)
	version, ok2 := in.Small()
	algorithm, ok3 := in.Read(der.Sequence)
	id, ok4 := algorithm.Read(der.OID)
	key, ok5 := in.Read(der.OctetString)
	if !ok || !ok2 || !ok3 || !ok4 || !ok5 || version > 1 {
		return nil, malformedKey("PKCS #8")
	}
	params := []byte(algorithm)
	switch string(id) {
	case oidRSA:
		return parsePKCS1(key)
	case oidPSS:
		k, err := parsePKCS1(key)
		if err != nil {
			return nil, err
		}
		k.public.pss = true
		if len(params) != 0 {
			a, err := parsePSS(params)
			if err != nil {
				return nil, err
			}
			k.public.pssHash, k.public.pssSalt = a.Hash, a.Salt
		}
		k.public.spki = k.public.marshal()
		return k, nil
	case oidEC:
		kind, err := curveKind(params)
		if err != nil {
			return nil, err
		}
		return parseSEC1(key, kind)
	case oidEd25519:
		seed, ok := der.Only(key, der.OctetString)
		if !ok || len(seed) != ed25519.SeedSize || len(params) != 0 {
			return nil, malformedKey("Ed25519")
		}
		return fromEd25519(seed), nil
	}
	return nil, foreignKey(id)
}

// parsePKCS1 reads an RSAPrivateKey (RFC 8017 appendix A.1.2).
func parsePKCS1(b []byte) (*PrivateKey, error) {
	in, ok := der.Only(b, der.Sequence)
	version, ok2 := in.Small()
	if !ok || !ok2 {
		return nil, malformedKey("RSA")
	}
	if version != 0 {
		return nil, refuse(Unsupported, "the RSA private key has more than two primes", useKeys)
	}
	n, ok := in.Unsigned()
	e, ok2 := in.Small()
	if !ok || !ok2 {
		return nil, malformedKey("RSA")
	}
	if err := checkRSA(n, e); err != nil {
		return nil, err
	}
	var v [6]*big.Int // d, p, q, d mod p-1, d mod q-1, q^-1 mod p
	for i := range v {
		m, ok := in.Unsigned()
		if !ok || len(m) > len(n) {
			return nil, malformedKey("RSA")
		}
		v[i] = new(big.Int).SetBytes(m)
	}
	if len(in) != 0 {
		return nil, malformedKey("RSA")
	}
	k := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).SetBytes(n), E: e}, D: v[0], Primes: []*big.Int{v[1], v[2]}}
	k.Precompute() // the file's own last three values are not trusted
	if k.Validate() != nil {
		return nil, refuse(Malformed, "the numbers of the RSA private key don't fit together", "copy it again, or make a new one")
	}
	p := &PublicKey{kind: RSA, rsa: &k.PublicKey}
	p.spki = p.marshal()
	return &PrivateKey{&secret{rsa: k}, p}, nil
}

// parseSEC1 reads an ECPrivateKey (RFC 5915). The curve is that of the PKCS #8
// around it, if any, else its own.
func parseSEC1(b []byte, kind Kind) (*PrivateKey, error) {
	in, ok := der.Only(b, der.Sequence)
	version, ok2 := in.Small()
	scalar, ok3 := in.Read(der.OctetString)
	if !ok || !ok2 || !ok3 || version != 1 {
		return nil, malformedKey("ECDSA")
	}
	if in.Is(der.Explicit(0)) {
		params, ok := in.Read(der.Explicit(0))
		if !ok {
			return nil, malformedKey("ECDSA")
		}
		own, err := curveKind(params)
		if err != nil {
			return nil, err
		}
		if kind != 0 && kind != own {
			return nil, refuse(Malformed, "the ECDSA private key names two curves", "make a new one with greseal genkey")
		}
		kind = own
	}
	if kind == 0 {
		return nil, refuse(Malformed, "the ECDSA private key names no curve", "convert it with openssl pkcs8 -topk8 -nocrypt, or make a new one with greseal genkey")
	}
	var public []byte
	if in.Is(der.Explicit(1)) {
		e, _ := in.Read(der.Explicit(1))
		if public, ok = e.Bits(); !ok {
			return nil, malformedKey("ECDSA")
		}
	}
	// Some old software left leading zeros out, or wrote too many.
	size := kind.size()
	for len(scalar) > size && scalar[0] == 0 {
		scalar = scalar[1:]
	}
	if len(in) != 0 || len(scalar) > size {
		return nil, malformedKey("ECDSA")
	}
	padded := make([]byte, size)
	defer clear(padded)
	copy(padded[size-len(scalar):], scalar)
	k, err := ecdsa.ParseRawPrivateKey(kind.curve(), padded)
	if err != nil {
		return nil, malformedKey("ECDSA")
	}
	out := fromECDSA(kind, k)
	if len(public) > 0 && public[0] == 4 && !bytes.Equal(public, out.public.point()) {
		return nil, refuse(Malformed, "the two halves of the ECDSA private key don't belong together", "copy it again, or make a new one with greseal genkey")
	}
	return out, nil
}

// ParsePublicKeyFile reads the file of a raw public key: one "PUBLIC KEY" in
// PEM, or a SubjectPublicKeyInfo in DER. The error is an *Error.
func ParsePublicKeyFile(file []byte) (*PublicKey, error) {
	if len(file) > maxKeyFile {
		return nil, refuse(TooLarge, "the file is too large for a public key", "name the file that holds the key")
	}
	if len(file) > 0 && file[0] == der.Sequence {
		return ParsePublicKey(file)
	}
	const make = "get it with greseal genkey, or openssl pkey -in KEY -pubout, at the side that has the private key"
	var found *PublicKey
	seen := ""
	for rest := file; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		switch block.Type {
		case "PUBLIC KEY":
		case "CERTIFICATE":
			return nil, refuse(Malformed, "the file holds a certificate and no raw public key", "name it in ca, or take its key out with openssl x509 -in FILE -noout -pubkey")
		case "RSA PUBLIC KEY":
			return nil, refuse(Unsupported, "the public key is in PKCS #1 form", "convert it with openssl rsa -RSAPublicKey_in -in FILE -pubout")
		default:
			if seen = "something else"; strings.HasSuffix(block.Type, "PRIVATE KEY") {
				seen = "a private key"
			}
			continue
		}
		k, err := ParsePublicKey(block.Bytes)
		if err != nil {
			return nil, err
		}
		if found != nil {
			return nil, refuse(Malformed, "the file holds more than one public key", "leave one in it")
		}
		found = k
	}
	switch {
	case found != nil:
		return found, nil
	case seen != "":
		return nil, refuse(Malformed, "the file holds "+seen+" and no public key", make)
	}
	return nil, refuse(Malformed, "the file holds no public key: there is no -----BEGIN PUBLIC KEY----- in it", make)
}

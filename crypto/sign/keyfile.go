package sign

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"
)

// maxKeyFile bounds a key file in bytes.
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
	if len(file) > 0 && file[0] == byte(der.SEQUENCE) {
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
			parse = parseSEC1
		case block.Type == "DSA PRIVATE KEY":
			return nil, refuse(Unsupported, "the key is of type DSA, which is not supported", useKeys)
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
	in := cryptobyte.String(b)
	switch {
	case !in.ReadASN1(&in, der.SEQUENCE) || !in.SkipASN1(der.INTEGER):
	case in.PeekASN1Tag(der.SEQUENCE):
		return parsePKCS8(b)
	case in.PeekASN1Tag(der.INTEGER):
		return parsePKCS1(b)
	case in.PeekASN1Tag(der.OCTET_STRING):
		return parseSEC1(b)
	}
	return nil, refuse(Malformed, "the file is no private key in DER", "name the file that holds the private key")
}

// parsePKCS8 reads a PrivateKeyInfo (RFC 5208), or OneAsymmetricKey (RFC 5958).
func parsePKCS8(b []byte) (*PrivateKey, error) {
	in := cryptobyte.String(b)
	var key cryptobyte.String
	ok := in.ReadASN1(&in, der.SEQUENCE) && in.SkipASN1(der.INTEGER)
	oid, params, ok2 := readIdentifier(&in)
	if !ok || !ok2 || !in.ReadASN1(&key, der.OCTET_STRING) {
		return nil, malformedKey("PKCS #8")
	}
	if err := checkKeyType(oid, params); err != nil {
		return nil, err
	}
	if oid.Equal(oidPSS) { // which crypto/x509 does not know
		k, err := parsePKCS1(key)
		if err == nil {
			err = k.public.restrict(params)
		}
		if err != nil {
			return nil, err
		}
		k.public.spki = k.public.marshalPSS()
		return k, nil
	}
	std, err := x509.ParsePKCS8PrivateKey(b)
	if err != nil {
		return nil, badKey(err)
	}
	k, err := newPrivateKey(std)
	if err == nil && k.ec != nil {
		err = k.checkSEC1(key, params)
	}
	if err != nil {
		return nil, err
	}
	return k, nil
}

// parsePKCS1 reads an RSAPrivateKey (RFC 8017 appendix A.1.2).
func parsePKCS1(b []byte) (*PrivateKey, error) {
	in := cryptobyte.String(b)
	var version int
	if in.ReadASN1(&in, der.SEQUENCE) && in.ReadASN1Integer(&version) && version != 0 {
		return nil, refuse(Unsupported, "the RSA private key has more than two primes", useKeys)
	}
	std, err := x509.ParsePKCS1PrivateKey(b)
	if err != nil {
		return nil, badKey(err)
	}
	return newPrivateKey(std)
}

// parseSEC1 reads an ECPrivateKey (RFC 5915) that names its curve.
func parseSEC1(b []byte) (*PrivateKey, error) {
	curve, _, ok := readSEC1(b)
	switch {
	case !ok:
		return nil, malformedKey("ECDSA")
	case curve == nil:
		return nil, refuse(Malformed, "the ECDSA private key names no curve", "convert it with openssl pkcs8 -topk8 -nocrypt, or make a new one with greseal genkey")
	}
	if err := checkCurve(curve); err != nil {
		return nil, err
	}
	std, err := x509.ParseECPrivateKey(b)
	if err != nil {
		return nil, badKey(err)
	}
	k, err := newPrivateKey(std)
	if err == nil {
		err = k.checkSEC1(b, curve)
	}
	if err != nil {
		return nil, err
	}
	return k, nil
}

// readSEC1 finds what an ECPrivateKey says of its curve and its public half, if
// anything: crypto/x509 looks at neither when it has a curve from elsewhere.
func readSEC1(b []byte) (curve cryptobyte.String, public []byte, ok bool) {
	in := cryptobyte.String(b)
	var bits cryptobyte.String
	var has bool
	ok = in.ReadASN1(&in, der.SEQUENCE) && in.SkipASN1(der.INTEGER) && in.SkipASN1(der.OCTET_STRING) &&
		in.ReadOptionalASN1(&curve, nil, explicit(0)) && in.ReadOptionalASN1(&bits, &has, explicit(1)) && in.Empty()
	if ok && has {
		ok = bits.ReadASN1BitStringAsBytes(&public)
	}
	return curve, public, ok
}

// checkSEC1 holds an ECDSA key to what its ECPrivateKey says besides.
func (k *PrivateKey) checkSEC1(b []byte, curve cryptobyte.String) error {
	own, public, ok := readSEC1(b)
	switch {
	case !ok:
		return malformedKey("ECDSA")
	case own != nil && !bytes.Equal(own, curve):
		return refuse(Malformed, "the ECDSA private key names two curves", "make a new one with greseal genkey")
	}
	if point, err := k.ec.PublicKey.Bytes(); err != nil || len(public) > 0 && public[0] == 4 && !bytes.Equal(public, point) {
		return refuse(Malformed, "the two halves of the ECDSA private key don't belong together", "copy it again, or make a new one with greseal genkey")
	}
	return nil
}

// badKey explains why crypto/x509 does not take a key. It says nothing of the
// key's contents.
func badKey(err error) error {
	var syntax asn1.SyntaxError
	var structure asn1.StructuralError
	if errors.As(err, &syntax) || errors.As(err, &structure) {
		return malformedKey("file's")
	}
	return refuse(Malformed, "the numbers of the private key don't fit together ("+plain(err)+")", "copy it again, or make a new one")
}

// ParsePublicKeyFile reads the file of a raw public key: one "PUBLIC KEY" in
// PEM, or a SubjectPublicKeyInfo in DER. The error is an *Error.
func ParsePublicKeyFile(file []byte) (*PublicKey, error) {
	if len(file) > maxKeyFile {
		return nil, refuse(TooLarge, "the file is too large for a public key", "name the file that holds the key")
	}
	if len(file) > 0 && file[0] == byte(der.SEQUENCE) {
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

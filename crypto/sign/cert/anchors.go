package cert

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"strings"

	"greseal/crypto/sign"
	"greseal/crypto/sign/internal/der"
)

// MaxFile bounds a file of certificates in octets.
const MaxFile = 1 << 20

// ParseFile reads the certificates of a PEM file, in order, or the one of a DER
// file. Other things in the file, such as a private key, are passed over. No
// certificate at all is an error.
func ParseFile(file []byte) ([]*Certificate, error) {
	if len(file) > MaxFile {
		return nil, &sign.Error{Reason: sign.TooLarge, Detail: fmt.Sprintf("the file has more than %d octets", MaxFile), Remedy: "leave the certificates in it that are needed"}
	}
	if len(file) > 0 && file[0] == der.Sequence {
		c, err := Parse(file)
		if err != nil {
			return nil, err
		}
		return []*Certificate{c}, nil
	}
	var out []*Certificate
	seen := "no PEM block"
	for rest := file; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" && block.Type != "X509 CERTIFICATE" && block.Type != "TRUSTED CERTIFICATE" {
			seen = "something else than certificates"
			if strings.HasSuffix(block.Type, "PRIVATE KEY") {
				seen = "a private key"
			}
			continue
		}
		body := block.Bytes
		if block.Type == "TRUSTED CERTIFICATE" { // OpenSSL's, with its own data behind
			in := der.Input(body)
			if whole, ok := in.Whole(der.Sequence); ok {
				body = whole
			}
		}
		c, err := Parse(body)
		if err != nil {
			return nil, numbered(len(out)+1, err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, &sign.Error{Reason: sign.Malformed, Detail: "the file holds " + seen + " and no certificate", Remedy: "it must have -----BEGIN CERTIFICATE----- in it"}
	}
	return out, nil
}

func numbered(n int, err error) error {
	if e, ok := err.(*sign.Error); ok {
		return &sign.Error{Reason: e.Reason, Detail: fmt.Sprintf("certificate %d in the file: %s", n, e.Detail), Remedy: e.Remedy}
	}
	return err
}

// Anchors are the certificates whose holders we trust to name others.
type Anchors struct{ certs []*Certificate }

// NewAnchors reads the contents of ca files. Nothing is asked of an anchor but
// that it can be read; what it may issue is checked when a path uses it.
func NewAnchors(files ...[]byte) (*Anchors, error) {
	a := &Anchors{}
	for _, f := range files {
		certs, err := ParseFile(f)
		if err != nil {
			return nil, err
		}
		for _, c := range certs {
			if !a.contains(c) {
				a.certs = append(a.certs, c)
			}
		}
	}
	return a, nil
}

// Certificates are the anchors in the order they were given.
func (a *Anchors) Certificates() []*Certificate { return a.certs }

func (a *Anchors) contains(c *Certificate) bool {
	for _, o := range a.certs {
		if bytes.Equal(o.raw, c.raw) {
			return true
		}
	}
	return false
}

// Request is the Certification Authority field of a CERTREQ payload for X.509:
// the SHA-1 hashes of the anchors' SubjectPublicKeyInfo in a row (RFC 7296
// section 3.7).
func (a *Anchors) Request() []byte {
	var out []byte
	seen := map[[20]byte]bool{}
	for _, c := range a.certs {
		if c.key == nil {
			continue
		}
		if h := c.key.KeyHash(); !seen[h] {
			seen[h] = true
			out = append(out, h[:]...)
		}
	}
	return out
}

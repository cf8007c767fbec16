package cert

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"

	"greseal/crypto/sign"
)

// MaxFile bounds a file of certificates in bytes.
const MaxFile = 1 << 20

// ParseFile reads the certificates of a PEM file, in order, or the one of a DER
// file. Other things in the file, such as a private key, are passed over. No
// certificate at all is an error.
func ParseFile(file []byte) ([]*Certificate, error) {
	certs, bad, err := parseFile(file)
	if err == nil && len(bad) > 0 {
		err = bad[0]
	}
	if err != nil {
		return nil, err
	}
	return certs, nil
}

// parseFile is ParseFile for a file of which some may be unreadable; bad says so
// of each.
func parseFile(file []byte) (certs []*Certificate, bad []error, err error) {
	if len(file) > MaxFile {
		return nil, nil, &sign.Error{Reason: sign.TooLarge, Detail: fmt.Sprintf("the file has more than %d bytes", MaxFile), Remedy: "leave the certificates in it that are needed"}
	}
	if len(file) > 0 && file[0] == byte(der.SEQUENCE) {
		c, err := Parse(file)
		if err != nil {
			return nil, nil, err
		}
		return []*Certificate{c}, nil, nil
	}
	const begin = "-----BEGIN CERTIFICATE-----"
	begun := bytes.Count(append([]byte("\n"), file...), []byte("\n"+begin))
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
		if block.Type == "CERTIFICATE" {
			begun--
		}
		body := block.Bytes
		if block.Type == "TRUSTED CERTIFICATE" { // OpenSSL's, its own data behind
			in := cryptobyte.String(body)
			var first cryptobyte.String
			if in.ReadASN1Element(&first, der.SEQUENCE) {
				body = first
			}
		}
		c, err := Parse(body)
		if err != nil {
			bad = append(bad, numbered(len(certs)+len(bad)+1, bytes.Count(file[:len(file)-len(rest)], []byte("\n")), err))
			continue
		}
		certs = append(certs, c)
	}
	if begun > 0 {
		bad = append(bad, &sign.Error{Reason: sign.Malformed, Detail: fmt.Sprintf("behind %s follows no certificate, %d times: what is there is cut off, or damaged", begin, begun), Remedy: "get the file anew"})
	}
	if len(certs)+len(bad) == 0 {
		return nil, nil, &sign.Error{Reason: sign.Malformed, Detail: "the file holds " + seen + " and no certificate", Remedy: "it must have -----BEGIN CERTIFICATE----- in it"}
	}
	return certs, bad, nil
}

// numbered says which certificate of a file an error is about: a reader finds it
// by its last line.
func numbered(n, line int, err error) error {
	if e, ok := err.(*sign.Error); ok {
		return &sign.Error{Reason: e.Reason, Detail: fmt.Sprintf("certificate %d in the file, to line %d: %s", n, line, e.Detail), Remedy: e.Remedy}
	}
	return err
}

// Anchors are the certificates whose holders we trust to name others.
type Anchors struct {
	certs   []*Certificate
	skipped []Skipped
}

// Skipped is a certificate of a ca file that can't be read, and so is not trusted.
type Skipped struct {
	File int // of those given, from 0
	Err  error
}

// NewAnchors reads the contents of ca files. Nothing is asked of an anchor but
// that it can be read; what it may issue is checked when a path uses it. One that
// can't be read is left out of a file with others: nobody is let in by it, and
// bundles hold some that nobody needs.
func NewAnchors(files ...[]byte) (*Anchors, error) {
	a := &Anchors{}
	for i, f := range files {
		certs, bad, err := parseFile(f)
		if err == nil && len(certs) == 0 {
			err = bad[0]
		}
		if err != nil {
			return nil, err
		}
		for _, err := range bad {
			a.skipped = append(a.skipped, Skipped{i, err})
		}
		for _, c := range certs {
			if !a.contains(c) {
				a.certs = append(a.certs, c)
			}
		}
	}
	return a, nil
}

// Skipped are the certificates that were left out.
func (a *Anchors) Skipped() []Skipped { return a.skipped }

// Certificates are the anchors in the order they were given.
func (a *Anchors) Certificates() []*Certificate { return a.certs }

func (a *Anchors) contains(c *Certificate) bool {
	for _, o := range a.certs {
		if bytes.Equal(o.std.Raw, c.std.Raw) {
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

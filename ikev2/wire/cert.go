package wire

import (
	"errors"
	"fmt"
)

// CertEncoding is a certificate encoding (RFC 7296 section 3.6).
type CertEncoding uint8

// Certificate encodings.
const (
	CertPKCS7      CertEncoding = 1
	CertX509       CertEncoding = 4
	CertCRL        CertEncoding = 7
	CertHashURL    CertEncoding = 12
	CertHashBundle CertEncoding = 13
	CertOCSP       CertEncoding = 14 // RFC 4806
	CertRawKey     CertEncoding = 15 // RFC 7670
)

var encodingNames = [...]string{
	CertPKCS7:      "PKCS #7",
	CertX509:       "X.509",
	CertCRL:        "CRL",
	11:             "raw RSA key",
	CertHashURL:    "hash and URL",
	CertHashBundle: "hash and URL of bundle",
	CertOCSP:       "OCSP",
	CertRawKey:     "raw public key",
}

// String names the encoding.
func (e CertEncoding) String() string { return named(encodingNames[:], e, "encoding") }

// Cert is the Certificate payload (RFC 7296 section 3.6).
type Cert struct {
	Encoding CertEncoding
	Data     []byte
}

// Type is TypeCert.
func (*Cert) Type() PayloadType { return TypeCert }

func parseCert(_ PayloadType, b []byte) (Payload, error) {
	if len(b) < 1 {
		return nil, syntaxf(TypeCert, "body is empty")
	}
	return &Cert{Encoding: CertEncoding(b[0]), Data: b[1:]}, nil
}

// AppendBody appends encoding and data.
func (p *Cert) AppendBody(b []byte) ([]byte, error) {
	return append(append(b, byte(p.Encoding)), p.Data...), nil
}

func (p *Cert) String() string { return fmt.Sprintf("CERT(%s, %d octets)", p.Encoding, len(p.Data)) }

// AuthorityLen is the length of one entry of a CERTREQ for X.509: the SHA-1
// hash of a trust anchor's Subject Public Key Info (RFC 7296 section 3.7).
const AuthorityLen = 20

// CertReq is the Certificate Request payload (RFC 7296 section 3.7).
type CertReq struct {
	Encoding    CertEncoding
	Authorities []byte // hashes of AuthorityLen octets, one after the other
}

// Type is TypeCertReq.
func (*CertReq) Type() PayloadType { return TypeCertReq }

func parseCertReq(_ PayloadType, b []byte) (Payload, error) {
	if len(b) < 1 {
		return nil, syntaxf(TypeCertReq, "body is empty")
	}
	p := &CertReq{Encoding: CertEncoding(b[0]), Authorities: b[1:]}
	if p.Encoding == CertX509 && len(p.Authorities)%AuthorityLen != 0 {
		return nil, syntaxf(TypeCertReq, "%d octets of authorities are no multiple of %d", len(p.Authorities), AuthorityLen)
	}
	return p, nil
}

// AppendBody appends encoding and authorities.
func (p *CertReq) AppendBody(b []byte) ([]byte, error) {
	if p.Encoding == CertX509 && len(p.Authorities)%AuthorityLen != 0 {
		return nil, errors.New("authorities are no multiple of 20 octets")
	}
	return append(append(b, byte(p.Encoding)), p.Authorities...), nil
}

func (p *CertReq) String() string {
	if p.Encoding == CertX509 {
		return fmt.Sprintf("CERTREQ(%s, %d authorities)", p.Encoding, len(p.Authorities)/AuthorityLen)
	}
	return fmt.Sprintf("CERTREQ(%s, %d octets)", p.Encoding, len(p.Authorities))
}

package cert

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"

	"greseal/crypto/sign"
	"greseal/crypto/sign/dn"
	"greseal/crypto/sign/id"
)

// MaxSize bounds a certificate in bytes, before crypto/x509 sees it.
const MaxSize = 16 << 10

// Certificate is an X.509 certificate; it is never changed.
type Certificate struct {
	std    *x509.Certificate
	serial []byte // contents of the INTEGER

	issuerKey, subjectKey string // dn.Key of both

	// What can't be used is only an error once it is needed: a file of
	// authorities may hold some for other purposes.
	key          *sign.PublicKey
	keyErr       error
	algorithm    sign.Algorithm
	algorithmErr error

	addresses []netip.Addr
	directory [][]byte // directoryNames of subjectAltName, in DER
	limits    directoryLimits
}

// Raw is the certificate in DER: the data of a CERT payload. It must not be
// changed, nor must what the other methods return.
func (c *Certificate) Raw() []byte { return c.std.Raw }

// PublicKey is the key, or an *sign.Error when it is of a kind we don't have.
func (c *Certificate) PublicKey() (*sign.PublicKey, error) {
	if c.keyErr != nil {
		return nil, about(c, c.keyErr)
	}
	return c.key, nil
}

// Subject is the subject as an identity, the one to use when no other is
// configured.
func (c *Certificate) Subject() id.ID { return id.ID{Type: id.DN, Data: string(c.std.RawSubject)} }

// Issuer is the issuer's name.
func (c *Certificate) Issuer() id.ID { return id.ID{Type: id.DN, Data: string(c.std.RawIssuer)} }

// Validity is the time the certificate is for, both ends included.
func (c *Certificate) Validity() (notBefore, notAfter time.Time) {
	return c.std.NotBefore, c.std.NotAfter
}

// Serial is the serial number in hexadecimal.
func (c *Certificate) Serial() string { return c.std.SerialNumber.Text(16) }

// SelfSigned reports whether issuer and subject are the same name.
func (c *Certificate) SelfSigned() bool { return c.issuerKey == c.subjectKey }

// String is the quoted subject, or what else tells the certificate apart.
func (c *Certificate) String() string {
	if !dn.Empty(c.std.RawSubject) {
		return fmt.Sprintf("%q", dn.Format(c.std.RawSubject))
	}
	if ids := c.Identities(); len(ids) > 0 {
		return fmt.Sprintf("%q", ids[0].String())
	}
	return "number " + c.Serial() + " of " + dn.Format(c.std.RawIssuer)
}

func malformed(what string) error {
	return &sign.Error{Reason: sign.Malformed, Detail: "the certificate is malformed: " + what, Remedy: "make it anew"}
}

// about says which certificate an error is about.
func about(c *Certificate, err error) error {
	if e, ok := err.(*sign.Error); ok {
		return &sign.Error{Reason: e.Reason, Detail: "certificate " + c.String() + ": " + e.Detail, Remedy: e.Remedy}
	}
	return err
}

// unreadable says why crypto/x509 does not take a certificate.
func unreadable(err error) error {
	what := strings.TrimPrefix(err.Error(), "x509: ")
	switch {
	case strings.Contains(what, "elliptic curve"):
		return &sign.Error{Reason: sign.Unsupported, Detail: "the certificate's key is on a curve that is not supported", Remedy: "issue it for an RSA (2048 bits or more), ECDSA (P-256, P-384 or P-521) or Ed25519 key"}
	case strings.Contains(what, "RDNSequence"):
		return &sign.Error{Reason: sign.Malformed, Detail: "the certificate has a name that can't be read: " + what, Remedy: "issue it with names in UTF8String"}
	}
	return malformed(what)
}

// Parse reads one certificate in DER: the data of a CERT payload with encoding
// 4. The error is an *sign.Error.
func Parse(raw []byte) (*Certificate, error) {
	if len(raw) > MaxSize {
		return nil, &sign.Error{Reason: sign.TooLarge, Detail: fmt.Sprintf("the certificate has %d bytes, more than %d", len(raw), MaxSize), Remedy: "make a smaller one"}
	}
	std, err := x509.ParseCertificate(bytes.Clone(raw))
	if err != nil {
		return nil, unreadable(err)
	}
	c := &Certificate{std: std}
	if err := c.readSigned(); err != nil {
		return nil, err
	}
	if !dn.Valid(std.RawIssuer) || dn.Empty(std.RawIssuer) || !dn.Valid(std.RawSubject) {
		return nil, malformed("its issuer or subject is no name")
	}
	c.issuerKey, c.subjectKey = dn.Key(std.RawIssuer), dn.Key(std.RawSubject)
	c.key, c.keyErr = sign.ParsePublicKey(std.RawSubjectPublicKeyInfo)
	if c.key != nil && std.PublicKey == nil { // for RSASSA-PSS alone, which crypto/x509 does not know
		std.PublicKey, std.PublicKeyAlgorithm = c.key.Std(), x509.RSA
	}
	if err := c.readNames(); err != nil {
		return nil, err
	}
	if _, present := c.extension(extExtendedUsage); present && len(std.ExtKeyUsage)+len(std.UnknownExtKeyUsage) == 0 {
		return nil, malformed("its extended key usage names none")
	}
	return c, c.readLimits()
}

// readSigned reads what crypto/x509 keeps in another form: the signature's
// AlgorithmIdentifier and the serial number as it is written.
func (c *Certificate) readSigned() error {
	var algorithm, serial cryptobyte.String
	outer, tbs := cryptobyte.String(c.std.Raw), cryptobyte.String(c.std.RawTBSCertificate)
	if !outer.ReadASN1(&outer, der.SEQUENCE) || !outer.SkipASN1(der.SEQUENCE) || !outer.ReadASN1Element(&algorithm, der.SEQUENCE) ||
		!tbs.ReadASN1(&tbs, der.SEQUENCE) || !tbs.SkipOptionalASN1(context(0).Constructed()) || !tbs.ReadASN1(&serial, der.INTEGER) {
		return malformed("it is no signed structure")
	}
	c.serial = serial
	c.algorithm, c.algorithmErr = sign.ParseAlgorithm(algorithm)
	if c.algorithmErr == nil && c.std.SignatureAlgorithm == x509.UnknownSignatureAlgorithm {
		c.algorithmErr = &sign.Error{Reason: sign.Unsupported, Detail: fmt.Sprintf("it is signed by %s and a salt of %d bytes, and only a salt as long as the hash is supported", c.algorithm, c.algorithm.Salt),
			Remedy: "issue it with such a salt (openssl: -sigopt rsa_pss_saltlen:digest)"}
	}
	return nil
}

// readNames checks the alternative names, and finds those that are directory
// names.
func (c *Certificate) readNames() error {
	for _, n := range append(c.std.DNSNames[:len(c.std.DNSNames):len(c.std.DNSNames)], c.std.EmailAddresses...) {
		if !isASCII(n) {
			return malformed("an alternative name has characters that it can't have")
		}
	}
	for _, ip := range c.std.IPAddresses {
		a, ok := netip.AddrFromSlice(ip)
		if !ok || a.Is4In6() {
			return malformed("an alternative name is no address")
		}
		c.addresses = append(c.addresses, a)
	}
	value, present := c.extension(extSubjectAltName)
	if !present {
		return nil
	}
	list := cryptobyte.String(value)
	if !list.ReadASN1(&list, der.SEQUENCE) || list.Empty() {
		return malformed("its alternative names")
	}
	for !list.Empty() {
		var name cryptobyte.String
		var tag der.Tag
		if !list.ReadAnyASN1(&name, &tag) || tag == directoryName && !dn.Valid(name) {
			return malformed("its alternative names")
		}
		if tag == directoryName {
			c.directory = append(c.directory, name)
		}
	}
	return nil
}

func isASCII(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// Identities are the names the certificate stands for: its subject, then its
// alternative names.
func (c *Certificate) Identities() []id.ID {
	var out []id.ID
	if !dn.Empty(c.std.RawSubject) {
		out = append(out, c.Subject())
	}
	for _, s := range c.std.DNSNames {
		out = append(out, id.ID{Type: id.FQDN, Data: s})
	}
	for _, s := range c.std.EmailAddresses {
		out = append(out, id.ID{Type: id.RFC822, Data: s})
	}
	for _, a := range c.addresses {
		out = append(out, id.Addr(a))
	}
	for _, n := range c.directory {
		out = append(out, id.ID{Type: id.DN, Data: string(n)})
	}
	return out
}

// Has reports whether the certificate stands for the identity: an address for an
// iPAddress, a domain name for a dNSName, a mail address for an rfc822Name, a
// distinguished name for the subject or a directoryName, each in full (RFC 4945
// section 3.1). A dNSName with a wildcard stands for nobody, nor does a common
// name that looks like a domain.
func (c *Certificate) Has(i id.ID) bool {
	if !i.IsSet() || i.Type == id.FQDN && bytes.Contains([]byte(i.Data), []byte("*")) {
		return false
	}
	for _, own := range c.Identities() {
		if own.Equal(i) {
			return true
		}
	}
	return false
}

// Spelled returns an identity that the certificate has as the certificate spells
// it: peers compare distinguished names more strictly than we do. An identity it
// does not have comes back as it was.
func (c *Certificate) Spelled(i id.ID) id.ID {
	for _, own := range c.Identities() {
		if own.Equal(i) {
			return own
		}
	}
	return i
}

// CheckIdentity is Has with an explanation. whose is "the peer's" or "our".
func (c *Certificate) CheckIdentity(i id.ID, whose string) error {
	if c.Has(i) {
		return nil
	}
	where := "subjectAltName"
	switch i.Type {
	case id.DN:
		where = "subject"
	case id.KeyID:
		return &sign.Error{Reason: sign.NameMismatch, Detail: fmt.Sprintf("%s identity is %s, and no certificate can stand for a key ID", whose, i),
			Remedy: "use an address, domain name, mail address or distinguished name that the certificate has: " + c.listed()}
	}
	return &sign.Error{
		Reason: sign.NameMismatch,
		Detail: fmt.Sprintf("%s identity is %s, and %s certificate has the names %s", whose, i, whose, c.listed()),
		Remedy: fmt.Sprintf("use one of these as identity on both sides, or issue the certificate with %s as %s", i, where),
	}
}

func (c *Certificate) listed() string {
	ids := c.Identities()
	if len(ids) == 0 {
		return "none"
	}
	out := ""
	for n, i := range ids {
		if n == 8 {
			return out + fmt.Sprintf(" and %d more", len(ids)-n)
		}
		if n > 0 {
			out += "; "
		}
		out += i.String()
	}
	return out
}

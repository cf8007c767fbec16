package cert

import (
	"bytes"
	"fmt"
	"math/big"
	"net/netip"
	"time"

	"greseal/crypto/sign"
	"greseal/crypto/sign/dn"
	"greseal/crypto/sign/id"
	"greseal/crypto/sign/internal/der"
)

// MaxSize bounds a certificate in octets.
const MaxSize = 16 << 10

// Certificate is an X.509 certificate; it is never changed.
type Certificate struct {
	raw     []byte
	tbs     []byte
	version int
	serial  []byte // contents of the INTEGER
	issuer  []byte // DER of the Name, as below
	subject []byte

	issuerKey, subjectKey string // dn.Key of both

	notBefore, notAfter time.Time

	// What can't be used is only an error once it is needed: a file of
	// authorities may hold some for other purposes.
	key          *sign.PublicKey
	keyErr       error
	algorithm    sign.Algorithm
	algorithmErr error
	signature    []byte

	extensions
}

// Raw is the certificate in DER: the data of a CERT payload. It must not be
// changed, nor must what the other methods return.
func (c *Certificate) Raw() []byte { return c.raw }

// PublicKey is the key, or an *sign.Error when it is of a kind we don't have.
func (c *Certificate) PublicKey() (*sign.PublicKey, error) {
	if c.keyErr != nil {
		return nil, about(c, c.keyErr)
	}
	return c.key, nil
}

// Subject is the subject as an identity, the one to use when no other is
// configured.
func (c *Certificate) Subject() id.ID { return id.ID{Type: id.DN, Data: string(c.subject)} }

// Issuer is the issuer's name.
func (c *Certificate) Issuer() id.ID { return id.ID{Type: id.DN, Data: string(c.issuer)} }

// Validity is the time the certificate is for, both ends included.
func (c *Certificate) Validity() (notBefore, notAfter time.Time) { return c.notBefore, c.notAfter }

// Serial is the serial number in hexadecimal.
func (c *Certificate) Serial() string { return hexSerial(c.serial) }

// SelfSigned reports whether issuer and subject are the same name.
func (c *Certificate) SelfSigned() bool { return c.issuerKey == c.subjectKey }

// String is the quoted subject, or what else tells the certificate apart.
func (c *Certificate) String() string {
	if !dn.Empty(c.subject) {
		return fmt.Sprintf("%q", dn.Format(c.subject))
	}
	if ids := c.Identities(); len(ids) > 0 {
		return fmt.Sprintf("%q", ids[0].String())
	}
	return "number " + c.Serial() + " of " + dn.Format(c.issuer)
}

func hexSerial(b []byte) string {
	n := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0] >= 0x80 { // two's complement
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return n.Text(16)
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

// Parse reads one certificate in DER: the data of a CERT payload with encoding
// 4. The error is an *sign.Error.
func Parse(raw []byte) (*Certificate, error) {
	if len(raw) > MaxSize {
		return nil, &sign.Error{Reason: sign.TooLarge, Detail: fmt.Sprintf("the certificate has %d octets, more than %d", len(raw), MaxSize), Remedy: "make a smaller one"}
	}
	c := &Certificate{raw: bytes.Clone(raw)}
	outer, ok := der.Only(c.raw, der.Sequence)
	tbs, ok2 := outer.Whole(der.Sequence)
	algorithm, ok3 := outer.Whole(der.Sequence)
	signature, ok4 := outer.Bits()
	if !ok || !ok2 || !ok3 || !ok4 || len(outer) != 0 {
		return nil, malformed("it is no signed structure")
	}
	c.tbs, c.signature = tbs, signature
	in, _ := der.Only(tbs, der.Sequence)
	if in.Is(der.Explicit(0)) {
		v, _ := in.Read(der.Explicit(0))
		// The default, version 1, is left out in DER.
		if c.version, ok = v.Small(); !ok || len(v) != 0 || c.version < 1 || c.version > 2 {
			return nil, malformed("its version is not 1, 2 or 3")
		}
	}
	c.version++
	// Some authorities made negative numbers, which RFC 5280 section 4.1.2.2 wants
	// taken: it only tells one authority's certificates apart.
	if c.serial, ok = in.Signed(); !ok {
		return nil, malformed("it has no serial number")
	}
	if inner, ok := in.Whole(der.Sequence); !ok || !bytes.Equal(inner, algorithm) {
		return nil, malformed("it names two signature algorithms")
	}
	c.algorithm, c.algorithmErr = sign.ParseAlgorithm(algorithm)
	if c.issuer, ok = in.Whole(der.Sequence); !ok || !dn.Valid(c.issuer) || dn.Empty(c.issuer) {
		return nil, malformed("its issuer is no name")
	}
	validity, ok := in.Read(der.Sequence)
	c.notBefore, ok2 = validity.Time()
	c.notAfter, ok3 = validity.Time()
	if !ok || !ok2 || !ok3 || len(validity) != 0 {
		return nil, malformed("its validity is not two times in UTC")
	}
	if c.subject, ok = in.Whole(der.Sequence); !ok || !dn.Valid(c.subject) {
		return nil, malformed("its subject is no name")
	}
	c.issuerKey, c.subjectKey = dn.Key(c.issuer), dn.Key(c.subject)
	spki, ok := in.Whole(der.Sequence)
	if !ok {
		return nil, malformed("it has no public key")
	}
	c.key, c.keyErr = sign.ParsePublicKey(spki)
	for n := byte(1); n <= 2; n++ { // unique identifiers, which nobody uses
		if in.Is(der.Context(n)) && c.version >= 2 {
			if _, ok := in.Read(der.Context(n)); !ok {
				return nil, malformed("a unique identifier")
			}
		}
	}
	c.maxPath = -1
	if in.Is(der.Explicit(3)) && c.version == 3 {
		e, ok := in.Read(der.Explicit(3))
		list, ok2 := der.Only(e, der.Sequence)
		if !ok || !ok2 || len(list) == 0 {
			return nil, malformed("its extensions")
		}
		if err := c.extensions.parse(list); err != nil {
			return nil, err
		}
	}
	if len(in) != 0 {
		return nil, malformed("something follows the extensions")
	}
	return c, nil
}

// Identities are the names the certificate stands for: its subject, then its
// alternative names.
func (c *Certificate) Identities() []id.ID {
	var out []id.ID
	if !dn.Empty(c.subject) {
		out = append(out, c.Subject())
	}
	for _, s := range c.names.dns {
		out = append(out, id.ID{Type: id.FQDN, Data: s})
	}
	for _, s := range c.names.mail {
		out = append(out, id.ID{Type: id.RFC822, Data: s})
	}
	for _, a := range c.names.addresses {
		out = append(out, id.Addr(a))
	}
	for _, n := range c.names.directory {
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

// names are the alternative names of a certificate.
type names struct {
	present   bool
	dns       []string
	mail      []string
	addresses []netip.Addr
	directory [][]byte
	uri       bool // kinds that are not compared, only held to constraints
	other     bool
}

package cert

import (
	"bytes"
	"fmt"
	"time"

	"greseal/crypto/sign"
	"greseal/crypto/sign/id"
)

// Credential is one's own certificate with its intermediates and private key.
type Credential struct {
	chain []*Certificate
	key   *sign.PrivateKey
}

// NewCredential reads the contents of a cert file (own certificate and
// intermediates, in any order) and a key file, and checks that they belong
// together. What can't be used with a peer, such as a usage or a date that is
// over, is for Check, because it can change.
func NewCredential(certFile, keyFile []byte) (*Credential, error) {
	certs, err := ParseFile(certFile)
	if err != nil {
		return nil, prefixed("cert", err)
	}
	key, err := sign.ParsePrivateKey(keyFile)
	if err != nil {
		return nil, prefixed("key", err)
	}
	c := &Credential{key: key}
	for _, o := range certs {
		if o.key != nil && o.key.Equal(key.Public()) {
			c.chain = []*Certificate{o}
			break
		}
	}
	if c.chain == nil {
		if _, err := certs[0].PublicKey(); err != nil {
			return nil, prefixed("cert", err)
		}
		return nil, &sign.Error{
			Reason: sign.KeyMismatch,
			Detail: fmt.Sprintf("key is not the private key of cert: certificate %s is for the %s key %s, and the file has the %s key %s", certs[0],
				certs[0].key, certs[0].key.ShortFingerprint(), key.Public(), key.Public().ShortFingerprint()),
			Remedy: "name the certificate and the key that were made together",
		}
	}
	// Then each one's issuer, as far as the file goes.
	for len(c.chain) < maxPath {
		top := c.chain[len(c.chain)-1]
		var next *Certificate
		for _, o := range issuers(top, certs) {
			if !o.SelfSigned() && !bytes.Equal(o.std.Raw, top.std.Raw) && top.signedBy(o) == nil {
				next = o
				break
			}
		}
		if next == nil || contains(c.chain, next) {
			break
		}
		c.chain = append(c.chain, next)
	}
	return c, nil
}

func contains(chain []*Certificate, c *Certificate) bool {
	for _, o := range chain {
		if o.same(c) {
			return true
		}
	}
	return false
}

func prefixed(what string, err error) error {
	if e, ok := err.(*sign.Error); ok {
		return &sign.Error{Reason: e.Reason, Detail: what + ": " + e.Detail, Remedy: e.Remedy}
	}
	return err
}

// Certificate is the certificate itself.
func (c *Credential) Certificate() *Certificate { return c.chain[0] }

// Key is the private key.
func (c *Credential) Key() *sign.PrivateKey { return c.key }

// Identity is the identity to use when none is configured: the subject, or the
// first alternative name of a certificate without one.
func (c *Credential) Identity() id.ID {
	if ids := c.chain[0].Identities(); len(ids) > 0 {
		return ids[0]
	}
	return id.ID{}
}

// Payloads are the data of the CERT payloads to send, encoding 4: the
// certificate, then its intermediates; a self-signed authority is left out,
// since the peer must have it already.
func (c *Credential) Payloads() [][]byte {
	var out [][]byte
	for _, o := range c.chain {
		out = append(out, o.std.Raw)
	}
	return out
}

// Check reports what a peer would find wrong with the certificate now: its
// dates, its usages, and that it does not have the identity.
func (c *Credential) Check(now time.Time, identity id.ID) error {
	for _, o := range c.chain {
		if err := o.CheckTime(now); err != nil {
			return err
		}
	}
	if err := c.chain[0].checkUse(); err != nil {
		return err
	}
	return c.chain[0].CheckIdentity(identity, "our")
}

// Wanted reports whether a CERTREQ payload for X.509 asks for this certificate:
// authorities is the field of SHA-1 hashes, and known are our own anchors, by
// which a hash gets a name. An empty field asks for any. A certificate that is
// not asked for may be sent all the same (RFC 7296 section 3.7).
func (c *Credential) Wanted(authorities []byte, known *Anchors) bool {
	if len(authorities) == 0 {
		return true
	}
	asked := func(o *Certificate) bool {
		if o.key == nil {
			return false
		}
		h := o.key.KeyHash()
		for rest := authorities; len(rest) >= len(h); rest = rest[len(h):] {
			if bytes.Equal(rest[:len(h)], h[:]) {
				return true
			}
		}
		return false
	}
	for _, o := range c.chain {
		if asked(o) {
			return true
		}
	}
	if known == nil {
		return false
	}
	for _, a := range issuers(c.chain[len(c.chain)-1], known.certs) {
		if asked(a) {
			return true
		}
	}
	return false
}

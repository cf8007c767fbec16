package cert

import (
	"crypto/x509"
	"testing"
	"time"

	"greseal/crypto/sign"
)

// FuzzCertificate: nothing panics, what is read is used in every way there is,
// and nobody gets a path that the authority did not sign.
func FuzzCertificate(f *testing.F) {
	root := issue(f, nil, "root", nil, func(c *x509.Certificate) {
		isCA(c)
		c.PermittedDNSDomains, c.ExcludedDNSDomains, c.PermittedEmailAddresses = []string{"example.net"}, []string{"x.example.net"}, []string{"example.net", ".a", "b@c"}
	})
	leaf := issue(f, root, "moon", nil, namedLeaf)
	f.Add(root.Raw)
	f.Add(leaf.Raw)
	f.Add(issue(f, root, "sun", edKey(f), func(c *x509.Certificate) { namedLeaf(c); c.ExtKeyUsage = []x509.ExtKeyUsage{1, 2} }).Raw)
	f.Add(issue(f, root, "stars", rsaKey(), nil).Raw)
	trust, good := anchors(f, root), leaf.ours(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := Parse(raw)
		if err != nil {
			if e := err.(*sign.Error); e.Reason == 0 || e.Detail == "" {
				t.Fatalf("%v", err)
			}
			return
		}
		for _, i := range c.Identities() {
			_ = c.Has(i)
			_ = c.CheckIdentity(i, "the peer's")
		}
		_, _ = c.String(), c.Serial()
		if chain, err := trust.Verify(c, []*Certificate{c, good}, Options{Time: noon}); err == nil && string(chain.Leaf().Raw()) != string(root.Raw) {
			if err := chain.Leaf().std.CheckSignatureFrom(root.Certificate); err != nil {
				t.Fatalf("%x has a path, and the standard library says %v", raw, err)
			}
		}
		// As an authority nobody meant to be one.
		own := &Anchors{certs: []*Certificate{c}}
		_, _ = own.Verify(good, []*Certificate{c}, Options{Time: noon})
		_ = own.Request()
	})
}

// FuzzCRL: nothing panics, and a list that is read can be looked through.
func FuzzCRL(f *testing.F) {
	root := issue(f, nil, "root", nil, isCA)
	leaf := issue(f, root, "moon", nil, namedLeaf)
	f.Add(root.crl(f, noon, nil))
	f.Add(root.crl(f, noon, nil, revoke(leaf, 1), revoke(root, 0)))
	c, issuer := leaf.ours(f), root.ours(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		l, err := ParseCRL(raw)
		if err != nil {
			if e := err.(*sign.Error); e.Reason == 0 || e.Detail == "" {
				t.Fatalf("%v", err)
			}
			return
		}
		err = (&CRLs{lists: []*CRL{l}}).check(c, issuer, noon.Add(time.Hour))
		if std, stdErr := x509.ParseRevocationList(raw); stdErr == nil {
			if len(std.RevokedCertificateEntries) != l.Len() || !std.NextUpdate.Equal(l.nextUpdate) || !std.ThisUpdate.Equal(l.thisUpdate) {
				t.Fatalf("%d entries, not %d", l.Len(), len(std.RevokedCertificateEntries))
			}
			if err == nil && std.CheckSignatureFrom(root.Certificate) != nil {
				t.Fatalf("%x is good, and the standard library says it is not", raw)
			}
		}
	})
}

// FuzzFile: files of certificates, lists and keys, in PEM or not.
func FuzzFile(f *testing.F) {
	root := issue(f, nil, "root", nil, isCA)
	f.Add(root.pem())
	f.Add(append([]byte("words\n"), root.keyPEM(f)...))
	f.Add(crlPEM(root.crl(f, noon, nil)))
	key := root.keyPEM(f)
	f.Fuzz(func(t *testing.T, file []byte) {
		if a, err := NewAnchors(file); err == nil && len(a.Certificates()) == 0 {
			t.Fatal("no certificate and no error")
		}
		_, _ = NewCRLs(file)
		_, _ = NewCredential(file, key)
	})
}

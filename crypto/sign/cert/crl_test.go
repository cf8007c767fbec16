package cert

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"greseal/crypto/sign"
)

func (a *authority) crl(t testing.TB, this time.Time, change func(*x509.RevocationList), revoked ...x509.RevocationListEntry) []byte {
	t.Helper()
	template := &x509.RevocationList{
		Number: nextSerial(), ThisUpdate: this, NextUpdate: this.AddDate(0, 0, 7), RevokedCertificateEntries: revoked,
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, a.Certificate, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func revoke(a *authority, reason int) x509.RevocationListEntry {
	return x509.RevocationListEntry{SerialNumber: a.SerialNumber, RevocationTime: noon.AddDate(0, 0, -3), ReasonCode: reason}
}

func crlPEM(ders ...[]byte) (out []byte) {
	for _, d := range ders {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: d})...)
	}
	return out
}

func TestRevocationListsAreObeyed(t *testing.T) {
	root := issue(t, nil, "root", nil, isCA)
	sub := issue(t, root, "sub", nil, isCA)
	leaf := issue(t, sub, "moon", nil, namedLeaf)
	good := issue(t, sub, "sun", nil, namedLeaf)
	impostor := issue(t, nil, "sub", nil, isCA)
	noSign := issue(t, root, "sub", sub.key, func(c *x509.Certificate) { isCA(c); c.KeyUsage = x509.KeyUsageCertSign })
	day := noon.AddDate(0, 0, -1)
	rootList := root.crl(t, day, nil)
	subList := sub.crl(t, day, nil)
	verify := func(leaf, via *authority, files ...[]byte) error {
		t.Helper()
		o := Options{Time: noon}
		if files != nil {
			var err error
			if o.CRLs, err = NewCRLs(files...); err != nil {
				t.Fatal(err)
			}
		}
		var err error
		for range 2 { // the second time from what was remembered
			_, err = anchors(t, root).Verify(leaf.ours(t), []*Certificate{via.ours(t)}, o)
		}
		return err
	}
	if err := verify(leaf, sub); err != nil {
		t.Errorf("without lists: %v", err)
	}
	if err := verify(leaf, sub, rootList, subList); err != nil {
		t.Errorf("with clean lists: %v", err)
	}
	if err := verify(leaf, sub, crlPEM(rootList, subList)); err != nil {
		t.Errorf("with clean lists in one file: %v", err)
	}
	revoked := sub.crl(t, day, nil, revoke(root, 0), revoke(leaf, 1))
	wantReason(t, "revoked", verify(leaf, sub, rootList, revoked), sign.Revoked, "2026-06-12 12:00 UTC", "key was compromised", `CN=moon"`, "number "+leaf.SerialNumber.Text(16))
	wantReason(t, "on hold", verify(leaf, sub, rootList, sub.crl(t, day, nil, revoke(leaf, 6))), sign.Revoked, "on hold")
	wantReason(t, "a reason of the future", verify(leaf, sub, rootList, sub.crl(t, day, nil, revoke(leaf, 77))), sign.Revoked, "reason 77")
	wantReason(t, "intermediate revoked", verify(leaf, sub, root.crl(t, day, nil, revoke(sub, 0)), subList), sign.Revoked, `CN=sub"`, "no reason given")
	if err := verify(good, sub, rootList, revoked); err != nil {
		t.Errorf("another one is revoked: %v", err)
	}
	wantReason(t, "no list of the issuer", verify(leaf, sub, rootList), sign.NoRevocation, `no revocation list of its issuer "C=CH, O=example, CN=sub"`, "leave crl out")
	empty, err := NewCRLs()
	if err != nil {
		t.Fatal(err)
	}
	_, err = anchors(t, root).Verify(leaf.ours(t), []*Certificate{sub.ours(t)}, Options{Time: noon, CRLs: empty})
	wantReason(t, "a policy without lists", err, sign.NoRevocation)
	wantReason(t, "out of date", verify(leaf, sub, rootList, sub.crl(t, noon.AddDate(0, 0, -8), nil)), sign.NoRevocation, "out of date", "2026-06-14 12:00 UTC")
	wantReason(t, "from the future", verify(leaf, sub, rootList, sub.crl(t, noon.AddDate(0, 0, 1), nil)), sign.NoRevocation, "clock")
	wantReason(t, "forged", verify(leaf, sub, rootList, impostor.crl(t, day, nil)), sign.NoRevocation, "not signed by the key")
	wantReason(t, "authority may not sign lists", verify(leaf, noSign, rootList, subList), sign.NoRevocation, "cRLSign")
	// A newer list counts, whichever comes first; a forged one beside it does no harm.
	newer := sub.crl(t, day.Add(time.Hour), nil, revoke(leaf, 4))
	wantReason(t, "newer list last", verify(leaf, sub, rootList, subList, newer), sign.Revoked, "superseded")
	wantReason(t, "newer list first", verify(leaf, sub, newer, rootList, impostor.crl(t, noon, nil), subList), sign.Revoked)
}

func TestListsThatAreOnlyAPartAreRefused(t *testing.T) {
	root := issue(t, nil, "root", nil, isCA)
	distributionPoint := func(c *x509.RevocationList) {
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: []byte{0x30, 3, 0x81, 1, 0xff}}}
	}
	_, err := NewCRLs(root.crl(t, noon, distributionPoint))
	wantReason(t, "issuing distribution point", err, sign.CriticalUnknown, "2.5.29.28", `complete list`)
	indirect := x509.RevocationListEntry{SerialNumber: big.NewInt(5), RevocationTime: noon,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 29}, Critical: true, Value: []byte{0x30, 0}}}}
	_, err = NewCRLs(root.crl(t, noon, nil, indirect))
	wantReason(t, "indirect", err, sign.CriticalUnknown, "2.5.29.29")
	for _, critical := range []bool{true, false} {
		extension := func(oid int, value ...byte) pkix.Extension {
			return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, oid}, Critical: critical, Value: value}
		}
		for name, e := range map[string]pkix.Extension{
			"delta CRL indicator":        extension(27, 2, 1, 1),
			"distributionPoint":          extension(28, 0x30, 11, 0xa0, 9, 0xa0, 7, 0x86, 5, 'x', ':', '/', '/', 'y'),
			"onlyContainsUserCerts":      extension(28, 0x30, 3, 0x81, 1, 0xff),
			"onlyContainsCACerts":        extension(28, 0x30, 3, 0x82, 1, 0xff),
			"onlySomeReasons":            extension(28, 0x30, 4, 0x83, 2, 6, 0x40),
			"indirectCRL":                extension(28, 0x30, 3, 0x84, 1, 0xff),
			"onlyContainsAttributeCerts": extension(28, 0x30, 3, 0x85, 1, 0xff),
		} {
			// Behind another extension, as they come from real authorities.
			raw := root.crl(t, noon, func(c *x509.RevocationList) { c.ExtraExtensions = []pkix.Extension{e} })
			_, err = NewCRLs(raw)
			wantReason(t, name, err, sign.CriticalUnknown, e.Id.String(), "CN=root", "no complete one", "complete list")
		}
		indirect.ExtraExtensions[0].Critical = critical
		_, err = NewCRLs(root.crl(t, noon, nil, revoke(root, 1), indirect))
		wantReason(t, "an entry of another authority", err, sign.CriticalUnknown, "2.5.29.29", "other authorities", "complete list")
	}
	_, err = NewCRLs(root.crl(t, noon, nil, revoke(root, 8)))
	wantReason(t, "removeFromCRL", err, sign.CriticalUnknown, "removeFromCRL", "complete list")
	fresh := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 46}, Value: []byte{0x30, 0}}
	if _, err = NewCRLs(root.crl(t, noon, func(c *x509.RevocationList) { c.ExtraExtensions = []pkix.Extension{fresh} })); err != nil {
		t.Errorf("a complete list that names its delta: %v", err)
	}
	_, err = NewCRLs([]byte("nothing here"))
	wantReason(t, "no list", err, sign.Malformed, "X509 CRL")
	_, err = NewCRLs(root.pem())
	wantReason(t, "a certificate", err, sign.Malformed, "no revocation list")
	_, err = NewCRLs(make([]byte, MaxCRLFile+1))
	wantReason(t, "too large", err, sign.TooLarge)
	whole := root.crl(t, noon, nil, revoke(root, 0))
	for n := range len(whole) {
		if _, err := ParseCRL(whole[:n]); err == nil {
			t.Fatalf("a list cut to %d octets was read", n)
		}
	}
}

func TestLargeListCostsNoMoreThanItsOctets(t *testing.T) {
	root := issue(t, nil, "root", nil, isCA)
	leaf := issue(t, root, "moon", nil, namedLeaf)
	var many []x509.RevocationListEntry
	for i := range int64(20000) {
		many = append(many, x509.RevocationListEntry{SerialNumber: big.NewInt(1<<40 + i), RevocationTime: noon, ReasonCode: 1})
	}
	l, err := NewCRLs(root.crl(t, noon, nil, append(many, revoke(leaf, 1))...))
	if err != nil {
		t.Fatal(err)
	}
	if n := l.Lists()[0].Len(); n != 20001 {
		t.Errorf("%d entries", n)
	}
	c, issuer := leaf.ours(t), root.ours(t)
	if err := l.check(c, issuer, noon); err == nil {
		t.Error("not found among many")
	}
	if allocs := testing.AllocsPerRun(3, func() { _ = l.check(c, issuer, noon) }); allocs > 100 {
		t.Errorf("looking it up takes %.0f allocations", allocs)
	}
	this, next := l.Lists()[0].Updates()
	if !this.Equal(noon) || !next.Equal(noon.AddDate(0, 0, 7)) || l.Lists()[0].Issuer() != "C=CH, O=example, CN=root" {
		t.Errorf("%s: %s to %s", l.Lists()[0].Issuer(), this, next)
	}
}

func TestCredentialIsCertificateAndItsKey(t *testing.T) {
	root := issue(t, nil, "root", nil, isCA)
	one := issue(t, root, "one", nil, isCA)
	two := issue(t, one, "two", nil, isCA)
	leaf := issue(t, two, "moon", edKey(t), namedLeaf)
	other := issue(t, root, "sun", nil, namedLeaf)
	file := bytes.Join([][]byte{root.pem(), one.pem(), leaf.pem(), two.pem()}, []byte("some words between\n"))
	c, err := NewCredential(file, leaf.keyPEM(t))
	if err != nil {
		t.Fatal(err)
	}
	var sent []string
	for _, p := range c.Payloads() {
		x, err := Parse(p)
		if err != nil {
			t.Fatal(err)
		}
		sent = append(sent, x.String())
	}
	if got := strings.Join(sent, " "); got != `"C=CH, O=example, CN=moon" "C=CH, O=example, CN=two" "C=CH, O=example, CN=one"` {
		t.Errorf("sends %s", got)
	}
	if c.Identity().String() != "C=CH, O=example, CN=moon" || c.Key().Public().Kind() != sign.Ed25519 {
		t.Errorf("%s, %s", c.Identity(), c.Key())
	}
	if err := c.Check(noon, c.Identity()); err != nil {
		t.Error(err)
	}
	wantReason(t, "own identity", c.Check(noon, identity(t, "sun.example.net")), sign.NameMismatch, "our identity")
	wantReason(t, "own date", c.Check(noon.AddDate(3, 0, 0), c.Identity()), sign.Expired)
	alone, err := NewCredential(issue(t, nil, "alone", leaf.key, namedLeaf).pem(), leaf.keyPEM(t))
	if err != nil || len(alone.Payloads()) != 1 {
		t.Errorf("self-signed: %v", err)
	}

	for name, v := range map[string]struct {
		cert, key []byte
		reason    sign.Reason
		words     string
	}{
		"another key":   {leaf.pem(), other.keyPEM(t), sign.KeyMismatch, "key is not the private key of cert"},
		"files swapped": {leaf.keyPEM(t), leaf.pem(), sign.Malformed, "cert: the file holds a private key"},
		"no key":        {leaf.pem(), leaf.pem(), sign.Malformed, "no private key"},
		"nothing":       {nil, nil, sign.Malformed, "no certificate"},
		"a broken one inside": {append(leaf.pem(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{0x30, 0}})...),
			leaf.keyPEM(t), sign.Malformed, "certificate 2 in the file"},
		"too large": {make([]byte, MaxFile+1), leaf.keyPEM(t), sign.TooLarge, "1048576 bytes"},
	} {
		_, err := NewCredential(v.cert, v.key)
		wantReason(t, name, err, v.reason, v.words)
	}
}

func TestCertReqNamesAuthoritiesByKeyHash(t *testing.T) {
	root := issue(t, nil, "root", nil, isCA)
	sub := issue(t, root, "sub", nil, isCA)
	stranger := issue(t, nil, "stranger", nil, isCA)
	leaf := issue(t, sub, "moon", nil, namedLeaf)
	plain := issue(t, stranger, "sun", nil, namedLeaf)
	known := anchors(t, root, stranger)
	long, err := NewCredential(append(leaf.pem(), sub.pem()...), leaf.keyPEM(t))
	if err != nil {
		t.Fatal(err)
	}
	short, err := NewCredential(plain.pem(), plain.keyPEM(t))
	if err != nil {
		t.Fatal(err)
	}
	all := known.Request()
	hash := root.ours(t).key.KeyHash()
	if len(all) != 40 || !bytes.Equal(all[:20], hash[:]) {
		t.Fatalf("asks for %x", all)
	}
	nobody := make([]byte, 20)
	for _, c := range []struct {
		name  string
		who   *Credential
		field []byte
		known *Anchors
		want  bool
	}{
		{"any", long, nil, nil, true},
		{"the root, known here", long, all[:20], known, true},
		{"the root, not known here", long, all[:20], nil, false},
		{"the intermediate", long, anchors(t, sub).Request(), nil, true},
		{"another authority", long, all[20:], known, false},
		{"nobody we know", long, nobody, known, false},
		{"nobody, then the root", long, append(nobody, all...), known, true},
		{"the other credential", short, all[20:], known, true},
		{"cut off", short, all[20:39], known, false},
	} {
		if got := c.who.Wanted(c.field, c.known); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	again, err := NewAnchors(root.pem(), root.pem(), root.Raw)
	if err != nil || len(again.Certificates()) != 1 || len(again.Request()) != 20 {
		t.Errorf("one authority three times: %v", err)
	}
}

package cert

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net"
	"testing"
	"time"

	"greseal/crypto/sign"
	"greseal/crypto/sign/id"
)

func TestPathIsFoundOverIntermediatesInAnyOrder(t *testing.T) {
	for name, key := range map[string]func() crypto.Signer{
		"ECDSA":   func() crypto.Signer { return ecKey(t) },
		"RSA":     func() crypto.Signer { return rsaKey() },
		"Ed25519": func() crypto.Signer { return edKey(t) },
	} {
		t.Run(name, func(t *testing.T) {
			root := issue(t, nil, "root", key(), isCA)
			one := issue(t, root, "one", ecKey(t), isCA)
			two := issue(t, one, "two", edKey(t), isCA)
			leaf := issue(t, two, "moon", key(), namedLeaf)
			stray := issue(t, nil, "stray", nil, isCA)
			for _, others := range [][]*Certificate{
				{two.ours(t), one.ours(t)},
				{one.ours(t), two.ours(t)},
				{stray.ours(t), one.ours(t), leaf.ours(t), two.ours(t), root.ours(t)},
			} {
				chain, err := anchors(t, stray, root).Verify(leaf.ours(t), others, Options{Time: noon})
				if err != nil {
					t.Fatal(err)
				}
				if len(chain) != 4 || chain.Leaf().String() != `"C=CH, O=example, CN=moon"` || chain[3].String() != `"C=CH, O=example, CN=root"` {
					t.Errorf("path %v", chain)
				}
				if !chain.Expires().Equal(noon.AddDate(1, 0, 0)) {
					t.Errorf("expires %s", chain.Expires())
				}
			}
			// An intermediate that is trusted itself ends the path.
			if chain, err := anchors(t, two).Verify(leaf.ours(t), nil, Options{Time: noon}); err != nil || len(chain) != 2 {
				t.Errorf("with an intermediate as anchor: %v, %v", chain, err)
			}
			// So does the peer's certificate.
			if chain, err := anchors(t, leaf).Verify(leaf.ours(t), nil, Options{Time: noon}); err != nil || len(chain) != 1 {
				t.Errorf("with the certificate as anchor: %v, %v", chain, err)
			}
		})
	}
}

func TestFaultsOfAPath(t *testing.T) {
	root := issue(t, nil, "root", nil, isCA)
	sub := issue(t, root, "sub", nil, isCA)
	other := issue(t, nil, "other", nil, isCA)
	impostor := issue(t, nil, "root", nil, isCA) // the same name, another key
	with := func(by *authority, change func(*x509.Certificate)) *authority {
		return issue(t, by, "moon", nil, func(c *x509.Certificate) {
			namedLeaf(c)
			if change != nil {
				change(c)
			}
		})
	}
	leaf := with(sub, nil)
	eku := func(list ...x509.ExtKeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtKeyUsage = list }
	}
	ca := func(change func(*x509.Certificate)) *authority {
		return issue(t, root, "sub", nil, func(c *x509.Certificate) { isCA(c); change(c) })
	}
	noCA := ca(func(c *x509.Certificate) { c.IsCA = false })
	noSign := ca(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign })
	codeCA := ca(eku(x509.ExtKeyUsageCodeSigning))
	short := ca(func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true })
	subsub := issue(t, short, "subsub", nil, isCA)
	oldCA := ca(func(c *x509.Certificate) { c.NotAfter = noon.Add(-time.Minute) })
	critical := func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}}
	}
	limited := ca(func(c *x509.Certificate) {
		c.PermittedDNSDomainsCritical, c.PermittedDNSDomains = true, []string{"example.com"}
	})

	for _, c := range []struct {
		name   string
		leaf   *authority
		others []*authority
		anchor *authority
		at     time.Time
		reason sign.Reason
		words  []string
	}{
		{"good", leaf, []*authority{sub}, root, noon, 0, nil},
		{"no time", leaf, []*authority{sub}, root, time.Time{}, sign.NoClock, []string{"clock"}},
		{"first second", leaf, []*authority{sub}, root, leaf.NotBefore, 0, nil},
		{"last second", leaf, []*authority{sub}, root, leaf.NotAfter, 0, nil},
		{"too early", leaf, []*authority{sub}, root, leaf.NotBefore.Add(-time.Second), sign.NotYetValid, []string{"2025-06-15 12:00", "clock"}},
		{"a clock that was never set", leaf, []*authority{sub}, root, time.Unix(3, 0), sign.NotYetValid, []string{"1970-01-01 00:00 UTC"}},
		{"too late", leaf, []*authority{sub}, root, leaf.NotAfter.Add(time.Second), sign.Expired, []string{"expired since 2027-06-15 12:00 UTC", "renew"}},
		{"intermediate too late", with(oldCA, nil), []*authority{oldCA}, root, noon, sign.Expired, []string{`CN=sub"`}},
		{"intermediate not sent", leaf, nil, root, noon, sign.UnknownIssuer, []string{`issued by "C=CH, O=example, CN=sub"`, `CN=root"`, "intermediate"}},
		{"authority not trusted", leaf, []*authority{sub}, other, noon, sign.UnknownIssuer, []string{`issued by "C=CH, O=example, CN=root"`, `ca has "C=CH, O=example, CN=other"`}},
		{"self-signed", issue(t, nil, "moon", nil, namedLeaf), nil, root, noon, sign.UnknownIssuer, []string{"add that certificate to ca"}},
		{"authority with a new key", leaf, []*authority{sub}, impostor, noon, sign.BadSignature, []string{"not signed by the key", `CN=root"`}},
		{"issuer is no authority", with(noCA, nil), []*authority{noCA}, root, noon, sign.NotAuthority, []string{"basic constraints"}},
		{"peer's own certificate used as authority", issue(t, leaf, "evil", nil, namedLeaf), []*authority{leaf, sub}, root, noon, sign.NotAuthority, []string{`CN=moon"`}},
		{"issuer may not sign certificates", with(noSign, nil), []*authority{noSign}, root, noon, sign.NotAuthority, []string{"keyCertSign"}},
		{"issuer for code", with(codeCA, nil), []*authority{codeCA}, root, noon, sign.NotAuthority, []string{"extended key usage"}},
		{"path too long", with(subsub, nil), []*authority{subsub, short}, root, noon, sign.NotAuthority, []string{"path length"}},
		{"path just long enough", with(short, nil), []*authority{short}, root, noon, 0, nil},
		{"unknown critical extension", with(sub, critical), []*authority{sub}, root, noon, sign.CriticalUnknown, []string{"1.2.3.4"}},
		{"name constraint", with(limited, nil), []*authority{limited}, root, noon, sign.NameConstraint, []string{"gw.example.net", `CN=sub"`}},
		{"key for encryption", with(sub, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }), []*authority{sub}, root, noon, sign.Usage, []string{"digitalSignature"}},
		{"nonRepudiation", with(sub, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageContentCommitment }), []*authority{sub}, root, noon, 0, nil},
		{"no key usage", with(sub, func(c *x509.Certificate) { c.KeyUsage = 0 }), []*authority{sub}, root, noon, 0, nil},
		{"code signing", with(sub, eku(x509.ExtKeyUsageCodeSigning)), []*authority{sub}, root, noon, sign.Usage, []string{"extended key usage"}},
		{"server", with(sub, eku(x509.ExtKeyUsageServerAuth)), []*authority{sub}, root, noon, 0, nil},
		{"client", with(sub, eku(x509.ExtKeyUsageClientAuth)), []*authority{sub}, root, noon, 0, nil},
		{"any", with(sub, eku(x509.ExtKeyUsageAny)), []*authority{sub}, root, noon, 0, nil},
		{"IPsec tunnel and code", with(sub, eku(x509.ExtKeyUsageCodeSigning, x509.ExtKeyUsageIPSECTunnel)), []*authority{sub}, root, noon, 0, nil},
		{"IKE intermediate", with(sub, func(c *x509.Certificate) {
			c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 8, 2, 2}}
		}), []*authority{sub}, root, noon, 0, nil},
		{"ipsecIKE", with(sub, func(c *x509.Certificate) {
			c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 17}}
		}), []*authority{sub}, root, noon, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var others []*Certificate
			for _, o := range c.others {
				others = append(others, o.ours(t))
			}
			_, err := anchors(t, c.anchor).Verify(c.leaf.ours(t), others, Options{Time: c.at})
			if c.reason == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantReason(t, c.name, err, c.reason, c.words...)
		})
	}
}

func TestFloodOfCertificatesIsBounded(t *testing.T) {
	root := issue(t, nil, "root", nil, isCA)
	fake := issue(t, nil, "root", nil, isCA)
	leaf := issue(t, root, "moon", nil, namedLeaf).ours(t)
	var many []*Certificate
	for range MaxReceived {
		many = append(many, leaf)
	}
	_, err := anchors(t, root).Verify(leaf, many, Options{Time: noon})
	wantReason(t, "too many", err, sign.TooLarge, "13 certificates")

	// A thicket of authorities that all have each other's name: the search ends.
	var thicket []*Certificate
	for range MaxReceived - 1 {
		thicket = append(thicket, issue(t, fake, "root", nil, isCA).ours(t))
	}
	s := search{anchors: anchors(t, issue(t, nil, "elsewhere", nil, isCA)), others: thicket, options: Options{Time: noon}}
	s.extend(Chain{leaf})
	if s.found != nil || s.steps > 256 || s.paths != 0 {
		t.Errorf("%d steps, %d paths", s.steps, s.paths)
	}
	s = search{anchors: anchors(t, fake), others: thicket, options: Options{Time: noon}}
	s.extend(Chain{leaf})
	if s.found != nil || s.paths > maxPaths {
		t.Errorf("%d paths, found %v", s.paths, s.found)
	}
	if _, err := Parse(make([]byte, MaxSize+1)); err == nil {
		t.Error("a certificate of any size was read")
	}
}

func TestCertificateStandsForItsNames(t *testing.T) {
	root := issue(t, nil, "root", nil, isCA)
	c := issue(t, root, "moon", nil, namedLeaf).ours(t)
	for s, want := range map[string]bool{
		"gw.example.net":                      true,
		"GW.Example.NET":                      true,
		"example.net":                         false,
		"x.wild.example.net":                  false, // wildcards in certificates stand for nobody
		"*.wild.example.net":                  false,
		"moon":                                false, // nor does a common name
		"Ops@EXAMPLE.net":                     true,
		"ops@example.net":                     false, // the local part has case
		"192.0.2.1":                           true,
		"192.0.2.2":                           false,
		"2001:db8::1":                         true,
		"C=CH, O=example, CN=moon":            true,
		"c=ch, o=EXAMPLE,   cn=Moon":          true,
		"/C=CH/O=example/CN=moon":             true,
		"CN=moon, O=example, C=CH":            false,
		"C=CH, O=example":                     false,
		"C=CH, O=example, CN=*":               false,
		"keyid:gw.example.net":                false,
		"email:gw.example.net":                false,
		"fqdn:192.0.2.1":                      false,
		"C=CH, O=example, CN=moon, CN=moon":   false,
		"C=CH, O=example, CN=moon+O=example2": false,
	} {
		i := identity(t, s)
		if c.Has(i) != want || (c.CheckIdentity(i, "the peer's") == nil) != want {
			t.Errorf("%s: %v, want %v", s, c.Has(i), want)
		}
	}
	if c.Has(id.ID{}) {
		t.Error("it stands for an identity that was not set")
	}
	wantReason(t, "another name", c.CheckIdentity(identity(t, "hq.example.net"), "the peer's"), sign.NameMismatch,
		"the peer's identity is hq.example.net", "C=CH, O=example, CN=moon; gw.example.net", "192.0.2.1", "subjectAltName")
	wantReason(t, "a key ID", c.CheckIdentity(identity(t, "keyid:x"), "our"), sign.NameMismatch, "our identity", "key ID")

	for s, want := range map[string]bool{
		"*": true, "*.example.net": true, "*.net": true, "*.example.com": false, "*@example.net": true, "*@example.com": false,
		"192.0.2.0/24": true, "198.51.100.0/24": false, "C=CH, O=example, CN=*": true, "C=CH, O=*, CN=*": true, "C=*, CN=*": false,
		"*.wild.example.net": false,
	} {
		p, err := id.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.CheckPattern(p); (err == nil) != want {
			t.Errorf("%s: %v, want %v", s, err, want)
		}
	}
	if got := c.Spelled(identity(t, "cn=x")); got != identity(t, "cn=x") {
		t.Errorf("a foreign name became %s", got)
	}
	if got := c.Spelled(identity(t, "c=ch, o=EXAMPLE, cn=moon")); got != c.Subject() {
		t.Errorf("its own name is spelled %s", got)
	}
}

func TestCommonNameAloneIsEnoughForADistinguishedName(t *testing.T) {
	root := issue(t, nil, "root", nil, isCA)
	c := issue(t, root, "moon", nil, nil).ours(t)
	if err := c.CheckIdentity(identity(t, "C=CH, O=example, CN=moon"), "the peer's"); err != nil {
		t.Error(err)
	}
	wantReason(t, "no alternative names", c.CheckIdentity(identity(t, "moon"), "the peer's"), sign.NameMismatch, "names C=CH, O=example, CN=moon")
	// And without a subject the alternative names are.
	bare := issue(t, root, "", nil, func(c *x509.Certificate) { c.Subject = pkix.Name{}; namedLeaf(c) }).ours(t)
	if bare.String() != `"gw.example.net"` || len(bare.Identities()) != 5 {
		t.Errorf("%s: %v", bare, bare.Identities())
	}
}

func TestNameConstraintsHoldForEachKindOfName(t *testing.T) {
	_, net10, _ := net.ParseCIDR("10.0.0.0/8")
	_, net6, _ := net.ParseCIDR("2001:db8::/32")
	for _, c := range []struct {
		name  string
		limit func(*x509.Certificate)
		leaf  func(*x509.Certificate)
		good  bool
	}{
		{"inside", func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"example.net"} }, func(c *x509.Certificate) { c.DNSNames = []string{"a.b.example.net", "example.net"} }, true},
		{"one of two outside", func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"example.net"} }, func(c *x509.Certificate) { c.DNSNames = []string{"a.example.net", "example.com"} }, false},
		{"not at a dot", func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"example.net"} }, func(c *x509.Certificate) { c.DNSNames = []string{"badexample.net"} }, false},
		{"excluded", func(c *x509.Certificate) { c.ExcludedDNSDomains = []string{"Example.net"} }, func(c *x509.Certificate) { c.DNSNames = []string{"a.EXAMPLE.net"} }, false},
		{"leading dot", func(c *x509.Certificate) { c.PermittedDNSDomains = []string{".example.net"} }, func(c *x509.Certificate) { c.DNSNames = []string{"example.net"} }, false},
		{"other kinds are free", func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"example.net"} }, func(c *x509.Certificate) { c.EmailAddresses = []string{"a@example.com"} }, true},
		{"address inside", func(c *x509.Certificate) { c.PermittedIPRanges = []*net.IPNet{net10, net6} }, func(c *x509.Certificate) {
			c.IPAddresses = []net.IP{net.IPv4(10, 1, 2, 3), net.ParseIP("2001:db8::1")}
		}, true},
		{"address outside", func(c *x509.Certificate) { c.PermittedIPRanges = []*net.IPNet{net10} }, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 1)} }, false},
		{"address excluded", func(c *x509.Certificate) { c.ExcludedIPRanges = []*net.IPNet{net6} }, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.ParseIP("2001:db8::1")} }, false},
		{"mailbox", func(c *x509.Certificate) { c.PermittedEmailAddresses = []string{"a@example.net"} }, func(c *x509.Certificate) { c.EmailAddresses = []string{"a@example.net"} }, true},
		{"another mailbox", func(c *x509.Certificate) { c.PermittedEmailAddresses = []string{"a@example.net"} }, func(c *x509.Certificate) { c.EmailAddresses = []string{"b@example.net"} }, false},
		{"mail host", func(c *x509.Certificate) { c.PermittedEmailAddresses = []string{"example.net"} }, func(c *x509.Certificate) { c.EmailAddresses = []string{"b@x.example.net"} }, false},
		{"mail below", func(c *x509.Certificate) { c.PermittedEmailAddresses = []string{".example.net"} }, func(c *x509.Certificate) { c.EmailAddresses = []string{"b@x.example.net"} }, true},
	} {
		root := issue(t, nil, "root", nil, isCA)
		sub := issue(t, root, "sub", nil, func(x *x509.Certificate) { isCA(x); x.PermittedDNSDomainsCritical = true; c.limit(x) })
		deep := issue(t, sub, "deep", nil, isCA)
		leaf := issue(t, deep, "moon", nil, c.leaf)
		others := []*Certificate{sub.ours(t), deep.ours(t)}
		_, err := anchors(t, root).Verify(leaf.ours(t), others, Options{Time: noon})
		if c.good && err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if !c.good {
			wantReason(t, c.name, err, sign.NameConstraint)
		}
		// The constraints of an anchor count too.
		if _, err2 := anchors(t, sub).Verify(leaf.ours(t), others[1:], Options{Time: noon}); (err2 == nil) != (err == nil) {
			t.Errorf("%s, as anchor: %v", c.name, err2)
		}
	}
}

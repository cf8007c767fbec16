package cert

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"testing"
	"time"
)

// alike holds what we read out of a certificate to what crypto/x509 reads, when
// both can. (It also looks into keys, addresses and extensions that we leave
// until they are needed, and so refuses some that we can still read.)
func alike(t *testing.T, raw []byte) {
	t.Helper()
	c, err := Parse(raw)
	if err != nil {
		return
	}
	std, err := x509.ParseCertificate(raw)
	if err != nil {
		return
	}
	if !c.notBefore.Equal(std.NotBefore) || !c.notAfter.Equal(std.NotAfter) {
		t.Errorf("valid %s to %s, not %s to %s", c.notBefore, c.notAfter, std.NotBefore, std.NotAfter)
	}
	if new(big.Int).SetBytes(c.serial).Cmp(std.SerialNumber) != 0 {
		t.Errorf("serial %x, not %x", c.serial, std.SerialNumber)
	}
	if string(c.issuer) != string(std.RawIssuer) || string(c.subject) != string(std.RawSubject) || string(c.tbs) != string(std.RawTBSCertificate) {
		t.Error("another name or body")
	}
	if c.version != std.Version || c.ca != std.IsCA {
		t.Errorf("version %d, CA %v, not %d, %v", c.version, c.ca, std.Version, std.IsCA)
	}
	if c.hasUsage && x509.KeyUsage(c.usage)&0x1ff != std.KeyUsage&0x1ff {
		t.Errorf("key usage %x, not %x", c.usage, std.KeyUsage)
	}
	if len(c.names.dns) != len(std.DNSNames) || len(c.names.addresses) != len(std.IPAddresses) || len(c.names.mail) != len(std.EmailAddresses) {
		t.Errorf("names %+v, not %v %v %v", c.names, std.DNSNames, std.IPAddresses, std.EmailAddresses)
	}
	if std.IsCA && std.BasicConstraintsValid && (c.maxPath >= 0) != (std.MaxPathLen > 0 || std.MaxPathLenZero) {
		t.Errorf("path length %d, not %d", c.maxPath, std.MaxPathLen)
	}
	if n := len(std.ExtKeyUsage) + len(std.UnknownExtKeyUsage); len(c.purposes) != n {
		t.Errorf("%d purposes, not %d", len(c.purposes), n)
	}
}

// Paths made at random, with faults of all kinds: what we accept crypto/x509
// accepts, and the reverse.
func TestPathsAreJudgedAsTheStandardLibraryDoes(t *testing.T) {
	r := mathrand.New(mathrand.NewPCG(1, 2))
	maybe := func(percent int) bool { return r.IntN(100) < percent }
	_, net10, _ := net.ParseCIDR("10.0.0.0/8")
	domains := []string{"example.net", "a.example.net", "example.com"}
	key := func() ed25519.PrivateKey {
		seed := make([]byte, 32)
		for i := range seed {
			seed[i] = byte(r.Uint32())
		}
		return ed25519.NewKeyFromSeed(seed)
	}
	both, refused := 0, 0
	for range 500 {
		depth := 1 + r.IntN(4)
		list := []*authority{issue(t, nil, "root", key(), isCA)}
		for d := range depth {
			last := d == depth-1
			// No name twice in a row: self-issued authorities don't count for
			// path lengths (RFC 5280 section 6.1.4 l), but there they do.
			name := []string{"a", "b", "root"}[(d+r.IntN(2))%3]
			if name == list[d].Subject.CommonName {
				name = "c"
			}
			by := list[len(list)-1]
			if maybe(4) {
				forger := *by.Certificate
				forger.PublicKey = nil // CreateCertificate would compare it with the key
				by = &authority{&forger, key()}
			}
			template := func(c *x509.Certificate) {
				switch {
				case !last && maybe(95):
					isCA(c)
					if maybe(20) {
						c.MaxPathLen, c.MaxPathLenZero = r.IntN(3), true
					}
					if maybe(20) {
						c.PermittedDNSDomains = domains[:1+r.IntN(2)]
					}
					if maybe(10) {
						c.ExcludedDNSDomains = domains[1:2]
					}
					if maybe(10) {
						c.ExcludedIPRanges = []*net.IPNet{net10}
					}
					if maybe(5) {
						c.KeyUsage = x509.KeyUsageCRLSign
					}
				case last:
					c.DNSNames = domains[r.IntN(3):][:1]
					if maybe(30) {
						c.IPAddresses = []net.IP{net.IPv4(byte(10+r.IntN(2)), 0, 0, 1)}
					}
				}
				if maybe(4) {
					c.NotAfter = noon.Add(-time.Second)
				}
				if maybe(4) {
					c.NotBefore = noon.Add(time.Second)
				}
			}
			k := key()
			x := &x509.Certificate{SerialNumber: nextSerial(), NotBefore: noon.AddDate(-1, 0, 0), NotAfter: noon.AddDate(1, 0, 0)}
			x.Subject.CommonName = name
			template(x)
			der, err := x509.CreateCertificate(rand.Reader, x, by.Certificate, k.Public(), by.key)
			if err != nil {
				t.Fatal(err)
			}
			c, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			alike(t, der)
			list = append(list, &authority{c, k})
		}
		roots, inter := x509.NewCertPool(), x509.NewCertPool()
		roots.AddCert(list[0].Certificate)
		var others []*Certificate
		for _, a := range list[1 : len(list)-1] {
			inter.AddCert(a.Certificate)
			others = append(others, a.ours(t))
		}
		leaf := list[len(list)-1]
		_, ours := anchors(t, list[0]).Verify(leaf.ours(t), others, Options{Time: noon})
		_, theirs := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: inter, CurrentTime: noon, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		switch {
		case ours == nil && theirs != nil:
			t.Fatalf("accepted, and the standard library says %v", theirs)
		case ours != nil && theirs == nil:
			t.Fatalf("the standard library accepts, and here it is %v", ours)
		case ours == nil:
			both++
		default:
			refused++
		}
	}
	if both < 100 || refused < 100 {
		t.Errorf("%d accepted, %d refused: too one-sided", both, refused)
	}
	t.Logf("%d accepted by both, %d refused", both, refused)
}

package cert

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	mathrand "math/rand/v2"
	"net"
	"testing"
	"time"
)

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

package cert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"greseal/crypto/sign"
	"greseal/crypto/sign/id"
)

// The time the tests live in.
var noon = time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)

var serials struct {
	sync.Mutex
	last int64
}

func nextSerial() *big.Int {
	serials.Lock()
	defer serials.Unlock()
	serials.last++
	return big.NewInt(serials.last + 0x7f)
}

// authority is a certificate of the standard library's making, with its key.
type authority struct {
	*x509.Certificate
	key crypto.Signer
}

func ecKey(t testing.TB) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var rsaKey = sync.OnceValue(func() crypto.Signer {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func edKey(t testing.TB) crypto.Signer {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// issue makes a certificate below by, self-signed when by is nil, after change
// had its way with the template.
func issue(t testing.TB, by *authority, name string, key crypto.Signer, change func(*x509.Certificate)) *authority {
	t.Helper()
	if key == nil {
		key = ecKey(t)
	}
	template := &x509.Certificate{
		SerialNumber: nextSerial(),
		Subject:      pkix.Name{Country: []string{"CH"}, Organization: []string{"example"}, CommonName: name},
		NotBefore:    noon.AddDate(-1, 0, 0),
		NotAfter:     noon.AddDate(1, 0, 0),
	}
	if change != nil {
		change(template)
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.Certificate, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{c, key}
}

func isCA(c *x509.Certificate) {
	c.IsCA, c.BasicConstraintsValid, c.MaxPathLen = true, true, -1
	c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
}

// ours reads it with the package under test.
func (a *authority) ours(t testing.TB) *Certificate {
	t.Helper()
	c, err := Parse(a.Raw)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Raw})
}

func (a *authority) keyPEM(t testing.TB) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func anchors(t testing.TB, list ...*authority) *Anchors {
	t.Helper()
	var files [][]byte
	for _, a := range list {
		files = append(files, a.pem())
	}
	out, err := NewAnchors(files...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// wantReason checks an error's reason and that its sentence has all the words.
func wantReason(t *testing.T, what string, err error, reason sign.Reason, words ...string) {
	t.Helper()
	var e *sign.Error
	if !errors.As(err, &e) || e.Reason != reason {
		t.Errorf("%s: %v, want reason %d", what, err, reason)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: %q does not say %q", what, err, w)
		}
	}
	if e.Remedy == "" {
		t.Errorf("%s: %q has no remedy", what, err)
	}
}

func identity(t testing.TB, s string) id.ID {
	t.Helper()
	i, err := id.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func namedLeaf(c *x509.Certificate) {
	c.KeyUsage = x509.KeyUsageDigitalSignature
	c.DNSNames = []string{"gw.example.net", "*.wild.example.net"}
	c.EmailAddresses = []string{"Ops@example.net"}
	c.IPAddresses = []net.IP{net.IPv4(192, 0, 2, 1), net.ParseIP("2001:db8::1")}
}

package scenario

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
	"fmt"
	"math/big"
	"sync"
	"time"

	"greseal/build/lab/labnet"
)

// credentials is what two sides need to authenticate each other by signatures:
// certificates below one root, each behind an intermediate of its own that the
// other side learns in IKE_AUTH alone; and the bare public keys.
type credentials struct {
	root    string // PEM
	greseal end
	peer    end
}

// end is one side's part, in PEM.
type end struct {
	name         string // domain name in the certificate
	subject      string // distinguished name, as swanctl.conf and greseal write it
	key          string
	public       string
	cert         string
	intermediate string
}

const (
	nameA = "greseal.lab.example"
	nameB = "peer.lab.example"
)

var (
	credentialsMu   sync.Mutex
	credentialsMade = map[string]*credentials{}
)

// newCredentials makes a set for keys of a kind: "rsa", "ecdsa-256",
// "ecdsa-384", "ecdsa-521" or "ed25519". A process makes each kind once, since
// RSA keys take their time on an emulated processor.
func newCredentials(l *labnet.Lab, kind string) *credentials {
	credentialsMu.Lock()
	defer credentialsMu.Unlock()
	if c := credentialsMade[kind]; c != nil {
		return c
	}
	c, err := makeCredentials(kind)
	l.Must(err, "make certificates")
	credentialsMade[kind] = c
	return c
}

func makeCredentials(kind string) (*credentials, error) {
	root, err := newAuthority(kind, "Lab root", nil)
	if err != nil {
		return nil, err
	}
	c := &credentials{root: pemOf("CERTIFICATE", root.cert.Raw)}
	for _, side := range []struct {
		into *end
		name string
	}{{&c.greseal, nameA}, {&c.peer, nameB}} {
		between, err := newAuthority(kind, "Lab intermediate of "+side.name, root)
		if err != nil {
			return nil, err
		}
		if *side.into, err = between.issue(kind, side.name); err != nil {
			return nil, err
		}
	}
	return c, nil
}

type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newAuthority(kind, name string, above *authority) (*authority, error) {
	key, err := newKey(kind)
	if err != nil {
		return nil, err
	}
	form := &x509.Certificate{
		Subject: pkix.Name{Organization: []string{"Lab"}, CommonName: name},
		IsCA:    true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	a := &authority{key: key}
	if above == nil {
		above = &authority{form, key}
	}
	a.cert, err = above.sign(form, key.Public())
	return a, err
}

// sign makes a certificate that began an hour ago and ends in a day.
func (a *authority) sign(form *x509.Certificate, public crypto.PublicKey) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		return nil, err
	}
	form.SerialNumber, form.NotBefore, form.NotAfter = serial, time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	raw, err := x509.CreateCertificate(rand.Reader, form, a.cert, public, a.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(raw)
}

func (a *authority) issue(kind, name string) (end, error) {
	key, err := newKey(kind)
	if err != nil {
		return end{}, err
	}
	cert, err := a.sign(&x509.Certificate{
		Subject:  pkix.Name{Organization: []string{"Lab"}, CommonName: name},
		DNSNames: []string{name}, KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}, key.Public())
	if err != nil {
		return end{}, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return end{}, err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return end{}, err
	}
	return end{
		name: name, subject: "O=Lab, CN=" + name, key: pemOf("PRIVATE KEY", private), public: pemOf("PUBLIC KEY", public),
		cert: pemOf("CERTIFICATE", cert.Raw), intermediate: pemOf("CERTIFICATE", a.cert.Raw),
	}, nil
}

func newKey(kind string) (crypto.Signer, error) {
	switch kind {
	case "rsa":
		return rsa.GenerateKey(rand.Reader, 2048)
	case "ecdsa-256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ecdsa-384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ecdsa-521":
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "ed25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	}
	return nil, fmt.Errorf("no kind of key %q", kind)
}

func pemOf(kind string, data []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}))
}

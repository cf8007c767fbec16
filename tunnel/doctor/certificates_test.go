package doctor_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"path/filepath"
	"time"
)

// authority issues the certificates of a set-up.
type authority struct {
	w    *world
	name string
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func (w *world) pem(name, kind string, der []byte, err error) {
	w.Must(err, "make "+name)
	w.File(name, string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
}

func (w *world) newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.Must(err, "make a key")
	return key
}

// authority writes NAME.crt.
func (w *world) authority(name string) *authority {
	a := &authority{w: w, name: name, key: w.newKey()}
	a.cert = &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-72 * time.Hour), NotAfter: time.Now().Add(1000 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, a.key.Public(), a.key)
	w.pem(name+".crt", "CERTIFICATE", der, err)
	return a
}

// issue writes NAME.crt and NAME.key, valid until then from now, and returns the
// lines of a tunnel that uses them and trusts the authority.
func (a *authority) issue(name, dns string, until time.Duration) []string {
	return a.issueFrom(name, dns, -48*time.Hour, until)
}

// issueFrom is issue with the time from which it is valid.
func (a *authority) issueFrom(name, dns string, from, until time.Duration) []string {
	key := a.w.newKey()
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{dns},
		NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(until)}
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.cert, key.Public(), a.key)
	a.w.pem(name+".crt", "CERTIFICATE", der, err)
	der, err = x509.MarshalPKCS8PrivateKey(key)
	a.w.pem(name+".key", "PRIVATE KEY", der, err)
	at := func(file string) string { return fmt.Sprintf("%q", filepath.Join(a.w.Dir, file)) }
	return []string{"cert = " + at(name+".crt"), "key = " + at(name+".key"), "ca = " + at(a.name+".crt"), fmt.Sprintf("local_id = %q", dns)}
}

// certified are two sides that authenticate by certificates of one authority.
// change gets A's lines with what they should be.
func (w *world) certified(change func(ca *authority, right []string) []string) {
	ca := w.authority("lab-ca")
	b := append(ca.issue("b", "b.example.test", month), `remote_id = "a.example.test"`)
	w.right = append(ca.issue("a", "a.example.test", month), `remote_id = "b.example.test"`)
	w.b = w.net.B.Greseal(w.sideB(append(b, `remote = "any"`)...))
	w.a = w.net.A.Greseal(w.sideA(change(ca, w.right)...))
}

func rightAgain(w *world, _ finding) { w.set(w.right...) }

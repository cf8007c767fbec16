package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// pki writes a certificate for gw.example.net with its key and authority.
func pki(t *testing.T, dir string) {
	t.Helper()
	write := func(name, kind string, der []byte, err error, perm os.FileMode) {
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), perm)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"gw", "other"} {
		ca, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name + " ca"}, IsCA: true, BasicConstraintsValid: true,
			KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
		leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name + ".example.net"},
			NotBefore: root.NotBefore, NotAfter: root.NotAfter}
		der, err := x509.CreateCertificate(rand.Reader, root, root, ca.Public(), ca)
		write(name+"-ca.crt", "CERTIFICATE", der, err, 0o644)
		der, err = x509.CreateCertificate(rand.Reader, leaf, root, key.Public(), ca)
		write(name+".crt", "CERTIFICATE", der, err, 0o644)
		der, err = x509.MarshalPKCS8PrivateKey(key)
		write(name+".key", "PRIVATE KEY", der, err, 0o600)
		der, err = x509.MarshalPKIXPublicKey(key.Public())
		write(name+".pub", "PUBLIC KEY", der, err, 0o644)
	}
}

const byCert = "cert = \"gw.crt\"\nkey = \"gw.key\"\nca = \"gw-ca.crt\"\n"

// Contract 17 and what else must hold of the files.
func TestCredentialsAreCheckedTogether(t *testing.T) {
	dir := t.TempDir()
	pki(t, dir)
	if err := os.Chmod(filepath.Join(dir, "other.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	one := "remote = \"hq.example.net\"\n"
	for _, c := range []struct{ name, text, want string }{
		{"whole", one + byCert, ""},
		{"raw", one + "raw_key = \"gw.key\"\npeer_raw_key = \"other.pub\"\n", ""},
		{"any without remote_id", "remote = \"any\"\n" + byCert, "needs remote_id"},
		{"any with a pattern", "remote = \"any\"\nremote_id = \"*.example.net\"\n" + byCert, ""},
		{"several without remote_id", "remote = [\"a.example.net\", \"b.example.net\"]\n" + byCert, "needs remote_id"},
		{"key of another", one + "cert = \"gw.crt\"\nkey = \"gw-ca.crt\"\nca = \"gw-ca.crt\"\n", "key"},
		{"open key", one + "cert = \"other.crt\"\nkey = \"other.key\"\nca = \"gw-ca.crt\"\n", "chmod 600"},
		{"no ca", one + "cert = \"gw.crt\"\nkey = \"gw.key\"\n", "no use without ca"},
		{"no key", one + "cert = \"gw.crt\"\nca = \"gw-ca.crt\"\n", "no use without key"},
		{"ca alone", one + "psk = \"9mVqk2Lw8sTzB4nXcR7yHd1JfGpA6uEo\"\nca = \"gw-ca.crt\"\n", "belongs to cert"},
		{"a missing list", one + "crl = \"none.crl\"\n" + byCert, "none.crl does not exist"},
		{"no list", one + "crl = \"gw.crt\"\n" + byCert, "crl"},
		{"not our name", one + "local_id = \"hq.example.net\"\n" + byCert, "gw.example.net"},
		{"our name", one + "local_id = \"gw.example.net\"\n" + byCert, ""},
		{"own key as the peer's", one + "raw_key = \"gw.key\"\npeer_raw_key = \"gw.pub\"\n", "our own public key"},
		{"no peer_raw_key", one + "raw_key = \"gw.key\"\n", "no use without peer_raw_key"},
	} {
		cfg, err := Parse(filepath.Join(dir, "greseal.toml"), []byte("[[tunnel]]\nname = \"hq\"\n"+c.text), 0o600)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want == "":
			k := cfg.Tunnels[0].Credentials
			if (k.Own == nil || k.Anchors == nil) && (k.RawOwn == nil || k.RawPeer == nil) {
				t.Errorf("%s: nothing was read", c.name)
			}
		case err == nil || !strings.Contains(err.Error(), c.want):
			t.Errorf("%s: %v does not say %q", c.name, err, c.want)
		}
	}
	leaf, err := Parse(filepath.Join(dir, "greseal.toml"), []byte("[[tunnel]]\nname = \"hq\"\n"+one+strings.Replace(byCert, "gw-ca", "other", 1)), 0o600)
	if err != nil || len(leaf.Warnings) != 1 || !strings.Contains(leaf.Warnings[0].String(), "no authority's") {
		t.Errorf("a certificate of no authority as ca: %v, %v", err, leaf)
	}
	cfg, err := Parse(filepath.Join(dir, "greseal.toml"), []byte("[[tunnel]]\nname = \"hq\"\n"+one+byCert), 0o600)
	if err != nil || cfg.Tunnels[0].RemoteID != "hq.example.net" {
		t.Errorf("remote_id is not the remote: %v", err)
	}
	if text := fmt.Sprintf("%v %+v", cfg.Tunnels[0], cfg.Tunnels[0]); strings.Contains(text, "PRIVATE") {
		t.Error("a key shows")
	}
}

func TestDiffSeesNewContentsOfCredentials(t *testing.T) {
	dir := t.TempDir()
	pki(t, dir)
	load := func() *Config {
		c, err := Parse(filepath.Join(dir, "greseal.toml"), []byte("[[tunnel]]\nname = \"hq\"\nremote = \"192.0.2.1\"\n"+byCert), 0o600)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	old := load()
	if d := Diff(old, load()); !d.Empty() {
		t.Errorf("the same: %+v", d)
	}
	pki(t, dir)
	d := Diff(old, load())
	if len(d.Tunnels) != 1 || !slices.Equal(d.Tunnels[0].Keys, []string{"cert", "key", "ca"}) || d.Tunnels[0].Class != Beside {
		t.Errorf("others: %+v", d)
	}
}

// A bundle of authorities with one that can't be read is taken without it, and
// says which.
func TestUnreadableAuthorityInABundleIsAWarning(t *testing.T) {
	dir := t.TempDir()
	pki(t, dir)
	good, err := os.ReadFile(filepath.Join(dir, "gw-ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	bad := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{0x30, 0}})
	if err := os.WriteFile(filepath.Join(dir, "bundle.crt"), slices.Concat(good, bad), 0o644); err != nil {
		t.Fatal(err)
	}
	text := "[[tunnel]]\nname = \"hq\"\nremote = \"hq.example.net\"\nlocal_id = \"gw.example.net\"\ncert = \"gw.crt\"\nkey = \"gw.key\"\nca = [\"other-ca.crt\",\n \"bundle.crt\"]\n"
	c, err := Parse(filepath.Join(dir, "greseal.toml"), []byte(text), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(c.Tunnels[0].Credentials.Anchors.Certificates()); n != 2 || len(c.Warnings) != 1 ||
		c.Warnings[0].Line != 8 || !strings.Contains(c.Warnings[0].String(), "ca: is taken without one of its certificates: certificate 2 in the file") {
		t.Errorf("%d authorities, %v", n, c.Warnings)
	}
}

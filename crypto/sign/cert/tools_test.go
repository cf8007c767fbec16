package cert

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"greseal/crypto/sign"
)

// shop is a folder in which other tools make certificates.
type shop struct {
	*testing.T
	dir string
}

func (s shop) run(name string, args ...string) []byte {
	s.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		s.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.Bytes())
	}
	return out
}

// to writes what a tool prints into a file.
func (s shop) to(file, name string, args ...string) {
	s.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, file), s.run(name, args...), 0o600); err != nil {
		s.Fatal(err)
	}
}

func (s shop) file(names ...string) (out []byte) {
	s.Helper()
	for _, n := range names {
		b, err := os.ReadFile(filepath.Join(s.dir, n))
		if err != nil {
			s.Fatal(err)
		}
		out = append(out, b...)
	}
	return out
}

// judge is what a responder does with what a peer sends.
func (s shop) judge(leaf []byte, others []byte, ca []byte, crls ...[]byte) error {
	s.Helper()
	a, err := NewAnchors(ca)
	if err != nil {
		s.Fatal(err)
	}
	certs, err := ParseFile(append(bytes.Clone(leaf), others...))
	if err != nil {
		s.Fatal(err)
	}
	o := Options{Time: time.Now()}
	if crls != nil {
		if o.CRLs, err = NewCRLs(crls...); err != nil {
			s.Fatal(err)
		}
	}
	_, err = a.Verify(certs[0], certs[1:], o)
	return err
}

func TestCertificatesOfStrongSwansPKI(t *testing.T) {
	if _, err := exec.LookPath("pki"); err != nil {
		t.Skip("pki is not here")
	}
	for _, kind := range [][]string{
		{"rsa", "--type", "rsa", "--size", "2048"},
		{"rsa", "--type", "rsa", "--size", "2048", "pss"},
		{"ecdsa", "--type", "ecdsa", "--size", "256"},
		{"ecdsa", "--type", "ecdsa", "--size", "384"},
		{"ed25519", "--type", "ed25519"},
	} {
		t.Run(strings.Join(kind[2:], " "), func(t *testing.T) {
			s := shop{t, t.TempDir()}
			gen, padding := kind[1:], []string{}
			if gen[len(gen)-1] == "pss" {
				gen, padding = gen[:len(gen)-1], []string{"--rsa-padding", "pss"}
			}
			typ := kind[0]
			for _, k := range []string{"ca", "sub", "moon"} {
				s.to(k+".key", "pki", append([]string{"--gen", "--outform", "pem"}, gen...)...)
			}
			pki := func(file string, args ...string) {
				t.Helper()
				s.to(file, "pki", append(args, padding...)...)
			}
			pki("ca.crt", "--self", "--ca", "--in", "ca.key", "--type", typ, "--dn", "C=CH, O=example, CN=ca", "--outform", "pem")
			s.to("sub.pub", "pki", "--pub", "--in", "sub.key", "--type", "priv")
			s.to("moon.pub", "pki", "--pub", "--in", "moon.key", "--type", "priv")
			pki("sub.crt", "--issue", "--ca", "--pathlen", "0", "--cacert", "ca.crt", "--cakey", "ca.key", "--type", "pub", "--in", "sub.pub",
				"--dn", "C=CH, O=example, CN=sub", "--outform", "pem")
			pki("moon.crt", "--issue", "--cacert", "sub.crt", "--cakey", "sub.key", "--type", "pub", "--in", "moon.pub", "--serial", "4711",
				"--dn", "C=CH, O=M\u00fcller AG, CN=moon", "--san", "moon.example.net", "--san", "ops@example.net", "--san", "192.0.2.1", "--san", "2001:db8::1",
				"--flag", "serverAuth", "--flag", "ikeIntermediate", "--outform", "pem")
			pki("ca.crl", "--signcrl", "--cacert", "ca.crt", "--cakey", "ca.key", "--outform", "pem")
			pki("sub.crl", "--signcrl", "--cacert", "sub.crt", "--cakey", "sub.key", "--outform", "pem")
			pki("bad.crl", "--signcrl", "--cacert", "sub.crt", "--cakey", "sub.key", "--reason", "key-compromise", "--serial", "4711", "--outform", "pem")

			moon, sub, ca := s.file("moon.crt"), s.file("sub.crt"), s.file("ca.crt")
			if err := s.judge(moon, sub, ca); err != nil {
				t.Error(err)
			}
			if err := s.judge(moon, sub, ca, s.file("ca.crl", "sub.crl")); err != nil {
				t.Error(err)
			}
			wantReason(t, "revoked", s.judge(moon, sub, ca, s.file("ca.crl", "bad.crl")), sign.Revoked, "key was compromised", "4711")
			c, err := NewCredential(s.file("moon.crt", "sub.crt"), s.file("moon.key"))
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range []string{"C=CH, O=M\u00fcller AG, CN=moon", "moon.example.net", "ops@example.net", "192.0.2.1", "2001:db8::1"} {
				if err := c.Check(time.Now(), identity(t, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestCertificatesOfOpenSSL(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not here")
	}
	for name, gen := range map[string][]string{
		"RSA":     {"-newkey", "rsa:2048"},
		"RSA-PSS": {"-newkey", "rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048"},
		"P-256":   {"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"},
		"P-521":   {"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521"},
		"Ed25519": {"-newkey", "ed25519"},
	} {
		t.Run(name, func(t *testing.T) {
			s := shop{t, t.TempDir()}
			if name == "RSA-PSS" { // before 3.1 the salt is as long as can be
				gen = append(gen, "-sigopt", "rsa_pss_saltlen:digest")
			}
			s.run("openssl", append([]string{"req", "-x509", "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-days", "30",
				"-subj", "/C=CH/O=example/CN=ca", "-addext", "keyUsage=critical,keyCertSign,cRLSign"}, gen...)...)
			s.run("openssl", append([]string{"req", "-x509", "-nodes", "-keyout", "moon.key", "-out", "moon.crt", "-days", "30", "-CA", "ca.crt", "-CAkey", "ca.key",
				"-subj", "/C=CH/O=example/CN=moon", "-addext", "subjectAltName=DNS:moon.example.net,IP:192.0.2.1,email:ops@example.net,dirName:dn",
				"-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=ipsecTunnel,1.3.6.1.5.5.7.3.17", "-config", s.config()}, gen...)...)
			if err := s.judge(s.file("moon.crt"), nil, s.file("ca.crt")); err != nil {
				t.Error(err)
			}
			c, err := NewCredential(s.file("moon.crt"), s.file("moon.key"))
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range []string{"C=CH, O=example, CN=moon", "moon.example.net", "192.0.2.1", "ops@example.net", "C=CH, CN=elsewhere"} {
				if err := c.Check(time.Now(), identity(t, i)); err != nil {
					t.Error(err)
				}
			}
			der := s.run("openssl", "x509", "-in", "moon.crt", "-outform", "DER")
			if d, err := ParseFile(der); err != nil || !bytes.Equal(d[0].Raw(), c.Certificate().Raw()) {
				t.Errorf("in DER: %v", err)
			}
			trusted := s.run("openssl", "x509", "-in", "moon.crt", "-trustout", "-addtrust", "serverAuth")
			if d, err := ParseFile(trusted); err != nil || !bytes.Equal(d[0].Raw(), c.Certificate().Raw()) {
				t.Errorf("as a trusted certificate: %v", err)
			}
		})
	}
}

// Before 3.1 openssl's salt is as long as can be, which crypto/x509 does not verify.
func TestSaltOfAnotherLengthThanTheHashIsRefused(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not here")
	}
	s := shop{t, t.TempDir()}
	for _, k := range []string{"ca", "moon"} {
		args := []string{"req", "-x509", "-nodes", "-newkey", "rsa-pss", "-pkeyopt", "rsa_keygen_bits:2048", "-keyout", k + ".key", "-out", k + ".crt", "-subj", "/CN=" + k, "-sigopt", "rsa_pss_saltlen:48"}
		if k != "ca" {
			args = append(args, "-CA", "ca.crt", "-CAkey", "ca.key")
		}
		s.run("openssl", args...)
	}
	wantReason(t, "48 bytes with SHA2-256", s.judge(s.file("moon.crt"), nil, s.file("ca.crt")), sign.Unsupported, "a salt of 48 bytes", "rsa_pss_saltlen:digest")
}

func (s shop) config() string {
	name := filepath.Join(s.dir, "conf")
	if err := os.WriteFile(name, []byte("[req]\ndistinguished_name=n\n[n]\n[dn]\nC=CH\nCN=elsewhere\n"), 0o600); err != nil {
		s.Fatal(err)
	}
	return name
}

// The machine's own list of authorities holds what certificates look like in the
// wild.
func TestAuthoritiesInTheWildAreRead(t *testing.T) {
	const bundle = "/etc/ssl/certs/ca-certificates.crt"
	file, err := os.ReadFile(bundle)
	if err != nil {
		t.Skip("no " + bundle + " here")
	}
	a, err := NewAnchors(file)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for block, rest := pem.Decode(file); block != nil; block, rest = pem.Decode(rest) {
		if _, err := x509.ParseCertificate(block.Bytes); err == nil {
			n++
		}
	}
	if len(a.Certificates()) < n {
		t.Errorf("%d of %d read", len(a.Certificates()), n)
	}
}

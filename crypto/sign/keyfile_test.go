package sign

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func block(typ string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der})
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestKeyFilesOfTheStandardLibrary(t *testing.T) {
	octet := must[[]byte](t)
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		k := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(curve, rand.Reader))
		pkcs8, sec1 := octet(x509.MarshalPKCS8PrivateKey(k)), octet(x509.MarshalECPrivateKey(k))
		same(t, &k.PublicKey, block("PRIVATE KEY", pkcs8), block("EC PRIVATE KEY", sec1), pkcs8, sec1,
			append(block("EC PARAMETERS", []byte{6, 1, 0}), block("EC PRIVATE KEY", sec1)...))
	}
	r := rsa2048().rsa
	pkcs8, pkcs1 := octet(x509.MarshalPKCS8PrivateKey(r)), x509.MarshalPKCS1PrivateKey(r)
	same(t, &r.PublicKey, block("PRIVATE KEY", pkcs8), block("RSA PRIVATE KEY", pkcs1), pkcs8, pkcs1,
		append([]byte("Bag Attributes\n    friendlyName: x\n"), block("PRIVATE KEY", pkcs8)...))
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	same(t, public, block("PRIVATE KEY", octet(x509.MarshalPKCS8PrivateKey(private))))
}

func same(t *testing.T, public any, files ...[]byte) {
	t.Helper()
	spki := must[[]byte](t)(x509.MarshalPKIXPublicKey(public))
	for i, f := range files {
		k, err := ParsePrivateKey(f)
		if err != nil {
			t.Errorf("%T, form %d: %v", public, i, err)
			continue
		}
		if !bytes.Equal(k.Public().SPKI(), spki) {
			t.Errorf("%T, form %d: another key", public, i)
		}
	}
	for _, f := range [][]byte{spki, block("PUBLIC KEY", spki)} {
		k, err := ParsePublicKeyFile(f)
		if err != nil || !bytes.Equal(k.SPKI(), spki) || !bytes.Equal(must[[]byte](t)(k.marshal()), spki) {
			t.Errorf("%T: public key file: %v", public, err)
		}
	}
}

func TestGeneratedKeysAreReadByOthers(t *testing.T) {
	for _, kind := range []Kind{P256, P384, P521, Ed25519} {
		k := generate(t, kind)
		b, _ := pem.Decode(k.PEM())
		std, err := x509.ParsePKCS8PrivateKey(b.Bytes)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		again, err := ParsePrivateKey(k.PEM())
		if err != nil || !again.Public().Equal(k.Public()) {
			t.Errorf("%s: %v", kind, err)
		}
		p, _ := pem.Decode(k.Public().PEM())
		public, err := x509.ParsePKIXPublicKey(p.Bytes)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		spki := must[[]byte](t)(x509.MarshalPKIXPublicKey(std.(crypto.Signer).Public()))
		if !bytes.Equal(spki, k.Public().SPKI()) || !bytes.Equal(spki, must[[]byte](t)(x509.MarshalPKIXPublicKey(public))) {
			t.Errorf("%s: the two halves differ", kind)
		}
	}
}

func TestGenerateDrawsFromItsReader(t *testing.T) {
	for _, kind := range []Kind{P256, P384, P521, Ed25519} {
		random := bytes.Repeat([]byte{0x5a}, 66)
		one, err := Generate(kind, bytes.NewReader(random))
		two, err2 := Generate(kind, bytes.NewReader(random))
		if err != nil || err2 != nil || !one.Public().Equal(two.Public()) {
			t.Errorf("%s: two keys from the same octets (%v, %v)", kind, err, err2)
		}
		if _, err := Generate(kind, bytes.NewReader(random[:10])); err == nil {
			t.Errorf("%s: made from ten octets", kind)
		}
	}
	if _, err := Generate(P256, bytes.NewReader(make([]byte, 1<<16))); err == nil {
		t.Error("the scalar 0")
	}
	_, err := Generate(RSA, rand.Reader)
	wantReason(t, "RSA", err, Unsupported, "openssl")
}

func TestKeyFilesThatCanNotBeUsedSayWhy(t *testing.T) {
	octet := must[[]byte](t)
	p224 := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	x25519 := must[*ecdh.PrivateKey](t)(ecdh.X25519().GenerateKey(rand.Reader))
	small := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 1024))
	multi := x509.MarshalPKCS1PrivateKey(rsa2048().rsa)
	multi[6] = 1 // the version that says so
	good := generate(t, P256).PEM()
	spki := generate(t, P256).Public().PEM()
	sec1 := octet(x509.MarshalECPrivateKey(must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))))
	mixed := bytes.Clone(sec1)
	mixed[len(mixed)-1] ^= 1 // the public half of another key
	broken := x509.MarshalPKCS1PrivateKey(rsa2048().rsa)
	broken[400] ^= 1 // in the private exponent
	for _, c := range []struct {
		name   string
		file   []byte
		reason Reason
		words  string
	}{
		{"empty", nil, Malformed, "no PEM block"},
		{"text", []byte("9mVq"), Malformed, "greseal genkey"},
		{"half a block", good[:len(good)-20], Malformed, "copy it again"},
		{"PKCS #8 with a passphrase", block("ENCRYPTED PRIVATE KEY", []byte{1}), Encrypted, "openssl pkey -in FILE -out NEW"},
		{"old form with a passphrase", []byte("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"), Encrypted, "decrypt it"},
		{"OpenSSH", block("OPENSSH PRIVATE KEY", []byte{1}), Unsupported, "ssh-keygen -p -m PKCS8"},
		{"DSA", block("DSA PRIVATE KEY", []byte{1}), Unsupported, "DSA"},
		{"a certificate", block("CERTIFICATE", []byte{1}), Malformed, `"CERTIFICATE" and no private key`},
		{"a public key", spki, Malformed, "no private key"},
		{"two keys", append(bytes.Clone(good), good...), Malformed, "more than one"},
		{"RSA 1024", block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(small)), WeakKey, "1024 bits"},
		{"RSA of three primes", block("RSA PRIVATE KEY", multi), Unsupported, "two primes"},
		{"RSA that does not fit together", broken, Malformed, "don't fit together"},
		{"P-224", block("PRIVATE KEY", octet(x509.MarshalPKCS8PrivateKey(p224))), Unsupported, "curve 1.3.132.0.33"},
		{"X25519", block("PRIVATE KEY", octet(x509.MarshalPKCS8PrivateKey(x25519))), Unsupported, "X25519"},
		{"two halves", block("EC PRIVATE KEY", mixed), Malformed, "halves"},
		{"DER of something else", []byte{0x30, 3, 2, 1, 5}, Malformed, "DER"},
		{"garbage in the block", block("PRIVATE KEY", []byte("garbage")), Malformed, "PKCS #8"},
		{"too large", make([]byte, maxKeyFile+1), TooLarge, ""},
	} {
		_, err := ParsePrivateKey(c.file)
		wantReason(t, c.name, err, c.reason, c.words)
	}
	for _, c := range []struct {
		name   string
		file   []byte
		reason Reason
		words  string
	}{
		{"empty", nil, Malformed, "no public key"},
		{"a private key", good, Malformed, "a private key and no public key"},
		{"a certificate", block("CERTIFICATE", []byte{1}), Malformed, "openssl x509"},
		{"PKCS #1", block("RSA PUBLIC KEY", []byte{1}), Unsupported, "-RSAPublicKey_in"},
		{"two keys", append(bytes.Clone(spki), spki...), Malformed, "more than one"},
		{"garbage", block("PUBLIC KEY", []byte{1}), Malformed, "malformed"},
		{"RSA 1024", block("PUBLIC KEY", octet(x509.MarshalPKIXPublicKey(&small.PublicKey))), WeakKey, "1024 bits"},
		{"P-224", octet(x509.MarshalPKIXPublicKey(&p224.PublicKey)), Unsupported, "1.3.132.0.33"},
		{"too large", make([]byte, maxKeyFile+1), TooLarge, ""},
	} {
		_, err := ParsePublicKeyFile(c.file)
		wantReason(t, "public: "+c.name, err, c.reason, c.words)
	}
}

func TestFingerprints(t *testing.T) {
	k := generate(t, Ed25519).Public()
	f := k.Fingerprint()
	if len(f) != 71 || !strings.HasPrefix(f, "sha256:") || !strings.HasPrefix(f, k.ShortFingerprint()) || len(k.ShortFingerprint()) != 23 {
		t.Errorf("%s, %s", f, k.ShortFingerprint())
	}
	if k.String() != "Ed25519" || rsa2048().Public().String() != "RSA 2048" || pssOnly(0, 0).Public().String() != "RSA-PSS 2048" {
		t.Error("another name")
	}
}

// openssl and strongSwan's pki make the files that people have.
func TestKeyFilesOfOtherTools(t *testing.T) {
	dir := t.TempDir()
	run := func(name string, args ...string) []byte {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "LC_ALL=C")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s %s: %v", name, strings.Join(args, " "), err)
		}
		return out
	}
	tools := 0
	if _, err := exec.LookPath("openssl"); err == nil {
		tools++
		for name, args := range map[string][]string{
			"RSA":          {"-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"},
			"RSA-PSS":      {"-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"},
			"RSA-PSS-384":  {"-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048", "-pkeyopt", "rsa_pss_keygen_md:sha384", "-pkeyopt", "rsa_pss_keygen_mgf1_md:sha384", "-pkeyopt", "rsa_pss_keygen_saltlen:48"},
			"P-256":        {"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"},
			"P-384":        {"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"},
			"P-521":        {"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"},
			"Ed25519":      {"-algorithm", "ED25519"},
			"-Ed448":       {"-algorithm", "ED448"},
			"-explicit":    {"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:explicit"},
			"-brainpool":   {"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:brainpoolP256r1"},
			"-secp256k1":   {"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"},
			"-RSA of 1024": {"-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"},
		} {
			file := run("openssl", append([]string{"genpkey"}, args...)...)
			k, err := ParsePrivateKey(file)
			if strings.HasPrefix(name, "-") {
				if err == nil {
					t.Errorf("openssl %s: read as %s", name, k)
				}
				continue
			}
			if err != nil {
				t.Errorf("openssl %s: %v", name, err)
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, "key"), file, 0o600); err != nil {
				t.Fatal(err)
			}
			public, err := ParsePublicKeyFile(run("openssl", "pkey", "-in", "key", "-pubout"))
			if err != nil || !public.Equal(k.Public()) || !bytes.Equal(public.SPKI(), k.Public().SPKI()) {
				t.Errorf("openssl %s: its public key is %v: %v", name, public, err)
			}
			encrypted := run("openssl", "pkey", "-in", "key", "-aes128", "-passout", "pass:abcd")
			_, err = ParsePrivateKey(encrypted)
			wantReason(t, name+" with a passphrase", err, Encrypted)
			if k.public.kind != RSA {
				// And our own files are good for openssl.
				if err := os.WriteFile(filepath.Join(dir, "own"), generate(t, k.public.kind).PEM(), 0o600); err != nil {
					t.Fatal(err)
				}
				run("openssl", "pkey", "-in", "own", "-check", "-noout")
			}
		}
	}
	if _, err := exec.LookPath("pki"); err == nil {
		tools++
		for name, args := range map[string][]string{
			"rsa": {"--type", "rsa", "--size", "2048"}, "P-256": {"--type", "ecdsa", "--size", "256"},
			"P-521": {"--type", "ecdsa", "--size", "521"}, "ed25519": {"--type", "ed25519"},
		} {
			for _, form := range []string{"pem", "der"} {
				file := run("pki", append([]string{"--gen", "--outform", form}, args...)...)
				if _, err := ParsePrivateKey(file); err != nil {
					t.Errorf("pki %s in %s: %v", name, form, err)
				}
			}
		}
	}
	if tools == 0 {
		t.Skip("neither openssl nor pki is here")
	}
}

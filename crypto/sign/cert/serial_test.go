package cert

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"

	"greseal/crypto/sign"
)

// negative is a certificate whose serial number lost the octet in front, made
// from one with number 0x06000001: the standard library makes no such one.
func negative(t *testing.T, by *authority, name string, change func(*x509.Certificate)) []byte {
	t.Helper()
	a := issue(t, by, name, nil, func(c *x509.Certificate) {
		change(c)
		c.SerialNumber = big.NewInt(0x06000001)
	})
	tbs := bytes.Clone(a.RawTBSCertificate)
	at := bytes.Index(tbs, []byte{2, 4, 6, 0, 0, 1})
	if at < 0 {
		t.Fatal("no serial number")
	}
	tbs[at+2] |= 0x80
	signer := a.key
	if by != nil {
		signer = by.key
	}
	sum := sha256.Sum256(tbs)
	sig, err := ecdsa.SignASN1(rand.Reader, signer.(*ecdsa.PrivateKey), sum[:])
	if err != nil {
		t.Fatal(err)
	}
	var algorithm cryptobyte.String
	in := cryptobyte.String(a.Raw)
	if !in.ReadASN1(&in, der.SEQUENCE) || !in.SkipASN1(der.SEQUENCE) || !in.ReadASN1Element(&algorithm, der.SEQUENCE) {
		t.Fatal("no certificate")
	}
	var b cryptobyte.Builder
	b.AddASN1(der.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		b.AddBytes(algorithm)
		b.AddASN1BitString(sig)
	})
	return b.BytesOrPanic()
}

func TestNegativeSerialNumbersAreTaken(t *testing.T) {
	root := issue(t, nil, "root", nil, isCA)
	leaf, err := Parse(negative(t, root, "moon", namedLeaf))
	if err != nil {
		t.Fatal(err)
	}
	if leaf.Serial() != "-79ffffff" {
		t.Errorf("its number is %s", leaf.Serial())
	}
	verify := func(lists ...[]byte) error {
		o := Options{Time: noon}
		if lists != nil {
			if o.CRLs, err = NewCRLs(lists...); err != nil {
				t.Fatal(err)
			}
		}
		_, err := anchors(t, root).Verify(leaf, nil, o)
		return err
	}
	if err := verify(); err != nil {
		t.Error(err)
	}
	day := noon.AddDate(0, 0, -1)
	entry := func(serial int64) x509.RevocationListEntry {
		return x509.RevocationListEntry{SerialNumber: big.NewInt(serial), RevocationTime: day}
	}
	if err := verify(root.crl(t, day, nil, entry(0x06000001), entry(0x79ffffff))); err != nil {
		t.Errorf("others are revoked: %v", err)
	}
	// The list may have the number as it was meant.
	wantReason(t, "revoked", verify(root.crl(t, day, nil, entry(0x86000001))), sign.Revoked, "number -79ffffff")
	wantReason(t, "revoked, negative there too", verify(root.crl(t, day, nil, entry(-0x79ffffff))), sign.Revoked)

	if a, err := NewAnchors(negative(t, nil, "old root", isCA)); err != nil || len(a.Certificates()) != 1 {
		t.Errorf("an authority: %v", err)
	}
}

func TestBundleOfAuthoritiesGoesWithoutWhatCantBeRead(t *testing.T) {
	one, two := issue(t, nil, "one", nil, isCA), issue(t, nil, "two", nil, isCA)
	broken := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{0x30, 0}})
	damaged := bytes.Replace(two.pem(), []byte("M"), []byte("!"), 1)
	cut := two.pem()[:200]
	for name, c := range map[string]struct {
		file  []byte
		certs int
		says  string
	}{
		"all good":       {bytes.Join([][]byte{one.pem(), two.pem()}, nil), 2, ""},
		"one broken":     {bytes.Join([][]byte{[]byte("# a bundle\n"), one.pem(), broken, two.pem()}, nil), 2, "certificate 2 in the file, to line "},
		"broken first":   {bytes.Join([][]byte{broken, one.pem()}, nil), 1, "certificate 1 in the file, to line 3: "},
		"damaged base64": {bytes.Join([][]byte{damaged, one.pem()}, nil), 1, "damaged"},
		"cut off":        {bytes.Join([][]byte{one.pem(), cut}, nil), 1, "cut off"},
	} {
		a, err := NewAnchors(two.pem(), c.file)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		own := 0
		for _, x := range a.Certificates() {
			if strings.Contains(x.String(), "CN=one") {
				own++
			}
		}
		if s := a.Skipped(); own != 1 || len(a.Certificates()) != 2 || (len(s) == 1) != (c.says != "") || len(s) == 1 && (s[0].File != 1 || !strings.Contains(s[0].Err.Error(), c.says)) {
			t.Errorf("%s: %d certificates, skipped %v; want %q", name, len(a.Certificates()), s, c.says)
		}
	}
	for name, file := range map[string][]byte{"broken alone": broken, "damaged alone": damaged, "broken in DER": {0x30, 0}} {
		if _, err := NewAnchors(one.pem(), file); err == nil {
			t.Errorf("%s: a file without a certificate is taken", name)
		}
	}
	// One's own certificates are sent, so each must be right.
	if _, err := ParseFile(append(one.pem(), broken...)); err == nil || !strings.Contains(err.Error(), "certificate 2 in the file") {
		t.Errorf("own certificates: %v", err)
	}
}

package cert

import (
	"bytes"
	"crypto/rand"
	"testing"

	"greseal/crypto/sign"
	"greseal/crypto/sign/id"
)

// Everything one IKE_AUTH needs of these packages, in the order of its payloads.
func TestTwoSidesAuthenticateByCertificate(t *testing.T) {
	root := issue(t, nil, "root", nil, isCA)
	sub := issue(t, root, "sub", rsaKey(), isCA)
	moon := issue(t, sub, "moon", edKey(t), namedLeaf)
	octets := []byte("InitiatorSignedOctets")

	// The initiator's files; the responder's ca file and tunnel.
	own, err := NewCredential(append(moon.pem(), sub.pem()...), moon.keyPEM(t))
	if err != nil {
		t.Fatal(err)
	}
	trust := anchors(t, root)
	expected, err := id.ParsePattern("*.example.net")
	if err != nil {
		t.Fatal(err)
	}

	// IKE_SA_INIT: SIGNATURE_HASH_ALGORITHMS, and CERTREQ in the response.
	hashes, err := sign.ParseHashes(sign.AppendHashes(nil, sign.Announced()))
	if err != nil {
		t.Fatal(err)
	}
	request := trust.Request()

	// IKE_AUTH: IDi, CERT and AUTH.
	idi := own.Certificate().Spelled(identity(t, "GW.example.net"))
	if err := own.Check(noon, idi); err != nil || !own.Wanted(request, trust) {
		t.Fatalf("not to be used: %v", err)
	}
	how, err := own.Key().Choose(sign.Support{Announced: true, Hashes: hashes})
	if err != nil {
		t.Fatal(err)
	}
	auth, err := own.Key().Sign(how, octets, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}

	// The responder.
	var certs []*Certificate
	for _, data := range own.Payloads() {
		c, err := Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		certs = append(certs, c)
	}
	if !expected.Matches(idi) {
		t.Fatalf("%s does not fit %s", idi, expected)
	}
	chain, err := trust.Verify(certs[0], certs[1:], Options{Time: noon})
	if err != nil {
		t.Fatal(err)
	}
	if err := chain.Leaf().CheckIdentity(idi, "the peer's"); err != nil {
		t.Fatal(err)
	}
	key, err := chain.Leaf().PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	got, err := sign.Verify(key, how.Method, auth, octets, true)
	if err != nil || got.String() != "Ed25519" || idi.String() != "gw.example.net" {
		t.Errorf("%s authenticated by %s: %v", idi, got, err)
	}
	if _, err := sign.Verify(key, how.Method, auth, bytes.ToUpper(octets), true); err == nil {
		t.Error("authenticated over other octets")
	}
}

func BenchmarkVerify(b *testing.B) {
	for name, key := range map[string]func() *authority{
		"ECDSA":   func() *authority { return issue(b, nil, "root", ecKey(b), isCA) },
		"RSA":     func() *authority { return issue(b, nil, "root", rsaKey(), isCA) },
		"Ed25519": func() *authority { return issue(b, nil, "root", edKey(b), isCA) },
	} {
		b.Run(name, func(b *testing.B) {
			root := key()
			raw := issue(b, root, "moon", nil, namedLeaf).Raw
			trust := anchors(b, root)
			b.ReportAllocs()
			for b.Loop() {
				c, err := Parse(raw)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := trust.Verify(c, nil, Options{Time: noon}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

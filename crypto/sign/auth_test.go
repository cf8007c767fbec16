package sign

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"greseal/crypto/internal/vectors"
)

var octets = []byte("the octets that both sides sign")

func generate(t testing.TB, kind Kind) *PrivateKey {
	t.Helper()
	k, err := Generate(kind, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func rsaPEM(bits int) []byte {
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)})
}

var rsa2048 = sync.OnceValue(func() *PrivateKey {
	k, err := ParsePrivateKey(rsaPEM(2048))
	if err != nil {
		panic(err)
	}
	return k
})

// pssOnly is the same key as id-RSASSA-PSS, with or without parameters.
func pssOnly(hash Hash, salt int) *PrivateKey {
	k := *rsa2048()
	p := *k.public
	p.pss, p.pssHash, p.pssSalt = true, hash, salt
	p.spki = p.marshalPSS()
	k.public = &p
	return &k
}

func everyKey(t testing.TB) []*PrivateKey {
	return []*PrivateKey{rsa2048(), pssOnly(0, 0), pssOnly(SHA2_384, 48), generate(t, P256), generate(t, P384), generate(t, P521), generate(t, Ed25519)}
}

func wantReason(t *testing.T, what string, err error, reason Reason, words ...string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Reason != reason {
		t.Errorf("%s: %v, want reason %d", what, err, reason)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: %q does not say %q", what, err, w)
		}
	}
}

func TestEveryKeySignsForEveryPeer(t *testing.T) {
	for _, k := range everyKey(t) {
		for _, s := range []Support{
			{Announced: true, Hashes: Announced()},
			{Announced: true, Hashes: []Hash{SHA2_512, Identity}},
			{Announced: true, Hashes: []Hash{SHA1, SHA2_384, Identity, 77}},
			{Announced: true, Hashes: Announced(), Theirs: Auth{MethodDigital, Algorithm{PKCS1, SHA2_256, 0}}},
			{},
		} {
			a, err := k.Choose(s)
			if err != nil {
				var e *Error
				impossible := !s.Announced && (k.public.kind == Ed25519 || k.public.pss) || k.public.pssHash != 0 && !slices.Contains(s.Hashes, k.public.pssHash)
				if !impossible || !errors.As(err, &e) || e.Reason != NoCommonHash || e.Remedy == "" {
					t.Errorf("%s: %v", k, err)
				}
				continue
			}
			if s.Announced != (a.Method == MethodDigital) || s.Announced && !slices.Contains(s.Hashes, a.Algorithm.Hash) {
				t.Errorf("%s signs by %s, and the peer takes %v", k, a, s.Hashes)
			}
			data, err := k.Sign(a, octets, rand.Reader)
			if err != nil {
				t.Errorf("%s: %v", k, err)
				continue
			}
			got, err := Verify(k.Public(), a.Method, data, octets, s.Announced)
			if err != nil || got != a {
				t.Errorf("%s: signed by %s, verified as %s: %v", k, a, got, err)
			}
			// The other side's octets, a changed octet anywhere, an octet less
			// or more: nothing of it verifies.
			if _, err := Verify(k.Public(), a.Method, data, append(octets, 0), s.Announced); err == nil {
				t.Errorf("%s: verified over other octets", a)
			}
			for i := range data {
				if i > 80 && i%16 != 0 || testing.Short() && i%23 != 0 {
					continue // long RSA signatures: a sample
				}
				bad := bytes.Clone(data)
				bad[i] ^= 0x10
				if g, err := Verify(k.Public(), a.Method, bad, octets, s.Announced); err == nil {
					t.Errorf("%s: octet %d changed, verified as %s", a, i, g)
				}
			}
			for _, bad := range [][]byte{nil, data[:len(data)-1], append(bytes.Clone(data), 0)} {
				if _, err := Verify(k.Public(), a.Method, bad, octets, s.Announced); err == nil {
					t.Errorf("%s: %d octets of %d verified", a, len(bad), len(data))
				}
			}
		}
	}
}

func TestChoiceOfAlgorithm(t *testing.T) {
	all := Support{Announced: true, Hashes: Announced()}
	pkcs1 := all
	pkcs1.Theirs = Auth{MethodDigital, Algorithm{PKCS1, SHA2_512, 0}}
	for _, c := range []struct {
		key  *PrivateKey
		peer Support
		want string
	}{
		{rsa2048(), all, "RSASSA-PSS with SHA2-256"},
		{rsa2048(), pkcs1, "RSASSA-PKCS1-v1_5 with SHA2-256"},
		{rsa2048(), Support{Announced: true, Hashes: []Hash{SHA2_512}}, "RSASSA-PSS with SHA2-512"},
		{rsa2048(), Support{}, "RSASSA-PKCS1-v1_5 with SHA1 (method 1)"},
		{rsa2048(), Support{Theirs: Auth{MethodRSA, Algorithm{PKCS1, SHA2_256, 0}}}, "RSASSA-PKCS1-v1_5 with SHA2-256 (method 1)"},
		{pssOnly(0, 0), pkcs1, "RSASSA-PSS with SHA2-256"},
		{pssOnly(SHA2_512, 64), all, "RSASSA-PSS with SHA2-512"},
		{generate(t, P256), all, "ECDSA with SHA2-256"},
		{generate(t, P384), all, "ECDSA with SHA2-384"},
		{generate(t, P521), all, "ECDSA with SHA2-512"},
		{generate(t, P384), Support{Announced: true, Hashes: []Hash{SHA2_256}}, "ECDSA with SHA2-256"},
		{generate(t, P256), Support{}, "ECDSA with SHA2-256 (method 9)"},
		{generate(t, P384), Support{}, "ECDSA with SHA2-384 (method 10)"},
		{generate(t, P521), Support{}, "ECDSA with SHA2-512 (method 11)"},
		{generate(t, Ed25519), all, "Ed25519"},
	} {
		a, err := c.key.Choose(c.peer)
		if err != nil || a.String() != c.want {
			t.Errorf("%s: %s (%v), want %s", c.key, a, err, c.want)
		}
	}
	_, err := generate(t, Ed25519).Choose(Support{Announced: true, Hashes: []Hash{SHA2_256, SHA2_384}})
	wantReason(t, "Ed25519 without Identity", err, NoCommonHash, "Identity", "SHA2-256, SHA2-384", "ECDSA or RSA")
	_, err = rsa2048().Choose(Support{Announced: true, Hashes: []Hash{SHA1}})
	wantReason(t, "a peer with SHA-1 only", err, NoCommonHash, "takes SHA1")
	_, err = rsa2048().Choose(Support{Announced: true, Hashes: []Hash{}})
	wantReason(t, "a peer with nothing", err, NoCommonHash, "takes none")
}

func TestSHA1IsOnlyForPeersThatKnowNothingBetter(t *testing.T) {
	k := rsa2048()
	old := Auth{MethodRSA, Algorithm{PKCS1, SHA1, 0}}
	data, err := k.Sign(old, octets, nil)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := Verify(k.Public(), MethodRSA, data, octets, false); err != nil || a != old {
		t.Errorf("%s, %v", a, err)
	}
	_, err = Verify(k.Public(), MethodRSA, data, octets, true)
	wantReason(t, "although both know better", err, WeakHash, "SHA1", "RFC 7427")
	// In method 14 never, whoever made it.
	if _, err := k.Sign(Auth{MethodDigital, Algorithm{PKCS1, SHA1, 0}}, octets, nil); err == nil {
		t.Error("signed")
	}
	id := Algorithm{PKCS1, SHA1, 0}.AlgorithmIdentifier()
	_, err = Verify(k.Public(), MethodDigital, slices.Concat([]byte{byte(len(id))}, id, data), octets, false)
	wantReason(t, "in method 14", err, WeakHash, "did not announce")
	// Method 1 with SHA-2 is as good as any.
	newer := Auth{MethodRSA, Algorithm{PKCS1, SHA2_256, 0}}
	if data, err = k.Sign(newer, octets, nil); err != nil {
		t.Fatal(err)
	}
	if a, err := Verify(k.Public(), MethodRSA, data, octets, true); err != nil || a != newer {
		t.Errorf("%s, %v", a, err)
	}
}

func TestRefusalsSayWhatIsWrong(t *testing.T) {
	ec, ed := generate(t, P256), generate(t, Ed25519)
	a := Auth{MethodDigital, Algorithm{ECDSA, SHA2_256, 0}}
	good, err := ec.Sign(a, octets, nil)
	if err != nil {
		t.Fatal(err)
	}
	with := func(id string) []byte {
		raw, err := hex.DecodeString(id)
		if err != nil {
			t.Fatal(err)
		}
		return slices.Concat([]byte{byte(len(raw))}, raw, []byte("signature"))
	}
	for _, c := range []struct {
		name   string
		key    *PrivateKey
		method Method
		data   []byte
		reason Reason
		words  string
	}{
		{"another key", generate(t, P256), MethodDigital, good, BadSignature, "private key is not that of the certificate"},
		{"a key of another kind", ed, MethodDigital, good, KeyMismatch, "ECDSA with SHA2-256, which a key of type Ed25519 can't make"},
		{"RSA and an ECDSA key", ec, MethodRSA, good, KeyMismatch, "its key is ECDSA P-256"},
		{"method 10 and P-256", ec, MethodECDSA384, make([]byte, 96), KeyMismatch, "P-384"},
		{"method 9, wrong length", ec, MethodECDSA256, make([]byte, 63), Malformed, "63 octets"},
		{"method 9, zeros", ec, MethodECDSA256, make([]byte, 64), BadSignature, ""},
		{"method 1 and an RSA-PSS key", pssOnly(0, 0), MethodRSA, make([]byte, 256), KeyMismatch, "RSA-PSS 2048"},
		{"method 1, wrong signature", rsa2048(), MethodRSA, make([]byte, 256), BadSignature, ""},
		{"shared key", ec, 2, good, Unsupported, "authentication method 2"},
		{"no data", ec, MethodDigital, nil, Malformed, ""},
		{"identifier cut off", ec, MethodDigital, []byte{255, 0x30}, Malformed, ""},
		{"identifier of 255 octets", ec, MethodDigital, append([]byte{255}, make([]byte, 300)...), Malformed, ""},
		{"no identifier", ec, MethodDigital, append([]byte{0}, good...), Malformed, ""},
		{"no signature", ec, MethodDigital, with("300a06082a8648ce3d040302")[:13], BadSignature, ""},
		{"Ed448", ed, MethodDigital, with("300506032b6571"), Unsupported, "Ed448"},
		{"DSA", ec, MethodDigital, with("300b0609608648016503040302"), Unsupported, "DSA"},
		{"ECDSA with SHA-1", ec, MethodDigital, with("300906072a8648ce3d0401"), WeakHash, "SHA1"},
		{"RSA with MD5", rsa2048(), MethodDigital, with("300d06092a864886f70d0101040500"), WeakHash, "MD5"},
		{"PSS with empty parameters", rsa2048(), MethodDigital, with("300d06092a864886f70d01010a3000"), WeakHash, "SHA1"},
		{"PSS with default parameters", rsa2048(), MethodDigital, with("303e06092a864886f70d01010a3031a00b300906052b0e03021a0500a118301606092a864886f70d010108300906052b0e03021a0500a203020114a303020101"), WeakHash, "SHA1"},
		{"PSS without parameters", rsa2048(), MethodDigital, with("300b06092a864886f70d01010a"), Malformed, "RSASSA-PSS"},
		{"Ed25519 with NULL", ed, MethodDigital, with("300706032b65700500"), Malformed, "parameters"},
		{"unknown", ec, MethodDigital, with("300506032a0304"), Unsupported, "1.2.3.4"},
	} {
		_, err := Verify(c.key.Public(), c.method, c.data, octets, true)
		wantReason(t, c.name, err, c.reason, c.words)
	}
}

// Appendix A of RFC 7427 and of RFC 8420.
func TestAlgorithmIdentifiersAsInTheRFCs(t *testing.T) {
	for want, a := range map[string]Algorithm{
		"300d06092a864886f70d0101050500": {PKCS1, SHA1, 0},
		"300d06092a864886f70d01010b0500": {PKCS1, SHA2_256, 0},
		"300d06092a864886f70d01010c0500": {PKCS1, SHA2_384, 0},
		"300d06092a864886f70d01010d0500": {PKCS1, SHA2_512, 0},
		"300a06082a8648ce3d040302":       {ECDSA, SHA2_256, 0},
		"300a06082a8648ce3d040303":       {ECDSA, SHA2_384, 0},
		"300a06082a8648ce3d040304":       {ECDSA, SHA2_512, 0},
		"300506032b6570":                 {EdDSA, Identity, 0},
		"304606092a864886f70d01010a3039a00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120a303020101": {PSS, SHA2_256, 32},
	} {
		if got := hex.EncodeToString(a.AlgorithmIdentifier()); got != want {
			t.Errorf("%s: %s, want %s", a, got, want)
		}
		back, err := ParseAlgorithm(vectors.Bytes(t, want))
		if err != nil || back != a {
			t.Errorf("%s: read as %s, %v", a, back, err)
		}
	}
	// What else the RFCs allow a peer to write.
	for s, want := range map[string]Algorithm{
		"300b06092a864886f70d01010b":     {PKCS1, SHA2_256, 0}, // parameters absent
		"300c06082a8648ce3d0403020500":   {ECDSA, SHA2_256, 0}, // parameters NULL
		"300d06092a864886f70d01010b0500": {PKCS1, SHA2_256, 0},
		// RSASSA-PSS: hashes without NULL, the trailer field left out, a longer salt.
		"303d06092a864886f70d01010a3030a00d300b0609608648016503040201a11a301806092a864886f70d010108300b0609608648016503040201a203020140": {PSS, SHA2_256, 64},
	} {
		if got, err := ParseAlgorithm(vectors.Bytes(t, s)); err != nil || got != want {
			t.Errorf("%s: %s (%v), want %s", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", "3000", "0500", "300506032b65", "300d06092a864886f70d01010b0501", "300e06092a864886f70d01010b050000",
		"300f06092a864886f70d01010b05000500", "30810d06092a864886f70d01010b0500", "300d06092a864886f70d01010b050000",
		// RSASSA-PSS with another hash in MGF1, without salt, with another trailer.
		"304606092a864886f70d01010a3039a00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d06096086480165030402020500a203020120a303020101",
		"304606092a864886f70d01010a3039a00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d06096086480165030402010500a203020100a303020101",
		"304606092a864886f70d01010a3039a00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120a303020102",
	} {
		if a, err := ParseAlgorithm(vectors.Bytes(t, s)); err == nil {
			t.Errorf("%s: read as %s", s, a)
		}
	}
}

// RFC 4754 section 8: the signature of "abc".
func TestECDSAPayloadAsInRFC4754(t *testing.T) {
	for _, v := range []struct {
		method Method
		public string
		sig    string
	}{
		{MethodECDSA256, "2442A5CC0ECD015FA3CA31DC8E2BBC70BF42D60CBCA20085E0822CB04235E970" + "6FC98BD7E50211A4A27102FA3549DF79EBCB4BF246B80945CDDFE7D509BBFD7D",
			"CB28E0999B9C7715FD0A80D8E47A77079716CBBF917DD72E97566EA1C066957C" + "86FA3BB4E26CAD5BF90B7F81899256CE7594BB1EA0C89212748BFF3B3D5B0315"},
		{MethodECDSA384, "96281BF8DD5E0525CA049C048D345D3082968D10FEDF5C5ACA0C64E6465A97EA5CE10C9DFEC21797415710721F437922" + "447688BA94708EB6E2E4D59F6AB6D7EDFF9301D249FE49C33096655F5D502FAD3D383B91C5E7EDAA2B714CC99D5743CA",
			"FB017B914E29149432D8BAC29A514640B46F53DDAB2C69948084E2930F1C8F7E08E07C9C63F2D21A07DCB56A6AF56EB3" + "B263A1305E057F984D38726A1B46874109F417BCA112674C528262A40A629AF1CBB9F516CE0FA7D2FF630863A00E8B9F"},
	} {
		kind, _ := v.method.legacy()
		point, err := ecdsa.ParseUncompressedPublicKey(kind.curve(), append([]byte{4}, vectors.Bytes(t, v.public)...))
		if err != nil {
			t.Fatal(err)
		}
		k, err := ParsePublicKey(must[[]byte](t)(x509.MarshalPKIXPublicKey(point)))
		if err != nil {
			t.Fatal(err)
		}
		if a, err := Verify(k, v.method, vectors.Bytes(t, v.sig), []byte("abc"), false); err != nil {
			t.Errorf("%s: %s, %v", v.method, a, err)
		}
	}
}

// RFC 7670 appendix A.1.
func TestRawKeyAsInRFC7670(t *testing.T) {
	spki := vectors.Bytes(t, "3059301306072a8648ce3d020106082a8648ce3d0301070342000"+
		"4cb28e0999b9c7715fd0a80d8e47a77079716cbbf917dd72e97566ea1c066957c2b57c0235fb7489768d058ff4911c20fdbe71e3699d91339afbb903ee17255dc")
	k, err := ParsePublicKey(spki)
	if err != nil || k.Kind() != P256 || !bytes.Equal(must[[]byte](t)(k.marshal()), spki) {
		t.Errorf("%v, %v", k, err)
	}
}

func TestSignaturesRepeatBitForBit(t *testing.T) {
	// A nonce from weak randomness would reveal an ECDSA key, so it comes from
	// key and message; and a simulation runs the same twice.
	for _, k := range everyKey(t) {
		a, err := k.Choose(Support{Announced: true, Hashes: Announced()})
		if err != nil {
			t.Fatal(err)
		}
		random := bytes.Repeat([]byte{7}, 64)
		one, err := k.Sign(a, octets, bytes.NewReader(random))
		two, err2 := k.Sign(a, octets, bytes.NewReader(random))
		if err != nil || err2 != nil || !bytes.Equal(one, two) {
			t.Errorf("%s: two signatures (%v, %v)", a, err, err2)
		}
	}
	if _, err := rsa2048().Sign(Auth{MethodDigital, Algorithm{PSS, SHA2_256, 32}}, octets, bytes.NewReader(nil)); err == nil {
		t.Error("RSASSA-PSS without randomness")
	}
}

func TestSigningWithWhatDoesNotFitFails(t *testing.T) {
	ec, ed := generate(t, P256), generate(t, Ed25519)
	for _, c := range []struct {
		k *PrivateKey
		a Auth
	}{
		{ec, Auth{MethodRSA, Algorithm{PKCS1, SHA1, 0}}},
		{ec, Auth{MethodECDSA384, Algorithm{ECDSA, SHA2_384, 0}}},
		{ec, Auth{MethodECDSA256, Algorithm{ECDSA, SHA2_384, 0}}},
		{ec, Auth{MethodRSA, Algorithm{ECDSA, SHA2_256, 0}}},
		{ec, Auth{MethodDigital, Algorithm{ECDSA, Identity, 0}}},
		{ec, Auth{}},
		{ed, Auth{MethodDigital, Algorithm{ECDSA, SHA2_256, 0}}},
		{rsa2048(), Auth{MethodDigital, Algorithm{PSS, SHA2_256, 0}}},
		{pssOnly(0, 0), Auth{MethodRSA, Algorithm{PKCS1, SHA1, 0}}},
	} {
		if data, err := c.k.Sign(c.a, octets, rand.Reader); err == nil {
			t.Errorf("%s signed by %s: %x", c.k, c.a, data)
		}
	}
}

func TestHashesOfTheNotify(t *testing.T) {
	ec, ed := generate(t, P256).Public(), generate(t, Ed25519).Public()
	for _, c := range []struct {
		keys []*PublicKey
		want string
	}{
		{nil, "0002000300040005"}, {[]*PublicKey{ec}, "000200030004"}, {[]*PublicKey{ed}, "0005"}, {[]*PublicKey{ed, ec}, "0002000300040005"},
	} {
		b := AppendHashes(nil, Announced(c.keys...))
		if hex.EncodeToString(b) != c.want {
			t.Errorf("%v: %x, want %s", c.keys, b, c.want)
		}
		if back, err := ParseHashes(b); err != nil || !slices.Equal(back, Announced(c.keys...)) {
			t.Errorf("%x: %v, %v", b, back, err)
		}
	}
	if h, err := ParseHashes(nil); err != nil || h == nil || len(h) != 0 {
		t.Errorf("empty: %v, %v", h, err)
	}
	if _, err := ParseHashes([]byte{0, 2, 0}); err == nil {
		t.Error("three octets")
	}
	var flood []byte
	for i := range 1000 {
		flood = append(flood, byte(i>>8), byte(i))
	}
	if h, err := ParseHashes(append([]byte{0, 2, 0, 2}, flood...)); err != nil || len(h) != 32 {
		t.Errorf("%d kept, %v", len(h), err)
	}
}

func TestPrivateKeysNeverShow(t *testing.T) {
	for _, k := range everyKey(t) {
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", k, "in", struct{ K *PrivateKey }{k})
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", k, "in", struct{ K *PrivateKey }{k})
		out := log.String()
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
			out += fmt.Sprintf(verb, k) + fmt.Sprintf(verb, *k) + fmt.Sprintf(verb, struct{ K *PrivateKey }{k}) + fmt.Sprintf(verb, []*PrivateKey{k}) +
				fmt.Sprintf(verb, struct{ k *PrivateKey }{k})
		}
		out += fmt.Sprintf("%v %+v", struct{ k PrivateKey }{*k}, struct{ k PrivateKey }{*k})
		secret := map[string][]byte{}
		switch {
		case k.ed != nil:
			secret["seed"] = k.ed.Seed()
		case k.ec != nil:
			secret["scalar"], _ = k.ec.Bytes()
		default:
			secret["exponent"], secret["prime"] = k.rsa.D.Bytes(), k.rsa.Primes[0].Bytes()
		}
		for name, s := range secret {
			for _, form := range []string{fmt.Sprintf("%x", s[:8]), fmt.Sprintf("%X", s[:8]), strings.Trim(fmt.Sprint(s[:8]), "[]")} {
				if strings.Contains(out, form) {
					t.Errorf("%s: its %s shows in %s", k, name, out)
				}
			}
		}
		if k.rsa != nil && strings.Contains(out, k.rsa.D.String()[:20]) {
			t.Error("an exponent shows in decimal")
		}
	}
}

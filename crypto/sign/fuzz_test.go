package sign

import (
	"bytes"
	"crypto/x509"
	"testing"
)

// FuzzAuth feeds AUTH payloads of every method to keys of every kind: nothing
// panics, and nothing verifies that was not signed. The last octet of data picks
// the key.
func FuzzAuth(f *testing.F) {
	keys := everyKey(f)
	signed := map[string]bool{}
	for i, k := range keys {
		for _, s := range []Support{{Announced: true, Hashes: Announced()}, {}} {
			a, err := k.Choose(s)
			if err != nil {
				continue
			}
			data, err := k.Sign(a, octets, bytes.NewReader(make([]byte, 64)))
			if err != nil {
				f.Fatal(err)
			}
			signed[string(data)] = true
			f.Add(byte(a.Method), append(data, byte(i)), s.Announced)
		}
	}
	for _, h := range []Hash{SHA2_256, SHA2_512} {
		id := Algorithm{PSS, h, 20}.AlgorithmIdentifier()
		f.Add(byte(14), append(append([]byte{byte(len(id))}, id...), 1, 2, 3, 0), true)
	}
	f.Fuzz(func(t *testing.T, method byte, data []byte, announced bool) {
		if len(data) == 0 {
			return
		}
		k := keys[int(data[len(data)-1])%len(keys)]
		data = data[:len(data)-1]
		a, err := Verify(k.Public(), Method(method), data, octets, announced)
		switch {
		case err != nil && (err.(*Error).Reason == 0 || err.(*Error).Detail == ""):
			t.Fatalf("%v", err)
		case err == nil && !signed[string(data)]:
			// One signature may be wrapped in more than one AlgorithmIdentifier.
			if a.Method != MethodDigital {
				t.Fatalf("method %d, %x: verified as %s", method, data, a)
			}
			id := data[1 : 1+data[0]]
			if _, err := ParseAlgorithm(id); err != nil {
				t.Fatalf("%x: %v", data, err)
			}
		}
	})
}

// FuzzAlgorithm: an AlgorithmIdentifier that is read means the same in our own
// encoding.
func FuzzAlgorithm(f *testing.F) {
	for _, s := range signatures {
		f.Add(s.AlgorithmIdentifier())
	}
	f.Add(Algorithm{PSS, SHA2_384, 48}.AlgorithmIdentifier())
	f.Fuzz(func(t *testing.T, identifier []byte) {
		a, err := ParseAlgorithm(identifier)
		if err != nil {
			if a != (Algorithm{}) || err.(*Error).Detail == "" {
				t.Fatalf("%s, %v", a, err)
			}
			return
		}
		if again, err := ParseAlgorithm(a.AlgorithmIdentifier()); err != nil || again != a {
			t.Fatalf("%x is %s, and then %s: %v", identifier, a, again, err)
		}
	})
}

// FuzzPrivateKey: no file panics, and what is read can be used. (RSA keys are
// held to their arithmetic by the library, slowly: seeds have none.)
func FuzzPrivateKey(f *testing.F) {
	for _, kind := range []Kind{P256, P384, P521, Ed25519} {
		k, err := Generate(kind, bytes.NewReader(bytes.Repeat([]byte{0x41}, 66)))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(k.PEM())
		if k.ec != nil {
			sec1, err := x509.MarshalECPrivateKey(k.ec)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(sec1)
		}
	}
	f.Add([]byte("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		k, err := ParsePrivateKey(file)
		if err != nil {
			if k != nil || err.(*Error).Detail == "" {
				t.Fatalf("%v, %v", k, err)
			}
			return
		}
		p, err := ParsePublicKey(k.Public().SPKI())
		if err != nil || !p.Equal(k.Public()) {
			t.Fatalf("its own public key: %v", err)
		}
		if k.public.kind != RSA {
			if again, err := ParsePrivateKey(k.PEM()); err != nil || !again.Public().Equal(p) {
				t.Fatalf("its own file: %v", err)
			}
		}
	})
}

// FuzzPublicKey: keys that we read the standard library reads, and the same.
func FuzzPublicKey(f *testing.F) {
	for _, k := range everyKey(f) {
		f.Add(k.Public().SPKI())
	}
	f.Fuzz(func(t *testing.T, spki []byte) {
		k, err := ParsePublicKey(spki)
		if err != nil {
			return
		}
		written, err := k.marshal()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParsePublicKey(written); err != nil || !again.Equal(k) || again.pssHash != k.pssHash {
			t.Fatalf("%x written as %x: %v", spki, written, err)
		}
		_, _ = k.Fingerprint(), k.KeyHash()
		if k.pss {
			return // not known there
		}
		if _, err := x509.ParsePKIXPublicKey(spki); err != nil {
			t.Fatalf("%x is %s here, and the standard library says %v", spki, k, err)
		}
	})
}

package sign

import (
	"slices"
	"strings"
	"testing"

	"greseal/crypto/internal/vectors"
)

// Each file goes through Verify as the AUTH payload of a peer would: with its
// AlgorithmIdentifier in front, or raw by methods 9 to 11.
func TestSignaturesAgainstWycheproof(t *testing.T) {
	type test struct {
		ID     int `json:"tcId"`
		Flags  []string
		Msg    vectors.Hex
		Sig    vectors.Hex
		Result string
	}
	type group struct {
		PublicKeyDer vectors.Hex
		Tests        []test
	}
	for file, a := range map[string]Auth{
		"rsa_signature_2048_sha256_test.json.gz":      {MethodDigital, Algorithm{PKCS1, SHA2_256, 0}},
		"rsa_pss_2048_sha256_mgf1_32_test.json.gz":    {MethodDigital, Algorithm{PSS, SHA2_256, 32}},
		"ecdsa_secp256r1_sha256_test.json.gz":         {MethodDigital, Algorithm{ECDSA, SHA2_256, 0}},
		"ecdsa_secp384r1_sha384_test.json.gz":         {MethodDigital, Algorithm{ECDSA, SHA2_384, 0}},
		"ecdsa_secp521r1_sha512_test.json.gz":         {MethodDigital, Algorithm{ECDSA, SHA2_512, 0}},
		"ecdsa_secp256r1_sha256_p1363_test.json.gz":   {MethodECDSA256, Algorithm{ECDSA, SHA2_256, 0}},
		"ecdsa_secp384r1_sha384_p1363_test.json.gz":   {MethodECDSA384, Algorithm{ECDSA, SHA2_384, 0}},
		"ed25519_test.json.gz":                        {MethodDigital, Algorithm{EdDSA, Identity, 0}},
		"rsa_signature_2048_sha256_test.json.gz#auth": {MethodRSA, Algorithm{PKCS1, SHA2_256, 0}},
	} {
		t.Run(file, func(t *testing.T) {
			var f vectors.Wycheproof[group]
			name, _, _ := strings.Cut(file, "#")
			vectors.JSON(t, &f, "wycheproof", name)
			good, bad := 0, 0
			for _, g := range f.Groups {
				k, err := ParsePublicKey(g.PublicKeyDer)
				if err != nil {
					t.Fatal(err)
				}
				for i, v := range g.Tests {
					if testing.Short() && strings.HasPrefix(name, "ecdsa") && i%3 != 0 {
						continue // a sample, for slow machines
					}
					data := []byte(v.Sig)
					if a.Method == MethodDigital {
						id := a.Algorithm.AlgorithmIdentifier()
						data = slices.Concat([]byte{byte(len(id))}, id, v.Sig)
					}
					got, err := Verify(k, a.Method, data, v.Msg, true)
					// Method 1 leaves the hash open: a signature with another one
					// is right, and called what it is.
					switch {
					case v.Result == "valid" && (err != nil || got != a):
						t.Errorf("test %d %v: %s, %v", v.ID, v.Flags, got, err)
					case v.Result == "invalid" && got == a && err == nil:
						t.Errorf("test %d %v: accepted", v.ID, v.Flags)
					}
					if err == nil {
						good++
					} else {
						bad++
					}
				}
			}
			if good < 5 || bad < 30 {
				t.Errorf("%d good and %d bad ones: too few", good, bad)
			}
		})
	}
}

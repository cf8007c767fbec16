package seal

import (
	"bytes"
	"crypto/cipher"
	"strings"
	"testing"

	"greseal/crypto/internal/vectors"
	"greseal/crypto/suite"
)

// aead opens and seals one published case; ok says whether it must open.
func checkAEAD(t *testing.T, what string, encr suite.Transform, key, nonce, aad, text, ct, tag []byte, ok bool) {
	t.Helper()
	a, salt, err := AEAD(encr, append(bytes.Clone(key), nonce[:4]...))
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	full := append(salt[:], nonce[4:]...)
	got, err := a.Open(nil, full, append(bytes.Clone(ct), tag...), aad)
	if (err == nil) != ok || ok && !bytes.Equal(got, text) {
		t.Errorf("%s: opened %x, %v", what, got, err)
	}
	if ok {
		if got := a.Seal(nil, full, text, aad); !bytes.Equal(got, append(bytes.Clone(ct), tag...)) {
			t.Errorf("%s: sealed %x", what, got)
		}
	}
}

func TestAEADsAgainstWycheproof(t *testing.T) {
	for file, id := range map[string]uint16{
		"aes_gcm": suite.ENCR_AES_GCM_16, "chacha20_poly1305": suite.ENCR_CHACHA20_POLY1305,
	} {
		var f vectors.Wycheproof[struct {
			IVSize, KeySize, TagSize int
			Tests                    []struct {
				ID                         int `json:"tcId"`
				Key, IV, AAD, Msg, CT, Tag vectors.Hex
				Result, Comment            string
			}
		}]
		vectors.JSON(t, &f, "wycheproof", file+"_test.json.gz")
		ran := 0
		for _, g := range f.Groups {
			if g.IVSize != 96 || g.TagSize != 128 {
				continue // ESP and IKE have no other nonces and check values
			}
			for _, v := range g.Tests {
				encr := suite.Transform{Type: suite.TypeEncr, ID: id}
				if id == suite.ENCR_AES_GCM_16 {
					encr.KeyLen = uint16(g.KeySize)
				}
				ran++
				checkAEAD(t, file+": "+v.Comment, encr, v.Key, v.IV, v.AAD, v.Msg, v.CT, v.Tag, v.Result == "valid")
			}
		}
		if ran < 90 {
			t.Errorf("%s: only %d cases", file, ran)
		}
	}
}

// records reads NIST's text format: "Name = value" lines, a record begins at
// COUNT; FAIL stands alone.
func records(data []byte) (out []map[string]string) {
	header := map[string]string{}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") || line == "" {
			continue
		}
		name, value, _ := strings.Cut(strings.Trim(line, "[]"), " = ")
		name = strings.ToUpper(strings.TrimSuffix(name, " ="))
		switch {
		case strings.HasPrefix(line, "["):
			header[name] = value
			if value == "" {
				header["MODE"] = name
			}
		case name == "COUNT":
			out = append(out, map[string]string{"TAGLEN": header["TAGLEN"], "IVLEN": header["IVLEN"], "MODE": header["MODE"]})
		default:
			out[len(out)-1][name] = value
		}
	}
	return out
}

func TestAESGCMAgainstNIST(t *testing.T) {
	ran := 0
	for _, file := range []string{"gcmEncryptExtIV128", "gcmEncryptExtIV256", "gcmDecrypt128", "gcmDecrypt256"} {
		for _, r := range records(vectors.Read(t, "nist-aes", file+".rsp")) {
			if r["IVLEN"] != "96" || r["TAGLEN"] != "128" {
				continue
			}
			ran++
			_, fail := r["FAIL"]
			key := vectors.Bytes(t, r["KEY"])
			encr := suite.Transform{Type: suite.TypeEncr, ID: suite.ENCR_AES_GCM_16, KeyLen: uint16(len(key) * 8)}
			checkAEAD(t, file, encr, key, vectors.Bytes(t, r["IV"]), vectors.Bytes(t, r["AAD"]),
				vectors.Bytes(t, r["PT"]), vectors.Bytes(t, r["CT"]), vectors.Bytes(t, r["TAG"]), !fail)
		}
	}
	if ran < 50 {
		t.Errorf("only %d cases", ran)
	}
}

func TestAESCBCAgainstNIST(t *testing.T) {
	ran := 0
	for _, file := range []string{"CBCMMT128", "CBCMMT192", "CBCMMT256"} {
		for _, r := range records(vectors.Read(t, "nist-aes", file+".fax")) {
			ran++
			key, iv := vectors.Bytes(t, r["KEY"]), vectors.Bytes(t, r["IV"])
			b, err := Block(suite.Transform{Type: suite.TypeEncr, ID: suite.ENCR_AES_CBC, KeyLen: uint16(len(key) * 8)}, key)
			if err != nil {
				t.Fatal(err)
			}
			plain, crypted := vectors.Bytes(t, r["PLAINTEXT"]), vectors.Bytes(t, r["CIPHERTEXT"])
			got := make([]byte, len(plain))
			if cipher.NewCBCEncrypter(b, iv).CryptBlocks(got, plain); !bytes.Equal(got, crypted) {
				t.Errorf("%s: encrypted to %x", file, got)
			}
			if cipher.NewCBCDecrypter(b, iv).CryptBlocks(got, crypted); !bytes.Equal(got, plain) {
				t.Errorf("%s: decrypted to %x", file, got)
			}
		}
	}
	if ran != 60 {
		t.Errorf("%d cases, want 60", ran)
	}
}

func TestTruncatedMACsAgainstWycheproof(t *testing.T) {
	for file, words := range map[string]string{
		"hmac_sha256": "aes128-sha256", "hmac_sha384": "aes128-sha384", "hmac_sha512": "aes128-sha512",
	} {
		_, integ := pair(t, words)
		var f vectors.Wycheproof[struct {
			TagSize int
			Tests   []struct {
				ID            int `json:"tcId"`
				Key, Msg, Tag vectors.Hex
				Result        string
			}
		}]
		vectors.JSON(t, &f, "wycheproof", file+"_test.json.gz")
		ran := 0
		for _, g := range f.Groups {
			for _, v := range g.Tests {
				if g.TagSize/8 != integ.ICVBytes() || len(v.Key) != integ.KeyBytes() {
					continue
				}
				ran++
				m, err := MAC(integ, v.Key)
				if err != nil {
					t.Fatal(err)
				}
				m.Write(v.Msg)
				if got := m.Sum(nil)[:integ.ICVBytes()]; bytes.Equal(got, v.Tag) != (v.Result == "valid") {
					t.Errorf("%s test %d (%s): %x", file, v.ID, v.Result, got)
				}
			}
		}
		if ran == 0 {
			t.Logf("%s has no case with the lengths of %s", file, integ)
		}
	}
}

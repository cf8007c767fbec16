package prf

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"greseal/crypto/internal/vectors"
	"greseal/crypto/suite"
)

var byHash = map[string]uint16{
	"SHA-1": suite.PRF_HMAC_SHA1, "SHA-256": suite.PRF_HMAC_SHA2_256,
	"SHA-384": suite.PRF_HMAC_SHA2_384, "SHA-512": suite.PRF_HMAC_SHA2_512,
	"SHA2-384": suite.PRF_HMAC_SHA2_384,
}

func named(t testing.TB, hash string) PRF {
	t.Helper()
	p, err := New(byHash[hash])
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// derivation is one case of NIST's, in either file.
type derivation struct {
	ni, nr, gir, girNew, spiI, spiR                   []byte
	skeyseed, dkm, child, childDH, skeyseedAfterwards []byte
}

func (d derivation) check(t *testing.T, p PRF) {
	t.Helper()
	seed := p.SKEYSEED(d.ni, d.nr, d.gir)
	if !bytes.Equal(seed, d.skeyseed) {
		t.Errorf("SKEYSEED %x, want %x", seed, d.skeyseed)
	}
	dkm, err := p.Plus(seed, len(d.dkm), d.ni, d.nr, d.spiI, d.spiR)
	if err != nil || !bytes.Equal(dkm, d.dkm) {
		t.Errorf("derived keying material %x, want %x (%v)", dkm, d.dkm, err)
	}
	skd := dkm[:p.Size()]
	child, err := p.KEYMAT(skd, len(d.child), nil, d.ni, d.nr)
	if err != nil || !bytes.Equal(child, d.child) {
		t.Errorf("KEYMAT %x, want %x (%v)", child, d.child, err)
	}
	child, err = p.KEYMAT(skd, len(d.childDH), d.girNew, d.ni, d.nr)
	if err != nil || !bytes.Equal(child, d.childDH) {
		t.Errorf("KEYMAT with a key exchange %x, want %x (%v)", child, d.childDH, err)
	}
	if got := p.NextSKEYSEED(skd, d.girNew, d.ni, d.nr); !bytes.Equal(got, d.skeyseedAfterwards) {
		t.Errorf("SKEYSEED of the rekeyed SA %x, want %x", got, d.skeyseedAfterwards)
	}

	// The same values, split for a suite.
	s := suite.Suite{Protocol: suite.IKE, PRF: suite.Transform{Type: suite.TypePRF, ID: p.ID()},
		Encr: suite.Transform{Type: suite.TypeEncr, ID: suite.ENCR_CHACHA20_POLY1305}}
	if len(d.dkm) >= 3*p.Size()+72 {
		k, err := p.IKEKeys(s, seed, d.ni, d.nr, binary.BigEndian.Uint64(d.spiI), binary.BigEndian.Uint64(d.spiR))
		if err != nil {
			t.Fatal(err)
		}
		joined := bytes.Join([][]byte{k.D, k.Ei, k.Er, k.Pi, k.Pr}, nil)
		if !bytes.Equal(joined, d.dkm[:len(joined)]) || k.Ai != nil || k.Ar != nil {
			t.Error("the keys of the IKE SA are split otherwise")
		}
	}
}

func TestKeysAsNISTDerivesThem(t *testing.T) {
	type tc struct {
		Ni, Nr, Gir, Skeyseed, Dkm vectors.Hex
		GirNew                     vectors.Hex `json:"gir_new"`
		SPIi                       vectors.Hex `json:"spi_i"`
		SPIr                       vectors.Hex `json:"spi_r"`
		Child                      vectors.Hex `json:"child_dkm"`
		ChildDH                    vectors.Hex `json:"child_dkm_dh"`
		Rekey                      vectors.Hex `json:"skeyseed_rekey"`
	}
	var file struct {
		Groups []struct {
			Hash  string
			Cases []tc
		}
	}
	vectors.JSON(t, &file, "ikev2-kdf", "cavp_ikev2_kdf.json")
	ran := map[string]int{}
	for _, g := range file.Groups {
		p := named(t, g.Hash)
		for _, c := range g.Cases {
			ran[g.Hash]++
			derivation{c.Ni, c.Nr, c.Gir, c.GirNew, c.SPIi, c.SPIr,
				c.Skeyseed, c.Dkm, c.Child, c.ChildDH, c.Rekey}.check(t, p)
		}
	}
	for _, hash := range []string{"SHA-1", "SHA-256", "SHA-384", "SHA-512"} {
		if ran[hash] < 15 {
			t.Errorf("%d cases of %s in the file", ran[hash], hash)
		}
	}
}

func TestKeysAsACVPDerivesThem(t *testing.T) {
	type tc struct {
		NInit, NResp, Gir, GirNew, SPIInit, SPIResp vectors.Hex
		SKeySeed                                    vectors.Hex
		DKM                                         vectors.Hex `json:"derivedKeyingMaterial"`
		Child                                       vectors.Hex `json:"derivedKeyingMaterialChild"`
		ChildDH                                     vectors.Hex `json:"derivedKeyingMaterialDh"`
		Rekey                                       vectors.Hex `json:"sKeySeedReKey"`
	}
	var file struct {
		TestGroups []struct {
			HashAlg string
			Tests   []tc
		}
	}
	vectors.JSON(t, &file, "ikev2-kdf", "acvp_ikev2_kdf_subset.json")
	ran := 0
	for _, g := range file.TestGroups {
		p := named(t, g.HashAlg)
		for _, c := range g.Tests {
			ran++
			derivation{c.NInit, c.NResp, c.Gir, c.GirNew, c.SPIInit, c.SPIResp,
				c.SKeySeed, c.DKM, c.Child, c.ChildDH, c.Rekey}.check(t, p)
		}
	}
	if ran == 0 {
		t.Error("no case in the file")
	}
}

func TestHMACAgainstWycheproof(t *testing.T) {
	for file, hash := range map[string]string{
		"hmac_sha1": "SHA-1", "hmac_sha256": "SHA-256", "hmac_sha384": "SHA-384", "hmac_sha512": "SHA-512",
	} {
		var f vectors.Wycheproof[struct {
			TagSize int
			Tests   []struct {
				ID            int `json:"tcId"`
				Key, Msg, Tag vectors.Hex
				Result        string
			}
		}]
		vectors.JSON(t, &f, "wycheproof", file+"_test.json.gz")
		p := named(t, hash)
		for _, g := range f.Groups {
			for _, v := range g.Tests {
				half := len(v.Msg) / 2
				got := p.Sum(v.Key, v.Msg[:half], v.Msg[half:])[:g.TagSize/8]
				if bytes.Equal(got, v.Tag) != (v.Result == "valid") {
					t.Errorf("%s test %d (%s): %x", file, v.ID, v.Result, got)
				}
			}
		}
	}
}

// The order of RFC 7296 section 2.17, seen against KEYMAT in one piece.
func TestChildKeysAreCutInitiatorFirstAndEncryptionFirst(t *testing.T) {
	p := named(t, "SHA-256")
	skd, ni, nr, secret := []byte("a secret of 32 octets, or nearly"), []byte("Ni"), []byte("Nr"), []byte("shared")
	s := suite.Suite{Protocol: suite.ESP,
		Encr:  suite.Transform{Type: suite.TypeEncr, ID: suite.ENCR_AES_CBC, KeyLen: 128},
		Integ: suite.Transform{Type: suite.TypeInteg, ID: suite.AUTH_HMAC_SHA2_256_128}}
	for _, shared := range [][]byte{nil, secret} {
		k, err := p.ChildKeys(s, skd, shared, ni, nr)
		if err != nil {
			t.Fatal(err)
		}
		all, err := p.Plus(skd, 2*16+2*32, shared, ni, nr)
		if err != nil {
			t.Fatal(err)
		}
		want := [][]byte{all[:16], all[16:48], all[48:64], all[64:]}
		for i, got := range [][]byte{k.Ei, k.Ai, k.Er, k.Ar} {
			if !bytes.Equal(got, want[i]) {
				t.Errorf("key %d is %x, want %x", i, got, want[i])
			}
		}
	}
	one, _ := p.ChildKeys(s, skd, secret, ni, nr)
	two, _ := p.ChildKeys(s, skd, secret, ni, nr, []byte("second"))
	if bytes.Equal(one.Ei, two.Ei) {
		t.Error("an additional secret changes nothing")
	}
}

func TestIKEKeysWithSeparateIntegrityStandInTheirOrder(t *testing.T) {
	p := named(t, "SHA-384")
	s := suite.Suite{Protocol: suite.IKE,
		Encr:  suite.Transform{Type: suite.TypeEncr, ID: suite.ENCR_AES_CBC, KeyLen: 256},
		Integ: suite.Transform{Type: suite.TypeInteg, ID: suite.AUTH_HMAC_SHA2_512_256}}
	k, err := p.IKEKeys(s, []byte("seed"), []byte("Ni"), []byte("Nr"), 0x0102030405060708, 9)
	if err != nil {
		t.Fatal(err)
	}
	all, _ := p.Plus([]byte("seed"), 3*48+2*64+2*32, []byte("NiNr\x01\x02\x03\x04\x05\x06\x07\x08"), make([]byte, 7), []byte{9})
	if got := bytes.Join([][]byte{k.D, k.Ai, k.Ar, k.Ei, k.Er, k.Pi, k.Pr}, nil); !bytes.Equal(got, all) {
		t.Error("another order")
	}
	if len(k.D) != 48 || len(k.Ai) != 64 || len(k.Ei) != 32 || len(k.Pr) != 48 {
		t.Error("other lengths")
	}
	k.Wipe()
	if !bytes.Equal(k.Ei, make([]byte, 32)) {
		t.Error("Wipe leaves SK_ei")
	}
}

func TestDerivationRefusesWhatItCannotDo(t *testing.T) {
	p := named(t, "SHA-256")
	if _, err := p.Plus(nil, 255*32+1); err == nil {
		t.Error("prf+ beyond its 255 blocks")
	}
	if b, err := p.Plus(nil, 255*32); err != nil || len(b) != 255*32 {
		t.Errorf("prf+ of 255 blocks: %v", err)
	}
	if _, err := New(99); err == nil || !strings.Contains(err.Error(), "PRF 99") {
		t.Errorf("unknown PRF: %v", err)
	}
	bare := suite.Suite{Encr: suite.Transform{Type: suite.TypeEncr, ID: suite.ENCR_AES_CBC, KeyLen: 128}}
	if _, err := p.IKEKeys(bare, []byte("seed"), nil, nil, 1, 2); err == nil {
		t.Error("keys for a cipher without integrity")
	}
	if _, err := p.ChildKeys(bare, []byte("d"), nil, nil, nil); err == nil {
		t.Error("Child SA keys for a cipher without integrity")
	}
	if _, err := p.ChildKeys(suite.Suite{}, []byte("d"), nil, nil, nil); err == nil {
		t.Error("keys for an empty suite")
	}
}

func TestKeysNeverPrint(t *testing.T) {
	k := &IKEKeys{D: []byte("SECRET"), Ei: []byte("SECRET")}
	c := &ChildKeys{Ei: []byte("SECRET")}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "k", k, "c", c, "kv", *k, "cv", *c)
	text := log.String()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q", "%d"} {
		text += fmt.Sprintf(verb+verb+verb+verb, k, *k, c, *c)
	}
	for _, secret := range []string{"SECRET", "534543", "83 69"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in %q", secret, text)
		}
	}
}

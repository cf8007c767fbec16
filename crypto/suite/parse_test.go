package suite

import (
	"slices"
	"strings"
	"testing"
)

func TestProposalsReadAsWritten(t *testing.T) {
	enc := func(id, bits uint16) Transform { return Transform{TypeEncr, id, bits} }
	ke := func(id uint16) Transform { return Transform{Type: TypeKE, ID: id} }
	esnBoth := []Transform{{TypeESN, 1, 0}, {TypeESN, 0, 0}}
	for _, c := range []struct {
		p    Protocol
		in   string
		want []Transform
		out  string // "" means as written
	}{
		{IKE, "aes256gcm16-prfsha384-x25519",
			[]Transform{enc(20, 256), {TypePRF, 6, 0}, ke(31)}, ""},
		{IKE, "aes256-sha256-modp2048",
			[]Transform{enc(12, 256), {TypeInteg, 12, 0}, ke(14), {TypePRF, 5, 0}}, ""},
		{IKE, "aes128-sha256-prfsha512-ecp256",
			[]Transform{enc(12, 128), {TypeInteg, 12, 0}, {TypePRF, 7, 0}, ke(19)}, ""},
		{IKE, "aes256gcm16-sha384-ecp384", // as strongSwan reads it: the PRF only
			[]Transform{enc(20, 256), ke(20), {TypePRF, 6, 0}}, "aes256gcm16-prfsha384-ecp384"},
		{IKE, "aes256gcm16-aes128gcm16-prfsha384-prfsha256-x25519-ecp256",
			[]Transform{enc(20, 256), enc(20, 128), {TypePRF, 6, 0}, {TypePRF, 5, 0}, ke(31), ke(19)}, ""},
		{IKE, "aes256gcm16-prfsha384-x25519-mlkem768",
			[]Transform{enc(20, 256), {TypePRF, 6, 0}, ke(31), {TypeAddKE1, 36, 0}}, ""},
		{IKE, "aes256gcm16-prfsha384-mlkem768-x25519",
			[]Transform{enc(20, 256), {TypePRF, 6, 0}, {TypeAddKE1, 36, 0}, ke(31)}, "aes256gcm16-prfsha384-x25519-mlkem768"},
		{IKE, "aes256gcm16-prfsha384-x25519-ke1_mlkem768-ke2_ecp384",
			[]Transform{enc(20, 256), {TypePRF, 6, 0}, ke(31), {TypeAddKE1, 36, 0}, {TypeAddKE1 + 1, 20, 0}},
			"aes256gcm16-prfsha384-x25519-mlkem768-ke2_ecp384"},
		{IKE, " AES128GCM-prfSHA256-curve25519 ",
			[]Transform{enc(20, 128), {TypePRF, 5, 0}, ke(31)}, "aes128gcm16-prfsha256-x25519"},
		{IKE, "aes128-sha1-modp1024",
			[]Transform{enc(12, 128), {TypeInteg, 2, 0}, ke(2), {TypePRF, 2, 0}}, ""},
		{ESP, "aes128gcm16", append([]Transform{enc(20, 128)}, esnBoth...), ""},
		{ESP, "aes128gcm16-x25519", append([]Transform{enc(20, 128), ke(31)}, esnBoth...), ""},
		{ESP, "chacha20poly1305-esn", []Transform{enc(28, 0), {TypeESN, 1, 0}}, ""},
		{ESP, "aes256-sha512-noesn", []Transform{enc(12, 256), {TypeInteg, 14, 0}, {TypeESN, 0, 0}}, ""},
	} {
		got, err := parse(c.p, c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		if !slices.Equal(got.Transforms, c.want) {
			t.Errorf("%s: got %v, want %v", c.in, got.Transforms, c.want)
		}
		want := c.out
		if want == "" {
			want = c.in
		}
		if got.String() != want {
			t.Errorf("%s: written back as %q, want %q", c.in, got, want)
		}
		again, err := parse(c.p, got.String())
		if err != nil || again.String() != want {
			t.Errorf("%s: read again as %q, %v", c.in, again, err)
		}
	}
}

func TestMistakesNameTheWordAndTheRemedy(t *testing.T) {
	for _, c := range []struct {
		p    Protocol
		in   string
		want []string
	}{
		{IKE, "", []string{"empty IKE proposal", "aes256gcm16-prfsha384-x25519"}},
		{IKE, "aes256gmc16-prfsha384-x25519", []string{`"aes256gmc16"`, "aes256gcm16"}},
		{IKE, "aes256-sha265-x25519", []string{`"sha265"`, "sha256"}},
		{IKE, "aes256-sha256-modp2084", []string{`"modp2084"`, "modp2048"}},
		{IKE, "aes256-sha256-zzz", []string{`"zzz"`, "known are", "x25519"}},
		{IKE, "aes256--x25519", []string{`""`}},
		{IKE, "3des-sha1-modp1024", []string{`"3des"`, "aes128-sha256"}},
		{IKE, "aes256-sha256", []string{"no key exchange", "x25519"}},
		{IKE, "aes256-x25519", []string{"aes256", "integrity", "sha256"}},
		{IKE, "aes256-prfsha256-x25519", []string{"integrity"}},
		{IKE, "sha256-x25519", []string{"no encryption"}},
		{IKE, "aes256gcm16-x25519", []string{"pseudorandom", "prfsha384"}},
		{IKE, "aes256gcm16-aes256-sha256-x25519", []string{"two proposals"}},
		{IKE, "aes256gcm16-prfsha384-x25519-esn", []string{`"esn"`, "IKE"}},
		{IKE, "aes256gcm16-prfsha384-mlkem768", []string{"x25519-mlkem768"}},
		{IKE, "aes256gcm16-prfsha384-x25519-ke1_sha256", []string{"no key exchange"}},
		{IKE, "aes256gcm16-prfsha384-x25519-x25519", []string{"twice"}},
		{IKE, "aes256gcm16-prfsha384-x25519-mlkem768-ke1_mlkem768", []string{"twice"}},
		{ESP, "aes128gcm16-sha256", []string{"leave out sha256"}},
		{ESP, "aes128gcm16-prfsha256", []string{`"prfsha256"`, "ESP"}},
		{ESP, "null-sha256", []string{"encrypts nothing"}},
		{ESP, "aes256", []string{"sha256"}},
		{ESP, "aes128gcm16-" + strings.Repeat("x", 600), []string{"512"}},
	} {
		p, err := parse(c.p, c.in)
		if err == nil {
			t.Errorf("%q was read as %v", c.in, p.Transforms)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q: %q does not say %q", c.in, err, w)
			}
		}
	}
}

func TestEveryWordIsKnownToTheRegistry(t *testing.T) {
	for _, w := range words {
		if w.t.Type.registry()[w.t.ID] == "" {
			t.Errorf("%s has no registry name", w.word)
		}
		if w.t.Type == TypeEncr && w.t.KeyBytes() == 0 {
			t.Errorf("%s has no key length", w.word)
		}
		if (w.t.Type == TypeInteg || w.t.Type == TypePRF) && w.t.KeyBytes() == 0 {
			t.Errorf("%s has no key length", w.word)
		}
	}
}

func TestNamesAreTheRegistrys(t *testing.T) {
	for _, c := range []struct {
		t    Transform
		want string
	}{
		{Transform{TypeEncr, 20, 256}, "ENCR_AES_GCM_16-256"},
		{Transform{TypeEncr, 28, 0}, "ENCR_CHACHA20_POLY1305"},
		{Transform{TypeEncr, 3, 0}, "ENCR_3DES"},
		{Transform{TypeEncr, 99, 0}, "ENCR 99"},
		{Transform{TypePRF, 6, 0}, "PRF_HMAC_SHA2_384"},
		{Transform{TypeInteg, 12, 0}, "AUTH_HMAC_SHA2_256_128"},
		{Transform{TypeInteg, 0, 0}, "INTEG NONE"},
		{Transform{TypeKE, 31, 0}, "KE Curve25519"},
		{Transform{TypeKE, 14, 0}, "KE 2048-bit MODP Group"},
		{Transform{TypeAddKE1, 36, 0}, "ADDKE1 ml-kem-768"},
		{Transform{TypeESN, 1, 0}, "Extended Sequence Numbers"},
		{Transform{Type(77), 1, 0}, "transform type 77 1"},
		{Transform{}, "none"},
		{Unusable(TypeEncr), "ENCR with an attribute of unknown type"},
	} {
		if got := c.t.String(); got != c.want {
			t.Errorf("%#v prints %q, want %q", c.t, got, c.want)
		}
	}
}

func TestKeymatLengths(t *testing.T) {
	for _, c := range []struct {
		word            string
		key, salt       int
		iv, icv, blocks int
	}{
		{"aes128gcm16", 20, 4, 8, 16, 1},
		{"aes256gcm16", 36, 4, 8, 16, 1},
		{"chacha20poly1305", 36, 4, 8, 16, 1},
		{"aes128", 16, 0, 16, 0, 16},
		{"aes256", 32, 0, 16, 0, 16},
		{"sha1", 20, 0, 0, 12, 0},
		{"sha256", 32, 0, 0, 16, 0},
		{"sha384", 48, 0, 0, 24, 0},
		{"sha512", 64, 0, 0, 32, 0},
		{"prfsha384", 48, 0, 0, 0, 0},
	} {
		p := IKE
		tr, err := parseWord(p, c.word)
		if err != nil {
			t.Fatal(err)
		}
		got := [5]int{tr.KeyBytes(), tr.SaltBytes(), tr.IVBytes(), tr.ICVBytes(), tr.BlockBytes()}
		if want := [5]int{c.key, c.salt, c.iv, c.icv, c.blocks}; got != want {
			t.Errorf("%s: key, salt, IV, ICV, block %v, want %v", c.word, got, want)
		}
	}
}

func TestWeakWordsAreReported(t *testing.T) {
	p, err := ParseIKE("aes128-sha1-modp1024-modp2048")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"sha1", "modp1024", "prfsha1"}
	if got := p.WeakWords(); !p.Weak() || !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, p := range append(DefaultIKE(), DefaultESP(true)...) {
		if p.Weak() {
			t.Errorf("default proposal %s is weak", p)
		}
	}
}

package suite

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func ike(t *testing.T, words ...string) (out []Proposal) {
	t.Helper()
	for _, w := range words {
		p, err := ParseIKE(w)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

func child(t *testing.T, words ...string) (out []Proposal) {
	t.Helper()
	for _, w := range words {
		p, err := ParseESP(w)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

func TestOwnOrderWins(t *testing.T) {
	for _, c := range []struct {
		name         string
		own, offered []Proposal
		want         string
		number       int
	}{
		{"of proposals",
			ike(t, "aes256gcm16-prfsha384-x25519", "aes256-sha256-modp2048"),
			ike(t, "aes256-sha256-modp2048", "aes256gcm16-prfsha384-x25519"),
			"aes256gcm16-prfsha384-x25519", 2},
		{"of transforms",
			ike(t, "aes256gcm16-aes128gcm16-prfsha256-prfsha384-ecp256-x25519"),
			ike(t, "aes128gcm16-aes256gcm16-prfsha384-prfsha256-x25519-ecp256"),
			"aes256gcm16-prfsha256-ecp256", 1},
		{"the key length counts",
			ike(t, "aes256gcm16-aes128gcm16-prfsha256-x25519"),
			ike(t, "aes128gcm16-prfsha256-x25519"),
			"aes128gcm16-prfsha256-x25519", 1},
		{"an additional key exchange where the peer has it",
			DefaultIKE(), ike(t, "aes256gcm16-prfsha384-x25519-mlkem768", "aes256gcm16-prfsha384-x25519"),
			"aes256gcm16-prfsha384-x25519-mlkem768", 1},
		{"none where it has not",
			DefaultIKE(), ike(t, "aes128-sha256-modp2048"),
			"aes128-sha256-modp2048", 1},
		{"extended sequence numbers where both can",
			child(t, "aes128gcm16"), child(t, "aes128gcm16"), "aes128gcm16-esn", 1},
		{"and not where one can't",
			child(t, "aes128gcm16"), child(t, "aes128gcm16-noesn"), "aes128gcm16", 1},
		{"CBC with the integrity the peer has",
			DefaultESP(true), child(t, "aes256-sha512"), "aes256-sha512-esn", 1},
		{"ChaCha20 first without AES instructions",
			DefaultESP(false), DefaultESP(true), "chacha20poly1305-esn", 1},
		{"PFS offered and wanted",
			WithKE(DefaultESP(true), Groups(DefaultIKE()), true), child(t, "aes128gcm16-ecp384-x25519"),
			"aes128gcm16-x25519-esn", 1},
		{"PFS wanted, accepted without",
			WithKE(DefaultESP(true), Groups(DefaultIKE()), true), child(t, "aes256gcm16"),
			"aes256gcm16-esn", 1},
	} {
		s, n, err := Choose(c.own, c.offered)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if s.String() != c.want || n != c.number {
			t.Errorf("%s: chose %s of proposal %d, want %s of %d", c.name, s, n, c.want, c.number)
		}
		// What the responder answers the initiator accepts as the same.
		back, err := Verify(c.offered[n-1:n], s.Answer(c.offered[n-1]))
		if err != nil || back != s {
			t.Errorf("%s: the initiator reads the answer as %s, %v", c.name, back, err)
		}
	}
}

func TestAnswerHasOneTransformOfEachOfferedType(t *testing.T) {
	offered := child(t, "aes128gcm16-x25519")[0]
	offered.Transforms = append(offered.Transforms,
		Transform{Type: TypeInteg}, Transform{Type: TypeKE}, Transform{TypeAddKE1, KE_MLKEM_768, 0}, Transform{Type: TypeAddKE1})
	s, _, err := Choose(child(t, "aes128gcm16"), []Proposal{offered})
	if err != nil {
		t.Fatal(err)
	}
	want := []Transform{{TypeEncr, 20, 128}, {TypeESN, 1, 0}, {Type: TypeKE}, {Type: TypeInteg}, {Type: TypeAddKE1}}
	if got := s.Answer(offered).Transforms; !slices.Equal(got, want) {
		t.Errorf("answered %v, want %v", got, want)
	}
}

func TestUnfitProposalsArePassedOver(t *testing.T) {
	good := ike(t, "aes128gcm16-prfsha256-x25519")[0]
	with := func(ts ...Transform) Proposal {
		return Proposal{IKE, append(slices.Clone(good.Transforms), ts...)}
	}
	for name, bad := range map[string]Proposal{
		"unknown transform type":  with(Transform{Type(13), 1, 0}),
		"AEAD with integrity":     with(Transform{TypeInteg, 12, 0}),
		"no PRF":                  {IKE, []Transform{good.Transforms[0], good.Transforms[2]}},
		"no key exchange":         {IKE, good.Transforms[:2]},
		"KE NONE":                 {IKE, append(slices.Clone(good.Transforms[:2]), Transform{Type: TypeKE})},
		"for AH":                  {AH, good.Transforms},
		"needs another exchange":  with(Transform{TypeAddKE1, KE_MLKEM_768, 0}),
		"only an odd attribute":   {IKE, []Transform{Unusable(TypeEncr), good.Transforms[1], good.Transforms[2]}},
		"key length left out":     {IKE, []Transform{{TypeEncr, 20, 0}, good.Transforms[1], good.Transforms[2]}},
		"AEAD, odd INTEG refused": with(Unusable(TypeInteg)),
		"empty":                   {Protocol: IKE},
	} {
		s, n, err := Choose([]Proposal{good}, []Proposal{bad, good})
		if err != nil || n != 2 {
			t.Errorf("%s: chose %s of proposal %d (%v), want number 2", name, s, n, err)
		}
		var no *NoMatch
		if _, _, err := Choose([]Proposal{good}, []Proposal{bad}); !errors.As(err, &no) {
			t.Errorf("%s alone: %v is no NoMatch", name, err)
		}
	}
	// INTEG NONE beside an AEAD says the same as leaving it out.
	if _, _, err := Choose([]Proposal{good}, []Proposal{with(Transform{Type: TypeInteg})}); err != nil {
		t.Errorf("INTEG NONE: %v", err)
	}
	// A cipher without integrity is never agreed to, whoever asks.
	bare := Proposal{ESP, []Transform{{TypeEncr, 12, 128}, {TypeESN, 0, 0}}}
	if s, _, err := Choose([]Proposal{bare}, []Proposal{bare}); err == nil {
		t.Errorf("agreed on %s without integrity", s)
	}
}

func TestNoMatchNamesTheFirstTypeAndBothSides(t *testing.T) {
	for _, c := range []struct {
		name         string
		own, offered []Proposal
		typ          Type
		want         []string
	}{
		{"cipher", ike(t, "aes256gcm16-prfsha384-x25519"), ike(t, "aes128-sha256-x25519"), TypeEncr,
			[]string{"ENCR", "this side allows aes256gcm16;", "offers aes128;", `add aes128 to "ike" here`, "at the peer (aes256gcm16)"}},
		{"cipher unknown here", ike(t, "aes256-sha256-x25519"),
			[]Proposal{{IKE, []Transform{{TypeEncr, 3, 0}, {TypePRF, 2, 0}, {TypeInteg, 2, 0}, {TypeKE, 2, 0}}}}, TypeEncr,
			[]string{"offers ENCR_3DES", "at the peer (aes256)"}},
		{"group", ike(t, "aes256gcm16-prfsha384-x25519", "aes256-sha256-ecp256"), ike(t, "aes256gcm16-prfsha384-modp2048"), TypeKE,
			[]string{"KE", "x25519, ecp256", "modp2048"}},
		{"integrity", child(t, "aes256-sha256"), child(t, "aes256-sha512"), TypeInteg,
			[]string{"INTEG", "sha256", "sha512", `"esp"`}},
		{"combination", ike(t, "aes256gcm16-prfsha384-x25519", "aes128gcm16-prfsha384-ecp256"),
			ike(t, "aes256gcm16-prfsha384-ecp256", "aes128gcm16-prfsha384-x25519"), TypeKE,
			[]string{"KE", "x25519", "ecp256"}},
		{"PFS wanted here only", child(t, "aes128gcm16-x25519"), child(t, "aes128gcm16"), TypeKE,
			[]string{"this side allows x25519; the peer offers KE NONE"}},
		{"sequence numbers", child(t, "aes128gcm16-esn"), child(t, "aes128gcm16-noesn"), TypeESN, []string{"esn", "noesn"}},
		{"nothing offered", DefaultIKE(), nil, 0, []string{"the peer offers none"}},
		{"nothing left here", nil, DefaultIKE(), 0, []string{"no IKE proposal", "no proposal left"}},
		{"other protocol", DefaultESP(true), DefaultIKE(), 0, []string{"it is for IKE"}},
	} {
		_, _, err := Choose(c.own, c.offered)
		var no *NoMatch
		if !errors.As(err, &no) {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if no.Type != c.typ {
			t.Errorf("%s: blames %s, want %s", c.name, no.Type, c.typ)
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q does not say %q", c.name, err, w)
			}
		}
	}
}

func TestInitiatorRefusesWhatItDidNotOffer(t *testing.T) {
	own := ike(t, "aes256gcm16-aes128gcm16-prfsha384-x25519", "aes256-sha256-modp2048")
	accept := func(ts ...Transform) Proposal { return Proposal{IKE, ts} }
	gcm, prf, x := Transform{TypeEncr, 20, 128}, Transform{TypePRF, 6, 0}, Transform{TypeKE, 31, 0}
	if s, err := Verify(own, accept(x, prf, gcm)); err != nil || s.String() != "aes128gcm16-prfsha384-x25519" {
		t.Fatalf("%s, %v", s, err)
	}
	for name, p := range map[string]Proposal{
		"two of a type":            accept(gcm, prf, x, Transform{TypeEncr, 20, 256}),
		"key length not offered":   accept(Transform{TypeEncr, 20, 192}, prf, x),
		"mixed from two proposals": accept(gcm, prf, Transform{TypeKE, 14, 0}),
		"type left out":            accept(gcm, x),
		"type too many":            accept(gcm, prf, x, Transform{TypeInteg, 12, 0}),
		"unknown type":             accept(gcm, prf, x, Transform{Type(40), 1, 0}),
		"additional exchange":      accept(gcm, prf, x, Transform{TypeAddKE1, 36, 0}),
		"empty":                    accept(),
		"other protocol":           {ESP, []Transform{gcm}},
	} {
		if s, err := Verify(own, p); err == nil {
			t.Errorf("%s: accepted as %s", name, s)
		}
	}
}

func TestFilterDropsWhatCannotBeDone(t *testing.T) {
	ps := DefaultESP(true)
	got := Filter(ps, func(t Transform) bool { return !(t.Type == TypeEncr && t.ID == ENCR_AES_CBC) })
	if len(got) != 1 || got[0].String() != "aes128gcm16-aes256gcm16-chacha20poly1305" {
		t.Errorf("without AES-CBC: %v", got)
	}
	got = Filter(ps, func(t Transform) bool { return t != Transform{TypeESN, ESN_YES, 0} })
	if len(got) != 2 || got[1].String() != "aes256-sha256-sha512-noesn" {
		t.Errorf("without ESN: %v", got)
	}
	if DefaultESP(true)[0].String() != ps[0].String() {
		t.Error("Filter changed its input")
	}
}

func TestProposalsWithAdditionalExchangesCanBeLeftOut(t *testing.T) {
	all := DefaultIKE()
	if len(all) != 4 || !all[0].NeedsAddKE() || !all[1].NeedsAddKE() || all[2].NeedsAddKE() {
		t.Fatalf("default is %v", all)
	}
	got := WithoutAddKE(all)
	if len(got) != 2 || got[0].String() != all[2].String() || got[1].String() != all[3].String() {
		t.Errorf("got %v", got)
	}
	if got := WithoutAddKE(ike(t, "aes256gcm16-prfsha384-x25519-mlkem768")); len(got) != 0 {
		t.Errorf("got %v of one that needs it", got)
	}
	optional := ike(t, "aes256gcm16-prfsha384-x25519-mlkem768")
	optional[0].Transforms = append(optional[0].Transforms, Transform{Type: TypeAddKE1})
	if got := WithoutAddKE(optional); len(got) != 1 || got[0].String() != "aes256gcm16-prfsha384-x25519" {
		t.Errorf("got %v of an optional one", got)
	}
	if got := WithoutKE(child(t, "aes128gcm16-x25519", "aes128gcm16-ecp256-ke1_mlkem768")); len(got) != 1 || got[0].String() != "aes128gcm16" {
		t.Errorf("for IKE_AUTH: %v", got)
	}
}

func TestAdditionalExchangeNeverRepeatsAnEarlierOne(t *testing.T) {
	both := ike(t, "aes256gcm16-prfsha384-x25519-ke1_x25519-ke1_ecp256")
	s, _, err := Choose(both, both)
	if err != nil || s.AddKE[0].ID != KE_ECP_256 {
		t.Errorf("chose %s, %v", s, err)
	}
}

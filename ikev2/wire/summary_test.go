package wire

import (
	"net/netip"
	"slices"
	"testing"

	"greseal/crypto/suite"
)

func TestSummaryShowsNamesAndLengths(t *testing.T) {
	p, err := suite.ParseIKE("aes128-sha256-x25519")
	if err != nil {
		t.Fatal(err)
	}
	ps := []Payload{
		&SA{Proposals: []Proposal{NewProposal(1, nil, p), NewProposal(2, nil, p)}},
		&KE{Method: 31, Data: make([]byte, 32)},
		&Nonce{Data: make([]byte, 48)},
		&ID{Of: TypeIDi, Kind: IDFQDN, Data: []byte("west")},
		&Auth{Method: AuthSharedKey, Data: []byte("secret secret secret")},
		NewNumberNotify(InvalidKEPayload, 19),
		NewSANotify(RekeySA, suite.ESP, 0x0a0b0c0d),
		NewNotify(NoPPKAuth, []byte("secret secret secret")),
		&Delete{Protocol: suite.ESP, SPIs: []uint32{1, 2}},
		&Unknown{Kind: 200, Body: make([]byte, 9)},
		&Unknown{Kind: TypeEAP, Body: []byte("secret")},
		&CP{},
	}
	b, whole := AppendSummary([]byte("before"), ps, 4096)
	if !whole {
		t.Fatal("it did not fit")
	}
	proposal := "IKE: ENCR_AES_CBC-128, AUTH_HMAC_SHA2_256_128, KE Curve25519, PRF_HMAC_SHA2_256"
	want := []string{
		"SA proposal 1 " + proposal, "SA proposal 2 " + proposal,
		"KE(Curve25519, 32 octets)", "Nonce(48 octets)", "IDi(ID_FQDN west)", "AUTH(shared key)",
		"N(INVALID_KE_PAYLOAD 19)", "N(REKEY_SA ESP 0a0b0c0d)", "N(NO_PPK_AUTH)", "D(ESP 00000001 00000002)",
		"payload-200(9 octets)", "EAP(6 octets)", "CP(0 octets)",
	}
	if got := SummaryLines(b[len("before"):]); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for limit := range len(b) {
		short, whole := AppendSummary(nil, ps, limit)
		if len(short) > limit || whole && limit < len(b)-len("before") {
			t.Fatalf("%d octets of at most %d", len(short), limit)
		}
	}
}

// A payload longer than what is kept of it is named with its length.
func TestSummaryOfLongPayloads(t *testing.T) {
	p, err := suite.ParseIKE("aes128-sha256-x25519")
	if err != nil {
		t.Fatal(err)
	}
	sa, ts := &SA{}, &TS{Of: TypeTSi}
	for i := range 60 {
		sa.Proposals = append(sa.Proposals, NewProposal(uint8(i+1), nil, p))
		ts.Selectors = append(ts.Selectors, Selector{First: netip.MustParseAddr("2001:db8::1"), Last: netip.MustParseAddr("2001:db8::2"), PortLast: 65535})
	}
	b, whole := AppendSummary(nil, []Payload{sa, ts, &VendorID{Data: make([]byte, 500)}}, 4096)
	if got := SummaryLines(b); !whole || len(got) != 3 || got[0] != "SA(2640 octets)" || got[1] != "TSi(2404 octets)" {
		t.Errorf("%q", got)
	}
}

func FuzzSummary(f *testing.F) {
	b, _ := AppendSummary(nil, []Payload{&KE{Method: 31, Data: make([]byte, 32)}, NewNotify(Cookie, nil)}, 1024)
	f.Add(b)
	f.Fuzz(func(_ *testing.T, b []byte) { SummaryLines(b) })
}

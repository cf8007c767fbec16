package wire

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"greseal/crypto/suite"
)

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestPayloadsReadAndWriteTheirBodies(t *testing.T) {
	addr := netip.MustParseAddr
	nonce := strings.Repeat("5a", 16)
	for _, c := range []struct {
		name string
		kind PayloadType
		body string
		want Payload
		line string
	}{
		{"SA with every field", TypeSA,
			"0200002401030403 c0ffee01 0300000c01000014800e0080 030000080100001c 0000000805000001" +
				"0000001802010000 0000",
			nil, ""}, // replaced below: two proposals
		{"KE", TypeKE, "001f0000 aabb", &KE{Method: 31, Data: []byte{0xaa, 0xbb}}, "KE(Curve25519, 2 octets)"},
		{"empty KE", TypeKE, "00000000", &KE{Data: []byte{}}, "KE(NONE, 0 octets)"},
		{"ID_IPV4_ADDR", TypeIDi, "01000000 c0000201", &ID{Of: TypeIDi, Kind: IDIPv4, Data: []byte{192, 0, 2, 1}}, "IDi(ID_IPV4_ADDR 192.0.2.1)"},
		{"ID_IPV6_ADDR", TypeIDr, "05000000 20010db8000000000000000000000001", &ID{Of: TypeIDr, Kind: IDIPv6, Data: addr("2001:db8::1").AsSlice()}, "IDr(ID_IPV6_ADDR 2001:db8::1)"},
		{"ID_FQDN with reserved octets kept", TypeIDr, "02010203 77657374", &ID{Of: TypeIDr, Kind: IDFQDN, Reserved: [3]byte{1, 2, 3}, Data: []byte("west")}, "IDr(ID_FQDN west)"},
		{"ID_RFC822_ADDR with control characters", TypeIDi, "03000000 611b5b6d0a62", &ID{Of: TypeIDi, Kind: IDRFC822, Data: []byte("a\x1b[m\nb")}, `IDi(ID_RFC822_ADDR a\x1b[m\nb)`},
		{"ID_DER_ASN1_DN", TypeIDi, "09000000 3000", &ID{Of: TypeIDi, Kind: IDDN, Data: []byte{0x30, 0}}, "IDi(ID_DER_ASN1_DN 3000)"},
		{"ID_KEY_ID", TypeIDi, "0b000000 00ff", &ID{Of: TypeIDi, Kind: IDKeyID, Data: []byte{0, 0xff}}, "IDi(ID_KEY_ID 00ff)"},
		{"ID_NULL", TypeIDi, "0d000000", &ID{Of: TypeIDi, Kind: IDNull, Data: []byte{}}, "IDi(ID_NULL)"},
		{"CERT", TypeCert, "04 3000", &Cert{Encoding: CertX509, Data: []byte{0x30, 0}}, "CERT(X.509, 2 octets)"},
		{"CERTREQ", TypeCertReq, "04" + strings.Repeat("11", 20) + strings.Repeat("22", 20),
			&CertReq{Encoding: CertX509, Authorities: append(bytes.Repeat([]byte{0x11}, 20), bytes.Repeat([]byte{0x22}, 20)...)}, "CERTREQ(X.509, 2 authorities)"},
		{"CERTREQ for any raw key", TypeCertReq, "0f", &CertReq{Encoding: CertRawKey, Authorities: []byte{}}, "CERTREQ(raw public key, 0 octets)"},
		{"AUTH", TypeAuth, "02000000 0102", &Auth{Method: AuthSharedKey, Data: []byte{1, 2}}, "AUTH(shared key)"},
		{"Nonce", TypeNonce, nonce, &Nonce{Data: bytes.Repeat([]byte{0x5a}, 16)}, "Nonce(16 octets)"},
		{"Notify without SPI", TypeNotify, "00004006 0102", &Notify{Kind: Cookie, Data: []byte{1, 2}}, "N(COOKIE)"},
		{"Notify about an SA", TypeNotify, "03044009 c0ffee01", &Notify{Kind: RekeySA, Protocol: suite.ESP, SPI: []byte{0xc0, 0xff, 0xee, 1}, Data: []byte{}}, "N(REKEY_SA ESP c0ffee01)"},
		{"Notify with a wanted method", TypeNotify, "00000011 0013", &Notify{Kind: InvalidKEPayload, Data: []byte{0, 19}}, "N(INVALID_KE_PAYLOAD 19)"},
		{"Notify with an unsupported payload", TypeNotify, "00000001 c8", &Notify{Kind: UnsupportedCriticalPayload, Data: []byte{200}}, "N(UNSUPPORTED_CRITICAL_PAYLOAD payload-200)"},
		{"Notify of an unknown error", TypeNotify, "00002001", &Notify{Kind: 8193, Data: []byte{}}, "N(error 8193)"},
		{"Notify of an unknown status", TypeNotify, "0000a000", &Notify{Kind: 40960, Data: []byte{}}, "N(status 40960)"},
		{"Delete of an IKE SA", TypeDelete, "01000000", &Delete{Protocol: suite.IKE}, "D(IKE)"},
		{"Delete of Child SAs", TypeDelete, "03040002 0000010000000200", &Delete{Protocol: suite.ESP, SPIs: []uint32{256, 512}}, "D(ESP 00000100 00000200)"},
		{"Vendor ID in text", TypeVendor, "61626320", &VendorID{Data: []byte("abc ")}, "V(abc )"},
		{"Vendor ID in octets", TypeVendor, "00ff", &VendorID{Data: []byte{0, 255}}, "V(00ff)"},
		{"TSi for GRE", TypeTSi, "01000000 072f0010 0000ffff c0000201c0000201",
			&TS{Of: TypeTSi, Selectors: []Selector{HostSelector(addr("192.0.2.1"), 47)}}, "TSi(192.0.2.1 protocol 47)"},
		{"TSr with ranges of both families", TypeTSr, "03000000 07060010 00500050 0a0000000a0000ff" +
			"08000028 ffff0000 20010db8000000000000000000000000 20010db8ffffffffffffffffffffffff" + "07110010 00640065 0000000000000000",
			&TS{Of: TypeTSr, Selectors: []Selector{
				{Protocol: 6, PortFirst: 80, PortLast: 80, First: addr("10.0.0.0"), Last: addr("10.0.0.255")},
				{PortFirst: 65535, First: addr("2001:db8::"), Last: addr("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff")},
				{Protocol: 17, PortFirst: 100, PortLast: 101, First: addr("0.0.0.0"), Last: addr("0.0.0.0")},
			}}, "TSr(10.0.0.0-10.0.0.255 protocol 6 port 80, 2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff port opaque, 0.0.0.0 protocol 17 port 100-101)"},
		{"CP", TypeCP, "01000000 00010004 0a000001 00070000", &CP{Kind: CPRequest, Attrs: []CPAttr{{1, []byte{10, 0, 0, 1}}, {7, []byte{}}}}, "CP(CFG_REQUEST, 2 attributes)"},
		{"EAP is named but not read", TypeEAP, "03010004", &Unknown{Kind: TypeEAP, Body: []byte{3, 1, 0, 4}}, "EAP(4 octets)"},
	} {
		if c.want == nil {
			c.body = "0200002801030403 c0ffee01 0300000c01000014800e0080 030000080100001c 0000000805000001" + "0000001002010001 0000000801000003"
			c.want = &SA{Proposals: []Proposal{
				{Number: 1, Protocol: suite.ESP, SPI: []byte{0xc0, 0xff, 0xee, 1}, Transforms: []Transform{
					{Transform: suite.Transform{Type: suite.TypeEncr, ID: 20, KeyLen: 128}},
					{Transform: suite.Transform{Type: suite.TypeEncr, ID: 28}},
					{Transform: suite.Transform{Type: suite.TypeESN, ID: 1}},
				}},
				{Number: 2, Protocol: suite.IKE, Transforms: []Transform{
					{Transform: suite.Transform{Type: suite.TypeEncr, ID: 3}},
				}},
			}}
			c.line = "SA(1 ESP c0ffee01: ENCR_AES_GCM_16-128, ENCR_CHACHA20_POLY1305, Extended Sequence Numbers; 2 IKE: ENCR_3DES)"
		}
		t.Run(c.name, func(t *testing.T) {
			body := unhex(t, c.body)
			got, err := parseBody(c.kind, false, body)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("read as %#v, want %#v", got, c.want)
			}
			if got.Type() != c.kind {
				t.Errorf("type %s, want %s", got.Type(), c.kind)
			}
			again, err := c.want.AppendBody([]byte{0xee})
			if err != nil || !bytes.Equal(again[1:], body) {
				t.Errorf("written as (%v) %x, want %x", err, again[1:], body)
			}
			if got.String() != c.line {
				t.Errorf("shown as %q, want %q", got, c.line)
			}
		})
	}
}

func TestMalformedBodiesAreRefused(t *testing.T) {
	for _, c := range []struct {
		name string
		kind PayloadType
		body string
	}{
		{"SA without a proposal", TypeSA, ""},
		{"proposal shorter than its header", TypeSA, "0000000701010000"},
		{"proposal longer than the payload", TypeSA, "0000000901010000"},
		{"last proposal that is not", TypeSA, "0200000801010000"},
		{"last proposal with another after it", TypeSA, "0000000801010000 0000000801010000"},
		{"last substruc of 1", TypeSA, "0100000801010000"},
		{"ESP SPI of 8 octets", TypeSA, "0000001001030800 0102030405060708"},
		{"ESP without SPI", TypeSA, "0000000801030000"},
		{"IKE SPI of 4 octets", TypeSA, "0000000c01010400 01020304"},
		{"SPI longer than the proposal", TypeSA, "0000000801630400"},
		{"transform announced but not there", TypeSA, "0000000801010001"},
		{"fewer transforms than announced", TypeSA, "0000001801010002 0000001001000003 0000000000000000"},
		{"more transforms than announced", TypeSA, "0000001801010001 0000000801000003 0000000801000003"},
		{"transform that says more follow, the last", TypeSA, "0000001001010001 0300000801000003"},
		{"transform of length 0", TypeSA, "0000001001010001 0000000001000003"},
		{"transform longer than the proposal", TypeSA, "0000001001010001 000000ff01000003"},
		{"half an attribute", TypeSA, "0000001201010001 0000000a01000003800e"},
		{"attribute longer than the transform", TypeSA, "0000001401010001 0000000c01000003000e0001"},
		{"KE of 3 octets", TypeKE, "001f00"},
		{"ID of 3 octets", TypeIDi, "010000"},
		{"IPv4 identity of 3 octets", TypeIDi, "01000000 c00002"},
		{"IPv6 identity of 4 octets", TypeIDr, "05000000 c0000201"},
		{"empty CERT", TypeCert, ""},
		{"empty CERTREQ", TypeCertReq, ""},
		{"CERTREQ with half a hash", TypeCertReq, "04 0011"},
		{"AUTH of 3 octets", TypeAuth, "020000"},
		{"nonce of 15 octets", TypeNonce, strings.Repeat("00", 15)},
		{"nonce of 257 octets", TypeNonce, strings.Repeat("00", 257)},
		{"Notify of 3 octets", TypeNotify, "000040"},
		{"Notify whose SPI is not there", TypeNotify, "03044009 c0ffee"},
		{"Delete of 3 octets", TypeDelete, "030400"},
		{"Delete with fewer SPIs than announced", TypeDelete, "03040002 00000100"},
		{"Delete with more SPIs than announced", TypeDelete, "03040000 00000100"},
		{"Delete with SPIs of no octets", TypeDelete, "0300ffff"},
		{"Delete of an IKE SA with SPI", TypeDelete, "01080001 0102030405060708"},
		{"Delete for an unknown protocol", TypeDelete, "09040001 00000100"},
		{"TS of 3 octets", TypeTSi, "010000"},
		{"TS with fewer selectors than announced", TypeTSi, "02000000 072f0010 0000ffff c0000201c0000201"},
		{"TS with more selectors than announced", TypeTSi, "00000000 072f0010 0000ffff c0000201c0000201"},
		{"TS of length 0", TypeTSi, "01000000 072f0000 0000ffff c0000201c0000201"},
		{"TS longer than the payload", TypeTSi, "01000000 072f0011 0000ffff c0000201c0000201"},
		{"IPv4 selector as long as an IPv6 one", TypeTSr, "01000000 07000028 0000ffff" + strings.Repeat("00", 32)},
		{"IPv6 selector as long as an IPv4 one", TypeTSr, "01000000 08000010 0000ffff c0000201c0000201"},
		{"unknown selector of length 0", TypeTSr, "01000000 09000000"},
		{"CP of 3 octets", TypeCP, "010000"},
		{"CP with half an attribute", TypeCP, "01000000 0001"},
		{"CP attribute longer than the payload", TypeCP, "01000000 00010004 0a"},
	} {
		p, err := parseBody(c.kind, false, unhex(t, c.body))
		if err == nil {
			t.Errorf("%s: read as %v", c.name, p)
		} else if notifyFor(err) != InvalidSyntax {
			t.Errorf("%s: answered with %s", c.name, notifyFor(err))
		} else if !strings.Contains(err.Error(), c.kind.String()+" payload") {
			t.Errorf("%s: %q does not name the payload", c.name, err)
		}
	}
}

func TestWritersRefuseWhatCannotBeRead(t *testing.T) {
	a4, a6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for _, c := range []struct {
		name string
		p    Payload
	}{
		{"SA without proposal", &SA{}},
		{"ESP proposal without SPI", &SA{Proposals: []Proposal{{Number: 1, Protocol: suite.ESP}}}},
		{"256 transforms", &SA{Proposals: []Proposal{{Number: 1, Protocol: suite.IKE, Transforms: make([]Transform, 256)}}}},
		{"short nonce", &Nonce{Data: make([]byte, 15)}},
		{"long nonce", &Nonce{Data: make([]byte, 257)}},
		{"SPI of 256 octets", &Notify{SPI: make([]byte, 256)}},
		{"IKE SA deleted by SPI", &Delete{Protocol: suite.IKE, SPIs: []uint32{1}}},
		{"65536 SPIs", &Delete{Protocol: suite.ESP, SPIs: make([]uint32, 65536)}},
		{"selector without addresses", &TS{Of: TypeTSi, Selectors: []Selector{{}}}},
		{"selector of two families", &TS{Of: TypeTSi, Selectors: []Selector{{First: a4, Last: a6}}}},
		{"256 selectors", &TS{Of: TypeTSi, Selectors: make([]Selector, 256)}},
		{"16 bit attribute type", &CP{Attrs: []CPAttr{{Type: 0x8001}}}},
		{"half a CA hash", &CertReq{Encoding: CertX509, Authorities: []byte{1}}},
		{"payload of 65536 octets", &VendorID{Data: make([]byte, 65532)}},
	} {
		if b, err := AppendPayloads(nil, []Payload{c.p}); err == nil {
			t.Errorf("%s: written as %d octets", c.name, len(b))
		}
	}
	if b, err := AppendPayloads(nil, []Payload{&VendorID{Data: make([]byte, 65531)}}); err != nil || len(b) != 65535 {
		t.Errorf("longest payload: %d octets, error %v", len(b), err)
	}
	if _, err := AppendPayloads(nil, []Payload{&SK{}, NewNotify(Cookie, nil)}); err == nil {
		t.Error("SK was written before another payload")
	}
	if _, err := AppendPayloads(nil, []Payload{&SKF{}, NewNotify(Cookie, nil)}); err == nil {
		t.Error("SKF was written before another payload")
	}
}

// RFC 7296 section 3.3.6: a transform with an attribute not understood is
// ignored, the others of its type are not, and an unknown transform type stays
// to be seen.
func TestTransformWithUnknownAttributeIsUnusable(t *testing.T) {
	encr := suite.Transform{Type: suite.TypeEncr, ID: 20, KeyLen: 128}
	for _, c := range []struct {
		name, attrs string
		unusable    bool
		keyLen      uint16
	}{
		{"no attribute", "", false, 0},
		{"key length", "800e0100", false, 256},
		{"unknown in TV form", "800f0001", true, 0},
		{"unknown in TLV form", "00110002abcd", true, 0},
		{"key length in TLV form", "000e00020100", true, 0},
		{"key length of zero", "800e0000", true, 0},
		{"key length twice", "800e0080800e0100", true, 128},
		{"key length and unknown", "800e0080800f0001", true, 128},
	} {
		attrs := unhex(t, c.attrs)
		n := byte(8 + len(attrs))
		body := append([]byte{0, 0, 0, 8 + n + 12 + 8, 1, 1, 0, 3, 3, 0, 0, n, 1, 0, 0, 20}, attrs...)
		body = append(body, unhex(t, "0300000c 01000014800e0080 00000008 c8000001")...)
		q, err := parseBody(TypeSA, false, body)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		p := q.(*SA)
		got := p.Proposals[0].Transforms[0]
		if got.Unusable != c.unusable || got.KeyLen != c.keyLen {
			t.Errorf("%s: read as %+v", c.name, got)
		}
		if again, err := p.AppendBody(nil); err != nil || !bytes.Equal(again, body) {
			t.Errorf("%s: written as (%v) %x, want %x", c.name, err, again, body)
		}
		offer := p.Offers()[0]
		want := suite.Transform{Type: suite.TypeEncr, ID: 20, KeyLen: c.keyLen}
		if c.unusable {
			want = suite.Unusable(suite.TypeEncr)
		}
		if !reflect.DeepEqual(offer.Transforms, []suite.Transform{want, encr, {Type: 200, ID: 1}}) {
			t.Errorf("%s: offered as %v", c.name, offer.Transforms)
		}
	}
}

func TestProposalsCarryTheirSPI(t *testing.T) {
	p := NewProposal(3, []byte{0xc0, 0xff, 0xee, 1}, suite.Proposal{Protocol: suite.ESP, Transforms: []suite.Transform{{Type: suite.TypeEncr, ID: 28}}})
	if p.SPI32() != 0xc0ffee01 || p.SPI64() != 0 || p.Number != 3 || p.Offer().Transforms[0].ID != 28 {
		t.Errorf("%+v", p)
	}
	p.SPI = []byte{1, 2, 3, 4, 5, 6, 7, 8}
	if p.SPI64() != 0x0102030405060708 || p.SPI32() != 0 {
		t.Errorf("%+v", p)
	}
}

// Unknown traffic selector types are left out (RFC 7296 section 2.9: the
// responder takes what it can use).
func TestUnknownSelectorTypesAreSkipped(t *testing.T) {
	body := unhex(t, "03000000 09000010 010203040506070809101112 072f0010 0000ffff c0000201c0000201 0a000008 61626364")
	q, err := parseBody(TypeTSi, false, body)
	if err != nil {
		t.Fatal(err)
	}
	p := q.(*TS)
	if p.Skipped != 2 || len(p.Selectors) != 1 || p.Selectors[0] != HostSelector(netip.MustParseAddr("192.0.2.1"), 47) {
		t.Errorf("read as %+v", p)
	}
}

func TestSelectorCoversOnlyAWholeHostAndProtocol(t *testing.T) {
	addr := netip.MustParseAddr
	a := addr("192.0.2.7")
	all := Selector{PortLast: 65535, First: addr("0.0.0.0"), Last: addr("255.255.255.255")}
	for _, c := range []struct {
		name string
		s    Selector
		want bool
	}{
		{"exactly it", HostSelector(a, 47), true},
		{"everything", all, true},
		{"another protocol", HostSelector(a, 6), false},
		{"another host", HostSelector(addr("192.0.2.8"), 47), false},
		{"another family", HostSelector(addr("::ffff:192.0.2.7"), 47), false},
		{"one port", Selector{Protocol: 47, First: a, Last: a}, false},
		{"opaque ports", Selector{Protocol: 47, PortFirst: 65535, First: a, Last: a}, false},
		{"a range it begins", Selector{Protocol: 47, PortLast: 65535, First: a, Last: addr("192.0.2.9")}, true},
		{"a range that ends before", Selector{Protocol: 47, PortLast: 65535, First: addr("192.0.2.0"), Last: addr("192.0.2.6")}, false},
		{"a range the wrong way round", Selector{Protocol: 47, PortLast: 65535, First: addr("192.0.2.9"), Last: addr("192.0.2.1")}, false},
		{"nothing", Selector{}, false},
	} {
		if got := c.s.Covers(a, 47); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	if _, ok := all.Host(); ok {
		t.Error("a range is a host")
	}
	if h, ok := HostSelector(a, 47).Host(); !ok || h != a {
		t.Error("a host is none")
	}
	if (Selector{}).Covers(netip.Addr{}, 0) {
		t.Error("no address is covered")
	}
}

func TestCriticalPayloadIsRefusedOnlyWhenNotUnderstood(t *testing.T) {
	for _, c := range []struct {
		p    Payload
		want PayloadType
	}{
		{&Unknown{Kind: 200, Critical: true}, 200},
		{&Unknown{Kind: 200}, 0},
		{&Unknown{Kind: 50, Critical: true}, 50}, // named, but of an extension not spoken
		{&Unknown{Kind: TypeEAP, Critical: true}, 0},
		{&Unknown{Kind: 1, Critical: true}, 1},
	} {
		b, err := AppendPayloads(nil, []Payload{NewNotify(Cookie, nil), c.p})
		if err != nil {
			t.Fatal(err)
		}
		ps, err := ParsePayloadsOf(0, TypeNotify, b)
		if err != nil {
			t.Fatal(err)
		}
		if got, refused := UnsupportedCritical(ps); got != c.want || refused != (c.want != 0) {
			t.Errorf("%s: %d, %v", c.p, got, refused)
		}
	}
	// The critical bit of a payload that is understood is ignored.
	b, _ := AppendPayloads(nil, []Payload{NewNotify(Cookie, nil)})
	b[1] = 0x80
	ps, err := ParsePayloadsOf(0, TypeNotify, b)
	if err != nil {
		t.Fatal(err)
	}
	if _, refused := UnsupportedCritical(ps); refused {
		t.Error("a critical notify was refused")
	}
}

func TestCollectRefusesASecondPayloadOfAKind(t *testing.T) {
	single := []Payload{&SA{}, &KE{}, &ID{Of: TypeIDi}, &ID{Of: TypeIDr}, &Auth{}, &Nonce{}, &TS{Of: TypeTSi}, &TS{Of: TypeTSr}}
	many := []Payload{&CP{}, &Cert{}, &CertReq{}, NewNotify(Cookie, nil), &Delete{}, &VendorID{}, &Unknown{Kind: 99}, &SK{}}
	c, err := Collect(append(append(append([]Payload{}, many...), single...), many...))
	if err != nil {
		t.Fatal(err)
	}
	if c.SA == nil || c.KE == nil || c.IDi == nil || c.IDr == nil || c.Auth == nil || c.Nonce == nil || c.TSi == nil || c.TSr == nil || c.CP == nil {
		t.Errorf("something is missing: %+v", c)
	}
	if len(c.Certs) != 2 || len(c.CertReqs) != 2 || len(c.Notifies) != 2 || len(c.Deletes) != 2 || len(c.VendorIDs) != 2 || len(c.Unknown) != 2 {
		t.Errorf("something is missing: %+v", c)
	}
	if c.IDi.Of != TypeIDi || c.TSr.Of != TypeTSr {
		t.Error("roles are mixed up")
	}
	for _, p := range single {
		if _, err := Collect([]Payload{p, p}); notifyFor(err) != InvalidSyntax {
			t.Errorf("%s twice: %v", p.Type(), err)
		}
	}
}

func TestCollectFindsNotifies(t *testing.T) {
	c, err := Collect([]Payload{NewNotify(Cookie, nil), NewNumberNotify(InvalidKEPayload, 19), NewSANotify(ChildSANotFound, suite.ESP, 256)})
	if err != nil {
		t.Fatal(err)
	}
	if e := c.Error(); e == nil || e.Kind != InvalidKEPayload {
		t.Errorf("first error is %v", e)
	} else if n, ok := e.Number(); !ok || n != 19 {
		t.Errorf("wanted method %d, %v", n, ok)
	}
	if c.Notify(NoProposalChosen) != nil || c.Notify(Cookie) == nil || c.Notify(ChildSANotFound).SPI32() != 256 {
		t.Error("notifies are not found by type")
	}
}

func TestNamesAreThoseOfTheRegistry(t *testing.T) {
	for got, want := range map[string]string{
		IKESAInit.String(): "IKE_SA_INIT", IKEFollowupKE.String(): "IKE_FOLLOWUP_KE", IKEIntermediate.String(): "IKE_INTERMEDIATE",
		ExchangeType(99).String(): "exchange 99",
		TypeSKF.String():          "SKF", TypeTSr.String(): "TSr", PayloadType(54).String(): "payload-54", PayloadType(32).String(): "payload-32",
		NotifyType(16430).String(): "IKEV2_FRAGMENTATION_SUPPORTED", NotifyType(24).String(): "AUTHENTICATION_FAILED",
		NotifyType(44).String(): "CHILD_SA_NOT_FOUND", NotifyType(16393).String(): "REKEY_SA", NotifyType(16441).String(): "ADDITIONAL_KEY_EXCHANGE",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if !NoProposalChosen.IsError() || !NotifyType(16383).IsError() || InitialContact.IsError() {
		t.Error("errors and status types are mixed up")
	}
}

func TestLinesHoldNoSecretAndNoControlCharacter(t *testing.T) {
	secret := []byte("\x1b]0;0123456789abcdef\x07\n")
	hexed := hex.EncodeToString(secret)
	for _, p := range []Payload{
		&KE{Data: secret}, &Auth{Data: secret}, &Nonce{Data: secret}, NewNotify(Cookie, secret), NewNotify(NoPPKAuth, secret),
		NewNotify(TicketLTOpaque, secret), &Cert{Data: secret}, &CP{Attrs: []CPAttr{{1, secret}}}, &SK{Sealed: secret}, &SKF{Sealed: secret}, &Unknown{Kind: TypeEAP, Body: secret},
	} {
		line := p.String() + Describe(Header{}, []Payload{p}, nil)
		if strings.Contains(line, "0123456789abcdef") || strings.Contains(line, hexed[:8]) {
			t.Errorf("%q shows what it must not", line)
		}
	}
	for _, p := range []Payload{&ID{Of: TypeIDi, Kind: IDFQDN, Data: secret}, &VendorID{Data: secret}, &ID{Of: TypeIDi, Kind: IDKeyID, Data: secret}} {
		if strings.ContainsAny(p.String(), "\x1b\x07\n") {
			t.Errorf("%q holds control characters", p)
		}
	}
	many := make([]Proposal, MaxProposals)
	for i := range many {
		many[i] = Proposal{Protocol: suite.IKE, Transforms: make([]Transform, MaxTransforms)}
	}
	if n := len((&SA{Proposals: many}).String()); n > 4096 {
		t.Errorf("line of %d octets", n)
	}
	long := &ID{Of: TypeIDi, Kind: IDFQDN, Data: bytes.Repeat([]byte{'a'}, 60000)}
	if n := len(long.String()); n > 200 {
		t.Errorf("line of %d octets", n)
	}
}

func TestNATDetectionHashTreatsMappedAddressesAsIPv4(t *testing.T) {
	a := netip.MustParseAddrPort("192.0.2.1:500")
	m := netip.MustParseAddrPort("[::ffff:192.0.2.1]:500")
	if NATDetectionHash(1, 2, a) != NATDetectionHash(1, 2, m) {
		t.Error("the hashes differ")
	}
	z := netip.MustParseAddrPort("[fe80::1%eth0]:500")
	if NATDetectionHash(1, 2, z) != NATDetectionHash(1, 2, netip.AddrPortFrom(z.Addr().WithZone(""), 500)) {
		t.Error("the zone is hashed")
	}
	// First message of testdata/messages.txt, made by an independent encoder.
	for _, s := range samples(t) {
		if !strings.HasPrefix(s.comment, "first message") {
			continue
		}
		p, err := Parse(s.bytes(t, "message"))
		if err != nil {
			t.Fatal(err)
		}
		c, err := Collect(p.Payloads)
		if err != nil {
			t.Fatal(err)
		}
		h := NATDetectionHash(p.SPIi, 0, a)
		if !bytes.Equal(h[:], c.Notify(NATDetectionSourceIP).Data) {
			t.Errorf("hash %x, want %x", h, c.Notify(NATDetectionSourceIP).Data)
		}
		return
	}
	t.Fatal("no such sample")
}

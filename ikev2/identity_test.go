package ikev2

import (
	"net/netip"
	"strings"
	"testing"
)

func TestIdentitiesAreReadAsPeopleWriteThem(t *testing.T) {
	for _, c := range []struct {
		in   string
		typ  uint8
		data string
		back string // what String gives, when not in
	}{
		{"192.0.2.1", IDIPv4, "\xc0\x00\x02\x01", ""},
		{"::ffff:192.0.2.1", IDIPv4, "\xc0\x00\x02\x01", "192.0.2.1"},
		{"2001:db8::1", IDIPv6, "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01", ""},
		{"gw.example.net", IDFQDN, "gw.example.net", ""},
		{"@gw", IDFQDN, "gw", "gw"},
		{"@192.0.2.1", IDFQDN, "192.0.2.1", "fqdn:192.0.2.1"},
		{"fqdn:a@b", IDFQDN, "a@b", "fqdn:a@b"},
		{"ops@example.net", IDRFC822, "ops@example.net", ""},
		{"@@ops@example.net", IDRFC822, "ops@example.net", "ops@example.net"},
		{"email:ops", IDRFC822, "ops", ""},
		{"keyid:branch-7", IDKeyID, "branch-7", ""},
		{"@#0a1b2c", IDKeyID, "\x0a\x1b\x2c", ""},
	} {
		got, err := ParseIdentity(c.in)
		if err != nil || got.Type != c.typ || got.Data != c.data {
			t.Errorf("%q: %d %q, %v", c.in, got.Type, got.Data, err)
			continue
		}
		back := c.back
		if back == "" {
			back = c.in
		}
		if got.String() != back {
			t.Errorf("%q is written as %q, not %q", c.in, got.String(), back)
		}
		if again, err := ParseIdentity(got.String()); err != nil || again != got {
			t.Errorf("%q does not come back: %v, %v", got.String(), again, err)
		}
	}
}

func TestBadIdentitiesAreExplained(t *testing.T) {
	for in, why := range map[string]string{
		"":                       "empty",
		"@":                      "no text",
		"@#0g":                   "hex",
		"@#":                     "hex",
		"C=NL, CN=gw":            "distinguished name",
		"gw example":             "space",
		"gw\x00":                 "control character",
		"fe80::1%eth0":           "zone",
		strings.Repeat("a", 600): "longer",
	} {
		if got, err := ParseIdentity(in); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
}

func TestIdentitiesCompareAsTheRFCSays(t *testing.T) {
	id := func(s string) Identity {
		i, err := ParseIdentity(s)
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"GW.example.net", "gw.EXAMPLE.net", true},
		{"ops@Example.net", "ops@example.NET", true},
		{"Ops@example.net", "ops@example.net", false},
		{"keyid:A", "keyid:a", false},
		{"@192.0.2.1", "192.0.2.1", false},
		{"192.0.2.1", "192.0.2.1", true},
		{"gw.example.net", "gw.example.net.", false},
	} {
		if got := id(c.a).equal(id(c.b)); got != c.same {
			t.Errorf("%q and %q: %v", c.a, c.b, got)
		}
	}
	if AddrIdentity(netip.Addr{}).IsSet() {
		t.Error("no address makes an identity")
	}
}

// A peer may send any octets as its identity; they must not reach a terminal.
func TestForeignIdentitiesPrintSafely(t *testing.T) {
	for _, i := range []Identity{
		{IDFQDN, "gw\x1b[2J"}, {IDRFC822, "a\nb@c"}, {IDIPv4, "abc"}, {IDIPv6, "1234"}, {IDKeyID, "\x00\xff"},
		{IDDN, "\x30\x03\x02\x01\x05"}, {77, "x"}, {IDFQDN, ""},
	} {
		s := i.String()
		if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("%v prints as %q", i.Type, s)
		}
	}
}

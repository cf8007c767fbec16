package inet

import (
	"net/netip"
	"slices"
	"testing"
)

func TestHalvesCoverTheDefaultRouteAlone(t *testing.T) {
	for p, want := range map[string][]string{
		"0.0.0.0/0":      {"0.0.0.0/1", "128.0.0.0/1"},
		"10.1.2.3/0":     {"0.0.0.0/1", "128.0.0.0/1"},
		"::/0":           {"::/1", "8000::/1"},
		"10.1.2.3/8":     {"10.0.0.0/8"},
		"2001:db8::1/64": {"2001:db8::/64"},
	} {
		whole := netip.MustParsePrefix(p)
		var got []string
		for _, h := range Halves(whole) {
			got = append(got, h.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", p, got, want)
		}
	}
}

func TestSocketAddressesAndBack(t *testing.T) {
	for _, s := range []string{"192.0.2.1:500", "[2001:db8::1]:4500", "[fe80::1%3]:500"} {
		if a := netip.MustParseAddrPort(s); AddrPort(Sockaddr(a)) != a {
			t.Errorf("%s came back as %s", s, AddrPort(Sockaddr(a)))
		}
	}
	if a := AddrPort(nil); a.IsValid() {
		t.Errorf("%s of nothing", a)
	}
}

func TestPlainIsWhatRoutesAndSAsCompare(t *testing.T) {
	for s, want := range map[string]string{"::ffff:192.0.2.1": "192.0.2.1", "fe80::1%eth0": "fe80::1", "192.0.2.1": "192.0.2.1"} {
		if got := Plain(netip.MustParseAddr(s)).String(); got != want {
			t.Errorf("%s: %s, want %s", s, got, want)
		}
	}
}

func TestADefaultRouteIsCoveredByItsHalves(t *testing.T) {
	list := func(ps ...string) (l []netip.Prefix) {
		for _, p := range ps {
			l = append(l, netip.MustParsePrefix(p))
		}
		return l
	}
	all := netip.MustParsePrefix("0.0.0.0/0")
	if !Covered(all, list("0.0.0.0/1", "128.0.0.0/1")) || Covered(all, list("0.0.0.0/1", "::/1")) || !Covered(netip.MustParsePrefix("10.0.0.0/16"), list("10.0.0.0/16")) {
		t.Error("Covered is wrong")
	}
}

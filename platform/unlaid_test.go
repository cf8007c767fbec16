package platform

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// An interface on which IPv6 is switched off gets its IPv4 addresses and routes,
// and what is missing is named with its reason.
func TestIPv6SwitchedOffLeavesIPv4(t *testing.T) {
	atStartAndLater(t, func(t *testing.T, n *Network) {
		sh(t, "sysctl -qw net.ipv6.conf.hq.disable_ipv6=1", "ip link set hq up")
		for what, err := range map[string]error{
			"fd00:255::2/64":   n.SetAddresses("hq", prefixes("fd00:255::2/64", "10.255.0.2/30")),
			"2001:db8:77::/48": n.SetRoutes("hq", RouteSet{Prefixes: prefixes("2001:db8:77::/48", "10.7.0.0/16")}, true),
		} {
			refused, rest := Refused(err)
			if len(refused) != 1 || rest != nil || refused[0].Prefix != netip.MustParsePrefix(what) || !strings.Contains(refused[0].Why(), "IPv6 is switched off") {
				t.Errorf("%s: refused %v, and %v", what, refused, rest)
			}
		}
		if out := sh(t, "ip addr show dev hq"); !strings.Contains(out, "10.255.0.2/30") {
			t.Errorf("the IPv4 address is missing:\n%s", out)
		}
		hasRoute(t, "10.7.0.0/16 dev hq")
	})
}

func TestRefusedTakesErrorsApart(t *testing.T) {
	one := &Unlaid{netip.MustParsePrefix("10.0.0.0/8"), "add route 10.0.0.0/8", unix.ENODEV, ObjectRoute}
	two := &Unlaid{netip.MustParsePrefix("fd00::/8"), "add route fd00::/8", unix.EACCES, ObjectRoute}
	other := errors.New("read routes: interrupted")
	list, rest := Refused(errors.Join(errors.Join(one, nil), other, two))
	if len(list) != 2 || list[0] != one || list[1] != two || rest == nil || rest.Error() != other.Error() {
		t.Errorf("%v and %v", list, rest)
	}
	if list, rest := Refused(nil); list != nil || rest != nil {
		t.Errorf("nothing: %v and %v", list, rest)
	}
}

// An interface without an address of its own borrows none, and an address that is
// not there is called that, whatever the kernel answers.
func TestRouteToComesFromWhereItIsTold(t *testing.T) {
	n := inNamespace(t)
	secondWAN(t)
	secondDefault(t)
	from := func(to netip.Addr, local, dev string) (string, error) {
		hint, _ := netip.ParseAddr(local)
		info, err := n.RouteTo(to, hint, dev, 0)
		return info.Local.String(), err
	}
	for _, c := range []struct {
		to         netip.Addr
		local, dev string
		want       string
	}{
		{exitPeer, "", "wan2", "192.168.7.1"},
		{exitPeer6, "", "wan2", "2001:db8:7::1"},
		{exitPeer, "", "wan", "198.18.5.2"},
	} {
		if got, err := from(c.to, c.local, c.dev); err != nil || got != c.want {
			t.Errorf("%s by %s: from %s, %v, want %s", c.to, c.dev, got, err, c.want)
		}
	}
	sh(t, "ip addr flush dev wan2", "ip route replace default dev wan2 metric 100", "ip -6 route replace default dev wan2 metric 2000")
	for _, c := range []struct {
		to         netip.Addr
		local, dev string
		says       string
	}{
		{exitPeer, "", "wan2", "interface wan2 has no usable IPv4 address yet"},
		{exitPeer6, "", "wan2", "interface wan2 has no"},
		{exitPeer, "192.168.7.1", "", "local address 192.168.7.1 is not on this machine"},
		{exitPeer6, "2001:db8:7::1", "", "local address 2001:db8:7::1 is not on this machine"},
		{exitPeer, "", "ppp0", "interface ppp0 does not exist"},
	} {
		if got, err := from(c.to, c.local, c.dev); !errors.Is(err, ErrNoSource) || !strings.HasPrefix(err.Error(), c.says) {
			t.Errorf("%s from %q by %q: from %s, %v", c.to, c.local, c.dev, got, err)
		}
	}
}

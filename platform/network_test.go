package platform

import (
	"errors"
	"net/netip"
	"os/exec"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"greseal/platform/rtnl"
)

// inNamespace puts the rest of the test into a network namespace of its own,
// with a WAN (wan, 198.18.5.2/24, default gateway 198.18.5.1, and the same in
// IPv6) and an interface hq with our mark. Both are ends of veth pairs.
func inNamespace(t *testing.T) *Network {
	t.Helper()
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("no network namespace: %v", err)
	}
	sh(t, "ip link set lo up")
	if err := exec.Command("ip", "link", "add", "wan", "type", "veth", "peer", "name", "isp").Run(); err != nil {
		t.Skip("no veth interfaces here")
	}
	sh(t, "ip link set wan up", "ip link set isp up",
		"ip addr add 198.18.5.2/24 dev wan", "ip route add default via 198.18.5.1",
		"ip -6 addr add 2001:db8:5::2/64 dev wan nodad", "ip -6 route add default via 2001:db8:5::1",
		"ip link add hq type veth peer name hqpeer", "ip link set hqpeer up")
	n, err := OpenNetwork(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	mark(t, n, "hq")
	return n
}

// atStartAndLater runs a test as at the start of a daemon, when it looks at all
// routes at each step, and as when nothing of an earlier one is left.
func atStartAndLater(t *testing.T, f func(*testing.T, *Network)) {
	t.Run("start", func(t *testing.T) { f(t, inNamespace(t)) })
	t.Run("later", func(t *testing.T) {
		n := inNamespace(t)
		must(t, n.Sweep())
		f(t, n)
	})
}

func mark(t *testing.T, n *Network, name string) {
	t.Helper()
	l, err := rtnl.LinkByName(n.Netlink(), name)
	if err != nil {
		t.Fatal(err)
	}
	if err := rtnl.MarkLink(n.Netlink(), l.Index, name); err != nil {
		t.Fatal(err)
	}
	if err := rtnl.SetUp(n.Netlink(), l.Index, true); err != nil {
		t.Fatal(err)
	}
}

func sh(t *testing.T, commands ...string) string {
	t.Helper()
	var out []byte
	for _, c := range commands {
		var err error
		f := strings.Fields(c)
		if out, err = exec.Command(f[0], f[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", c, err, out)
		}
	}
	return string(out)
}

func prefixes(all ...string) []netip.Prefix {
	var p []netip.Prefix
	for _, s := range all {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ownRoutes lists what is laid with our protocol number, one line each.
func ownRoutes(t *testing.T) []string {
	t.Helper()
	var lines []string
	for _, v := range []string{"-4", "-6"} {
		out, err := exec.Command("ip", v, "route", "show", "table", "all", "proto", "147").Output()
		if err != nil {
			continue // no such table yet
		}
		for line := range strings.Lines(string(out)) {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
	}
	return lines
}

func hasRoute(t *testing.T, want ...string) {
	t.Helper()
	have := ownRoutes(t)
	for _, w := range want {
		if !slices.ContainsFunc(have, func(h string) bool { return strings.HasPrefix(h, w) }) {
			t.Errorf("no route %q among\n%s", w, strings.Join(have, "\n"))
		}
	}
}

func lacksRoute(t *testing.T, unwanted ...string) {
	t.Helper()
	for _, h := range ownRoutes(t) {
		for _, u := range unwanted {
			if strings.HasPrefix(h, u) {
				t.Errorf("route %q is there", h)
			}
		}
	}
}

func TestAddressesAreAddedAndOnlyOursRemoved(t *testing.T) {
	n := inNamespace(t)
	sh(t, "ip addr add 10.9.9.9/32 dev hq")
	must(t, n.SetAddresses("hq", prefixes("10.255.0.2/30", "2001:db8:ff::2/64")))
	must(t, n.SetAddresses("hq", prefixes("10.255.0.6/30", "2001:db8:ff::2/64")))
	out := sh(t, "ip addr show dev hq")
	for want, there := range map[string]bool{"10.255.0.6/30": true, "2001:db8:ff::2/64": true, "10.255.0.2/30": false, "10.9.9.9/32": true} {
		if strings.Contains(out, want) != there {
			t.Errorf("address %s: there %t, want %t", want, !there, there)
		}
	}
	if err := n.SetAddresses("wan", prefixes("10.1.1.1/24")); err == nil {
		t.Error("an interface that is not ours got an address")
	}
	if err := n.SetAddresses("none", nil); !errors.Is(err, rtnl.ErrNoLink) {
		t.Errorf("absent interface: %v", err)
	}
}

func TestRoutesFollowRunningAndUnreachableStays(t *testing.T) {
	atStartAndLater(t, routesFollowRunningAndUnreachableStays)
}

func routesFollowRunningAndUnreachableStays(t *testing.T, n *Network) {
	set := RouteSet{Prefixes: prefixes("10.0.0.0/16", "2001:db8:77::/48"), Metric: 50}
	must(t, n.SetRoutes("hq", set, false))
	lacksRoute(t, "10.0.0.0/16 dev hq", "2001:db8:77::/48 dev hq")
	hasRoute(t, "unreachable 10.0.0.0/16 metric 4294967295", "unreachable 2001:db8:77::/48 dev lo metric 4294967295")
	must(t, n.SetRoutes("hq", set, true))
	hasRoute(t, "10.0.0.0/16 dev hq scope link metric 50", "2001:db8:77::/48 dev hq metric 50",
		"unreachable 10.0.0.0/16", "unreachable 2001:db8:77::/48")
	must(t, n.SetRoutes("hq", set, false))
	lacksRoute(t, "10.0.0.0/16 dev hq")
	if out, err := exec.Command("ip", "route", "get", "10.0.1.1").CombinedOutput(); err == nil || !strings.Contains(string(out), "No route to host") {
		t.Errorf("a tunnel that is down leaks into %s", out)
	}
	must(t, n.Forget("hq"))
	if left := ownRoutes(t); len(left) != 0 {
		t.Errorf("left after Forget: %s", left)
	}
}

func TestDownMetricKeepsRoutesWithAWorseMetric(t *testing.T) {
	atStartAndLater(t, downMetricKeepsRoutesWithAWorseMetric)
}

func downMetricKeepsRoutesWithAWorseMetric(t *testing.T, n *Network) {
	set := RouteSet{Prefixes: prefixes("10.0.0.0/16"), Metric: 50, DownMetric: 5000, Fallback: true}
	must(t, n.SetRoutes("hq", set, true))
	must(t, n.SetRoutes("hq", set, false))
	hasRoute(t, "10.0.0.0/16 dev hq scope link metric 5000")
	lacksRoute(t, "10.0.0.0/16 dev hq scope link metric 50 ", "unreachable")
	if got := len(ownRoutes(t)); got != 1 {
		t.Errorf("%d routes, want 1: %s", got, ownRoutes(t))
	}
}

func TestDefaultRouteIsLaidAsHalvesAndPeersStayOutside(t *testing.T) {
	atStartAndLater(t, defaultRouteIsLaidAsHalvesAndPeersStayOutside)
}

func defaultRouteIsLaidAsHalvesAndPeersStayOutside(t *testing.T, n *Network) {
	peer, peer6 := netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("2001:db8:9::9")
	set := RouteSet{Prefixes: prefixes("0.0.0.0/0", "::/0"), Peers: []netip.Addr{peer, peer6}}
	must(t, n.SetRoutes("hq", set, true))
	hasRoute(t, "0.0.0.0/1 dev hq", "128.0.0.0/1 dev hq", "::/1 dev hq", "8000::/1 dev hq",
		"unreachable 0.0.0.0/1", "unreachable 128.0.0.0/1", "unreachable ::/1", "unreachable 8000::/1",
		"203.0.113.9 via 198.18.5.1 dev wan", "2001:db8:9::9 via 2001:db8:5::1 dev wan")
	for _, p := range []netip.Addr{peer, peer6} {
		info, err := n.RouteTo(p, netip.Addr{}, "", 0)
		if err != nil || info.IfName != "wan" {
			t.Errorf("route to %s: %+v, %v", p, info, err)
		}
	}
	// Also while the tunnel is down, or its unreachable routes would keep it so.
	must(t, n.SetRoutes("hq", set, false))
	hasRoute(t, "203.0.113.9 via 198.18.5.1 dev wan")

	// The underlay moves: a new gateway.
	sh(t, "ip route replace default via 198.18.5.254")
	must(t, n.Refresh())
	hasRoute(t, "203.0.113.9 via 198.18.5.254 dev wan")
	lacksRoute(t, "203.0.113.9 via 198.18.5.1 ")
	if info, err := n.RouteTo(peer, netip.Addr{}, "", 0); err != nil || info.Gateway.String() != "198.18.5.254" {
		t.Errorf("route to the peer after the move: %+v, %v", info, err)
	}
	set.Peers = nil
	must(t, n.SetRoutes("hq", set, true))
	lacksRoute(t, "203.0.113.9", "2001:db8:9::9")
}

func TestPeerOnItsOwnNetworkNeedsNoHostRoute(t *testing.T) {
	atStartAndLater(t, peerOnItsOwnNetworkNeedsNoHostRoute)
}

func peerOnItsOwnNetworkNeedsNoHostRoute(t *testing.T, n *Network) {
	must(t, n.SetRoutes("hq", RouteSet{Prefixes: prefixes("0.0.0.0/0"), Peers: []netip.Addr{netip.MustParseAddr("198.18.5.77")}}, true))
	lacksRoute(t, "198.18.5.77")
}

// TestAddressInsideIsReachedTheWayThePeerIs: the kernel's GRE interface needs a
// route to the other GRE endpoint, whatever becomes of its packets in ESP.
func TestAddressInsideIsReachedTheWayThePeerIs(t *testing.T) {
	atStartAndLater(t, addressInsideIsReachedTheWayThePeerIs)
}

func addressInsideIsReachedTheWayThePeerIs(t *testing.T, n *Network) {
	peer, gre, gre6 := netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("fd00:9::1")
	set := RouteSet{Prefixes: prefixes("10.0.0.0/16"), Peers: []netip.Addr{peer}, Inside: []Inside{{gre, peer}, {gre6, peer}}}
	must(t, n.SetRoutes("hq", set, true))
	lacksRoute(t, "10.1.2.3", "fd00:9::1") // the default routes lead there

	sh(t, "ip route add unreachable 10.0.0.0/8")
	must(t, n.Refresh())
	hasRoute(t, "10.1.2.3 via 198.18.5.1 dev wan")

	sh(t, "ip route del default", "ip -6 route del default", "ip route add 203.0.113.0/24 via 198.18.5.7 dev wan")
	must(t, n.Refresh())
	hasRoute(t, "10.1.2.3 via 198.18.5.7 dev wan", "fd00:9::1 dev wan")
	lacksRoute(t, "10.1.2.3 via 198.18.5.1 ")
	info, err := n.RouteTo(gre, netip.Addr{}, "", 0)
	if err != nil || info.IfName != "wan" {
		t.Errorf("route to the GRE endpoint: %+v, %v", info, err)
	}

	// The tunnel's own route lies over it.
	set.Prefixes = prefixes("10.1.0.0/16")
	must(t, n.SetRoutes("hq", set, true))
	hasRoute(t, "10.1.2.3 via 198.18.5.7 dev wan", "10.1.0.0/16 dev hq")

	sh(t, "ip route add 10.1.2.0/24 via 198.18.5.3 dev wan") // somebody's way: it is taken
	must(t, n.Refresh())
	lacksRoute(t, "10.1.2.3")
	sh(t, "ip route del 10.1.2.0/24 via 198.18.5.3 dev wan")

	set.Inside = nil
	must(t, n.SetRoutes("hq", set, true))
	lacksRoute(t, "10.1.2.3", "fd00:9::1")
	must(t, n.SetRoutes("hq", RouteSet{Inside: []Inside{{peer, peer}}}, true))
	lacksRoute(t, "203.0.113.9")
}

func TestUnreachableRoutesAreSharedBetweenTunnels(t *testing.T) {
	atStartAndLater(t, unreachableRoutesAreSharedBetweenTunnels)
}

func unreachableRoutesAreSharedBetweenTunnels(t *testing.T, n *Network) {
	sh(t, "ip link add name b2 type veth peer name b2peer", "ip link set b2peer up")
	mark(t, n, "b2")
	set := RouteSet{Prefixes: prefixes("10.0.0.0/16")}
	second := set
	second.Metric = 100
	must(t, n.SetRoutes("hq", set, true))
	must(t, n.SetRoutes("b2", second, true))
	must(t, n.Forget("hq"))
	hasRoute(t, "unreachable 10.0.0.0/16", "10.0.0.0/16 dev b2 scope link metric 100")
	lacksRoute(t, "10.0.0.0/16 dev hq")
	must(t, n.Forget("b2"))
	lacksRoute(t, "unreachable")
}

func TestRoutesAndAddressesComeBackAfterDownAndUp(t *testing.T) {
	atStartAndLater(t, routesAndAddressesComeBackAfterDownAndUp)
}

func routesAndAddressesComeBackAfterDownAndUp(t *testing.T, n *Network) {
	want := prefixes("10.255.0.2/30", "2001:db8:ff::2/64")
	set := RouteSet{Prefixes: prefixes("10.0.0.0/16", "2001:db8:77::/48"), Table: 100}
	must(t, n.SetAddresses("hq", want))
	must(t, n.SetRoutes("hq", set, true))
	sh(t, "ip link set hq down")
	lacksRoute(t, "10.0.0.0/16 dev hq")
	must(t, n.SetRoutes("hq", set, true)) // while down: no error, nothing to lay
	hasRoute(t, "unreachable 10.0.0.0/16 table 100")
	sh(t, "ip link set hq up")
	must(t, n.SetAddresses("hq", want))
	must(t, n.SetRoutes("hq", set, true))
	hasRoute(t, "10.0.0.0/16 dev hq table 100", "2001:db8:77::/48 dev hq table 100",
		"unreachable 10.255.0.0/30", "unreachable 2001:db8:ff::/64")
	if out := sh(t, "ip addr show dev hq"); !strings.Contains(out, "2001:db8:ff::2/64") {
		t.Error("the IPv6 address did not come back")
	}
}

func TestSweepRemovesOnlyWhatAnEarlierDaemonLeft(t *testing.T) {
	n := inNamespace(t)
	must(t, n.SetRoutes("hq", RouteSet{Prefixes: prefixes("10.0.0.0/16", "10.5.0.0/16")}, true))
	n.Close() // as if killed
	sh(t, "ip route add 10.66.0.0/16 dev hq")

	after, err := OpenNetwork(nil)
	must(t, err)
	defer after.Close()
	must(t, after.SetRoutes("hq", RouteSet{Prefixes: prefixes("10.0.0.0/16")}, true))
	hasRoute(t, "10.5.0.0/16 dev hq", "unreachable 10.5.0.0/16") // not before Sweep
	must(t, after.Sweep())
	hasRoute(t, "10.0.0.0/16 dev hq", "unreachable 10.0.0.0/16")
	lacksRoute(t, "10.5.0.0/16", "unreachable 10.5.0.0/16")
	if out := sh(t, "ip route show"); !strings.Contains(out, "10.66.0.0/16") {
		t.Error("somebody else's route was removed")
	}
}

func TestRouteToTellsAddressInterfaceAndMTU(t *testing.T) {
	n := inNamespace(t)
	sh(t, "ip link set wan mtu 1492", "ip route add 203.0.113.0/24 via 198.18.5.1 mtu 1400", "ip addr add 198.18.5.3/24 dev wan")
	peer := netip.MustParseAddr("203.0.113.9")
	info, err := n.RouteTo(peer, netip.Addr{}, "", 0)
	must(t, err)
	if info.Local.String() != "198.18.5.2" || info.IfName != "wan" || info.MTU != 1400 || info.PathMTU != 1400 || info.Gateway.String() != "198.18.5.1" {
		t.Errorf("%+v", info)
	}
	if info, err = n.RouteTo(netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.18.5.3"), "wan", 0); err != nil || info.Local.String() != "198.18.5.3" || info.MTU != 1492 {
		t.Errorf("with a hint: %+v, %v", info, err)
	}
	if info, err = n.RouteTo(netip.MustParseAddr("2001:db8:1::1"), netip.Addr{}, "", 0); err != nil || info.Local.String() != "2001:db8:5::2" {
		t.Errorf("IPv6: %+v, %v", info, err)
	}
	for what, try := range map[string]func() (RouteInfo, error){
		"foreign local address": func() (RouteInfo, error) { return n.RouteTo(peer, netip.MustParseAddr("10.77.0.1"), "", 0) },
		"absent interface":      func() (RouteInfo, error) { return n.RouteTo(peer, netip.Addr{}, "ppp0", 0) },
		"no route": func() (RouteInfo, error) {
			sh(t, "ip route del default")
			return n.RouteTo(netip.MustParseAddr("192.0.2.1"), netip.Addr{}, "", 0)
		},
	} {
		if _, err := try(); !errors.Is(err, ErrNoRoute) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestRouteToNeverChoosesOurOwnInterface(t *testing.T) {
	n := inNamespace(t)
	must(t, n.SetAddresses("hq", prefixes("10.255.0.2/30")))
	// Both laid by somebody who does not know better.
	sh(t, "ip route add 203.0.113.0/24 dev hq", "ip route add unreachable 192.0.2.0/24 proto 147")
	for _, peer := range []string{"203.0.113.9", "192.0.2.9"} {
		info, err := n.RouteTo(netip.MustParseAddr(peer), netip.Addr{}, "", 0)
		if err != nil || info.IfName != "wan" || info.Local.String() != "198.18.5.2" {
			t.Errorf("to %s: %+v, %v", peer, info, err)
		}
	}
	if _, err := n.RouteTo(netip.MustParseAddr("198.18.5.2"), netip.Addr{}, "", 0); err == nil || !strings.Contains(err.Error(), "address of this machine") {
		t.Errorf("to an own address: %v", err)
	}
}

func TestAPeerWhosePacketsAreThrownAwayHasNoRoute(t *testing.T) {
	n := inNamespace(t)
	for _, how := range []string{"blackhole", "prohibit", "unreachable"} {
		for _, peer := range []string{"203.0.113.9", "2001:db8:203::9"} {
			sh(t, "ip route add "+how+" "+peer)
			if info, err := n.RouteTo(netip.MustParseAddr(peer), netip.Addr{}, "", 0); !errors.Is(err, ErrNoRoute) {
				t.Errorf("%s %s: %+v, %v", how, peer, info, err)
			}
			sh(t, "ip route del "+how+" "+peer)
		}
	}
}

func TestInterfaceAddrPrefersStableGlobalAddresses(t *testing.T) {
	n := inNamespace(t)
	sh(t, "ip addr add 169.254.1.1/16 dev isp scope link", "ip addr add 203.0.113.77/24 dev isp", "ip -6 addr add 2001:db8:8::1/64 dev isp nodad preferred_lft 0", "ip -6 addr add 2001:db8:8::2/64 dev isp nodad")
	for v6, want := range map[bool]string{false: "203.0.113.77", true: "2001:db8:8::2"} {
		if a, err := rtnl.InterfaceAddr(n.Netlink(), "isp", v6); err != nil || a.String() != want {
			t.Errorf("%v, %v; want %s", a, err, want)
		}
	}
	sh(t, "ip addr flush dev isp")
	if _, err := rtnl.InterfaceAddr(n.Netlink(), "isp", false); err == nil {
		t.Error("an address where there is none")
	}
}

func next(t *testing.T, w *Watcher) (Change, bool) {
	t.Helper()
	select {
	case c := <-w.Changes():
		return c, true
	case <-time.After(10 * settle):
		return Change{}, false
	}
}

func TestWatcherReportsOthersAndIsQuietAboutUs(t *testing.T) {
	n := inNamespace(t)
	sh(t, "ip -6 addr flush dev hq") // let duplicate address detection end
	time.Sleep(2 * time.Second)
	w, err := Watch(nil)
	must(t, err)
	defer w.Close()
	for any := true; any; _, any = next(t, w) {
		// what a busy machine is late with
	}

	set := RouteSet{Prefixes: prefixes("10.0.0.0/16", "0.0.0.0/0"), Peers: []netip.Addr{netip.MustParseAddr("203.0.113.9")}}
	must(t, n.SetAddresses("hq", prefixes("10.255.0.2/30")))
	must(t, n.SetRoutes("hq", set, true))
	l, err := rtnl.LinkByName(n.Netlink(), "hq")
	must(t, err)
	must(t, rtnl.SetMTU(n.Netlink(), l.Index, 1400))
	own := rtnl.Rule{From: netip.MustParseAddr("198.18.5.1"), To: set.Peers[0], Table: 7}
	must(t, rtnl.ChangeRule(n.Netlink(), unix.RTM_NEWRULE, own))
	must(t, rtnl.ChangeRule(n.Netlink(), unix.RTM_DELRULE, own))
	if c, any := next(t, w); any && !reflect.DeepEqual(c, Change{Other: true}) { // the kernel does not say who changed an MTU
		t.Errorf("our own doing was reported: %+v", c)
	}
	for _, step := range []struct {
		command  string
		underlay bool
		own      []string
		other    bool
	}{
		{"ip addr add 198.18.6.1/24 dev wan", true, nil, false},
		{"ip route replace default via 198.18.5.254", true, nil, false},
		{"ip link set wan mtu 1400", true, nil, false},
		{"ip rule add from 198.18.6.1 lookup 7", true, nil, false},
		{"ip rule del from 198.18.6.1 lookup 7", true, nil, false},
		{"ip route del 10.0.0.0/16 dev hq", false, []string{"hq"}, false},
		{"ip addr del 10.255.0.2/30 dev hq", false, []string{"hq"}, false},
		{"ip addr add 10.255.0.6/30 dev hq; ip route del 10.255.0.4/30 dev hq", false, nil, true},
		{"ip link add name br type bridge", false, nil, true},
		{"ip link set hq master br", false, nil, true},
		{"ip link set hq nomaster", false, nil, true},
		{"ip link set hq mtu 1300", false, nil, true},
		{"nft add table inet x; nft flush ruleset", false, nil, true},
		{"ip xfrm policy add dir out src 192.0.2.1 dst 192.0.2.2 proto 47 action block", false, nil, true},
		{"ip xfrm policy flush", false, nil, true},
		{"ip link set hq down", false, []string{"hq"}, false},
		{"ip link set hq name other; ip link set other name hq", false, nil, true},
		{"ip link del hq", false, []string{"hq"}, false},
		{"ip link set wan down", true, nil, false},
	} {
		for { // what a step leaves behind, such as the peer's end
			if _, any := next(t, w); !any {
				break
			}
		}
		sh(t, strings.Split(step.command, "; ")...)
		c, any := next(t, w)
		if !any || c.Underlay != step.underlay && step.underlay || !slices.Equal(c.Own, step.own) || step.other && !c.Other {
			t.Errorf("%s: %+v, want underlay %t, %v and other %t", step.command, c, step.underlay, step.own, step.other)
		}
	}
}

func TestNamesTheKernelRefusesAreRefused(t *testing.T) {
	for _, bad := range []string{"", ".", "..", "a/b", "a b", "sixteen-octets-x", "a:1", "a\x00"} {
		if rtnl.CheckName(bad) == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if err := rtnl.CheckName("fifteen-octets1"); err != nil {
		t.Error(err)
	}
}

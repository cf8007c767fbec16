package platform

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// later is a Network of which nothing is left to find out, with a link that wants
// set.
func later(t *testing.T, set RouteSet) *Network {
	n := inNamespace(t)
	must(t, n.SetRoutes("hq", set, false))
	must(t, n.Sweep())
	return n
}

func TestRoutesOfOneLinkChangeWithoutALookAtEverything(t *testing.T) {
	set := RouteSet{Prefixes: prefixes("10.0.0.0/16", "2001:db8:77::/48"), Metric: 50, DownMetric: 5000, Table: unix.RT_TABLE_MAIN}
	n := later(t, set)
	set.Peers = []netip.Addr{netip.MustParseAddr("203.0.113.9")} // known only now, and not covered
	for _, running := range []bool{true, false, true} {
		n.inside("hq").routes, n.inside("hq").running = set, running
		if !n.onlyRoutesChanged(n.inside("hq")) {
			t.Fatal("everything is looked at")
		}
		must(t, n.SetRoutes("hq", set, running))
		metrics := map[bool]string{true: "metric 50", false: "metric 5000"}
		hasRoute(t, "10.0.0.0/16 dev hq scope link "+metrics[running], "2001:db8:77::/48 dev hq "+metrics[running], "unreachable 10.0.0.0/16")
		lacksRoute(t, "10.0.0.0/16 dev hq scope link "+metrics[!running]+" ", "2001:db8:77::/48 dev hq "+metrics[!running]+" ", "203.0.113.9")
	}
	sh(t, "ip route del 10.0.0.0/16 dev hq")
	must(t, n.SetRoutes("hq", set, true))
	hasRoute(t, "10.0.0.0/16 dev hq scope link metric 50")
	// The interface recreated has another index.
	sh(t, "ip link del hq", "ip link add hq type veth peer name hqpeer", "ip link set hqpeer up")
	mark(t, n, "hq")
	must(t, n.SetRoutes("hq", set, true))
	hasRoute(t, "10.0.0.0/16 dev hq scope link metric 50")
	must(t, n.SetRoutes("hq", RouteSet{Peers: set.Peers}, true))
	if left := ownRoutes(t); len(left) != 0 {
		t.Errorf("left: %s", left)
	}
}

func TestAPeerThatBecomesCoveredGetsItsHostRoute(t *testing.T) {
	set := RouteSet{Prefixes: prefixes("203.0.112.0/20")}
	n := later(t, set)
	must(t, n.SetRoutes("hq", set, true))
	set.Peers = []netip.Addr{netip.MustParseAddr("203.0.113.9")}
	must(t, n.SetRoutes("hq", set, true))
	hasRoute(t, "203.0.113.9 via 198.18.5.1 dev wan")
	set.Peers = []netip.Addr{netip.MustParseAddr("203.0.113.10")}
	must(t, n.SetRoutes("hq", set, true))
	hasRoute(t, "203.0.113.10 via 198.18.5.1 dev wan")
	lacksRoute(t, "203.0.113.9")

	// Covered by another link, and only while that is up.
	sh(t, "ip link add name b2 type veth peer name b2peer", "ip link set b2peer up")
	mark(t, n, "b2")
	other := RouteSet{Prefixes: prefixes("192.0.2.0/24"), Fallback: true}
	set.Peers = append(set.Peers, netip.MustParseAddr("192.0.2.7"))
	must(t, n.SetRoutes("b2", other, false))
	must(t, n.SetRoutes("hq", set, true))
	lacksRoute(t, "192.0.2.7")
	must(t, n.SetRoutes("b2", other, true))
	hasRoute(t, "192.0.2.7 via 198.18.5.1 dev wan")
	must(t, n.SetRoutes("b2", other, false))
	lacksRoute(t, "192.0.2.7")
}

func TestPrefixesThatCoverAnAddress(t *testing.T) {
	n := &Network{cover: map[netip.Prefix]bool{}}
	for _, p := range prefixes("0.0.0.0/1", "10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32", "192.0.2.1/32") {
		n.cover[p] = true
	}
	for addr, want := range map[string]int{"10.1.2.3": 16, "10.2.0.1": 8, "1.1.1.1": 1, "192.0.2.1": 32, "192.0.2.2": -1, "2001:db8:1::1": 32, "::1": -1, "::ffff:10.1.2.3": 16} {
		bits, ok := n.covers(netip.MustParseAddr(addr))
		if ok != (want >= 0) || ok && bits != want {
			t.Errorf("%s: %d, %t", addr, bits, ok)
		}
	}
}

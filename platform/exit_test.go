package platform

import (
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"greseal/platform/rtnl"
)

var (
	exitPeer  = netip.MustParseAddr("203.0.113.5")
	exitPeer6 = netip.MustParseAddr("2001:db8:50::5")
)

// secondWAN adds wan2 with addresses and default routes of a worse metric.
func secondWAN(t *testing.T) {
	t.Helper()
	sh(t, "ip link add wan2 type veth peer name isp2", "ip link set isp2 up", "ip link set wan2 up",
		"ip addr add 192.168.7.1/24 dev wan2", "ip addr add 2001:db8:7::1/64 dev wan2 nodad")
}

func secondDefault(t *testing.T) {
	t.Helper()
	sh(t, "ip route replace default via 192.168.7.254 dev wan2 metric 100", "ip -6 route replace default via 2001:db8:7::254 dev wan2 metric 2000")
}

// wayTo asks the kernel by which interface packets leave; "" for none.
func wayTo(to netip.Addr, from string) string {
	out, err := exec.Command("ip", "route", "get", to.String(), "from", from).CombinedOutput()
	if err != nil {
		return ""
	}
	f := strings.Fields(string(out))
	if i := slices.Index(f, "dev"); i >= 0 {
		return f[i+1]
	}
	return ""
}

func wantWay(t *testing.T, when string, to netip.Addr, from, dev string) {
	t.Helper()
	if got := wayTo(to, from); got != dev {
		t.Errorf("%s: from %s to %s it leaves by %q, want %q", when, from, to, got, dev)
	}
}

// Two tunnels to one peer leave by two WANs, each by its own, also where their
// routes cover the peer; a third, which names none, by the best.
func TestTunnelsToOnePeerLeaveByTheirOwnWAN(t *testing.T) {
	n := inNamespace(t)
	secondWAN(t)
	secondDefault(t)
	both := []netip.Addr{exitPeer, exitPeer6}
	for _, covered := range []bool{false, true} {
		var all []netip.Prefix
		if covered {
			all = prefixes("0.0.0.0/0", "::/0")
		}
		must(t, n.SetRoutes("hq", RouteSet{Prefixes: all, Peers: both, Through: "wan2"}, true))
		must(t, n.SetRoutes("b2", RouteSet{Peers: both, Through: "wan"}, true))
		for range 2 {
			wantWay(t, "both up", exitPeer, "192.168.7.1", "wan2")
			wantWay(t, "both up", exitPeer, "198.18.5.2", "wan")
			wantWay(t, "both up", exitPeer6, "2001:db8:7::1", "wan2")
			wantWay(t, "both up", exitPeer6, "2001:db8:5::2", "wan")
			must(t, n.Refresh())
		}
	}
	wantWay(t, "another peer", netip.MustParseAddr("198.18.5.9"), "192.168.7.1", "wan")
	must(t, n.Forget("hq"))
	must(t, n.Forget("b2"))
	noneLeft(t, n)
}

func noneLeft(t *testing.T, n *Network) {
	t.Helper()
	if left := ownRoutes(t); len(left) > 0 {
		t.Errorf("routes left: %q", left)
	}
	rules, err := rtnl.Rules(n.nl)
	if err != nil || len(rules) > 0 {
		t.Errorf("rules left: %v, %v", rules, err)
	}
}

// What is to leave by one interface takes no other way, while that interface is
// away, and until its route is laid again.
func TestAPeerOfOneInterfaceTakesNoOtherWay(t *testing.T) {
	n := inNamespace(t)
	secondWAN(t)
	by2 := RouteSet{Peers: []netip.Addr{exitPeer, exitPeer6}, Through: "wan2"}
	must(t, n.SetRoutes("hq", by2, true))
	wantWay(t, "no way known yet", exitPeer, "192.168.7.1", "wan") // people's own rules may know one
	secondDefault(t)
	must(t, n.Refresh())
	wantWay(t, "the way is there", exitPeer, "192.168.7.1", "wan2")
	wantWay(t, "the way is there", exitPeer6, "2001:db8:7::1", "wan2")
	notByAnother := func(when string) {
		t.Helper()
		for to, from := range map[netip.Addr]string{exitPeer: "192.168.7.1", exitPeer6: "2001:db8:7::1"} {
			if by := wayTo(to, from); by == "wan" {
				t.Errorf("%s: from %s to %s it leaves by the other WAN", when, from, to)
			}
		}
	}
	for _, away := range []string{"ip link set wan2 down", "ip addr flush dev wan2", "ip link del wan2"} {
		sh(t, away)
		notByAnother(away)
		must(t, n.Refresh())
		notByAnother(away + ", noticed")
		if away == "ip link del wan2" {
			secondWAN(t)
		} else {
			sh(t, "ip link set wan2 up", "ip addr replace 192.168.7.1/24 dev wan2", "ip addr replace 2001:db8:7::1/64 dev wan2 nodad")
		}
		notByAnother("back, without a route")
		must(t, n.Refresh())
		notByAnother("back, without a route, noticed")
		secondDefault(t)
		must(t, n.Refresh())
		wantWay(t, "back", exitPeer, "192.168.7.1", "wan2")
		wantWay(t, "back", exitPeer6, "2001:db8:7::1", "wan2")
	}

	// Another address instead: the old one's rules go.
	sh(t, "ip addr del 192.168.7.1/24 dev wan2", "ip addr add 192.168.7.9/24 dev wan2")
	secondDefault(t)
	must(t, n.Refresh())
	wantWay(t, "readdressed", exitPeer, "192.168.7.9", "wan2")
	if rules := sh(t, "ip rule"); strings.Contains(rules, "192.168.7.1 ") {
		t.Errorf("the rules of a lost address stay: %s", rules)
	}
	must(t, n.Forget("hq"))
	noneLeft(t, n)
}

// The next daemon takes over what a killed one left and removes what nobody asks
// for any more; rules of others stay.
func TestSweepRemovesOnlyOurRules(t *testing.T) {
	before := inNamespace(t)
	secondWAN(t)
	secondDefault(t)
	sh(t, "ip rule add from 192.168.7.1 to 203.0.113.9 lookup 77", "ip rule add from 192.168.7.1 to 203.0.113.9 lookup 77 protocol 99 pref 32765")
	must(t, before.SetRoutes("hq", RouteSet{Peers: []netip.Addr{exitPeer, exitPeer6}, Through: "wan2"}, true))
	after, err := OpenNetwork(nil)
	must(t, err)
	t.Cleanup(after.Close)
	must(t, after.SetRoutes("hq", RouteSet{Peers: []netip.Addr{exitPeer}, Through: "wan2"}, true))
	wantWay(t, "taken over", exitPeer, "192.168.7.1", "wan2")
	wantWay(t, "not asked for yet", exitPeer6, "2001:db8:7::1", "wan2")
	must(t, after.Sweep())
	rules, err := rtnl.Rules(after.nl)
	if want := (rtnl.Rule{From: netip.MustParseAddr("192.168.7.1"), To: exitPeer, Table: exitTable("wan2")}); err != nil || len(rules) != 1 || rules[0] != want {
		t.Errorf("%v, %v, want only %v", rules, err, want)
	}
	if n := strings.Count(sh(t, "ip rule"), "lookup 77"); n != 2 {
		t.Errorf("%d of 2 foreign rules are left", n)
	}
	sh(t, "ip rule del from 192.168.7.1 to 203.0.113.5")
	must(t, after.Refresh())
	wantWay(t, "after it was removed by hand", exitPeer, "192.168.7.1", "wan2")
	must(t, rtnl.ChangeRule(after.nl, unix.RTM_NEWRULE, rules[0])) // once more does nothing
	must(t, after.Forget("hq"))
	noneLeft(t, after)
}

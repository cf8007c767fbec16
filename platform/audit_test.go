package platform

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// audited runs commands, and wants Audit to find these objects gone, to lay them
// again so that the machine is as before, and then to find nothing and write nothing.
func audited(t *testing.T, n *Network, want []string, commands ...string) {
	t.Helper()
	before := machineState(t)
	sh(t, commands...)
	if machineState(t) == before {
		t.Fatalf("%q changed nothing", commands)
	}
	var got []string
	for _, d := range n.readBack(t) {
		if !d.Fixed || d.Link != "hq" {
			t.Errorf("not put right: %+v", d)
		}
		got = append(got, fmt.Sprintf("%s %s", d.Object, d.Name))
	}
	if strings.Join(got, "; ") != strings.Join(want, "; ") {
		t.Errorf("%q: found %q, want %q", commands, got, want)
	}
	if after := machineState(t); after != before {
		t.Errorf("%q: the machine is\n%s\ninstead of\n%s", commands, after, before)
	}
	if again := n.readBack(t); len(again) != 0 || machineState(t) != before {
		t.Errorf("%q: a second audit found %v", commands, again)
	}
}

// readBack is an audit as the loop makes it.
func (n *Network) readBack(t *testing.T) []Deviation {
	t.Helper()
	there, err := n.Interfaces()
	must(t, err)
	return n.Audit(there)
}

// machineState is what iproute2 shows of addresses and routes, in its order made up
// for the ones that were laid again.
func machineState(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", "ip -br addr show dev hq; ip route show table all dev hq | grep -v broadcast | sort; ip -6 route show table all dev hq | grep -v -e multicast -e anycast | sort; ip route show type unreachable; ip -6 route show type unreachable").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

func TestAuditLaysAgainWhatSomebodyRemoved(t *testing.T) {
	n := inNamespace(t)
	must(t, n.Sweep())
	// The end of DAD brings routes of its own, at any time between two looks.
	sh(t, "sysctl -q -w net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.hq.accept_dad=0", "ip link set hq up")
	must(t, n.SetAddresses("hq", []netip.Prefix{netip.MustParsePrefix("10.0.0.1/30"), netip.MustParsePrefix("fd00::1/64"), netip.MustParsePrefix("10.9.9.9/32")}))
	must(t, n.SetRoutes("hq", RouteSet{Prefixes: []netip.Prefix{netip.MustParsePrefix("10.20.0.0/16"), netip.MustParsePrefix("::/0")}}, true))
	for deadline := 200; !strings.Contains(machineState(t), "local fe80::") || !strings.Contains(machineState(t), "local fd00::"); deadline-- {
		if deadline == 0 {
			t.Fatal("DAD does not end")
		}
		time.Sleep(50 * time.Millisecond)
	}
	if found := n.readBack(t); len(found) != 0 {
		t.Fatalf("found %v where all stands", found)
	}
	connected, into := "route 10.0.0.0/30", "route 10.20.0.0/16"
	audited(t, n, []string{connected}, "ip route del 10.0.0.0/30 dev hq")
	audited(t, n, []string{into}, "ip route del 10.20.0.0/16 dev hq")
	audited(t, n, []string{"address 10.9.9.9/32"}, "ip addr del 10.9.9.9/32 dev hq")
	audited(t, n, []string{connected, into}, "ip route flush dev hq")
	audited(t, n, []string{"route fd00::/64"}, "ip -6 route del fd00::/64 dev hq proto kernel")
	audited(t, n, []string{"guard unreachable 10.20.0.0/16"}, "ip route del unreachable 10.20.0.0/16 metric 4294967295")
	audited(t, n, []string{"route 10.9.9.9/32"}, "ip route del local 10.9.9.9 dev hq table local")
	n.readBack(t)
	sh(t, "ip -6 addr flush dev hq scope link")
	if found := n.readBack(t); len(found) != 1 || !found[0].Fixed || !strings.HasPrefix(found[0].Name, "fe80::") || !strings.Contains(sh(t, "ip addr show dev hq"), "inet6 fe80::") {
		t.Errorf("the link-local address is not there again: %+v", found)
	}
	audited(t, n, []string{"route 8000::/1"}, "ip -6 route del 8000::/1 dev hq")
}

// The kernel makes none on an interface that is made, which would send router
// solicitations, until IPv6 is wanted.
func TestAuditKeepsHowLinkLocalAddressesAreMade(t *testing.T) {
	n := inNamespace(t)
	sh(t, "ip link set hq addrgenmode none", "ip link set hq up")
	must(t, n.SetAddresses("hq", []netip.Prefix{netip.MustParsePrefix("10.0.0.1/30")}))
	for _, mode := range []string{"none", "eui64"} {
		if found := n.readBack(t); len(found) != 0 {
			t.Fatalf("found %v where all stands", found)
		}
		other := map[string]string{"none": "eui64", "eui64": "none"}[mode]
		sh(t, "ip link set hq addrgenmode "+other)
		found := n.readBack(t)
		if len(found) != 1 || !found[0].Fixed || found[0].Object != ObjectLink || found[0].Text != "its addr_gen_mode was changed" {
			t.Errorf("%s: %+v", mode, found)
		}
		if out := sh(t, "ip -d link show hq"); !strings.Contains(out, "addrgenmode "+mode) {
			t.Errorf("it is not %s again: %s", mode, out)
		}
		if found := n.readBack(t); len(found) != 0 {
			t.Errorf("%s: a second audit found %v", mode, found)
		}
		must(t, n.SetAddresses("hq", []netip.Prefix{netip.MustParsePrefix("fd00::1/64")}))
	}
}

func TestAuditNamesWhatStaysRefused(t *testing.T) {
	n := inNamespace(t)
	sh(t, "ip link set hq up", "sysctl -q -w net.ipv6.conf.all.disable_ipv6=1")
	_ = n.SetAddresses("hq", []netip.Prefix{netip.MustParsePrefix("10.0.0.1/30"), netip.MustParsePrefix("fd00::1/64")})
	for range 2 {
		found := n.readBack(t)
		if len(found) == 0 {
			t.Fatal("nothing is found of an address that the kernel refuses")
		}
		for _, d := range found {
			if d.Fixed || d.Link != "hq" || !strings.Contains(d.Text, "IPv6 is switched off here") {
				t.Errorf("found %+v", d)
			}
		}
	}
}

// Who removes a route whenever it comes back wins after a few times, and is told of;
// an unreachable route is laid again for as long as it takes.
func TestAuditDoesNotFightForever(t *testing.T) {
	n := inNamespace(t)
	sh(t, "ip link set hq up")
	must(t, n.SetRoutes("hq", RouteSet{Prefixes: []netip.Prefix{netip.MustParsePrefix("10.20.0.0/16")}}, true))
	remove := []string{"ip route del 10.20.0.0/16 dev hq", "ip route del unreachable 10.20.0.0/16 metric 4294967295"}
	for i := range 2 * repairsMost {
		_ = exec.Command("sh", "-c", strings.Join(remove, ";")).Run()
		found := n.readBack(t)
		if i < repairsMost {
			if len(found) != 2 || !found[0].Fixed || !found[1].Fixed {
				t.Fatalf("time %d: found %+v", i, found)
			}
			continue
		}
		for _, d := range found {
			if d.Fixed != (d.Object == ObjectGuard) || !strings.Contains(d.Text, "keeps changing it") {
				t.Errorf("time %d: found %+v", i, d)
			}
		}
		if out, _ := exec.Command("ip", "route").Output(); len(found) != 2 || !strings.Contains(string(out), "unreachable 10.20.0.0/16") || strings.Contains(string(out), "10.20.0.0/16 dev hq") {
			t.Errorf("time %d: found %+v, and the routes are\n%s", i, found, out)
		}
	}
}

package kernel

import (
	"bytes"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"greseal/platform"
	"greseal/platform/rtnl"
)

var setups = []setup{
	{name: "transport", transport: true},
	{name: "tunnel", esn: true},
	{name: "tunnel in UDP", encap: true, esn: true},
	{name: "transport in UDP", transport: true, encap: true, key: 7},
	{name: "IPv6 transport", v6: true, transport: true, esn: true},
	{name: "IPv6 tunnel", v6: true, encr: chacha},
	{name: "IPv6 tunnel in UDP", v6: true, encap: true},
	{name: "gretap transport", ethernet: true, transport: true, encr: cbc256, integ: sha256, esn: true},
	{name: "gretap tunnel with key 0", ethernet: true, encr: cbc256, integ: sha256},
	{name: "ip6gretap tunnel", v6: true, ethernet: true, esn: true},
}

// someSetups are all of them, or with -short a third: for the second kernel.
func someSetups() (list []setup) {
	for i, s := range setups {
		if i%3 == 0 || !testing.Short() {
			list = append(list, s)
		}
	}
	return list
}

// guardBlocks is how many policies of the guard of one remote block: protocol 47
// in three directions, and three kinds of ICMP errors.
const guardBlocks = 6

// TestNothingInClear brings each kind of tunnel up and down and looks at the
// wire all the while.
func TestNothingInClear(t *testing.T) {
	needKernel(t)
	for _, s := range someSetups() {
		t.Run(s.name, func(t *testing.T) {
			l := newLab(t)
			s.inner = 1
			if s.name == "gretap tunnel with key 0" {
				a, b := s.linkAt(true), s.linkAt(false)
				a.HasKey, b.HasKey = true, true
				l.a.setLink(a)
				l.b.setLink(b)
			}
			l.wire.content = bytes.Repeat(pattern, 2)
			l.links(s)
			if got := l.ping(s, 5); got != 0 {
				t.Errorf("%d pings answered without SAs", got)
			}
			var drops platform.Drops
			var err error
			l.a.do(func() { drops, err = l.a.dp.LinkDrops(s.name15()) })
			if err != nil || drops.NoSA == 0 {
				t.Errorf("the guard does not show in the interface's drops: %+v, %v", drops, err)
			}
			l.wire.noGRE(t, "before SAs")

			l.sas(s, 0x1000)
			if got := l.ping(s, 20); got != 20 {
				t.Errorf("%d of 20 pings answered", got)
			}
			gre, esp, udp := l.wire.counts()
			if s.encap && (udp < 40 || esp != 0) || !s.encap && (esp < 40 || udp != 0) || gre != 0 {
				t.Errorf("on the wire: %d GRE, %d ESP, %d ESP in UDP", gre, esp, udp)
			}

			// Inbound: clear GRE from a peer without policies is refused.
			var c platform.Counters
			l.a.do(func() { c, err = l.a.dp.SACounters(platform.SAKey{Link: s.name15(), SPI: 0x1001}) })
			if err != nil || c.Packets < 20 || c.Bytes == 0 || c.Replay != 0 || c.Integrity != 0 {
				t.Errorf("counters: %+v, %v", c, err)
			}

			l.a.sh("ip xfrm state flush")
			if got := l.ping(s, 5); got != 0 {
				t.Errorf("%d pings answered after the SAs were flushed", got)
			}
			if e, ok := l.a.event(platform.HardExpire); !ok || e.Link != s.name15() {
				t.Errorf("no event of the flushed SAs: %+v", e)
			}
			l.wire.noGRE(t, "after SAs were flushed")

			for _, n := range []*node{l.a, l.b} {
				n.do(func() { err = n.dp.DeleteLink(s.name15()) })
				must(t, err)
				if out := n.sh("ip xfrm state"); out != "" {
					t.Errorf("SAs are left: %s", out)
				}
				if out := n.sh("ip xfrm policy"); strings.Count(out, "action block") != guardBlocks || strings.Contains(out, "tmpl") {
					t.Errorf("the guards should stay, alone: %s", out)
				}
				n.do(func() { err = n.dp.Unguard(s.name15()) })
				must(t, err)
				if out := n.sh("ip xfrm policy"); out != "" {
					t.Errorf("policies are left: %s", out)
				}
			}
			l.wire.noGRE(t, "in all")
			if l.wire.found != 0 {
				t.Errorf("the pings' payload was seen %d times outside", l.wire.found)
			}
		})
	}
}

// TestTheWireShowsClearGRE makes sure that the other tests would see it.
func TestTheWireShowsClearGRE(t *testing.T) {
	l := newLab(t)
	l.a.sh("ip link add bare type gre local 198.18.1.2 remote 198.18.2.2", "ip addr add 10.1.0.1/24 dev bare", "ip link set bare up")
	l.wire.content = bytes.Repeat(pattern, 2)
	l.ping(setup{inner: 1}, 3)
	if gre, _, _ := l.wire.counts(); gre == 0 || l.wire.found == 0 {
		t.Errorf("a bare GRE tunnel: %d packets of protocol 47 and %d payloads seen", gre, l.wire.found)
	}
	// Guarding does not need our own device.
	var err error
	l.a.do(func() { err = l.a.dp.Guard("hq", []netip.Addr{netip.MustParseAddr("198.18.2.2")}) })
	must(t, err)
	before, _, _ := l.wire.counts()
	l.ping(setup{inner: 1}, 3)
	if after, _, _ := l.wire.counts(); after != before {
		t.Errorf("%d packets of protocol 47 in spite of the guard", after-before)
	}
}

func TestInboundClearGREIsRefused(t *testing.T) {
	l := newLab(t)
	s := setup{transport: true, inner: 1}
	l.links(s)
	l.sas(s, 0x2000)
	// B turns rogue: no policies, clear GRE from the right address.
	l.b.sh("ip xfrm policy flush", "ip xfrm state flush")
	before := l.a.sh("cat /proc/thread-self/net/xfrm_stat")
	if out, _ := l.b.try("ping -n -c 3 -i 0.05 -W 1 10.1.0.1"); strings.Contains(out, "bytes from") {
		t.Errorf("clear GRE was taken: %s", out)
	}
	if gre, _, _ := l.wire.counts(); gre == 0 {
		t.Error("B did not send clear GRE, the test proves nothing")
	}
	var rx uint64
	l.a.do(func() {
		i, err := rtnl.LinkByName(l.a.dp.route, "hq")
		must(t, err)
		rx = i.Stats.RxPackets
	})
	if rx != 0 {
		t.Errorf("%d clear packets entered the device", rx)
	}
	after := l.a.sh("cat /proc/thread-self/net/xfrm_stat")
	if before == after {
		t.Error("XFRM counted nothing")
	}
}

func TestGuardsAreReplacedButNotWhileInUse(t *testing.T) {
	l := newLab(t)
	guarded := func() string { return l.a.sh("ip xfrm policy") }
	guard := func(link string, remotes ...string) error {
		var all []netip.Addr
		for _, r := range remotes {
			all = append(all, netip.MustParseAddr(r))
		}
		var err error
		l.a.do(func() { err = l.a.dp.Guard(link, all) })
		return err
	}
	must(t, guard("hq", "203.0.113.1", "2001:db8:9::1"))
	must(t, guard("other", "203.0.113.1"))
	if n := strings.Count(guarded(), "action block"); n != 2*guardBlocks {
		t.Errorf("%d policies, want %d", n, 2*guardBlocks)
	}
	must(t, guard("hq", "203.0.113.2"))
	if out := guarded(); strings.Contains(out, "2001:db8:9::1") || !strings.Contains(out, "203.0.113.1/32") || !strings.Contains(out, "203.0.113.2/32") {
		t.Errorf("after the change: %s", out)
	}
	s := setup{}
	l.a.setLink(s.linkAt(true)) // closes 198.18.2.2 by itself
	must(t, guard("hq", "203.0.113.3"))
	if out := guarded(); !strings.Contains(out, "198.18.2.2/32") || strings.Contains(out, "203.0.113.2/32") {
		t.Errorf("with a device: %s", out)
	}
	var err error
	l.a.do(func() { err = l.a.dp.Unguard("hq") })
	if err == nil {
		t.Error("the guard of an existing interface was opened")
	}
	if guard("hq", "0.0.0.0") == nil {
		t.Error("a guard for the unspecified address")
	}
}

func TestForeignPoliciesAndInterfacesAreLeftAlone(t *testing.T) {
	l := newLab(t)
	l.a.sh("ip link add hq type gre local 198.18.1.2 remote 198.18.2.2",
		"ip xfrm policy add dir out src 0.0.0.0/0 dst 203.0.113.1/32 proto 47 action allow priority 9",
		"ip xfrm policy add dir out src 198.18.1.2/32 dst 198.18.2.2/32 proto 47 priority 9 tmpl proto esp mode transport reqid 5")
	var err error
	l.a.do(func() { _, err = l.a.dp.SetLink(setup{}.linkAt(true)) })
	if err == nil || !strings.Contains(err.Error(), "not greseal's") {
		t.Errorf("a foreign interface: %v", err)
	}
	l.a.do(func() { err = l.a.dp.DeleteLink("hq") })
	if err == nil {
		t.Error("a foreign interface was deleted")
	}
	l.a.do(func() { err = l.a.dp.Guard("x", []netip.Addr{netip.MustParseAddr("203.0.113.1")}) })
	if err == nil || !strings.Contains(err.Error(), "another program's policy") {
		t.Errorf("a foreign policy in the guard's place: %v", err)
	}
	sa := setup{transport: true, link: "t2"}.sa(0x900, true, true)
	l.a.do(func() { err = l.a.dp.InstallOut(sa) })
	if err == nil || !strings.Contains(err.Error(), "another IKE daemon") {
		t.Errorf("a foreign policy in the tunnel's place: %v", err)
	}
	if out := l.a.sh("ip xfrm state"); out != "" {
		t.Errorf("the SA of a failed installation stayed: %s", out)
	}
	l.a.do(func() { err = l.a.dp.Sweep(nil) })
	must(t, err)
	if out := l.a.sh("ip xfrm policy"); !strings.Contains(out, "reqid 5") || !strings.Contains(out, "203.0.113.1") {
		t.Errorf("Sweep took foreign policies: %s", out)
	}
	l.a.sh("ip link show hq")
}

// TestSweepAfterACrash leaves a tunnel behind as a killed daemon does.
func TestSweepAfterACrash(t *testing.T) {
	l := newLab(t)
	keep, drop := setup{link: "keep", key: 1, inner: 1}, setup{link: "drop", key: 2, inner: 2}
	l.links(keep)
	l.links(drop)
	l.sas(keep, 0x3000)
	l.sas(drop, 0x4000)
	if l.ping(keep, 3) != 3 || l.ping(drop, 3) != 3 {
		t.Error("the tunnels do not work before the crash")
	}
	l.a.do(func() { must(t, l.a.dp.SetRunning("keep", true)) })
	index := l.a.info("keep").Index
	must(t, l.a.dp.Close())
	if l.ping(keep, 3) != 3 {
		t.Error("native ESP should go on without the daemon")
	}

	l.a.open()
	var err error
	l.a.do(func() { err = l.a.dp.Sweep([]string{"keep"}) })
	must(t, err)
	if out := l.a.sh("ip xfrm state"); out != "" {
		t.Errorf("SAs are left: %s", out)
	}
	out := l.a.sh("ip xfrm policy")
	if strings.Contains(out, "tmpl") || strings.Count(out, "action block") != guardBlocks || !strings.Contains(out, "198.18.2.2/32") {
		t.Errorf("policies after the sweep: %s", out)
	}
	if _, err := l.a.try("ip link show drop"); err == nil {
		t.Error("the dropped link's interface is left")
	}
	if l.ping(keep, 3) != 0 {
		t.Error("pings answered without SAs")
	}
	// Adopted: the same interface, and the tunnel works again.
	l.a.setLink(keep.linkAt(true))
	if now := l.a.info("keep").Index; now != index {
		t.Errorf("interface index %d became %d", index, now)
	}
	if l.a.info("keep").Running() {
		t.Error("an adopted interface runs without SAs")
	}
	l.b.remove(platform.SAKey{Link: "keep", Out: true, SPI: 0x3001})
	l.sas(keep, 0x5000)
	if got := l.ping(keep, 5); got != 5 {
		t.Errorf("%d of 5 pings after adoption", got)
	}
	l.wire.noGRE(t, "crash and adoption")

	must(t, l.a.dp.Close())
	l.a.do(func() { err = RemoveLeftovers(nil, true) })
	must(t, err)
	if out := l.a.sh("ip xfrm policy") + l.a.sh("ip xfrm state"); out != "" {
		t.Errorf("RemoveLeftovers left %s", out)
	}
	if _, err := l.a.try("ip link show keep"); err == nil {
		t.Error("RemoveLeftovers left the interface")
	}
	l.a.open()
}

func TestTwoTunnelsToOnePeerShareTheGuard(t *testing.T) {
	l := newLab(t)
	one, two := setup{link: "one", key: 1, inner: 1}, setup{link: "two", key: 2, inner: 2}
	l.links(one)
	l.links(two)
	l.sas(one, 0x3000)
	if l.ping(one, 3) != 3 {
		t.Error("the first tunnel does not work")
	}
	l.sas(two, 0x4000)
	if l.ping(one, 3) != 3 || l.ping(two, 3) != 3 {
		t.Error("not both tunnels work")
	}
	var err error
	for _, n := range []*node{l.a, l.b} {
		n.do(func() { err = errors.Join(n.dp.DeleteLink("two"), n.dp.Unguard("two")) })
		must(t, err)
	}
	if l.ping(one, 5) != 5 {
		t.Error("removing one tunnel broke the other")
	}
	l.a.do(func() { _, err = l.a.dp.SetLink(setup{link: "three", key: 1}.linkAt(true)) })
	if !errors.Is(err, unix.EEXIST) || !strings.Contains(err.Error(), "gre.key") {
		t.Errorf("a second device with the same key: %v", err)
	}
	four := setup{link: "four", key: 4, inner: 4, transport: true}
	l.links(four)
	l.sas(four, 0x6000)
	if l.ping(one, 3) != 3 || l.ping(four, 3) != 3 {
		t.Error("not both tunnels work, one in each mode")
	}
	l.wire.noGRE(t, "two tunnels")
}

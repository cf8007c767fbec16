package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"greseal/platform"
	"greseal/platform/inet"
	"greseal/platform/xfrm"
)

// TestAKeyLeavesByItsOwnTunnelAndComesInByNoOther has two tunnels of A between
// the same GRE endpoints, of different peers: B has the SAs of the first only,
// and sends with the key of the second inside them.
func TestAKeyLeavesByItsOwnTunnelAndComesInByNoOther(t *testing.T) {
	for _, c := range []struct {
		name     string
		s        setup
		one, two uint32 // keys, 0: none
	}{
		{"two keys", setup{}, 1, 2},
		{"zero halves", setup{transport: true}, 0x10000, 0x20000},
		{"a half alike", setup{encap: true}, 0x10002, 2},
		{"a key beside none", setup{}, 7, 0},
		{"none beside a key", setup{}, 0, 7},
		{"IPv6", setup{v6: true}, 1, 2},
		{"IPv6, transport mode", setup{v6: true, transport: true}, 0x50000, 5},
		{"Ethernet", setup{ethernet: true}, 1, 2},
		{"Ethernet over IPv6", setup{v6: true, ethernet: true}, 1, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t)
			one, two := c.s, c.s
			one.link, one.key, one.inner = "one", c.one, 1
			two.link, two.key, two.inner = "two", c.two, 2
			l.links(one)
			l.sas(one, 0x3000)
			if got := l.ping(one, 3); got != 3 {
				t.Fatalf("%d of 3 pings before there is a second tunnel", got)
			}
			// The second peer is somewhere else: its SAs stand at A alone.
			l.a.setLink(two.linkAt(true))
			l.a.sh("ip addr add 10.2.0.1/24 dev two")
			l.a.install(two.sa(0x4001, false, true))
			l.a.install(two.sa(0x4000, true, true))
			if got := l.ping(one, 3); got != 3 {
				t.Errorf("%d of 3 pings through the first tunnel beside the second", got)
			}
			sent := func(link string, spi uint32) uint64 {
				var n platform.Counters
				var err error
				l.a.do(func() { n, err = l.a.dp.SACounters(platform.SAKey{Link: link, Out: true, SPI: spi}) })
				must(t, err)
				return n.Packets
			}
			ones, twos := sent("one", 0x3000), sent("two", 0x4000)
			if c.s.ethernet {
				l.a.sh("ip neigh add 10.2.0.2 lladdr 02:00:00:00:00:02 dev two")
			}
			l.ping(two, 4)
			if n := sent("two", 0x4000) - twos; n < 4 {
				t.Errorf("of 4 packets into the second tunnel %d left by its SA", n)
			}
			if !c.s.ethernet {
				if n := sent("one", 0x3000) - ones; n != 0 {
					t.Errorf("%d packets of the second tunnel left by the SA of the first", n)
				}
			}
			l.rogue(t, one, two.linkAt(false))
			before := l.a.count("XfrmInTmplMismatch")
			took := l.a.info("two").Stats.RxPackets
			_, _ = l.b.try("ping -q -c 4 -i 0.05 -W 1 10.2.0.1")
			if n := l.a.info("two").Stats.RxPackets - took; n != 0 {
				t.Errorf("%d packets that came by the SA of the first tunnel came out of the second", n)
			}
			if n := l.a.count("XfrmInTmplMismatch") - before; n < 4 {
				t.Errorf("of 4 packets with another tunnel's key %d counted as such: %s", n, l.a.sh("cat /proc/thread-self/net/xfrm_stat"))
			}
			l.wire.noGRE(t, "two peers")
		})
	}
}

// rogue has B send the packets of an interface of its own making by the SAs of
// another tunnel.
func (l *lab) rogue(t *testing.T, carrier setup, link platform.Link) {
	t.Helper()
	var reqid uint32
	for _, p := range l.b.dp.flows {
		if p.link == carrier.link {
			reqid = p.reqid
		}
	}
	mode := map[bool]string{true: "transport", false: fmt.Sprintf("tunnel src %s dst %s", link.Local, link.Remote)}[carrier.transport]
	if !carrier.transport {
		mode = "tunnel"
	}
	tmpl := fmt.Sprintf("tmpl src %s dst %s proto esp reqid %d mode %s", link.Local, link.Remote, reqid, mode)
	kind := kindOf(link, link.Remote)
	key := ""
	if link.HasKey {
		key = fmt.Sprintf("key %d", link.Key)
	}
	if link.Remote.Is6() {
		key += " encaplimit none" // XFRM sees no GRE key behind destination options
	}
	l.b.sh("ip xfrm policy flush",
		fmt.Sprintf("ip xfrm policy add dir out src %s dst %s proto 47 priority 1 %s", link.Local, link.Remote, tmpl),
		fmt.Sprintf("ip link add rogue type %s local %s remote %s %s", kind, link.Local, link.Remote, key),
		"ip link set rogue up mtu 1300",
		"ip addr add 10.2.0.2/24 dev rogue")
	if link.Ethernet {
		l.b.sh("ip neigh add 10.2.0.1 lladdr 02:00:00:00:00:01 dev rogue")
	}
}

// count reads one of XFRM's counters.
func (n *node) count(name string) int {
	n.t.Helper()
	f := strings.Fields(n.sh("grep " + name + " /proc/thread-self/net/xfrm_stat"))
	v, err := strconv.Atoi(f[len(f)-1])
	must(n.t, err)
	return v
}

// TestTwoLinksAlikeAreRefused: neither the interface nor an SA of a second link
// with the endpoints and the key of another.
func TestTwoLinksAlikeAreRefused(t *testing.T) {
	l := newLab(t)
	one := setup{link: "one", inner: 1}
	l.links(one)
	l.sas(one, 0x3000)
	// No key and key 0 are the same for XFRM.
	two := setup{link: "two"}.linkAt(true)
	two.HasKey = true
	l.a.setLink(two)
	var err error
	l.a.do(func() { err = l.a.dp.InstallOut(setup{link: "two"}.sa(0x4000, true, true)) })
	if !errors.Is(err, unix.EEXIST) || !strings.Contains(err.Error(), "gre.key") {
		t.Errorf("the SA of a second link: %v", err)
	}
	if out := l.a.sh("ip xfrm state"); strings.Contains(out, "0x00004000") {
		t.Errorf("it stands all the same: %s", out)
	}
	if got := l.ping(one, 3); got != 3 {
		t.Errorf("%d of 3 pings through the first", got)
	}
	// A move to where another link is.
	two.Key = 9
	l.a.setLink(two)
	l.a.install(setup{link: "two"}.sa(0x4000, true, true))
	two.Key = 0
	l.a.do(func() { _, err = l.a.dp.SetLink(two) })
	if err == nil {
		t.Error("a link was given the key of another")
	}
	if got := l.ping(one, 3); got != 3 {
		t.Errorf("%d of 3 pings through the first after that", got)
	}
	l.sas(one, 0x3010)
	if got := l.ping(one, 3); got != 3 {
		t.Errorf("%d of 3 pings through the first when it is rekeyed", got)
	}
	l.wire.noGRE(t, "two links alike")
}

// TestEncapsulationLimitBeforeAKey: Linux on the other side puts destination
// options between the IPv6 header and GRE, where XFRM misreads the key.
func TestEncapsulationLimitBeforeAKey(t *testing.T) {
	for _, s := range []setup{{v6: true, key: 7, inner: 1}, {v6: true, inner: 1, transport: true}} {
		l := newLab(t)
		l.links(s)
		l.sas(s, 0x3000)
		key := ""
		if s.key != 0 {
			key = fmt.Sprintf(" key %d", s.key)
		}
		local, remote := s.outer()
		l.b.sh(fmt.Sprintf("ip link set hq type ip6gre local %s remote %s%s encaplimit 4", remote, local, key))
		if got := l.ping(s, 5); got != 5 {
			t.Errorf("key %d: %d of 5 pings", s.key, got)
		}
		l.wire.noGRE(t, "an encapsulation limit")
	}
}

func TestPolicyIsReadBackWithItsKey(t *testing.T) {
	l := newLab(t)
	a, b := setup{}.outer()
	for _, key := range []uint32{0, 5, 0x50000, 0xffffffff} {
		p := xfrm.Policy{Dir: xfrm.DirOut, Src: inet.Host(a), Dst: inet.Host(b), Proto: xfrm.ProtoGRE, Keyed: true, Key: key, Priority: 9, Action: xfrm.ActionBlock}
		every := p
		every.Keyed, every.Key, every.TmplSrc = false, 0, netip.Addr{}
		l.a.do(func() {
			must(t, xfrm.WritePolicy(l.a.dp.xfrm, nl.XFRM_MSG_NEWPOLICY, p))
			must(t, xfrm.WritePolicy(l.a.dp.xfrm, nl.XFRM_MSG_NEWPOLICY, every))
			for _, want := range []xfrm.Policy{p, every} {
				if got, err := xfrm.ReadPolicy(l.a.dp.xfrm, want); err != nil || got != want {
					t.Errorf("%v was read back as %+v, %v", want, got, err)
				}
				must(t, xfrm.DeletePolicy(l.a.dp.xfrm, want))
			}
		})
	}
}

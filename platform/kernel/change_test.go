package kernel

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"greseal/platform"
	"greseal/platform/rtnl"
	"greseal/platform/xfrm"
)

func TestChangesKeepTheInterfaceIndex(t *testing.T) {
	l := newLab(t)
	for i, s := range []setup{{name: "gre"}, {name: "gretap", ethernet: true}, {name: "ip6gre", v6: true}, {name: "ip6gretap", v6: true, ethernet: true}} {
		link := s.linkAt(true)
		link.Name = "x" + s.name
		index := l.a.setLink(link)
		address, route := fmt.Sprintf("10.8.%d.1/24", i), fmt.Sprintf("10.9.%d.0/24 dev %s", i, link.Name)
		l.a.sh("ip addr add "+address+" dev "+link.Name, "ip route add "+route)
		// Of its own: the kernel takes an ip6gre of the same endpoints for an
		// ip6gretap's.
		other := fmt.Sprintf("198.18.2.%d", 10+i)
		if s.v6 {
			other = fmt.Sprintf("2001:db8:2::%d", 10+i)
		}
		for _, change := range []func(){
			func() { link.Remote = netip.MustParseAddr(other) },
			func() { link.Key, link.HasKey = 0, true },
			func() { link.Sequence, link.Checksum = true, true },
			func() { link.TTL, link.TOS, link.FWMark = 0, 0x20, 0x55 },
			func() { link.MTU = 1300 },
			func() { link.TOSInherit = true },
			func() { link.IgnoreDF, link.TTL = true, 64 },
			func() { link.IgnoreDF, link.MTU = false, 1400 },
			func() { link.IgnoreDF, link.MTU = true, 1300 },
			func() { link.Local = netip.Addr{} },
		} {
			change()
			if now := l.a.setLink(link); now != index {
				t.Errorf("%s: index %d became %d", s.name, index, now)
			}
			if has := strings.Contains(l.a.sh("ip -d link show "+link.Name), "ignore-df"); !s.v6 && has != link.IgnoreDF {
				t.Errorf("%s: ignore-df is %t, wanted %t", s.name, has, link.IgnoreDF)
			}
		}
		out := l.a.sh("ip -d link show " + link.Name)
		for _, want := range []string{other, "mtu 1300", "key 0.0.0.0", "seq", "csum", "fwmark 0x55", "alias " + rtnl.Alias(link.Name)} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in %s", s.name, want, out)
			}
		}
		if s.v6 && !strings.Contains(out, "encaplimit none") && !strings.Contains(out, "encaplimit 0") {
			t.Errorf("%s: an encapsulation limit: %s", s.name, out)
		}
		if out := l.a.sh("ip addr show dev "+link.Name) + l.a.sh("ip route"); !strings.Contains(out, address) || !strings.Contains(out, route) {
			t.Errorf("%s: address or route lost: %s", s.name, out)
		}
	}
	l.wire.noGRE(t, "changes of links")
}

func TestAnotherIPVersionMakesANewInterface(t *testing.T) {
	l := newLab(t)
	four, six := setup{}, setup{v6: true}
	first := l.a.setLink(four.linkAt(true))
	second := l.a.setLink(six.linkAt(true))
	if first == second {
		t.Error("the index is the same")
	}
	if out := l.a.sh("ip -d link show hq"); !strings.Contains(out, "ip6gre") {
		t.Errorf("not an ip6gre interface: %s", out)
	}
	l.a.quiet("our own deletion is no lost link")
	l.a.sh("ip link del hq")
	if e, ok := l.a.event(platform.LinkLost); !ok || e.Link != "hq" {
		t.Errorf("no event of the lost link: %+v", e)
	}
	if third := l.a.setLink(six.linkAt(true)); third == second {
		t.Error("the lost link was not made again")
	}
}

func TestUnknownPeerHasAPlaceholderAndStaysDown(t *testing.T) {
	l := newLab(t)
	s := setup{inner: 1}
	hub := s.linkAt(true)
	hub.Remote = netip.Addr{}
	index := l.a.setLink(hub)
	second := hub
	second.Name = "hq2"
	l.a.setLink(second)
	if out := l.a.sh("ip link show hq"); strings.Contains(out, ",UP") {
		t.Errorf("up without a peer: %s", out)
	}
	if out := l.a.sh("ip xfrm policy"); strings.Count(out, "action block") != 2*guardBlocks {
		t.Errorf("the placeholders are not guarded: %s", out)
	}
	l.b.setLink(s.linkAt(false))
	if now := l.a.setLink(s.linkAt(true)); now != index {
		t.Errorf("index %d became %d when the peer was known", index, now)
	}
	l.a.sh("ip addr add 10.1.0.1/24 dev hq")
	l.b.sh("ip addr add 10.1.0.2/24 dev hq")
	l.sas(s, 0x1000)
	if got := l.ping(s, 5); got != 5 {
		t.Errorf("%d of 5 pings", got)
	}
	if now := l.a.setLink(hub); now != index {
		t.Errorf("index %d became %d when the peer left", index, now)
	}
	l.wire.noGRE(t, "unknown peer")
}

func TestRunningIsShownAndDormantStillCarries(t *testing.T) {
	l := newLab(t)
	s := setup{inner: 1}
	l.links(s)
	running := func(n *node, on bool) {
		t.Helper()
		var err error
		n.do(func() { err = n.dp.SetRunning("hq", on) })
		must(t, err)
		info := n.info("hq")
		if info.Running() != on || on != (info.OperState == rtnl.OperUp) {
			t.Errorf("running %t: operstate %d, flags %x", on, info.OperState, info.Flags)
		}
	}
	if l.a.info("hq").Running() {
		t.Error("a new interface is running before its peer was heard")
	}
	l.sas(s, 0x1000)
	if got := l.ping(s, 3); got != 3 {
		t.Errorf("%d of 3 pings while dormant", got)
	}
	running(l.a, true)
	running(l.a, false)
	running(l.a, true)
	l.a.sh("ip link set hq down", "ip link set hq up")
	if !l.a.info("hq").Running() {
		t.Log("down and up made it dormant again")
	}
	running(l.a, true)
}

func (n *node) info(link string) (l *rtnl.Link) {
	n.t.Helper()
	var err error
	n.do(func() { l, err = rtnl.LinkByName(n.dp.route, link) })
	must(n.t, err)
	return l
}

func TestWindowsAndESNAreReadBack(t *testing.T) {
	l := newLab(t)
	for i, c := range []struct {
		esn          bool
		window, want int
	}{{false, 1024, 1024}, {true, 1024, 1024}, {true, 4096, 4096}, {false, 0, 2048}, {true, 9999, 4096}, {false, 1, 32}} {
		s := setup{esn: c.esn}
		spi := uint32(0x1000 + 16*i)
		in, out := s.sa(spi, false, true), s.sa(spi+1, true, true)
		in.ReplayWindow = c.window
		l.a.install(in)
		l.a.install(out)
		for _, key := range []platform.SAKey{{Link: "hq", SPI: spi}, {Link: "hq", Out: true, SPI: spi + 1}} {
			sa := l.a.dp.find(key)
			var info xfrm.Info
			var err error
			l.a.do(func() { info, err = xfrm.ReadState(l.a.dp.xfrm, sa.ID) })
			must(t, err)
			want, dir := c.want, xfrm.SADirIn
			if key.Out {
				want, dir = 0, xfrm.SADirOut
				if c.esn && !kernelOnce().SADirection {
					want = 32
				}
			}
			if !kernelOnce().SADirection {
				dir = 0
			}
			if info.ESN != c.esn || info.Window != want || info.Dir != dir {
				t.Errorf("%+v, out %t: read back ESN %t, window %d, direction %d", c, key.Out, info.ESN, info.Window, info.Dir)
			}
		}
	}
	sa := setup{}.sa(0x1000, false, true)
	var err error
	l.a.do(func() { err = l.a.dp.InstallIn(sa) })
	if err == nil || !strings.Contains(err.Error(), "exists") {
		t.Errorf("the same SPI again: %v", err)
	}
	for _, k := range append(sa.Params.Key, sa.Params.AuthKey...) {
		if k != 0 {
			t.Fatal("the key was not wiped")
		}
	}
}

func TestLimitsRaiseEvents(t *testing.T) {
	l := newLab(t)
	s := setup{inner: 1}
	l.links(s)
	l.sas(s, 0x1000)
	out := s.sa(0x2000, true, true)
	out.SoftPackets, out.HardPackets = 3, 6
	l.b.install(s.sa(0x2000, true, false))
	l.a.install(out)
	// Beside one that is past its soft limit the kernel prefers any other SA,
	// also an older one.
	l.a.remove(platform.SAKey{Link: "hq", Out: true, SPI: 0x1000})
	if got := l.ping(s, 8); got > 6 {
		t.Errorf("%d of 8 pings answered, six packets were allowed", got)
	}
	key := platform.SAKey{Link: "hq", Out: true, SPI: 0x2000}
	if e, ok := l.a.event(platform.SoftExpire); !ok || e.SPI != key.SPI || !e.Out || e.Link != "hq" {
		t.Errorf("soft: %+v", e)
	}
	if e, ok := l.a.event(platform.HardExpire); !ok || e.SPI != key.SPI || !e.Out {
		t.Errorf("hard: %+v", e)
	}
	if c := l.a.remove(key); c.Packets != 6 || c.Bytes < 6*128 {
		t.Errorf("counters of an SA the kernel removed: %+v", c)
	}
	bytes := s.sa(0x3000, true, true)
	bytes.SoftBytes = 300
	l.b.install(s.sa(0x3000, true, false))
	l.a.install(bytes)
	l.ping(s, 4)
	if e, ok := l.a.event(platform.SoftExpire); !ok || e.SPI != 0x3000 {
		t.Errorf("octets: %+v", e)
	}
	l.a.sh("ip xfrm state delete src 198.18.2.2 dst 198.18.1.2 proto esp spi 0x1001")
	if e, ok := l.a.event(platform.HardExpire); !ok || e.SPI != 0x1001 || e.Out {
		t.Errorf("deleted by hand: %+v", e)
	}
	l.wire.noGRE(t, "limits")
}

func TestSequenceLowIsToldFromSoftExpire(t *testing.T) {
	s := &installed{key: platform.SAKey{Out: true}}
	s.Out = true
	s.softPackets = 10
	if k := softKind(s, xfrm.Info{Packets: 10}); k != platform.SoftExpire {
		t.Error(k)
	}
	s.softPackets = 0
	if k := softKind(s, xfrm.Info{Packets: sequenceLow}); k != platform.SequenceLow {
		t.Error(k)
	}
	s.ESN = true
	s.SoftBytes = 5
	if k := softKind(s, xfrm.Info{Packets: sequenceLow, Bytes: 5}); k != platform.SoftExpire {
		t.Error(k)
	}
}

func TestFirstUseIsReportedOnce(t *testing.T) {
	l := newLab(t)
	s := setup{inner: 1}
	l.links(s)
	in := s.sa(0x1000, true, false)
	in.WatchFirstUse = true
	l.b.install(in)
	l.a.install(s.sa(0x1001, false, true))
	l.b.install(s.sa(0x1001, false, false))
	l.b.quiet("nothing was received yet")
	l.a.install(s.sa(0x1000, true, true))
	sent := time.Now()
	l.ping(s, 1)
	if e, ok := l.b.event(platform.FirstUse); !ok || e.SPI != 0x1000 || e.Out || e.Link != "hq" {
		t.Errorf("%+v", e)
	}
	t.Logf("reported after %v", time.Since(sent))
	l.ping(s, 2)
	l.b.quiet("it was used again")
}

func TestRekeyUnderTrafficLosesNothing(t *testing.T) {
	l := newLab(t)
	for i, s := range []setup{{link: "t1", inner: 1}, {link: "t2", inner: 2, v6: true, transport: true, esn: true}} {
		l.links(s)
		spi := uint32(0x10000 * (i + 1))
		l.sas(s, spi)
		answered := l.pings(s, 400, 10*time.Millisecond)
		for range 8 {
			next := spi + 16
			l.sas(s, next)
			l.a.remove(platform.SAKey{Link: s.link, Out: true, SPI: spi})
			l.b.remove(platform.SAKey{Link: s.link, Out: true, SPI: spi + 1})
			time.Sleep(500 * time.Millisecond) // what is under way arrives
			l.b.remove(platform.SAKey{Link: s.link, SPI: spi})
			l.a.remove(platform.SAKey{Link: s.link, SPI: spi + 1})
			spi = next
		}
		if got := answered(); got != 400 {
			t.Errorf("%s: %d of 400 pings\nA: %s\nB: %s", s.link, got,
				l.a.sh("grep -v 0$ /proc/thread-self/net/xfrm_stat"), l.b.sh("grep -v 0$ /proc/thread-self/net/xfrm_stat"))
		}
	}
	l.wire.noGRE(t, "rekeying")
}

// TestReplacedSALetsItsPacketsDepart replaces an outbound SA again and again
// while a few senders hardly leave the kernel.
func TestReplacedSALetsItsPacketsDepart(t *testing.T) {
	l := newLab(t)
	s := setup{inner: 1}
	l.links(s)
	spi := uint32(0x1000)
	l.sas(s, spi)
	stop := l.a.flood(s, 3)
	for range 40 {
		next := spi + 16
		l.b.install(s.sa(next, true, false))
		l.a.install(s.sa(next, true, true))
		l.a.remove(platform.SAKey{Link: "hq", Out: true, SPI: spi})
		l.b.remove(platform.SAKey{Link: "hq", SPI: spi})
		spi = next
	}
	sent := stop()
	stat := l.a.sh("grep Out /proc/thread-self/net/xfrm_stat")
	if f := strings.Fields(stat); sent == 0 || f[slices.Index(f, "XfrmOutStateInvalid")+1] != "0" {
		t.Errorf("of %d packets some met an SA that was gone:\n%s", sent, stat)
	}
	t.Logf("%d packets", sent)
	l.wire.noGRE(t, "replacing")
}

// flood has n senders fill the tunnel with echo replies, which nobody answers.
func (n *node) flood(s setup, senders int) (stop func() (sent uint64)) {
	n.t.Helper()
	var fd int
	var err error
	n.do(func() { fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP) })
	must(n.t, err)
	to := &unix.SockaddrInet4{Addr: [4]byte{10, byte(s.inner), 0, 2}}
	packet := echoRequest(0, 0)
	packet[0] = 0 // the checksum is nobody's
	var ended atomic.Bool
	var count atomic.Uint64
	var wg sync.WaitGroup
	for range senders {
		wg.Go(func() {
			for !ended.Load() {
				if unix.Sendto(fd, packet, 0, to) == nil {
					count.Add(1)
				}
			}
		})
	}
	return func() uint64 {
		ended.Store(true)
		wg.Wait()
		_ = unix.Close(fd)
		return count.Load()
	}
}

func TestPortChangeIsReportedAndFollowedInPlace(t *testing.T) {
	l := newLab(t)
	s := setup{inner: 1, encap: true, esn: true}
	l.links(s)
	l.sas(s, 0x1000)
	if l.ping(s, 3) != 3 {
		t.Fatal("the tunnel does not work")
	}
	out := platform.SAKey{Link: "hq", Out: true, SPI: 0x1001}
	before := l.b.seq(out)
	local := netip.MustParseAddrPort("198.18.2.2:4501") // as if a NAT had a new mapping
	remote := netip.MustParseAddrPort("198.18.1.2:4500")
	l.b.move(out, local, remote)
	l.ping(s, 3)
	e, ok := l.a.event(platform.Mapping)
	if !ok || e.SPI != 0x1001 || e.Out || e.Remote != local {
		t.Errorf("%+v", e)
	}
	if after := l.b.seq(out); after <= before {
		t.Errorf("sequence number %d after %d: it should go on", after, before)
	}
	l.a.move(platform.SAKey{Link: "hq", Out: true, SPI: 0x1000}, remote, local)
	l.a.move(platform.SAKey{Link: "hq", SPI: 0x1001}, remote, local)
	if got := l.a.sport(platform.SAKey{Link: "hq", Out: true, SPI: 0x1000}); got != "4500→4501" {
		t.Errorf("ports of the outbound SA: %s", got)
	}
	l.a.quiet("the mapping was followed")
	l.ping(s, 2)
	l.a.quiet("the mapping was followed, and packets came")
}

func TestAddressMoveKeepsSequenceReplayAndCounters(t *testing.T) {
	l := newLab(t)
	for i, encap := range []bool{false, true} {
		// GRE endpoints of their own, as with gre_local and gre_remote.
		s := setup{inner: 1 + i, link: fmt.Sprintf("t%d", i), encap: encap, esn: encap}
		greA, greB := netip.AddrFrom4([4]byte{172, 16, byte(i), 1}), netip.AddrFrom4([4]byte{172, 16, byte(i), 2})
		l.a.sh(fmt.Sprintf("ip addr add %s/32 dev lo", greA))
		l.b.sh(fmt.Sprintf("ip addr add %s/32 dev lo", greB))
		spi := uint32(0x1000 * (i + 1))
		for _, n := range []*node{l.a, l.b} {
			atA := n == l.a
			link := s.linkAt(atA)
			link.Local, link.Remote = greA, greB
			if !atA {
				link.Local, link.Remote = greB, greA
			}
			n.setLink(link)
			n.sh(fmt.Sprintf("ip addr add 10.%d.0.%d/24 dev %s", s.inner, map[bool]int{true: 1, false: 2}[atA], s.link))
			for _, sa := range []platform.SA{s.sa(spi+1, false, atA), s.sa(spi, true, atA)} {
				sa.GRELocal, sa.GRERemote = link.Local, link.Remote
				n.install(sa)
			}
		}
		if got := l.ping(s, 5); got != 5 {
			t.Fatalf("%d of 5 pings before the move", got)
		}
		// B moves.
		if i == 0 {
			l.b.sh("ip addr add 198.18.2.3/24 dev wan")
		}
		b, a := netip.MustParseAddrPort("198.18.2.3:4500"), netip.MustParseAddrPort("198.18.1.2:4500")
		seq := l.b.seq(platform.SAKey{Link: s.link, Out: true, SPI: spi + 1})
		for _, key := range []platform.SAKey{{Link: s.link, SPI: spi}, {Link: s.link, Out: true, SPI: spi + 1}} {
			l.b.move(key, b, a)
		}
		for _, key := range []platform.SAKey{{Link: s.link, SPI: spi + 1}, {Link: s.link, Out: true, SPI: spi}} {
			l.a.move(key, a, b)
		}
		if got := l.ping(s, 5); got != 5 {
			t.Errorf("%d of 5 pings after the move: %s%s", got, l.a.sh("ip xfrm policy"), l.a.sh("cat /proc/thread-self/net/xfrm_stat"))
		}
		if now := l.b.seq(platform.SAKey{Link: s.link, Out: true, SPI: spi + 1}); now < seq+moveSkip {
			t.Errorf("sequence number %d after %d: it must skip", now, seq)
		}
		c := l.a.remove(platform.SAKey{Link: s.link, SPI: spi + 1})
		if c.Packets != 10 || c.Replay != 0 || c.Bytes != 10*(4+20+8+100) {
			t.Errorf("counters over the move: %+v", c)
		}
		l.wire.noGRE(t, "move")
	}
	s := setup{transport: true, link: "t9", inner: 9}
	l.a.install(s.sa(0x9000, true, true))
	var err error
	l.a.do(func() {
		err = l.a.dp.MoveSA(platform.SAKey{Link: "t9", Out: true, SPI: 0x9000}, netip.MustParseAddrPort("198.18.1.2:0"), netip.MustParseAddrPort("198.18.2.3:0"))
	})
	if err == nil || !strings.Contains(err.Error(), "new Child SA") {
		t.Errorf("moving a transport mode SA: %v", err)
	}
}

// TestGREOfOneIPVersionInsideTheOther has IPv4 GRE endpoints and IPv6 outside.
func TestGREOfOneIPVersionInsideTheOther(t *testing.T) {
	l := newLab(t)
	for i, v6 := range []bool{true, false} {
		s := setup{v6: v6, inner: 1 + i, link: fmt.Sprintf("t%d", i), esn: true}
		gre := [2]netip.Addr{netip.MustParseAddr("172.16.9.1"), netip.MustParseAddr("172.16.9.2")}
		if !v6 {
			gre = [2]netip.Addr{netip.MustParseAddr("2001:db8:99::1"), netip.MustParseAddr("2001:db8:99::2")}
		}
		for j, n := range []*node{l.a, l.b} {
			n.sh(fmt.Sprintf("ip addr add %s dev lo", gre[j]))
			link := s.linkAt(j == 0)
			link.Local, link.Remote = gre[j], gre[1-j]
			n.setLink(link)
			n.sh(fmt.Sprintf("ip addr add 10.%d.0.%d/24 dev %s", s.inner, j+1, s.link))
			for _, sa := range []platform.SA{s.sa(0x101, false, j == 0), s.sa(0x100, true, j == 0)} {
				sa.GRELocal, sa.GRERemote = link.Local, link.Remote
				n.install(sa)
			}
		}
		if got := l.ping(s, 5); got != 5 {
			t.Errorf("IPv6 outside %t: %d of 5 pings", v6, got)
		}
		for _, n := range []*node{l.a, l.b} {
			n.do(func() { must(t, n.dp.DeleteLink(s.link)) })
		}
	}
	l.wire.noGRE(t, "mixed IP versions")
}

func (n *node) move(key platform.SAKey, local, remote netip.AddrPort) {
	n.t.Helper()
	var err error
	n.do(func() { err = n.dp.MoveSA(key, local, remote) })
	must(n.t, err)
}

func (n *node) state(key platform.SAKey) (info xfrm.Info) {
	n.t.Helper()
	var err error
	n.do(func() { info, err = xfrm.ReadState(n.dp.xfrm, n.dp.find(key).ID) })
	must(n.t, err)
	return info
}

func (n *node) seq(key platform.SAKey) uint64 {
	n.t.Helper()
	return n.state(key).Oseq
}

func (n *node) sport(key platform.SAKey) string {
	n.t.Helper()
	i := n.state(key)
	return fmt.Sprintf("%d→%d", i.Sport, i.Dport)
}

func TestIKEPassesBesideTheGuard(t *testing.T) {
	l := newLab(t)
	s := setup{encap: true}
	l.links(s)
	l.sas(s, 0x1000)
	for _, port := range []uint16{500, 4500} {
		a, b := netip.AddrPortFrom(netip.MustParseAddr("198.18.1.2"), port), netip.AddrPortFrom(netip.MustParseAddr("198.18.2.2"), port)
		must(t, l.a.dp.SendIKE(a, b, []byte("an IKE message"), false))
		select {
		case d := <-l.b.dp.IKE():
			if string(d.Data) != "an IKE message" || d.Remote != a || d.Local != b {
				t.Errorf("port %d: %+v", port, d)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("port %d: nothing came", port)
		}
	}
	must(t, l.a.dp.SendKeepalive(netip.MustParseAddrPort("198.18.1.2:4500"), netip.MustParseAddrPort("198.18.2.2:4500")))
	if open := l.a.dp.Listening(); len(open) != 4 {
		t.Errorf("listening on %v", open)
	}
}

func TestResultSurvivesAFile(t *testing.T) {
	r := needKernel(t)
	b, err := json.Marshal(r)
	must(t, err)
	var back Result
	must(t, json.Unmarshal(b, &back))
	if err := back.Supports(cbc256, sha256); err != nil {
		t.Error(err)
	}
	if back.SADirection != r.SADirection || back.Usable() != nil {
		t.Errorf("%s", b)
	}
}

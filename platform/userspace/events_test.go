package userspace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"greseal/build/packet"
	"greseal/platform"
	"greseal/platform/gre"
	ours "greseal/platform/netlink"
	"greseal/platform/rtnl"
)

func TestFirstUseIsToldOnceAndOnlyWhenWatched(t *testing.T) {
	a, b := twoHosts(t)
	f := form{encap: true, watch: true}
	f.tunnel(a, b)
	a.ping(inner4(2), 3, 56)
	want := platform.Event{Kind: platform.FirstUse, Link: ifName, SPI: spiAB}
	if e := b.event(platform.FirstUse); e != want {
		t.Errorf("%+v", e)
	}
	a.ping(inner4(2), 3, 56)
	select {
	case e := <-b.dp.Events():
		t.Errorf("another event: %+v", e)
	case <-time.After(50 * time.Millisecond):
	}
}

func TestLimitsByPackets(t *testing.T) {
	a, b := twoHosts(t)
	f := form{encap: true}
	f.tunnel(a, b)
	limited := f.sa(a, b, true, spiAB)
	limited.SoftPackets, limited.HardPackets = 5, 12
	a.must(func() error { _, err := a.dp.RemoveSA(platform.SAKey{Link: ifName, Out: true, SPI: spiAB}); return err })
	a.must(func() error { return a.dp.InstallOut(limited) })
	_, _ = a.command("ping", "-n", "-q", "-c", "30", "-i", "0.01", "-W", "0.2", inner4(2))
	soft := platform.Event{Kind: platform.SoftExpire, Link: ifName, Out: true, SPI: spiAB}
	if e := a.event(platform.SoftExpire); e != soft {
		t.Errorf("%+v", e)
	}
	hard := soft
	hard.Kind = platform.HardExpire
	if e := a.event(platform.HardExpire); e != hard {
		t.Errorf("%+v", e)
	}
	if c := a.counters(true, spiAB); c.Packets != 12 {
		t.Errorf("%d packets left with a hard limit of 12", c.Packets)
	}
	if d := a.drops(); d.NoSA < 15 {
		t.Errorf("%+v", d)
	}
}

func TestSequenceSpaceEndsInTime(t *testing.T) {
	a, b := twoHosts(t)
	f := form{encap: true}
	f.tunnel(a, b)
	a.ping(inner4(2), 3, 56)
	key := platform.SAKey{Link: ifName, Out: true, SPI: spiAB}
	skip := func(n int) {
		a.do(func() { a.dp.egress[0].do(func() { _, _ = a.dp.outs[key].sealer.Reserve(n) }) })
	}
	for range 3 {
		skip(1 << 30)
	}
	a.ping(inner4(2), 3, 56)
	if e := a.event(platform.SequenceLow); !e.Out || e.SPI != spiAB {
		t.Errorf("%+v", e)
	}
	skip(1<<30 - 100)
	_, _ = a.command("ping", "-n", "-q", "-c", "120", "-i", "0.005", "-W", "0.2", inner4(2))
	if e := a.event(platform.HardExpire); !e.Out || e.SPI != spiAB {
		t.Errorf("%+v", e)
	}
	if c := b.counters(false, spiAB); c.Packets < 90 || c.Packets > 106 || c.Replay != 0 {
		t.Errorf("the peer counts %+v", c)
	}
	before := a.counters(true, spiAB)
	a.noPing(inner4(2))
	if after := a.counters(true, spiAB); after != before {
		t.Error("packets were sent without a sequence number left")
	}
}

func TestMappingIsToldAfterAGenuinePacketAndFollowedOnlyWhenMoved(t *testing.T) {
	a, b := twoHosts(t)
	f := form{encap: true}
	f.tunnel(a, b)
	a.ping(inner4(2), 3, 56)
	s := f.stranger(a, spiAB)
	forger := form{encap: true, encr: gcm256}
	forged := forger.stranger(a, spiAB)
	user := packet.Spec{UDP: true, TTL: 9}.Build()
	h := gre.Header{Proto: gre.ProtoIPv4}
	packet := inIP4(a.v4, b.v4, 47, h.Append(nil, user))

	forged.send(t, b.v4, packet, 4)
	b.wantCounters(spiAB, func(c platform.Counters) bool { return c.Integrity == 1 })
	s.send(t, b.v4, packet, 4)
	s.send(t, b.v4, packet, 4)
	moved := netip.AddrPortFrom(a.v4, s.port())
	if e := b.event(platform.Mapping); e.Remote != moved || e.SPI != spiAB || e.Link != ifName {
		t.Errorf("%+v, want %v", e, moved)
	}
	wire := a.capture(t)
	a.ping(inner4(2), 3, 56) // the answers still go to the old port

	b.must(func() error {
		return b.dp.MoveSA(platform.SAKey{Link: ifName, Out: true, SPI: spiBA}, netip.AddrPortFrom(b.v4, 4500), moved)
	})
	b.must(func() error {
		return b.dp.MoveSA(platform.SAKey{Link: ifName, SPI: spiAB}, netip.AddrPortFrom(b.v4, 4500), moved)
	})
	_, _ = b.command("ping", "-n", "-q", "-c", "1", "-W", "0.2", inner4(1))
	_ = s.SetReadDeadline(time.Now().Add(3 * time.Second))
	got := make([]byte, 2000)
	n, from, err := s.ReadFromUDPAddrPort(got)
	if err != nil || from != netip.AddrPortFrom(b.v4, 4500) || n < 50 || binary.BigEndian.Uint32(got) != spiBA {
		t.Errorf("at the new port: %d octets from %v, %v", n, from, err)
	}
	wire.stop()
	// The two packets of the stranger are the only unexpected ones.
	select {
	case e := <-b.dp.Events():
		if e.Kind == platform.Mapping && e.Remote == moved {
			t.Errorf("told twice: %+v", e)
		}
	default:
	}
}

func TestIKEPassesBesideESP(t *testing.T) {
	a, b := twoHosts(t)
	f := form{encap: true}
	f.tunnel(a, b)
	for _, port := range []uint16{500, 4500} {
		from, to := netip.AddrPortFrom(a.v4, port), netip.AddrPortFrom(b.v4, port)
		for i := range 20 {
			a.must(func() error { return a.dp.SendIKE(from, to, fmt.Appendf(nil, "message %d", i), i%2 == 0) })
			if port == 4500 {
				a.must(func() error { return a.dp.SendKeepalive(from, to) })
			}
			select {
			case d := <-b.dp.IKE():
				if d.Local != to || d.Remote != from || string(d.Data) != fmt.Sprintf("message %d", i) {
					t.Errorf("%v from %v: %q", d.Local, d.Remote, d.Data)
				}
			case <-time.After(3 * time.Second):
				t.Fatalf("message %d to port %d did not arrive", i, port)
			}
		}
	}
	if n := len(b.dp.IKE()); n != 0 {
		t.Errorf("%d more datagrams", n)
	}
	a.ping(inner4(2), 3, 56)
}

func TestIKEInboxIsBounded(t *testing.T) {
	a, b := twoHosts(t)
	a.start(Options{})
	b.start(Options{Inbox: 5})
	for range 50 {
		a.must(func() error {
			return a.dp.SendIKE(netip.AddrPortFrom(a.v4, 4500), netip.AddrPortFrom(b.v4, 4500), []byte("x"), true)
		})
	}
	for i := 0; b.dp.IKEDropped() < 45 && i < 300; i++ {
		time.Sleep(10 * time.Millisecond)
	}
	if b.dp.IKEDropped() != 45 || len(b.dp.IKE()) != 5 {
		t.Errorf("%d dropped, %d wait", b.dp.IKEDropped(), len(b.dp.IKE()))
	}
}

func (h *host) linkInfo(name string) *rtnl.Link {
	h.t.Helper()
	var l *rtnl.Link
	h.must(func() error {
		n, err := ours.Open(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer n.Close()
		l, err = rtnl.LinkByName(n, name)
		if errors.Is(err, rtnl.ErrNoLink) {
			return nil
		}
		return err
	})
	return l
}

func TestInterfaceOutlivesTheDaemon(t *testing.T) {
	a, b := twoHosts(t)
	f := form{encap: true}
	f.tunnel(a, b)
	a.ping(inner4(2), 3, 56)
	was := a.linkInfo(ifName)
	a.stop()
	now := a.linkInfo(ifName)
	if now == nil || now.Index != was.Index || !now.Up() || now.Carrier() {
		t.Fatalf("after the daemon's end: %+v", now)
	}
	if out, err := a.command("ip", "-4", "route", "get", inner4(2)); err != nil || !strings.Contains(out, ifName) {
		t.Errorf("the route has gone: %v %s", err, out)
	}
	a.start(Options{})
	a.must(func() error { return a.dp.Sweep([]string{ifName}) })
	f.makeLink(a, b)
	if now = a.linkInfo(ifName); now.Index != was.Index || now.Carrier() {
		t.Errorf("adopted as %+v, was %+v", now, was)
	}
	in, out := f.sa(a, b, false, spiBA+1), f.sa(a, b, true, spiAB+1)
	a.must(func() error { return a.dp.InstallIn(in) })
	a.must(func() error { return a.dp.InstallOut(out) })
	in, out = f.sa(b, a, false, spiAB+1), f.sa(b, a, true, spiBA+1)
	b.must(func() error { return b.dp.InstallIn(in) })
	b.must(func() error { return b.dp.InstallOut(out) })
	a.run(true)
	a.ping(inner4(2), 3, 56)
}

func TestForeignInterfaceIsLeftAlone(t *testing.T) {
	a := newHost(t)
	a.start(Options{})
	a.must(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = ifName
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "other"})
	})
	was := a.linkInfo(ifName)
	var err error
	a.do(func() { _, err = a.dp.SetLink(platform.Link{Name: ifName, MTU: 1400}) })
	if err == nil || !strings.Contains(err.Error(), "not greseal's") {
		t.Errorf("%v", err)
	}
	a.must(func() error { return a.dp.DeleteLink(ifName) })
	a.must(func() error { return a.dp.Sweep(nil) })
	if now := a.linkInfo(ifName); now == nil || now.Index != was.Index {
		t.Errorf("the foreign interface is now %+v", now)
	}
}

func TestOwnInterfaceOfAnotherKindIsReplaced(t *testing.T) {
	a := newHost(t)
	a.must(func() error { // as the kernel datapath would leave a GRE device
		attrs := netlink.NewLinkAttrs()
		attrs.Name = ifName
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "other"}); err != nil {
			return err
		}
		l, err := netlink.LinkByName(ifName)
		if err != nil {
			return err
		}
		return netlink.LinkSetAlias(l, rtnl.Alias(ifName))
	})
	a.start(Options{})
	for _, ethernet := range []bool{false, true, false} {
		a.must(func() error {
			_, err := a.dp.SetLink(platform.Link{Name: ifName, MTU: 1400, Ethernet: ethernet})
			return err
		})
		now := a.linkInfo(ifName)
		if now.Kind != "tun" || now.MTU != 1400 || !now.Up() || now.Carrier() || now.Alias != "greseal:"+ifName {
			t.Errorf("Ethernet %v: %+v", ethernet, now)
		}
		if l, err := a.link(ifName); err != nil || (len(l.Attrs().HardwareAddr) == 6) != ethernet {
			t.Errorf("Ethernet %v: %v", ethernet, err)
		}
	}
	// In place where it can be.
	index := a.linkInfo(ifName).Index
	a.must(func() error {
		got, err := a.dp.SetLink(platform.Link{Name: ifName, MTU: 1300, HasKey: true, Key: 5})
		if got != index {
			t.Errorf("index %d became %d", index, got)
		}
		return err
	})
	if now := a.linkInfo(ifName); now.MTU != 1300 {
		t.Errorf("%+v", now)
	}
	a.must(func() error { return a.dp.DeleteLink(ifName) })
	if now := a.linkInfo(ifName); now != nil {
		t.Errorf("after DeleteLink: %+v", now)
	}
}

func (h *host) link(name string) (l netlink.Link, err error) {
	h.do(func() { l, err = netlink.LinkByName(name) })
	return l, err
}

func TestDeletedInterfaceIsToldAndMadeAgain(t *testing.T) {
	a, b := twoHosts(t)
	f := form{encap: true}
	f.tunnel(a, b)
	a.ping(inner4(2), 3, 56)
	a.must(func() error {
		l, err := netlink.LinkByName(ifName)
		if err != nil {
			return err
		}
		return netlink.LinkDel(l)
	})
	if e := a.event(platform.LinkLost); e.Link != ifName {
		t.Errorf("%+v", e)
	}
	f.makeLink(a, b)
	a.run(true)
	a.ping(inner4(2), 3, 56)
}

// TestALostInterfaceIsClosedOnce although making it again fails more than once: its
// descriptor may be somebody else's by then.
func TestALostInterfaceIsClosedOnce(t *testing.T) {
	a := newHost(t)
	a.start(Options{})
	l := platform.Link{Name: ifName, MTU: 1400}
	a.must(func() error { _, err := a.dp.SetLink(l); return err })
	old := a.dp.devices[ifName].FD
	a.must(func() error {
		link, err := netlink.LinkByName(ifName)
		if err != nil {
			return err
		}
		if err := netlink.LinkDel(link); err != nil {
			return err
		}
		// Somebody else has it open, with our mark.
		other, err := openTUN(ifName, false, true)
		if err != nil {
			return err
		}
		defer unix.Close(other)
		if link, err = netlink.LinkByName(ifName); err != nil {
			return err
		}
		if err := rtnl.MarkLink(a.dp.netlink, link.Attrs().Index, ifName); err != nil {
			return err
		}
		_, err = a.dp.SetLink(l)
		if err := unix.Dup3(other, old, unix.O_CLOEXEC); err != nil {
			return err
		}
		_, err2 := a.dp.SetLink(l)
		if !errors.Is(err, errBusy) || !errors.Is(err2, errBusy) {
			t.Errorf("%v, %v", err, err2)
		}
		return unix.Close(old) // fails when it was closed again
	})
	a.must(func() error { _, err := a.dp.SetLink(l); return err })
	a.must(func() error { return a.dp.DeleteLink(ifName) })
	if now := a.linkInfo(ifName); now != nil {
		t.Errorf("after DeleteLink: %+v", now)
	}
}

func TestSweepRemovesWhatNobodyKeeps(t *testing.T) {
	a := newHost(t)
	a.start(Options{})
	for _, name := range []string{"kept", "left"} {
		a.must(func() error {
			_, err := a.dp.SetLink(platform.Link{Name: name, MTU: 1400})
			return err
		})
	}
	a.stop()
	a.start(Options{})
	a.must(func() error { return a.dp.Sweep([]string{"kept"}) })
	if a.linkInfo("kept") == nil || a.linkInfo("left") != nil {
		t.Error("the wrong interface was removed")
	}
}

func TestTwoDaemonsDoNotShareAnInterface(t *testing.T) {
	a := newHost(t)
	a.start(Options{})
	a.must(func() error {
		_, err := a.dp.SetLink(platform.Link{Name: ifName, MTU: 1400})
		return err
	})
	var err error
	a.do(func() {
		var second *Datapath
		if second, err = Open(Options{PortIKE: 501, PortNAT: 4501}); err != nil {
			return
		}
		defer second.Close()
		_, err = second.SetLink(platform.Link{Name: ifName, MTU: 1400})
	})
	if !errors.Is(err, errBusy) {
		t.Errorf("%v", err)
	}
}

func TestCloseEndsEveryGoroutineAndDescriptor(t *testing.T) {
	a, b := twoHosts(t)
	f := form{encap: true}
	f.tunnel(a, b) // whatever is opened once is open now
	a.stop()
	b.stop()
	files, goroutines := openFiles(t), runtime.NumGoroutine()
	for range 3 {
		f.encap = !f.encap
		f.tunnel(a, b)
		a.ping(inner4(2), 3, 56)
		a.stop()
		b.stop()
	}
	for i := 0; runtime.NumGoroutine() > goroutines && i < 100; i++ {
		time.Sleep(10 * time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > goroutines {
		t.Errorf("%d goroutines became %d", goroutines, n)
	}
	if n := openFiles(t); n > files {
		t.Errorf("%d open files became %d", files, n)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

func TestOuterHeaderIsAsTheLinkSays(t *testing.T) {
	for _, c := range []struct {
		name    string
		link    platform.Link
		inner   int // TOS of the user's packet
		tos     uint8
		ttl     uint8
		df      bool
		transit bool
	}{
		{"defaults", platform.Link{}, 0xb8, 0, 64, true, false},
		{"ECN is always copied", platform.Link{}, 0xb8 | 2, 2, 64, true, false},
		{"fixed class and TTL", platform.Link{TOS: 0x28, TTL: 33}, 0xb8 | 1, 0x28 | 1, 33, true, false},
		{"inherited class", platform.Link{TOSInherit: true}, 0xb8 | 3, 0xb8 | 3, 64, true, false},
		{"fragments allowed", platform.Link{IgnoreDF: true}, 0, 0, 64, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, encap := range []bool{true, false} {
				a, b := twoHosts(t)
				f := form{encap: encap, link: c.link}
				f.tunnel(a, b)
				wire := a.capture(t)
				var conn *net.UDPConn
				a.must(func() (err error) {
					conn, err = net.ListenUDP("udp4", nil)
					if err != nil {
						return err
					}
					raw, err := conn.SyscallConn()
					if err != nil {
						return err
					}
					return raw.Control(func(fd uintptr) {
						_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS, c.inner)
					})
				})
				if _, err := conn.WriteToUDPAddrPort(packet.Pattern(400, 0), netip.MustParseAddrPort(inner4(2)+":9")); err != nil {
					t.Fatal(err)
				}
				conn.Close()
				wire.stop()
				seen := false
				for _, frame := range wire.all {
					if len(frame) < 450 || frame[26+3] != a.v4.As4()[3] || frame[23] != 17 && frame[23] != 50 {
						continue
					}
					seen = true
					if tos, ttl, df := frame[15], frame[22], frame[20]&0x40 != 0; tos != c.tos || ttl != c.ttl || df != c.df {
						t.Errorf("encap %v: TOS %02x, TTL %d, DF %v", encap, tos, ttl, df)
					}
				}
				if !seen {
					t.Errorf("encap %v: the packet was not seen", encap)
				}
			}
		})
	}
}

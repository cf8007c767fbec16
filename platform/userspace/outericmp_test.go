package userspace

import (
	"encoding/binary"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"greseal/platform"
	"greseal/platform/gre"
	"greseal/platform/rtnl"
	"greseal/platform/userspace/vnet"
)

// aboutFrame is the ICMP message a router would send about a captured frame.
func aboutFrame(frame []byte, v6 bool, mtu int, quote int) []byte {
	ip := frame[vnet.EtherLen:]
	quote = min(quote, len(ip))
	m := make([]byte, 8, 8+quote)
	m[0], m[1] = 3, 4
	binary.BigEndian.PutUint16(m[6:], uint16(mtu))
	if v6 {
		m[0], m[1] = 2, 0
	}
	m = append(m, ip[:quote]...)
	if !v6 { // the kernel does it for ICMPv6
		binary.BigEndian.PutUint16(m[2:], ^gre.Fold(gre.Sum(m, 0)))
	}
	return m
}

func (h *host) sendICMP(to *host, v6 bool, m []byte) {
	h.t.Helper()
	h.must(func() error {
		family, proto := unix.AF_INET, unix.IPPROTO_ICMP
		var at unix.Sockaddr = &unix.SockaddrInet4{Addr: to.v4.As4()}
		if v6 {
			family, proto, at = unix.AF_INET6, unix.IPPROTO_ICMPV6, &unix.SockaddrInet6{Addr: to.v6.As16()}
		}
		fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, proto)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, m, 0, at)
	})
}

func TestRoutersMessageIsAHintWhenItQuotesOurPacket(t *testing.T) {
	for _, f := range []form{
		{name: "UDP", encap: true},
		{name: "raw ESP"},
		{name: "UDP over IPv6", encap: true, outer6: true, gre6: true},
		{name: "raw ESP over IPv6", outer6: true, gre6: true, transport: true},
	} {
		t.Run(f.name, func(t *testing.T) {
			a, b := twoHosts(t)
			f.tunnel(a, b)
			wire := a.capture(t)
			a.ping(inner4(2), 5, 1000)
			wire.stop()
			at := vnet.EtherLen + vnet.IP4Len // of ESP
			if f.outer6 {
				at = vnet.EtherLen + vnet.IP6Len
			}
			if f.encap {
				at += vnet.UDPLen
			}
			var frame []byte
			for _, c := range wire.all {
				if len(c) > 1000 && binary.BigEndian.Uint32(c[at:]) == spiAB {
					frame = c
				}
			}
			if frame == nil {
				t.Fatal("no packet of the SA was captured")
			}
			changed := func(f func(p []byte)) []byte {
				p := append([]byte(nil), frame...)
				f(p)
				return p
			}
			quiet := func(name string, m []byte) {
				t.Helper()
				before := uint64(0)
				count := func() (n uint64) {
					a.do(func() { a.dp.ingress[0].do(func() { n = a.dp.ingress[0].noise }) })
					return n
				}
				before = count()
				b.sendICMP(a, f.outer6, m)
				for deadline := time.Now().Add(5 * time.Second); count() == before && time.Now().Before(deadline); {
					time.Sleep(2 * time.Millisecond)
				}
				if count() != before+1 {
					t.Errorf("%s: not ignored", name)
				}
				select {
				case e := <-a.dp.Events():
					t.Errorf("%s: told %+v", name, e)
				default:
				}
			}
			v6 := f.outer6
			quiet("another SPI", aboutFrame(changed(func(p []byte) { p[at]++ }), v6, 1300, 200))
			quiet("a number never sent", aboutFrame(changed(func(p []byte) { p[at+5]++ }), v6, 1300, 200))
			quiet("another peer", aboutFrame(changed(func(p []byte) { p[vnet.EtherLen+19] ^= 3; p[vnet.EtherLen+39] ^= 3 }), v6, 1300, 200))
			quiet("no ESP header quoted", aboutFrame(frame, v6, 1300, at-vnet.EtherLen))
			quiet("it would have fitted", aboutFrame(frame, v6, 1500, 200))
			quiet("less than IP's least", aboutFrame(frame, v6, 20, 200))
			quiet("cut off", aboutFrame(frame, v6, 1300, 12))
			if !v6 {
				m := aboutFrame(frame, v6, 900, 200)
				m[30] ^= 1
				quiet("wrong checksum", m)
			}

			b.sendICMP(a, v6, aboutFrame(frame, v6, 900, 200))
			want := platform.Event{Kind: platform.OuterTooBig, Link: ifName, Out: true, SPI: spiAB, MTU: 900}
			if e := a.event(platform.OuterTooBig); e != want {
				t.Errorf("%+v, want %+v", e, want)
			}
		})
	}
}

func TestKernelsOwnRefusalIsTold(t *testing.T) {
	a, b := twoHosts(t)
	f := form{encap: true}
	f.tunnel(a, b)
	a.ping(inner4(2), 3, 56)
	a.must(func() error {
		l, err := net.InterfaceByName("wire")
		if err != nil {
			return err
		}
		return rtnl.SetMTU(a.dp.netlink, l.Index, 1300)
	})
	_, _ = a.command("ping", "-n", "-q", "-c", "1", "-W", "0.2", "-s", "1280", inner4(2))
	want := platform.Event{Kind: platform.OuterTooBig, Link: ifName, Out: true}
	if e := a.event(platform.OuterTooBig); e != want {
		t.Errorf("%+v", e)
	}
	if d := a.drops(); d.TooBig == 0 {
		t.Errorf("%+v", d)
	}
}

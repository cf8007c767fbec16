package userspace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"greseal/platform"
)

// found reads what each ingress worker has had.
func (h *host) found() (n []uint64) {
	for _, w := range h.dp.ingress {
		h.do(func() { w.do(func() { n = append(n, w.found) }) })
	}
	return n
}

// peer is one of several peers that all live on one host, each with an outer
// address and a link of its own.
func (f *form) peer(a, b *host, i int) {
	a.t.Helper()
	name := fmt.Sprintf("seal%d", i)
	from := netip.AddrFrom4([4]byte{198, 51, 100, byte(20 + i)})
	if f.outer6 {
		from = netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", 20+i))
	}
	a.must(func() error { return addAddress("wire", netip.PrefixFrom(from, from.BitLen()/4*3).String()) })
	at := *a
	if f.outer6 {
		at.v6 = from
	} else {
		at.v4 = from
	}
	for _, e := range []struct {
		h, me, other *host
		n            int
		in, out      uint32
	}{{a, &at, b, 1, spiBA + uint32(i), spiAB + uint32(i)}, {b, b, &at, 2, spiAB + uint32(i), spiBA + uint32(i)}} {
		in, out := f.sa(e.me, e.other, false, e.in), f.sa(e.me, e.other, true, e.out)
		in.Link, out.Link = name, name
		e.h.must(func() error { _, err := e.h.dp.SetLink(platform.Link{Name: name, MTU: innerMTU}); return err })
		e.h.must(func() error { return e.h.dp.InstallIn(in) })
		e.h.must(func() error { return e.h.dp.InstallOut(out) })
		e.h.must(func() error { return e.h.dp.SetRunning(name, true) })
		e.h.must(func() error { return addAddress(name, fmt.Sprintf("10.78.%d.%d/24", i, e.n)) })
	}
}

func TestPeersAreSpreadOverIngressWorkers(t *testing.T) {
	for _, f := range []form{{name: "UDP", encap: true}, {name: "raw ESP"}, {name: "UDP over IPv6", encap: true, outer6: true, gre6: true}, {name: "raw ESP over IPv6", outer6: true, gre6: true}} {
		t.Run(f.name, func(t *testing.T) {

			a, b := twoHosts(t)
			a.start(Options{Workers: 1})
			b.start(Options{Workers: 3})
			for i := range 6 {
				f.peer(a, b, i)
			}
			reached := make([]int, 3) // peers of each worker
			for i := range 6 {
				before := b.found()
				a.ping(fmt.Sprintf("10.78.%d.2", i), 5, 56)
				with := 0
				for w, n := range b.found() {
					if n >= before[w]+5 {
						with++
						reached[w]++
					} else if n != before[w] { // something the kernel sends by itself
						t.Logf("peer %d: %d packets at worker %d", i, n-before[w], w)
					}
				}
				if with != 1 {
					t.Errorf("peer %d reached %d workers: %v, then %v", i, with, before, b.found())
				}
			}
			if fmt.Sprint(reached) != "[2 2 2]" {
				t.Errorf("workers have %v peers", reached)
			}
			for _, note := range b.dp.Notes() {
				t.Error(note)
			}
		})
	}
}

// While a peer's address changes again and again, and with it the worker its
// packets come to, every packet is accepted once.
func TestPeerThatMovesIsFollowedByAnotherWorker(t *testing.T) {
	a, b := twoHosts(t)
	f := form{encap: true}
	a.start(Options{Workers: 1})
	b.start(Options{Workers: 3})
	f.links(a, b)
	var local []netip.AddrPort
	for i := range 3 {
		addr := netip.AddrFrom4([4]byte{198, 51, 100, byte(30 + i)})
		a.must(func() error { return addAddress("wire", addr.String()+"/24") })
		local = append(local, netip.AddrPortFrom(addr, 4500))
	}
	a.ping(inner4(2), 3, 56)
	var receive *net.UDPConn
	var send net.Conn
	b.must(func() (err error) {
		receive, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(inner4(2)+":5006")))
		if err == nil {
			raw, _ := receive.SyscallConn()
			_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20) })
		}
		return err
	})
	defer receive.Close()
	a.must(func() (err error) { send, err = net.Dial("udp4", inner4(2)+":5006"); return err })
	defer send.Close()
	const moves, each = 60, 50
	got := make(chan int)
	go func() {
		seen := make([]bool, moves*each)
		n := 0
		buf := make([]byte, 2000)
		for n < len(seen) {
			_ = receive.SetReadDeadline(time.Now().Add(10 * time.Second))
			size, err := receive.Read(buf)
			if err != nil {
				break
			}
			if i := binary.BigEndian.Uint32(buf); size == 500 && int(i) < len(seen) && !seen[i] {
				seen[i] = true
				n++
			} else {
				t.Errorf("datagram %d with %d octets came twice or changed", i, size)
			}
		}
		got <- n
	}()
	key := platform.SAKey{Link: ifName, Out: true, SPI: spiAB}
	payload := make([]byte, 500)
	for i := range moves {
		a.must(func() error { return a.dp.MoveSA(key, local[i%3], netip.AddrPortFrom(b.v4, 4500)) })
		for j := range each {
			binary.BigEndian.PutUint32(payload, uint32(i*each+j))
			if _, err := send.Write(payload); err != nil {
				t.Fatal(err)
			}
		}
		// Not more than the queues hold.
		sent := a.counters(true, spiAB).Packets
		for range 2000 {
			if now := b.counters(false, spiAB).Packets; now+100 > sent {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
	if n := <-got; n != moves*each {
		t.Errorf("%d of %d datagrams arrived", n, moves*each)
	}
	if c := b.counters(false, spiAB); c.Replay+c.Integrity+c.Selector+c.Malformed != 0 {
		t.Errorf("%+v", c)
	}
	for w, n := range b.found() {
		if n < moves*each/4 {
			t.Errorf("worker %d has had %d packets only", w, n)
		}
	}
}

// The port that several workers share is not shared with another daemon.
func TestSharedPortIsStillOurs(t *testing.T) {
	a := newHost(t)
	a.start(Options{Workers: 3})
	var err error
	a.do(func() {
		var second *Datapath
		if second, err = Open(Options{PortIKE: 501, Workers: 3}); err == nil {
			_ = second.Close()
		}
	})
	if !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("a second daemon on the port: %v", err)
	}
}

// IKE arrives whichever worker reads it, and links with outer fragments, whose
// socket needs the port too, work beside.
func TestIKEAndFragmentsWithSeveralWorkers(t *testing.T) {
	a, b := twoHosts(t)
	f := form{encap: true, link: platform.Link{IgnoreDF: true}}
	for _, h := range []*host{a, b} {
		h.start(Options{Workers: 3})
	}
	f.links(a, b)
	a.ping(inner4(2), 5, innerMTU-28)
	for i := range 9 {
		addr := netip.AddrFrom4([4]byte{198, 51, 100, byte(40 + i)})
		a.must(func() error { return addAddress("wire", addr.String()+"/24") })
		from, to := netip.AddrPortFrom(addr, 4500), netip.AddrPortFrom(b.v4, 4500)
		a.must(func() error { return a.dp.SendIKE(from, to, []byte("message"), true) })
		select {
		case d := <-b.dp.IKE():
			if d.Remote != from || d.Local != to || string(d.Data) != "message" {
				t.Errorf("%+v", d)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("IKE from %v did not arrive", from)
		}
	}
}

package userspace

import (
	"crypto/rand"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"greseal/build/packet"
	"greseal/crypto/esp"
	"greseal/platform"
	"greseal/platform/gre"
	"greseal/platform/userspace/vnet"
)

// resend puts captured frames on the wire once more, as the host's own.
func (h *host) resend(frames [][]byte) {
	h.t.Helper()
	h.must(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		l, err := net.InterfaceByName("wire")
		if err != nil {
			return err
		}
		for _, f := range frames {
			if err := unix.Sendto(fd, f, 0, &unix.SockaddrLinklayer{Ifindex: l.Index, Protocol: 8}); err != nil {
				return err
			}
		}
		return nil
	})
}

// espFrames are the captured frames with ESP in UDP of one SPI.
func (c *capture) espFrames(spi uint32) (frames [][]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.all {
		if len(f) > 50 && f[23] == 17 && binary.BigEndian.Uint32(f[42:]) == spi {
			clear(f[40:42]) // the UDP checksum was left to the device
			frames = append(frames, f)
		}
	}
	return frames
}

// wantCounters waits until an inbound SA counts as wanted.
func (h *host) wantCounters(spi uint32, ok func(platform.Counters) bool) platform.Counters {
	h.t.Helper()
	var c platform.Counters
	for range 300 {
		if c = h.counters(false, spi); ok(c) {
			return c
		}
		time.Sleep(10 * time.Millisecond)
	}
	h.t.Errorf("the inbound SA counts %+v", c)
	return c
}

func TestReplayedPacketsAreDroppedAndCounted(t *testing.T) {
	a, b := twoHosts(t)
	f := form{encap: true}
	f.tunnel(a, b)
	wire := a.capture(t)
	a.ping(inner4(2), 10, 56)
	wire.stop()
	frames := wire.espFrames(spiAB)
	if len(frames) < 10 {
		t.Fatalf("%d frames captured", len(frames))
	}
	a.resend(frames)
	b.wantCounters(spiAB, func(c platform.Counters) bool { return c.Replay == uint64(len(frames)) })
}

func TestChangedPacketsAreDroppedAndCounted(t *testing.T) {
	a, b := twoHosts(t)
	f := form{encap: true}
	f.tunnel(a, b)
	wire := a.capture(t)
	a.ping(inner4(2), 10, 56)
	wire.stop()
	frames := wire.espFrames(spiAB)
	for i, frame := range frames {
		binary.BigEndian.PutUint32(frame[46:], 0x10000+uint32(i)) // never seen
		if i == 0 {
			frame[len(frame)-1] ^= 1
		}
	}
	a.resend(frames)
	b.wantCounters(spiAB, func(c platform.Counters) bool { return c.Integrity == uint64(len(frames)) })
	a.ping(inner4(2), 5, 56) // forged numbers have not moved the window
}

// stranger is a socket of the host beside its datapath's: an attacker with the
// keys, or a NAT that has changed its mind.
type stranger struct {
	*net.UDPConn
	seal *esp.Sealer
	seq  uint64
}

func (f *form) stranger(h *host, spi uint32) *stranger {
	h.t.Helper()
	s := new(stranger)
	h.must(func() (err error) {
		s.UDPConn, err = net.ListenUDP("udp4", &net.UDPAddr{IP: h.v4.AsSlice()})
		return err
	})
	h.t.Cleanup(func() { s.Close() })
	var err error
	if s.seal, err = esp.NewSealer(f.params(spi), rand.Reader); err != nil {
		h.t.Fatal(err)
	}
	s.seq = 1000
	return s
}

func (s *stranger) port() uint16 { return uint16(s.LocalAddr().(*net.UDPAddr).Port) }

// send seals a payload and sends it to the peer's NAT port.
func (s *stranger) send(t *testing.T, to netip.Addr, payload []byte, next uint8) {
	t.Helper()
	b := make([]byte, s.seal.PacketLen(len(payload)))
	copy(b[s.seal.Headroom():], payload)
	s.seq++
	n, err := s.seal.Seal(b, len(payload), next, s.seq)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.WriteToUDPAddrPort(b[:n], netip.AddrPortFrom(to, 4500)); err != nil {
		t.Fatal(err)
	}
}

// inIP4 puts a GRE packet into an inner header.
func inIP4(src, dst netip.Addr, proto uint8, payload []byte) []byte {
	h := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, proto, 0, 0}
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(payload)))
	h = append(append(h, src.AsSlice()...), dst.AsSlice()...)
	binary.BigEndian.PutUint16(h[10:], ^gre.Fold(gre.Sum(h, 0)))
	return append(h, payload...)
}

func TestInboundCheckOfTunnelMode(t *testing.T) {
	a, b := twoHosts(t)
	f := form{encap: true, link: platform.Link{HasKey: true, Key: 7, Sequence: true, Checksum: true}}
	f.tunnel(a, b)
	s := f.stranger(a, spiAB)
	user := packet.Spec{UDP: true, TTL: 9, Payload: packet.Pattern(30, 0)}.Build()
	header := gre.Header{Proto: gre.ProtoIPv4, HasKey: true, Key: 7, HasSequence: true, HasChecksum: true, Sequence: 1 << 20}
	good := header.Append(nil, user)
	other := netip.MustParseAddr("203.0.113.1")

	type counts struct {
		platform.Counters
		platform.Drops
		delivered uint64
		returned  uint64
	}
	now := func() (c counts) {
		c.Counters, c.Drops = b.counters(false, spiAB), b.drops()
		dev := b.dp.devices[ifName]
		c.delivered = uint64(dev.Delivered.Load())
		b.do(func() { c.returned = b.dp.GREKeepalives(ifName).Returned })
		return c
	}
	change := func(f func(h *gre.Header)) []byte {
		h := header
		f(&h)
		return h.Append(nil, user)
	}
	damaged := append([]byte(nil), good...)
	damaged[len(damaged)-1] ^= 1
	fragment := inIP4(a.v4, b.v4, 47, good)
	fragment[6], fragment[3] = 0x20, fragment[3]-1
	long := inIP4(a.v4, b.v4, 47, good)
	long[3] = 0xff

	for _, c := range []struct {
		name    string
		payload []byte
		next    uint8
		moved   func(c counts) uint64
	}{
		{"right", inIP4(a.v4, b.v4, 47, change(func(h *gre.Header) { h.Sequence-- })), 4, func(c counts) uint64 { return c.delivered }},
		{"with TFC padding", append(inIP4(a.v4, b.v4, 47, good), make([]byte, 300)...), 4, func(c counts) uint64 { return c.delivered }},
		{"without a GRE sequence number", inIP4(a.v4, b.v4, 47, change(func(h *gre.Header) { h.HasSequence = false })), 4, func(c counts) uint64 { return c.delivered }},
		{"wrong source", inIP4(other, b.v4, 47, good), 4, func(c counts) uint64 { return c.Selector }},
		{"wrong destination", inIP4(a.v4, other, 47, good), 4, func(c counts) uint64 { return c.Selector }},
		{"another protocol", inIP4(a.v4, b.v4, 4, good), 4, func(c counts) uint64 { return c.Selector }},
		{"transport mode in a tunnel-mode SA", good, 47, func(c counts) uint64 { return c.Selector }},
		{"IPv6 announced", inIP4(a.v4, b.v4, 47, good), 41, func(c counts) uint64 { return c.Malformed }},
		{"an odd fragment", fragment[:len(fragment)-1], 4, func(c counts) uint64 { return c.Malformed }},
		{"longer than it is", long, 4, func(c counts) uint64 { return c.Malformed }},
		{"cut off", inIP4(a.v4, b.v4, 47, good)[:19], 4, func(c counts) uint64 { return c.Malformed }},
		{"GRE version 1", inIP4(a.v4, b.v4, 47, []byte{0x30, 1, 0x88, 0x0b, 0, 0, 0, 0}), 4, func(c counts) uint64 { return c.Malformed }},
		{"another GRE key", inIP4(a.v4, b.v4, 47, change(func(h *gre.Header) { h.Key = 8 })), 4, func(c counts) uint64 { return c.Key }},
		{"no GRE key", inIP4(a.v4, b.v4, 47, change(func(h *gre.Header) { h.HasKey = false })), 4, func(c counts) uint64 { return c.Key }},
		{"wrong GRE checksum", inIP4(a.v4, b.v4, 47, damaged), 4, func(c counts) uint64 { return c.GRE }},
		{"GRE sequence repeated", inIP4(a.v4, b.v4, 47, good), 4, func(c counts) uint64 { return c.GRE }},
		{"Ethernet on an IP link", inIP4(a.v4, b.v4, 47, change(func(h *gre.Header) { h.Proto = gre.ProtoTEB; h.Sequence += 9 })), 4, func(c counts) uint64 { return c.GRE }},
		{"a keepalive that comes back", inIP4(a.v4, b.v4, 47, change(func(h *gre.Header) { h.Proto = 0; h.Sequence += 10 })), 4, func(c counts) uint64 { return c.returned }},
	} {
		before := now()
		s.send(t, b.v4, c.payload, c.next)
		deadline := time.Now().Add(3 * time.Second)
		for c.moved(now()) == c.moved(before) && time.Now().Before(deadline) {
			time.Sleep(2 * time.Millisecond)
		}
		after := now()
		if c.moved(after) != c.moved(before)+1 {
			t.Errorf("%s: %+v became %+v", c.name, before, after)
		}
		if sum(after.Counters, after.Drops, after.delivered+after.returned) < sum(before.Counters, before.Drops, before.delivered+before.returned)+1 {
			t.Errorf("%s: counted nowhere", c.name)
		}
	}

	// A dummy is dropped in silence (RFC 4303 section 2.6).
	before := now()
	s.send(t, b.v4, []byte("nothing of interest"), 59)
	s.send(t, b.v4, inIP4(other, b.v4, 47, good), 4)
	b.wantCounters(spiAB, func(c platform.Counters) bool { return c.Selector == before.Selector+1 })
	after := now()
	after.Selector--
	if after != before {
		t.Errorf("a dummy is counted: %+v became %+v", before, after)
	}
}

func sum(c platform.Counters, d platform.Drops, delivered uint64) uint64 {
	return c.Selector + c.Malformed + c.Replay + c.Integrity + d.Key + d.GRE + delivered
}

func TestInboundCheckOfTransportMode(t *testing.T) {
	a, b := twoHosts(t)
	f := form{encap: true, transport: true}
	f.tunnel(a, b)
	s := f.stranger(a, spiAB)
	user := packet.Spec{UDP: true, TTL: 9, Payload: packet.Pattern(30, 0)}.Build()
	h := gre.Header{Proto: gre.ProtoIPv4}
	good := h.Append(nil, user)
	s.send(t, b.v4, inIP4(a.v4, b.v4, 47, good), 4) // tunnel mode
	s.send(t, b.v4, user[20:], 17)                  // UDP straight in ESP
	before := b.wantCounters(spiAB, func(c platform.Counters) bool { return c.Selector == 2 })
	s.send(t, b.v4, good, 47)
	b.wantCounters(spiAB, func(c platform.Counters) bool { return c.Packets > before.Packets && c.Selector == 2 })
}

func TestWrongSelectorsLetNothingThrough(t *testing.T) {
	for _, f := range []form{{encap: true, swappedInner: true}, {transport: true, swappedInner: true}} {
		a, b := twoHosts(t)
		f.tunnel(a, b)
		a.noPing(inner4(2))
		if c := b.wantCounters(spiAB, func(c platform.Counters) bool { return c.Selector > 0 }); c.Packets != 0 {
			t.Errorf("%+v", c)
		}
	}
}

func TestWrongGREKeyLetsNothingThrough(t *testing.T) {
	a, b := twoHosts(t)
	f := form{encap: true, link: platform.Link{HasKey: true, Key: 1}}
	f.tunnel(a, b)
	wrong := f
	wrong.link.Key = 2
	wrong.makeLink(b, a) // changed in place
	a.noPing(inner4(2))
	if d := b.drops(); d.Key == 0 {
		t.Errorf("%+v", d)
	}
	f.makeLink(b, a)
	a.ping(inner4(2), 3, 56)
}

func TestWithoutAnSANothingLeaves(t *testing.T) {
	a, b := twoHosts(t)
	f := form{encap: true}
	wire := a.capture(t)
	for _, h := range []*host{a, b} {
		h.start(Options{})
	}
	f.makeLink(a, b)
	a.run(true)
	a.noPing(inner4(2))
	if d := a.drops(); d.NoSA == 0 {
		t.Errorf("%+v", d)
	}
	for kind, n := range wire.stop() {
		if kind != "other" {
			t.Errorf("%d packets of %s on the wire", n, kind)
		}
	}
}

func TestRemovedSAsCarryNothing(t *testing.T) {
	a, b := twoHosts(t)
	f := form{encap: true}
	f.tunnel(a, b)
	a.ping(inner4(2), 3, 56)
	was := a.counters(true, spiAB)
	var final platform.Counters
	a.must(func() (err error) {
		final, err = a.dp.RemoveSA(platform.SAKey{Link: ifName, Out: true, SPI: spiAB})
		return err
	})
	if final.Packets < was.Packets || final.Packets < 3 {
		t.Errorf("final counters %+v after %+v", final, was)
	}
	wire := a.capture(t)
	a.noPing(inner4(2))
	if kinds := wire.stop(); kinds["ESP in UDP"]+kinds["GRE"] != 0 {
		t.Errorf("on the wire: %v", kinds)
	}
	// Once more is no error, and counts nothing.
	a.must(func() (err error) {
		final, err = a.dp.RemoveSA(platform.SAKey{Link: ifName, Out: true, SPI: spiAB})
		return err
	})
	if final != (platform.Counters{}) {
		t.Errorf("%+v", final)
	}
}

func TestECNByRFC6040(t *testing.T) {
	const not, ect1, ect0, ce, drop = 0, 1, 2, 3, 9
	// Figure 4 of the RFC: rows by inner, columns by outer Not-ECT, ECT(0), ECT(1), CE.
	for inner, row := range map[uint8][4]uint8{
		not:  {not, not, not, drop},
		ect0: {ect0, ect0, ect1, ce},
		ect1: {ect1, ect1, ect1, ce},
		ce:   {ce, ce, ce, ce},
	} {
		for i, outer := range []uint8{not, ect0, ect1, ce} {
			got, dropped := ecnDecap(outer, inner)
			if dropped {
				got = drop
			}
			if got != row[i] {
				t.Errorf("outer %d, inner %d: %d, want %d", outer, inner, got, row[i])
			}
		}
	}
	for _, v6 := range []bool{false, true} {
		for ecn := range uint8(4) {
			p := packet.Spec{V6: v6, TOS: 0xb8 | ecn, TTL: 3, Flags: vnet.TcpACK, Payload: packet.Pattern(9, 1)}.Build()
			at, version := vnet.FindIP(p, false)
			for to := range uint8(4) {
				setECN(p, at, version, to)
				want := packet.Spec{V6: v6, TOS: 0xb8 | to, TTL: 3, Flags: vnet.TcpACK, Payload: packet.Pattern(9, 1)}.Build()
				if string(p) != string(want) {
					t.Errorf("%x, want %x", p, want)
				}
			}
		}
	}
}

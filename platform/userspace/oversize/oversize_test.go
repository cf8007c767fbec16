package oversize

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"greseal/build/packet"
	"greseal/platform/gre"
	"greseal/platform/userspace/vnet"
)

// A fragment of a fragment keeps its place and its "more".
func TestFragmentOfAFragment(t *testing.T) {
	p := packet.Spec{UDP: true, TTL: 9, Payload: packet.Pattern(992, 1)}.Build()
	binary.BigEndian.PutUint16(p[6:], 0x2000|125)
	buf := make([]byte, 2000)
	var got []uint16
	for off := 20; off < len(p); {
		n := Fragment4(buf, p, off, 420)
		got = append(got, binary.BigEndian.Uint16(buf[6:]))
		off += n - 20
	}
	if want := []uint16{0x2000 | 125, 0x2000 | 175, 0x2000 | 225}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%x, want %x", got, want)
	}
}

func TestTooBigMessagesAreRight(t *testing.T) {
	dst := make([]byte, vnet.MaxPacket)
	neighbor4, neighbor6 := netip.MustParseAddr("10.255.0.1"), netip.MustParseAddr("fd00::1")
	for _, s := range []packet.Spec{
		{TTL: 3, DF: true, TOS: 0x2e, Flags: vnet.TcpACK, Payload: packet.Pattern(1400, 0)},
		{TTL: 3, V6: true, UDP: true, Payload: packet.Pattern(1400, 0)},
		{TTL: 3, Ethernet: true, VLAN: true, DF: true, UDP: true, Payload: packet.Pattern(1400, 0)},
		{TTL: 3, Ethernet: true, V6: true, UDP: true, Payload: packet.Pattern(100, 0)},
	} {
		p := s.Build()
		at, version := vnet.FindIP(p, s.Ethernet)
		n := Refuse(dst, p, at, version, 1234, netip.Addr{})
		m := dst[:n]
		mat, mversion := vnet.FindIP(m, s.Ethernet)
		if n == 0 || mat != at || mversion != version {
			t.Fatalf("%+v: %d octets", s, n)
		}
		if s.Ethernet && (!bytes.Equal(m[:6], p[6:12]) || !bytes.Equal(m[6:12], p[:6]) || !bytes.Equal(m[12:at], p[12:at])) {
			t.Errorf("frame header %x of %x", m[:at], p[:at])
		}
		ip, from := m[at:], p[at:]
		if version == 4 {
			if int(binary.BigEndian.Uint16(ip[2:])) != len(ip) || len(ip) != 576 || gre.Fold(gre.Sum(ip[:20], 0)) != 0xffff ||
				!bytes.Equal(ip[12:16], from[16:20]) || !bytes.Equal(ip[16:20], from[12:16]) || ip[1] != 0xc0|s.TOS&0x1e {
				t.Errorf("header %x", ip[:20])
			}
			if ip[20] != 3 || ip[21] != 4 || binary.BigEndian.Uint16(ip[26:]) != 1234 || gre.Fold(gre.Sum(ip[20:], 0)) != 0xffff || !bytes.Equal(ip[28:], from[:548]) {
				t.Errorf("message %x", ip[20:60])
			}
			continue
		}
		if int(binary.BigEndian.Uint16(ip[4:]))+40 != len(ip) || len(ip) > IPv6MinMTU || !bytes.Equal(ip[8:24], from[24:40]) || !bytes.Equal(ip[24:40], from[8:24]) {
			t.Errorf("header %x", ip[:40])
		}
		sum := gre.Sum(ip[8:40], protoICMP6+uint32(len(ip)-40))
		if ip[40] != 2 || ip[41] != 0 || binary.BigEndian.Uint32(ip[44:]) != IPv6MinMTU || gre.Fold(gre.Sum(ip[40:], sum)) != 0xffff || !bytes.HasPrefix(from, ip[48:]) {
			t.Errorf("message %x", ip[40:60])
		}
	}
	for _, s := range []packet.Spec{
		{TTL: 3, DF: true, Flags: vnet.TcpACK, Payload: packet.Pattern(1400, 0)},
		{TTL: 3, Ethernet: true, VLAN: true, DF: true, UDP: true, Payload: packet.Pattern(1400, 0)},
		{TTL: 3, V6: true, UDP: true, Payload: packet.Pattern(1400, 0)},
	} {
		p := s.Build()
		at, version := vnet.FindIP(p, s.Ethernet)
		from := neighbor4
		if version == 6 {
			from = neighbor6
		}
		ip := dst[at:Refuse(dst, p, at, version, 1234, from)]
		if version == 4 {
			if netip.AddrFrom4([4]byte(ip[12:16])) != neighbor4 || !bytes.Equal(ip[16:20], p[at+12:at+16]) || gre.Fold(gre.Sum(ip[:20], 0)) != 0xffff {
				t.Errorf("header %x from the neighbour", ip[:20])
			}
			continue
		}
		sum := gre.Sum(ip[8:40], protoICMP6+uint32(len(ip)-40))
		if netip.AddrFrom16([16]byte(ip[8:24])) != neighbor6 || !bytes.Equal(ip[24:40], p[8:24]) || gre.Fold(gre.Sum(ip[40:], sum)) != 0xffff {
			t.Errorf("header %x from the neighbour", ip[:40])
		}
	}
}

func TestNoMessageAboutWhatMayNotBeAnswered(t *testing.T) {
	icmp := func(v6 bool, typ uint8) []byte {
		p := packet.Spec{V6: v6, UDP: true, TTL: 1, Payload: packet.Pattern(1400, 0)}.Build()
		if v6 {
			p[6], p[40] = protoICMP6, typ
		} else {
			p[9], p[20] = protoICMP, typ
		}
		return p
	}
	change := func(v6 bool, f func(p []byte)) []byte {
		p := packet.Spec{V6: v6, UDP: true, TTL: 1, Payload: packet.Pattern(1400, 0)}.Build()
		f(p)
		return p
	}
	behind := func(typ uint8) []byte { // an error behind a destination option
		p := packet.Spec{V6: true, UDP: true, TTL: 1, Payload: packet.Pattern(1400, 0)}.Build()
		p[6] = 60
		p[40], p[41], p[48] = protoICMP6, 0, typ
		return p
	}
	dst := make([]byte, vnet.MaxPacket)
	for _, c := range []struct {
		name    string
		p       []byte
		version uint8
		may     bool
	}{
		{"echo", icmp(false, 8), 4, true},
		{"echo reply", icmp(false, 0), 4, true},
		{"unreachable", icmp(false, 3), 4, false},
		{"quench", icmp(false, 4), 4, false},
		{"redirect", icmp(false, 5), 4, false},
		{"time exceeded", icmp(false, 11), 4, false},
		{"parameter problem", icmp(false, 12), 4, false},
		{"echo, IPv6", icmp(true, 128), 6, true},
		{"packet too big, IPv6", icmp(true, 2), 6, false},
		{"unknown error, IPv6", icmp(true, 127), 6, false},
		{"redirect, IPv6", icmp(true, 137), 6, false},
		{"error behind an option", behind(1), 6, false},
		{"echo behind an option", behind(129), 6, true},
		{"to multicast", change(false, func(p []byte) { p[16] = 224 }), 4, false},
		{"to broadcast", change(false, func(p []byte) { copy(p[16:], []byte{255, 255, 255, 255}) }), 4, false},
		{"from nobody", change(false, func(p []byte) { clear(p[12:16]) }), 4, false},
		{"from loopback", change(false, func(p []byte) { p[12] = 127 }), 4, false},
		{"from multicast", change(false, func(p []byte) { p[12] = 239 }), 4, false},
		{"a later fragment", change(false, func(p []byte) { p[7] = 9 }), 4, false},
		{"a first fragment", change(false, func(p []byte) { p[6] = 0x20 }), 4, true},
		{"header length wrong", change(false, func(p []byte) { p[0] = 0x41 }), 4, false},
		{"to multicast, IPv6", change(true, func(p []byte) { p[24] = 0xff }), 6, false},
		{"from multicast, IPv6", change(true, func(p []byte) { p[8] = 0xff }), 6, false},
		{"from nobody, IPv6", change(true, func(p []byte) { clear(p[8:24]) }), 6, false},
	} {
		if n := Refuse(dst, c.p, 0, c.version, 1300, netip.Addr{}); (n != 0) != c.may {
			t.Errorf("%s: a message of %d octets", c.name, n)
		}
	}
}

func TestMessagesAreLimitedInRate(t *testing.T) {
	b := MessageRate()
	var now time.Duration
	count := func(n int) (got int) {
		for range n {
			if b.Take(now) {
				got++
			}
		}
		return got
	}
	if n := count(1000); n != 50 {
		t.Errorf("%d at once", n)
	}
	total := 0
	for range 1000 { // 1 s in steps shorter than the interval
		now += time.Millisecond
		total += count(3)
	}
	if total != 100 {
		t.Errorf("%d in a second", total)
	}
	now += time.Hour
	if n := count(1000); n != 50 {
		t.Errorf("%d after a rest", n)
	}
}

func FuzzTooBig(f *testing.F) {
	f.Add(packet.Spec{UDP: true, Payload: packet.Pattern(1400, 0)}.Build(), false, uint16(1300))
	f.Add(packet.Spec{UDP: true, V6: true, Ethernet: true, Payload: packet.Pattern(1400, 0)}.Build(), true, uint16(1300))
	f.Add([]byte{0x4f, 0, 0, 80, 0, 1, 0, 0, 1, 17, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0x94, 0, 1}, false, uint16(68))
	dst := make([]byte, 2*vnet.MaxPacket)
	f.Fuzz(func(t *testing.T, p []byte, ethernet bool, limit uint16) {
		at, version := vnet.FindIP(p, ethernet)
		if version == 0 || len(p) > vnet.MaxPacket {
			return
		}
		if n := Refuse(dst, p, at, version, int(limit), netip.Addr{}); n > at+IPv6MinMTU || n > len(p)+vnet.IP6Len+icmpLen {
			t.Fatalf("a message of %d octets about %d", n, len(p))
		}
		head := int(p[at]&15) * 4
		if ip := p[at:]; version == 4 && head >= vnet.IP4Len && head < len(ip) && limit >= 68 {
			for off := head; off < len(ip); {
				n := Fragment4(dst, ip, off, int(limit))
				if n <= 0 || n > int(limit) {
					t.Fatalf("a fragment of %d octets", n)
				}
				off += n - int(dst[0]&15)*4
			}
		}
		ReadQuote(p, false, 4500)
		ReadQuote(p, true, 4500)
	})
}

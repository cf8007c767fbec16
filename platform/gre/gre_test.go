package gre

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestHeaderToBytesAndBack(t *testing.T) {
	for _, c := range []struct {
		name string
		h    Header
		want string // with the payload 01020304
	}{
		{"plain IPv4", Header{Proto: ProtoIPv4}, "00000800 01020304"},
		{"plain IPv6", Header{Proto: ProtoIPv6}, "000086dd 01020304"},
		{"Ethernet with key", Header{Proto: ProtoTEB, HasKey: true, Key: 0x28}, "20006558 00000028 01020304"},
		{"key zero is a key", Header{Proto: ProtoIPv4, HasKey: true}, "20000800 00000000 01020304"},
		{"sequence", Header{Proto: ProtoIPv4, HasSequence: true, Sequence: 0xfffffffe}, "10000800 fffffffe 01020304"},
		// ^(8000+0800+0102+0304) = 73f9
		{"checksum", Header{Proto: ProtoIPv4, HasChecksum: true}, "80000800 73f90000 01020304"},
		// ^(b000+0800+2a+7+0102+0304) = 43c8
		{"all", Header{Proto: ProtoIPv4, HasChecksum: true, HasKey: true, Key: 42, HasSequence: true, Sequence: 7},
			"b0000800 43c80000 0000002a 00000007 01020304"},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := unhex(t, string(bytes.ReplaceAll([]byte(c.want), []byte(" "), nil)))
			got := c.h.Append([]byte("before"), want[c.h.Len():])
			if !bytes.Equal(got, append([]byte("before"), want...)) {
				t.Errorf("appended %x, want %x", got[6:], want)
			}
			h, n, err := Parse(want)
			if err != nil || h != c.h || n != c.h.Len() {
				t.Errorf("parsed %+v, %d, %v; want %+v, %d", h, n, err, c.h, c.h.Len())
			}
			if c.h.HasChecksum {
				if !VerifyChecksum(want) {
					t.Error("the checksum is not accepted")
				}
				want[len(want)-1] ^= 1
				if VerifyChecksum(want) {
					t.Error("the checksum of a damaged packet is accepted")
				}
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct {
		name, packet string
		want         error
	}{
		{"nothing", "", ErrShort},
		{"three octets", "000008", ErrShort},
		{"key cut off", "20000800000000", ErrShort},
		{"sequence cut off", "3000080000000001000000", ErrShort},
		{"checksum cut off", "80000800ffff", ErrShort},
		{"version 1, PPTP", "3001880b00000000", ErrVersion},
		{"version 7", "00070800", ErrVersion},
		{"routing present", "4000080000000000", ErrReserved},
		{"strict source route", "0800080000000000", ErrReserved},
		{"bit 5", "0400080000000000", ErrReserved},
	} {
		if _, _, err := Parse(unhex(t, c.packet)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

func TestParseIgnoresReservedBits6To12(t *testing.T) {
	if h, n, err := Parse(unhex(t, "03f80800")); err != nil || n != 4 || h.Proto != ProtoIPv4 {
		t.Errorf("%+v, %d, %v", h, n, err)
	}
}

func TestSumAgreesWithTheDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		b := make([]byte, r.IntN(300)+1)
		for i := range b {
			if r.IntN(3) == 0 {
				b[i] = 0xff // many carries
			} else {
				b[i] = byte(r.Uint32())
			}
		}
		off := r.IntN(len(b))
		p, initial := b[off:], r.Uint32()&0xffff
		want := initial
		for i := 0; i < len(p); i += 2 {
			w := uint32(p[i]) << 8
			if i+1 < len(p) {
				w |= uint32(p[i+1])
			}
			want += w
		}
		for want>>16 != 0 {
			want = want>>16 + want&0xffff
		}
		if got := Fold(Sum(p, initial)); uint32(got) != want {
			t.Fatalf("sum of %x from %x: %04x, want %04x", p, initial, got, want)
		}
	}
}

func TestSumOfAllOnes(t *testing.T) {
	for n := 2; n < 70000; n += 1022 {
		b := bytes.Repeat([]byte{0xff}, n)
		if got := Fold(Sum(b, 0)); got != 0xffff {
			t.Fatalf("%d octets of ff: %04x", n, got)
		}
	}
}

func TestOrderDropsWhatIsNotLater(t *testing.T) {
	var o Order
	for i, c := range []struct {
		seq  uint32
		want bool
	}{
		{1000, true}, // any first
		{1000, false},
		{999, false},
		{1001, true},
		{1010, true},
		{1005, false},
		{1010 + 1<<31 - 1, true},
		{0xfffffff0, true}, // later by less than 2^31
		{5, true},          // over the wrap
		{0xffffffff, false},
	} {
		if got := o.Accept(c.seq); got != c.want {
			t.Errorf("step %d: Accept(%d) = %v", i, c.seq, got)
		}
	}
	o.Reset()
	if !o.Accept(0) {
		t.Error("after Reset a peer that counts from 0 is refused")
	}
}

func TestKeepaliveComesBack(t *testing.T) {
	for _, c := range []struct {
		name          string
		local, remote string
		h             Header
		proto         uint16
	}{
		{"IPv4", "192.0.2.1", "192.0.2.2", Header{}, ProtoIPv4},
		{"IPv4 with key", "192.0.2.1", "192.0.2.2", Header{HasKey: true, Key: 0x28}, ProtoIPv4},
		{"IPv6", "2001:db8::1", "2001:db8::2", Header{HasKey: true, Key: 1}, ProtoIPv6},
	} {
		t.Run(c.name, func(t *testing.T) {
			local, remote := netip.MustParseAddr(c.local), netip.MustParseAddr(c.remote)
			sent := AppendKeepalive(nil, c.h, local, remote)
			h, n, err := Parse(sent)
			if err != nil || h.Proto != c.proto || h.Key != c.h.Key {
				t.Fatalf("sent %x: %+v, %v", sent, h, err)
			}
			// The other side sees it with the addresses exchanged.
			reply, ok := KeepaliveReply(h.Proto, sent[n:], remote, local)
			if !ok {
				t.Fatalf("%x is not recognised", sent)
			}
			r, _, err := Parse(reply)
			if err != nil || r.Proto != ProtoKeepalive || r.HasKey != c.h.HasKey || r.Key != c.h.Key {
				t.Errorf("reply %x: %+v, %v", reply, r, err)
			}
			if _, ok := KeepaliveReply(h.Proto, sent[n:], local, remote); ok {
				t.Error("a keepalive is answered by the side that sent it")
			}
			third := netip.MustParseAddr("198.51.100.1")
			if _, ok := KeepaliveReply(h.Proto, sent[n:], remote, third); ok {
				t.Error("a keepalive for a third address is bounced")
			}
			for i := range sent[n:] {
				KeepaliveReply(h.Proto, sent[n:n+i], remote, local) // must not panic
			}
		})
	}
}

func TestKeepaliveWithOtherAddressesIsAnswered(t *testing.T) {
	local, remote := netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("203.0.113.7")
	private, inside, outside := netip.MustParseAddr("10.9.0.2"), netip.MustParseAddr("10.255.0.1"), netip.MustParseAddr("10.255.0.2")
	make := func(from, to netip.Addr, ttl byte) []byte {
		h := Header{}
		b := AppendKeepalive(nil, h, from, to)[h.Len():]
		b[8] = ttl
		return b
	}
	for _, c := range []struct {
		what       string
		proto      uint16
		packet     []byte
		theirs, ok bool
	}{
		{"the peer is behind a NAT", ProtoIPv4, make(private, local, 64), true, true},
		{"we are behind a NAT", ProtoIPv4, make(remote, private, 64), true, true},
		{"both are behind NATs", ProtoIPv4, make(private, inside, 255), true, true},
		{"VeloCloud's, with an address of the inside", ProtoIPv4, make(outside, local, 64), true, true},
		{"VeloCloud's, with addresses of the inside only", ProtoIPv4, make(outside, inside, 64), false, true},
		{"Huawei's", 0x0004, make(remote, local, 255), true, true},
		{"our own, on its way back", ProtoIPv4, make(local, remote, 255), false, false},
		{"our own, on its way back through a NAT", ProtoIPv4, make(local, private, 255), false, false},
		{"of another protocol type", 0x6558, make(private, local, 255), false, false},
	} {
		reply, theirs, ok := RenamedKeepaliveReply(c.proto, c.packet, local, remote)
		if ok != c.ok || theirs != c.theirs {
			t.Errorf("%s: answered %t, surely the peer's %t", c.what, ok, theirs)
		}
		if ok && !bytes.Equal(reply, c.packet[ipv4HeaderLen:]) {
			t.Errorf("%s: answered with %x", c.what, reply)
		}
		for i := range c.packet {
			RenamedKeepaliveReply(c.proto, c.packet[:i], local, remote) // must not panic
		}
	}
	data := make(private, local, 64)
	binary.BigEndian.PutUint16(data[ipv4HeaderLen+2:], ProtoIPv4)
	if _, _, ok := RenamedKeepaliveReply(ProtoIPv4, data, local, remote); ok {
		t.Error("GRE with something inside is taken for a keepalive")
	}
}

// The capture has the answers of two Cisco routers, 10.172.64.6 and .7 with key
// 40, to each other's keepalives. What comes back of ours is the same, filled up
// for Linux.
func TestKeepaliveIsAnsweredAsCiscoDoes(t *testing.T) {
	a, b := netip.MustParseAddr("10.172.64.6"), netip.MustParseAddr("10.172.64.7")
	sent := AppendKeepalive(nil, Header{HasKey: true, Key: 0x28}, a, b)
	h, n, err := Parse(sent)
	if err != nil {
		t.Fatal(err)
	}
	reply, ok := KeepaliveReply(h.Proto, sent[n:], b, a)
	if !ok {
		t.Fatal("the keepalive is not recognised")
	}
	answers := 0
	for _, p := range capture(t, "tcpdump/various_gre.pcap") {
		if h, _, err := Parse(p.gre); err != nil || h.Proto != ProtoKeepalive {
			continue
		}
		answers++
		if full := append(bytes.Clone(p.gre), make([]byte, leastLinux-len(p.gre))...); !bytes.Equal(reply, full) {
			t.Errorf("packet %d: the router answers %x, we %x", p.number, p.gre, reply)
		}
	}
	if answers == 0 {
		t.Error("no answer found in the capture")
	}
}

func TestCapturedPacketsParse(t *testing.T) {
	for file, want := range map[string]map[uint16]bool{
		"other/gre-sample.pcap":          {ProtoIPv4: true},
		"tcpdump/wccp_redirect_gre.pcap": {0x883e: true},
		"tcpdump/various_gre.pcap":       {ProtoIPv4: true, ProtoKeepalive: true, 0x2000: true, 0x8909: true, ProtoIPv6: true, ProtoTEB: true, 0x8847: true},
	} {
		packets := capture(t, file)
		if len(packets) == 0 {
			t.Errorf("%s: no GRE found", file)
		}
		for _, p := range packets {
			h, _, err := Parse(p.gre)
			if err != nil || !want[h.Proto] {
				t.Errorf("%s packet %d: %04x, %v", file, p.number, h.Proto, err)
			}
		}
	}
	for _, file := range []string{"malformed/gre-heapoverflow-1.pcap", "malformed/gre-heapoverflow-2.pcap"} {
		for _, p := range capture(t, file) {
			if h, _, err := Parse(p.gre); err == nil && h.Proto == ProtoIPv4 {
				t.Errorf("%s packet %d is taken for GRE", file, p.number)
			}
		}
	}
}

type captured struct {
	number   int
	src, dst netip.Addr
	gre      []byte
}

// capture reads the GRE packets over IPv4 of a pcap file with Ethernet frames
// or raw IP.
func capture(t *testing.T, name string) []captured {
	t.Helper()
	dir := os.Getenv("GRESEAL_VECTORS")
	if dir == "" {
		t.Skip("GRESEAL_VECTORS is not set: it names the folder with the captures")
	}
	b, err := os.ReadFile(filepath.Join(dir, "pcap", name))
	if err != nil {
		t.Fatal(err)
	}
	var order binary.ByteOrder = binary.LittleEndian
	if binary.BigEndian.Uint32(b)>>8 == 0xa1b2c3 || binary.BigEndian.Uint32(b) == 0xa1b23c4d {
		order = binary.BigEndian
	}
	link := order.Uint32(b[20:])
	var out []captured
	for at, number := 24, 1; at+16 <= len(b); number++ {
		n := int(order.Uint32(b[at+8:]))
		frame := b[at+16 : at+16+n]
		at += 16 + n
		if link == 1 { // Ethernet
			if len(frame) < 14 {
				continue
			}
			etype, l2 := binary.BigEndian.Uint16(frame[12:]), 14
			for etype == 0x8100 {
				etype, l2 = binary.BigEndian.Uint16(frame[l2+2:]), l2+4
			}
			if etype != 0x0800 {
				continue
			}
			frame = frame[l2:]
		}
		if len(frame) < 20 || frame[0]>>4 != 4 || frame[9] != IPProtocol {
			continue
		}
		head, total := int(frame[0]&15)*4, int(binary.BigEndian.Uint16(frame[2:]))
		if total < head || total > len(frame) {
			total = len(frame)
		}
		out = append(out, captured{
			number: number,
			src:    netip.AddrFrom4([4]byte(frame[12:16])),
			dst:    netip.AddrFrom4([4]byte(frame[16:20])),
			gre:    frame[head:total],
		})
	}
	return out
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{0, 0, 8, 0})
	f.Add([]byte{0xb0, 0, 0x65, 0x58, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 1, 9})
	f.Add(AppendKeepalive(nil, Header{HasKey: true, Key: 3}, netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")))
	f.Add(AppendKeepalive(nil, Header{}, netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := Parse(b)
		if err != nil {
			return
		}
		if n > len(b) || n != h.Len() {
			t.Fatalf("a header of %d octets in %d", n, len(b))
		}
		// What was read is written back the same, but for ignored bits and
		// the checksum.
		again, m, err := Parse(h.Append(nil, b[n:]))
		if err != nil || again != h || m != n {
			t.Fatalf("%+v becomes %+v, %v", h, again, err)
		}
		KeepaliveReply(h.Proto, b[n:], netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"))
		RenamedKeepaliveReply(h.Proto, b[n:], netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"))
		KeepaliveReply(h.Proto, b[n:], netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2"))
	})
}

func BenchmarkSum1400(b *testing.B) {
	p := make([]byte, 1400)
	b.SetBytes(1400)
	for b.Loop() {
		Sum(p, 0)
	}
}

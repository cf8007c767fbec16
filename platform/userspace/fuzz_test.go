package userspace

import (
	"bytes"
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"greseal/crypto/esp"
	"greseal/platform/gre"
	"greseal/platform/userspace/vnet"
)

func unsafeBytes(v *unix.Iovec) []byte { return unsafe.Slice(v.Base, int(v.Len)) }

// FuzzSegments gives the segmentation any vnet header with any packet: it
// refuses, or every segment fits where it was promised to.
func FuzzSegments(f *testing.F) {
	f.Add([]byte{1, vnet.GSOTCP4, 0, 0, 100, 0, 20, 0, 16, 0}, packetSpec{flags: vnet.TcpACK, payload: pattern(950, 0)}.build(), false)
	f.Add([]byte{1, vnet.GSOUDP, 0, 0, 10, 0, 40, 0, 6, 0}, packetSpec{udp: true, v6: true, payload: pattern(95, 0)}.build(), false)
	f.Add([]byte{1, 0, 0, 0, 0, 0, 34, 0, 6, 0}, packetSpec{udp: true, ethernet: true, payload: pattern(9, 0)}.build(), true)
	f.Fuzz(func(t *testing.T, head, p []byte, ethernet bool) {
		if len(head) < vnet.HeaderLen || len(p) == 0 || len(p) > maxPacket {
			return
		}
		var h vnet.Header
		h.Read(head)
		var s vnet.Segments
		if s.Start(&h, bytes.Clone(p), ethernet) != nil {
			return
		}
		total := 0
		for i := range s.N {
			dst := make([]byte, s.Max)
			total += s.Write(i, dst)
			if total > len(p)+s.N*s.Hdr+1 {
				t.Fatal("the segments hold more than the packet")
			}
		}
	})
}

// FuzzMerge gives the coalescer any packets: what is written falls into the
// packets that were given.
func FuzzMerge(f *testing.F) {
	f.Add(bytes.Join(stream(3, 20, func(int, *packetSpec) {}), nil), uint16(60), false)
	f.Add(bytes.Join(stream(3, 20, func(_ int, s *packetSpec) { s.udp, s.v6 = true, true }), nil), uint16(68), false)
	f.Add(bytes.Join(stream(3, 20, func(_ int, s *packetSpec) { s.ethernet = true }), nil), uint16(74), true)
	f.Fuzz(func(t *testing.T, b []byte, size uint16, ethernet bool) {
		if size == 0 {
			return
		}
		var packets [][]byte
		for len(b) > 0 && len(packets) < 100 {
			n := min(int(size), len(b))
			packets = append(packets, b[:n])
			b = b[n:]
		}
		tun := new(fakeTUN)
		coalesce(tun, &device{vnet: true, ethernet: ethernet}, packets)
		n := 0
		for _, w := range tun.written {
			n += len(split(t, w, ethernet))
		}
		if n != len(packets) {
			t.Fatalf("%d packets in, %d out", len(packets), n)
		}
	})
}

// FuzzInner gives the parsers behind ESP any payload.
func FuzzInner(f *testing.F) {
	local, remote := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	f.Add([]byte{0x45, 0, 0, 24, 0, 0, 0, 0, 64, 47, 0, 0, 192, 0, 2, 2, 192, 0, 2, 1, 0, 0, 8, 0}, uint8(4))
	f.Add(append(append([]byte{0x60, 0, 0, 0, 0, 12, 60, 64}, make([]byte, 32)...), 47, 0, 4, 1, 4, 1, 0, 0, 0, 0, 8, 0), uint8(41))
	f.Add(append(append([]byte{0x60, 0, 0, 0, 0, 16, 44, 64}, make([]byte, 32)...), 47, 0, 0, 1, 0, 0, 0, 9, 0, 0, 8, 0, 1, 2, 3, 4), uint8(41))
	f.Fuzz(func(t *testing.T, b []byte, next uint8) {
		for _, ends := range [][2]netip.Addr{{local, remote}, {netip.IPv6Unspecified(), netip.IPv6Unspecified()}} {
			p, ecn, v := innerGRE(b, next, ends[0], ends[1])
			if v == fragment {
				var r reassembler
				if piece, ok := pieceOf(b, next); ok {
					r.add(new(device), &piece, ecn, time.Time{})
				}
			}
			if v != accept {
				continue
			}
			if ecn > 3 || len(p) > len(b) || next != esp.NextIPv4 && next != esp.NextIPv6 {
				t.Fatalf("accepted: %d octets, ECN %d", len(p), ecn)
			}
			if h, n, err := gre.Parse(p); err == nil && h.Proto == gre.ProtoIPv4 {
				vnet.FindIP(p[n:], false)
			}
		}
	})
}

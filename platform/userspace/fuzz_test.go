package userspace

import (
	"net/netip"
	"testing"
	"time"

	"greseal/crypto/esp"
	"greseal/platform/gre"
	"greseal/platform/userspace/oversize"
	"greseal/platform/userspace/vnet"
)

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
				var r oversize.Reassembler
				if piece, ok := pieceOf(b, next); ok {
					r.Add(1, &piece, ecn, time.Time{})
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

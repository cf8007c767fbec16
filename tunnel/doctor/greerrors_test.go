package doctor

import (
	"net/netip"
	"slices"
	"testing"
)

func TestICMPErrorsAboutGRE(t *testing.T) {
	local, remote := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	ip := func(proto byte, from, to netip.Addr) []byte {
		b := make([]byte, 20)
		b[0], b[9] = 0x45, proto
		copy(b[12:], from.AsSlice())
		copy(b[16:], to.AsSlice())
		return b
	}
	icmp := func(typ, code byte, quoted []byte) []byte {
		return slices.Concat(ip(1, remote, local), []byte{typ, code, 0, 0, 0, 0, 0, 0}, quoted, make([]byte, 8))
	}
	gre := ip(47, local, remote)
	for name, c := range map[string]struct {
		b    []byte
		want bool
	}{
		"port unreachable":      {icmp(3, 3, gre), true},
		"protocol unreachable":  {icmp(3, 2, gre), true},
		"fragmentation needed":  {icmp(3, 4, gre), false},
		"network unreachable":   {icmp(3, 0, gre), false},
		"about ESP":             {icmp(3, 2, ip(50, local, remote)), false},
		"about another tunnel":  {icmp(3, 3, ip(47, local, netip.MustParseAddr("192.0.2.3"))), false},
		"about a packet for us": {icmp(3, 3, ip(47, remote, local)), false},
		"an echo reply":         {icmp(0, 0, gre), false},
		"cut short":             {icmp(3, 3, gre)[:40], false},
	} {
		if got := aboutGRE(c.b, local, remote); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	l6, r6 := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	b := make([]byte, 8+40+8)
	b[0], b[8], b[8+6] = 1, 0x60, 47
	copy(b[16:], l6.AsSlice())
	copy(b[32:], r6.AsSlice())
	if !aboutGRE(b, l6, r6) || aboutGRE(b, r6, l6) || aboutGRE(b[:40], l6, r6) {
		t.Error("ICMPv6 is judged wrongly")
	}
}

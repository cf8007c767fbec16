package doctor

import (
	"net/netip"
	"testing"
)

// A tunnel's policy is for packets with its GRE key alone; a packet without one is
// for the guard.
func TestAKeyInAPolicy(t *testing.T) {
	local, remote := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.1")
	guard := xfrmPolicy{dir: 1, src: netip.MustParsePrefix("0.0.0.0/0"), dst: netip.PrefixFrom(remote, 32), proto: 47, block: true, priority: 3047}
	for key, want := range map[uint32]string{5: "key 5", 0x10002: "key 65538", 0x50000: "key 327680"} {
		keyed := xfrmPolicy{dir: 1, src: netip.PrefixFrom(local, 32), dst: netip.PrefixFrom(remote, 32), proto: 47, protects: true, priority: 1047,
			sport: uint16(key >> 16), dport: uint16(key)}
		if s := keyed.String(); s != "dir out src 192.0.2.1/32 dst 198.51.100.1/32 proto 47 "+want {
			t.Error(s)
		}
		if p := best([]xfrmPolicy{keyed, guard}, 1, local, remote, 47, 0); p == nil || !p.block {
			t.Errorf("a packet without a key falls under %v", p)
		}
	}
}

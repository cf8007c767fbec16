package labnet

import (
	"errors"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// BlockGRE keeps this side from sending GRE to remote or taking it from there
// in the clear when its SAs are gone, so that whatever clear GRE the wire shows is
// the other side's. The selectors differ from those of the policies that
// protect the tunnel, which go first.
func (n *NS) BlockGRE(remote string) {
	host, any := prefix(remote), &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
	if netip.MustParseAddr(remote).Is6() {
		any = &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}
	}
	n.Must("block clear GRE", func() error {
		for _, p := range []*netlink.XfrmPolicy{
			{Dir: netlink.XFRM_DIR_OUT, Src: any, Dst: host},
			{Dir: netlink.XFRM_DIR_IN, Src: host, Dst: any},
		} {
			p.Proto, p.Priority, p.Action = unix.IPPROTO_GRE, 2000000000, netlink.XFRM_POLICY_BLOCK
			if err := netlink.XfrmPolicyAdd(p); err != nil && !errors.Is(err, unix.EEXIST) {
				return err
			}
		}
		return nil
	})
}

// BlockErrors keeps this side's kernel from answering a decrypted packet that no
// interface takes, as before its GRE interface is made, by an ICMP error in the clear
// which quotes it: so that whatever of that kind the wire shows is the other side's.
func (n *NS) BlockErrors() {
	for _, e := range [][]string{
		{"0.0.0.0/0", "icmp", "3"}, {"0.0.0.0/0", "icmp", "11"}, {"0.0.0.0/0", "icmp", "12"},
		{"::/0", "ipv6-icmp", "1"}, {"::/0", "ipv6-icmp", "3"}, {"::/0", "ipv6-icmp", "4"},
	} {
		n.Run("ip", "xfrm", "policy", "add", "dir", "out", "src", e[0], "dst", e[0], "proto", e[1], "type", e[2], "priority", "2000000000", "action", "block")
	}
}

func prefix(address string) *net.IPNet {
	a := netip.MustParseAddr(address)
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
}

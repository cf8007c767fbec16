package labnet

import (
	"errors"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// BlockGRE keeps this side from sending GRE to remote or taking it from there
// in clear when its SAs are gone, so that whatever clear GRE the wire shows is
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

func prefix(address string) *net.IPNet {
	a := netip.MustParseAddr(address)
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
}

package demo

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"greseal/platform/netlink"
	"greseal/platform/rtnl"
)

// The addresses of the demonstration (outside: RFC 5737).
var (
	leftOuter  = netip.MustParsePrefix("192.0.2.2/24")
	leftGate   = netip.MustParsePrefix("192.0.2.1/24")
	rightOuter = netip.MustParsePrefix("198.51.100.2/24")
	rightGate  = netip.MustParsePrefix("198.51.100.1/24")

	leftTunnel  = netip.MustParsePrefix("10.255.0.1/30")
	rightTunnel = netip.MustParsePrefix("10.255.0.2/30")
	leftLAN     = netip.MustParsePrefix("10.1.0.1/24")
	rightLAN    = netip.MustParsePrefix("10.2.0.1/24")
)

// Interfaces: each side has a WAN, the wire has one leading to each side.
const (
	wanName   = "wan"
	toLeft    = "to-left"
	toRight   = "to-right"
	forwardOn = "/proc/sys/net/ipv4/ip_forward"
)

// world is the three namespaces: left and right with a default route to the wire,
// which forwards between them like any provider.
type world struct {
	left, wire, right *namespace
}

func newWorld() (*world, error) {
	w := &world{}
	for _, n := range []struct {
		to   **namespace
		name string
	}{{&w.left, "left"}, {&w.wire, "the wire"}, {&w.right, "right"}} {
		ns, err := newNamespace(n.name)
		if err != nil {
			w.close()
			return nil, err
		}
		*n.to = ns
	}
	if err := w.connect(); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *world) close() {
	for _, n := range []*namespace{w.left, w.wire, w.right} {
		if n != nil {
			n.close()
		}
	}
}

func (w *world) connect() error {
	err := w.wire.netlink(func(h *netlink.Conn) error {
		for _, c := range []struct {
			name string
			side *namespace
			gate netip.Prefix
		}{{toLeft, w.left, leftGate}, {toRight, w.right, rightGate}} {
			if err := addVeth(h, c.name, wanName, c.side); err != nil {
				return err
			}
			if err := addAddress(h, c.name, c.gate); err != nil {
				return err
			}
		}
		if err := os.WriteFile(forwardOn, []byte("1\n"), 0); err != nil {
			return fmt.Errorf("let the wire forward: %w", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, s := range []struct {
		side       *namespace
		outer, lan netip.Prefix
		gate       netip.Addr
	}{{w.left, leftOuter, leftLAN, leftGate.Addr()}, {w.right, rightOuter, rightLAN, rightGate.Addr()}} {
		err := s.side.netlink(func(h *netlink.Conn) error {
			if err := addAddress(h, wanName, s.outer); err != nil {
				return err
			}
			if err := addAddress(h, "lo", netip.PrefixFrom(s.lan.Addr(), 32)); err != nil {
				return err
			}
			return addDefault(h, wanName, s.gate)
		})
		if err != nil {
			return fmt.Errorf("set up %s: %w", s.side.name, err)
		}
	}
	return nil
}

// addVeth makes a pair: name here, peer in another namespace.
func addVeth(h *netlink.Conn, name, peer string, in *namespace) error {
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	other := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	nl.NewIfInfomsgChild(other, unix.AF_UNSPEC)
	other.AddRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(peer))
	other.AddRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(in.fd.Fd())))
	err := h.Do(netlink.Request(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL,
		nl.NewIfInfomsg(unix.AF_UNSPEC), nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)), info))
	if errors.Is(err, unix.EOPNOTSUPP) {
		return errors.New("this kernel has no veth interfaces; load the module veth (OpenWrt: opkg install kmod-veth)")
	}
	if err != nil {
		return fmt.Errorf("make a veth pair: %w", err)
	}
	return nil
}

// addAddress gives an interface an address and takes it up.
func addAddress(h *netlink.Conn, name string, a netip.Prefix) error {
	l, err := rtnl.LinkByName(h, name)
	if err != nil {
		return err
	}
	m := nl.NewIfAddrmsg(unix.AF_INET)
	m.Prefixlen = uint8(a.Bits())
	m.Index = uint32(l.Index)
	ip := a.Addr().AsSlice()
	err = h.Do(netlink.Request(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, m,
		nl.NewRtAttr(unix.IFA_LOCAL, ip), nl.NewRtAttr(unix.IFA_ADDRESS, ip)))
	if err != nil {
		return fmt.Errorf("give %s the address %s: %w", name, a, err)
	}
	return rtnl.SetUp(h, l.Index, true)
}

func addDefault(h *netlink.Conn, name string, via netip.Addr) error {
	l, err := rtnl.LinkByName(h, name)
	if err != nil {
		return err
	}
	m := nl.NewRtMsg()
	m.Family = unix.AF_INET
	err = h.Do(netlink.Request(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, m,
		nl.NewRtAttr(unix.RTA_GATEWAY, via.AsSlice()), nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(l.Index)))))
	if err != nil {
		return fmt.Errorf("lay the default route: %w", err)
	}
	return nil
}

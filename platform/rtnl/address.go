package rtnl

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"greseal/platform/inet"
	"greseal/platform/netlink"
)

// Protocol marks our routes and, where the kernel keeps it (5.18), our addresses
// (contract 8). It is not in iproute2's rt_protos.
const Protocol = 147

const (
	ifaProto   = 11 // IFA_PROTO
	ifaFlagBit = 8  // IFA_FLAGS
)

// Address is one address of an interface as the kernel reports it.
type Address struct {
	Index    int
	Prefix   netip.Prefix
	Scope    uint8
	Flags    uint32
	Protocol uint8
}

// Addresses reads the addresses of one interface, or (0) of all.
func Addresses(n *netlink.Conn, index int) ([]Address, error) {
	m := nl.NewIfAddrmsg(unix.AF_UNSPEC)
	m.Index = uint32(index) // a hint: kernels without strict checking ignore it
	all, err := netlink.Dump(n, unix.RTM_GETADDR, unix.RTM_NEWADDR, func(p []byte) (Address, bool, error) {
		a, err := ParseAddress(p)
		return a, a.Prefix.IsValid() && (index == 0 || a.Index == index), err
	}, m)
	if err != nil {
		return nil, fmt.Errorf("read addresses: %w", err)
	}
	return all, nil
}

// ParseAddress reads an RTM_NEWADDR or RTM_DELADDR.
func ParseAddress(p []byte) (Address, error) {
	if len(p) < unix.SizeofIfAddrmsg {
		return Address{}, errors.New("address message: too short")
	}
	a := Address{
		Flags: uint32(p[2]),
		Scope: p[3],
		Index: int(binary.NativeEndian.Uint32(p[4:])),
	}
	var local, address netip.Addr
	err := netlink.EachAttr(p[unix.SizeofIfAddrmsg:], func(typ uint16, v []byte) error {
		switch typ {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(v)
		case unix.IFA_ADDRESS:
			address, _ = netip.AddrFromSlice(v)
		case ifaFlagBit:
			a.Flags = netlink.Uint32(v)
		case ifaProto:
			if len(v) > 0 {
				a.Protocol = v[0]
			}
		}
		return nil
	})
	if !local.IsValid() {
		local = address // IPv6 without a peer address
	}
	a.Prefix = netip.PrefixFrom(local, int(p[1]))
	return a, err
}

// ChangeAddress adds (RTM_NEWADDR) or removes (RTM_DELADDR) an address.
func ChangeAddress(n *netlink.Conn, typ uint16, l *Link, a netip.Prefix) error {
	m := nl.NewIfAddrmsg(inet.Of(a.Addr()).Family)
	m.Prefixlen = uint8(a.Bits())
	m.Index = uint32(l.Index)
	raw := a.Addr().AsSlice()
	req := netlink.Request(typ, 0, m, nl.NewRtAttr(unix.IFA_LOCAL, raw), nl.NewRtAttr(unix.IFA_ADDRESS, raw))
	if typ == unix.RTM_NEWADDR {
		req.Flags |= unix.NLM_F_CREATE | unix.NLM_F_REPLACE
		req.AddData(nl.NewRtAttr(ifaProto, []byte{Protocol}))
		switch {
		case a.Addr().Is6() && !l.Ethernet():
			// No duplicate address detection: a point-to-point link needs none, and
			// without an SA it would wait in vain.
			req.AddData(nl.NewRtAttr(ifaFlagBit, nl.Uint32Attr(unix.IFA_F_NODAD)))
		case a.Addr().Is4() && l.Ethernet() && a.Bits() < 31:
			req.AddData(nl.NewRtAttr(unix.IFA_BROADCAST, broadcast(a)))
		}
	}
	return n.Do(req)
}

func broadcast(p netip.Prefix) []byte {
	b := p.Addr().As4()
	v := binary.BigEndian.Uint32(b[:]) | uint32(1)<<(32-p.Bits()) - 1
	return binary.BigEndian.AppendUint32(nil, v)
}

// InterfaceAddr picks the source address of an interface: the first of that IP
// version that is global, not deprecated, not tentative and, for IPv6, preferably
// stable rather than temporary.
func InterfaceAddr(n *netlink.Conn, name string, v6 bool) (netip.Addr, error) {
	l, err := LinkByName(n, name)
	if err != nil {
		return netip.Addr{}, err
	}
	all, err := Addresses(n, l.Index)
	if err != nil {
		return netip.Addr{}, err
	}
	var best netip.Addr
	bestRank := 0
	for _, a := range all {
		if a.Prefix.Addr().Is6() != v6 || a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0 {
			continue
		}
		rank := 4
		if a.Scope != unix.RT_SCOPE_UNIVERSE {
			rank -= 3
		}
		if a.Flags&unix.IFA_F_DEPRECATED != 0 {
			rank -= 2
		}
		if v6 && a.Flags&unix.IFA_F_TEMPORARY != 0 {
			rank--
		}
		if rank > bestRank || !best.IsValid() {
			best, bestRank = a.Prefix.Addr(), rank
		}
	}
	if !best.IsValid() {
		return netip.Addr{}, fmt.Errorf("interface %s has no usable %s address yet", name, inet.V(v6).Name)
	}
	return best, nil
}

// LocalAddrs lists the addresses of this machine; contract 16 forbids a peer to
// choose one of them as its GRE address.
func LocalAddrs(n *netlink.Conn) ([]netip.Addr, error) {
	all, err := Addresses(n, 0)
	if err != nil {
		return nil, err
	}
	addrs := make([]netip.Addr, 0, len(all))
	for _, a := range all {
		addrs = append(addrs, a.Prefix.Addr())
	}
	return addrs, nil
}

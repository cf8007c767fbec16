package platform

import (
	"encoding/binary"
	"errors"
	"fmt"
	"greseal/platform/netlink"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// ownProtocol marks the routes and, where the kernel keeps it (5.18), the
// addresses that are ours (contract 8). It is not in iproute2's rt_protos.
const ownProtocol = 147

const (
	ifaProto   = 11 // IFA_PROTO
	ifaFlagBit = 8  // IFA_FLAGS
)

// ifaddr is one address of an interface as the kernel reports it.
type ifaddr struct {
	index  int
	prefix netip.Prefix
	scope  uint8
	flags  uint32
	proto  uint8
}

func family(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// listAddresses reads the addresses of one interface, or (0) of all.
func listAddresses(n *netlink.Conn, index int) ([]ifaddr, error) {
	m := nl.NewIfAddrmsg(unix.AF_UNSPEC)
	m.Index = uint32(index) // a hint: kernels without strict checking ignore it
	all, err := netlink.Dump(n, unix.RTM_GETADDR, unix.RTM_NEWADDR, func(p []byte) (ifaddr, bool, error) {
		a, err := parseAddress(p)
		return a, a.prefix.IsValid() && (index == 0 || a.index == index), err
	}, m)
	if err != nil {
		return nil, fmt.Errorf("read addresses: %w", err)
	}
	return all, nil
}

func parseAddress(p []byte) (ifaddr, error) {
	if len(p) < unix.SizeofIfAddrmsg {
		return ifaddr{}, errors.New("address message: too short")
	}
	a := ifaddr{
		flags: uint32(p[2]),
		scope: p[3],
		index: int(binary.NativeEndian.Uint32(p[4:])),
	}
	var local, address netip.Addr
	err := netlink.EachAttr(p[unix.SizeofIfAddrmsg:], func(typ uint16, v []byte) error {
		switch typ {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(v)
		case unix.IFA_ADDRESS:
			address, _ = netip.AddrFromSlice(v)
		case ifaFlagBit:
			a.flags = netlink.Uint32(v)
		case ifaProto:
			if len(v) > 0 {
				a.proto = v[0]
			}
		}
		return nil
	})
	if !local.IsValid() {
		local = address // IPv6 without a peer address
	}
	a.prefix = netip.PrefixFrom(local, int(p[1]))
	return a, err
}

// changeAddress adds (RTM_NEWADDR) or removes (RTM_DELADDR) an address.
func changeAddress(n *netlink.Conn, typ uint16, l *LinkInfo, a netip.Prefix) error {
	m := nl.NewIfAddrmsg(family(a.Addr()))
	m.Prefixlen = uint8(a.Bits())
	m.Index = uint32(l.Index)
	raw := a.Addr().AsSlice()
	req := netlink.Request(typ, 0, m, nl.NewRtAttr(unix.IFA_LOCAL, raw), nl.NewRtAttr(unix.IFA_ADDRESS, raw))
	if typ == unix.RTM_NEWADDR {
		req.Flags |= unix.NLM_F_CREATE | unix.NLM_F_REPLACE
		req.AddData(nl.NewRtAttr(ifaProto, []byte{ownProtocol}))
		switch {
		case a.Addr().Is6() && !l.Ethernet():
			// Nobody else can have it on a point-to-point link, and while no
			// SA exists duplicate address detection would wait in vain.
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

// InterfaceAddr picks the address of an interface to come from: the first one
// of that IP version that is global, not deprecated, not tentative and, for
// IPv6, rather stable than temporary.
func InterfaceAddr(n *netlink.Conn, name string, v6 bool) (netip.Addr, error) {
	l, err := LinkByName(n, name)
	if err != nil {
		return netip.Addr{}, err
	}
	all, err := listAddresses(n, l.Index)
	if err != nil {
		return netip.Addr{}, err
	}
	var best netip.Addr
	bestRank := 0
	for _, a := range all {
		if a.prefix.Addr().Is6() != v6 || a.flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0 {
			continue
		}
		rank := 4
		if a.scope != unix.RT_SCOPE_UNIVERSE {
			rank -= 3
		}
		if a.flags&unix.IFA_F_DEPRECATED != 0 {
			rank -= 2
		}
		if v6 && a.flags&unix.IFA_F_TEMPORARY != 0 {
			rank--
		}
		if rank > bestRank || !best.IsValid() {
			best, bestRank = a.prefix.Addr(), rank
		}
	}
	if !best.IsValid() {
		version := "IPv4"
		if v6 {
			version = "IPv6"
		}
		return netip.Addr{}, fmt.Errorf("interface %s has no usable %s address yet", name, version)
	}
	return best, nil
}

// LocalAddrs lists the addresses of this machine; contract 16 forbids a peer to
// choose one of them as its GRE address.
func LocalAddrs(n *netlink.Conn) ([]netip.Addr, error) {
	all, err := listAddresses(n, 0)
	if err != nil {
		return nil, err
	}
	addrs := make([]netip.Addr, 0, len(all))
	for _, a := range all {
		addrs = append(addrs, a.prefix.Addr())
	}
	return addrs, nil
}

// LocalAddrs is LocalAddrs of the network's namespace.
func (n *Network) LocalAddrs() ([]netip.Addr, error) { return LocalAddrs(n.nl) }

// InterfaceAddrs lists the addresses of one interface: none when it is not there.
func (n *Network) InterfaceAddrs(name string) ([]netip.Addr, error) {
	l, err := LinkByName(n.nl, name)
	if errors.Is(err, ErrNoLink) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all, err := listAddresses(n.nl, l.Index)
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	for _, a := range all {
		if a.flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) == 0 {
			addrs = append(addrs, a.prefix.Addr())
		}
	}
	return addrs, nil
}

// Link reads an interface; the error wraps ErrNoLink when it is not there.
func (n *Network) Link(name string) (*LinkInfo, error) { return LinkByName(n.nl, name) }

// HasElsewhere tells whether an interface other than link has an address.
func (n *Network) HasElsewhere(link string, addr netip.Addr) (bool, error) {
	own := 0
	if l, err := LinkByName(n.nl, link); err == nil {
		own = l.Index
	} else if !errors.Is(err, ErrNoLink) {
		return false, err
	}
	all, err := listAddresses(n.nl, 0)
	return slices.ContainsFunc(all, func(a ifaddr) bool { return a.prefix.Addr() == addr && a.index != own }), err
}

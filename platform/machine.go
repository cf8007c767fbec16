package platform

import (
	"errors"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"greseal/platform/netlink"
	"greseal/platform/rtnl"
)

// What the machine has besides our own interfaces.

// LinkInfo is what the kernel reports about an interface.
type LinkInfo = rtnl.Link

// ErrNoLink reports that there is no interface of that name or index.
var ErrNoLink = rtnl.ErrNoLink

// LocalAddrs is LocalAddrs of the network's namespace.
func (n *Network) LocalAddrs() ([]netip.Addr, error) { return rtnl.LocalAddrs(n.nl) }

// InterfaceAddrs lists the addresses of one interface: none when it is not there.
func (n *Network) InterfaceAddrs(name string) ([]netip.Addr, error) {
	l, err := rtnl.LinkByName(n.nl, name)
	if errors.Is(err, rtnl.ErrNoLink) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all, err := rtnl.Addresses(n.nl, l.Index)
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	for _, a := range all {
		if a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) == 0 {
			addrs = append(addrs, a.Prefix.Addr())
		}
	}
	return addrs, nil
}

// Link reads an interface; the error wraps ErrNoLink when it is not there.
func (n *Network) Link(name string) (*rtnl.Link, error) { return rtnl.LinkByName(n.nl, name) }

// HasElsewhere reports whether an interface other than link has an address.
func (n *Network) HasElsewhere(link string, addr netip.Addr) (bool, error) {
	own := 0
	if l, err := rtnl.LinkByName(n.nl, link); err == nil {
		own = l.Index
	} else if !errors.Is(err, rtnl.ErrNoLink) {
		return false, err
	}
	all, err := rtnl.Addresses(n.nl, 0)
	return slices.ContainsFunc(all, func(a rtnl.Address) bool { return a.Prefix.Addr() == addr && a.Index != own }), err
}

// ForeignGRE is ForeignGRE of the network's namespace.
func (n *Network) ForeignGRE() (map[netip.Addr]string, error) { return rtnl.ForeignGRE(n.nl) }

// foreignRoutes reads the routes that are not ours and do not lead into one of
// our interfaces.
func foreignRoutes(n *netlink.Conn, fam int, ours map[int]bool) ([]rtnl.Route, error) {
	routes, err := rtnl.Routes(n, fam, 0)
	return slices.DeleteFunc(routes, func(r rtnl.Route) bool { return r.Protocol == rtnl.Protocol || ours[r.Oif] }), err
}

// underlay finds the best of the foreign routes to an address: longest prefix,
// then lowest metric. One that discards packets is returned with false.
func underlay(foreign []rtnl.Route, to netip.Addr) (rtnl.Route, bool) {
	var best rtnl.Route
	found := false
	for _, r := range foreign {
		if !r.Alive() || !r.Dst.Contains(to) ||
			r.Table != unix.RT_TABLE_MAIN && r.Table != unix.RT_TABLE_DEFAULT {
			continue
		}
		better := !found ||
			best.Table != r.Table && r.Table == unix.RT_TABLE_MAIN ||
			best.Table == r.Table && (r.Dst.Bits() > best.Dst.Bits() ||
				r.Dst.Bits() == best.Dst.Bits() && r.Metric < best.Metric)
		if better {
			best, found = r, true
		}
	}
	return best, found && best.Type == unix.RTN_UNICAST // else closed on purpose
}

package platform

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"greseal/platform/inet"
	"greseal/platform/netlink"
	"greseal/platform/rtnl"
)

// RouteInfo is the underlay's route to a peer.
type RouteInfo struct {
	Local   netip.Addr // source address
	IfIndex int
	IfName  string
	Gateway netip.Addr // unset when the peer is on the link
	MTU     int        // of the interface or, if lower, of the route
	PathMTU int        // MTU, or what the kernel has learned by ICMP if lower

	typ uint8 // unix.RTN_UNICAST, unix.RTN_LOCAL
}

// Why there is no route to a peer now; this may pass.
var (
	ErrNoRoute  = errors.New("no route")
	ErrNoSource = errors.New("no source address")
)

// noSource is an ErrNoSource with a text of its own.
type noSource string

func (e noSource) Error() string { return string(e) }

// Is: without a source address there is no route either.
func (noSource) Is(err error) bool { return err == ErrNoSource || err == ErrNoRoute }

// RouteTo asks the kernel how packets reach remote, from localHint if that is
// set, through interface ifName and from an address of it if that is set, with
// fwmark mark. It never answers with one of our own interfaces. The error wraps
// ErrNoRoute or ErrNoSource when only time or the network can help.
func (n *Network) RouteTo(remote, localHint netip.Addr, ifName string, mark uint32) (RouteInfo, error) {
	if ifName == "" {
		ifName = remote.Zone()
	}
	remote, localHint = inet.Plain(remote), inet.Plain(localHint)
	if localHint.IsValid() && localHint.Is4() != remote.Is4() {
		return RouteInfo{}, fmt.Errorf("local address %s and remote address %s are of different IP versions", localHint, remote)
	}
	// Kernels differ in how they answer for a source that does not exist.
	if localHint.IsValid() && !n.isLocal(localHint) {
		return RouteInfo{}, noSource(fmt.Sprintf("local address %s is not on this machine", localHint))
	}
	if ifName == "" {
		return n.way(remote, localHint, 0, mark)
	}
	l, err := rtnl.LinkByName(n.nl, ifName)
	if errors.Is(err, rtnl.ErrNoLink) {
		return RouteInfo{}, noSource(fmt.Sprintf("interface %s does not exist", ifName))
	}
	if err != nil {
		return RouteInfo{}, err
	}
	if localHint.IsValid() {
		return n.way(remote, localHint, l.Index, mark)
	}
	info, err := n.way(remote, netip.Addr{}, l.Index, mark)
	// An interface without an address would borrow another one's.
	own, aerr := sourceOn(n.nl, l, info.Local, remote)
	if aerr != nil {
		return RouteInfo{}, aerr
	}
	if err != nil || own == info.Local {
		return info, err
	}
	return n.way(remote, own, l.Index, mark)
}

// isLocal reports whether an address is one of this machine's.
func (n *Network) isLocal(a netip.Addr) bool {
	if info, err := n.lookup(a, netip.Addr{}, 0, 0); err == nil && info.typ == unix.RTN_LOCAL {
		return true
	}
	all, err := rtnl.LocalAddrs(n.nl) // routing rules may hide it from the lookup
	return err != nil || slices.Contains(all, a)
}

// sourceOn is the source address for an interface: the one that the kernel chose if it
// is the interface's own, else its best.
func sourceOn(s *netlink.Conn, l *rtnl.Link, chosen, remote netip.Addr) (netip.Addr, error) {
	all, err := rtnl.Addresses(s, l.Index)
	if err != nil {
		return netip.Addr{}, err
	}
	usable := func(a netip.Addr) bool {
		return slices.ContainsFunc(all, func(i rtnl.Address) bool {
			return i.Prefix.Addr() == a && (i.Scope < unix.RT_SCOPE_LINK || remote.IsLinkLocalUnicast())
		})
	}
	if chosen.IsValid() && usable(chosen) {
		return chosen, nil
	}
	best, err := rtnl.InterfaceAddr(s, l.Name, remote.Is6())
	if err != nil {
		return netip.Addr{}, noSource(err.Error())
	}
	if !usable(best) {
		return netip.Addr{}, noSource(fmt.Sprintf("interface %s has no address but %s, which reaches its own link only", l.Name, best))
	}
	return best, nil
}

// way finds the route to remote below the tunnels.
func (n *Network) way(remote, local netip.Addr, oif int, mark uint32) (RouteInfo, error) {
	info, err := n.lookup(remote, local, oif, mark)
	if err == nil {
		l, lerr := rtnl.LinkByIndex(n.nl, info.IfIndex)
		if lerr != nil {
			return RouteInfo{}, lerr
		}
		if !l.Ours() {
			return info.through(l, remote)
		}
		err = unix.ENETUNREACH
	}
	why := forbids(err)
	if oif == 0 && noWay(err) && why == "" {
		// One of our own routes may cover it: look below it.
		info, err2 := n.around(remote, local, mark)
		if err2 == nil {
			return info, nil
		}
		if errors.Is(err2, errUnreachable) {
			why = err2.Error()
		}
	}
	if noWay(err) {
		if remote.Is6() && inet.Off6() {
			why = "IPv6 is off here (net.ipv6.conf.all.disable_ipv6)"
		}
		if why != "" {
			why = ", " + why
		}
		return RouteInfo{}, fmt.Errorf("%w to %s%s: wait for the WAN or add one", ErrNoRoute, remote, why)
	}
	return RouteInfo{}, fmt.Errorf("look up the route to %s: %w", remote, err)
}

// noWay recognizes the answers by which kernels say that there is no route, that it
// discards packets (EINVAL from a blackhole, EACCES from a prohibit route), or that
// the IP version is switched off.
func noWay(err error) bool {
	for _, e := range []error{unix.ENETUNREACH, unix.EINVAL, unix.EHOSTUNREACH, unix.ENETDOWN, unix.ENODEV, unix.EADDRNOTAVAIL, unix.EACCES, unix.EOPNOTSUPP, unix.EAFNOSUPPORT} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// forbids is what an error says of a route or rule that discards packets, of the types
// that greseal itself never adds.
func forbids(err error) string {
	switch {
	case errors.Is(err, unix.EINVAL):
		return "a blackhole route or rule covers it"
	case errors.Is(err, unix.EACCES):
		return "a prohibit route or rule covers it"
	}
	return ""
}

// errUnreachable says that the best route to an address discards packets, and isn't ours.
var errUnreachable = errors.New("an unreachable route covers it")

func (n *Network) around(remote, localHint netip.Addr, mark uint32) (RouteInfo, error) {
	all, err := rtnl.Links(n.nl)
	if err != nil {
		return RouteInfo{}, err
	}
	ours := make(map[int]bool)
	for _, l := range all {
		if l.Ours() {
			ours[l.Index] = true
		}
	}
	routes, err := foreignRoutes(n.nl, inet.Of(remote).Family, ours)
	if err != nil {
		return RouteInfo{}, err
	}
	r, ok := underlay(routes, remote)
	switch {
	case !ok && r.Type == unix.RTN_UNREACHABLE:
		return RouteInfo{}, errUnreachable
	case !ok:
		return RouteInfo{}, ErrNoRoute
	}
	info, err := n.lookup(remote, localHint, r.Oif, mark)
	if err != nil {
		return RouteInfo{}, err
	}
	l, err := rtnl.LinkByIndex(n.nl, info.IfIndex)
	if err != nil {
		return RouteInfo{}, err
	}
	return info.through(l, remote)
}

func (i RouteInfo) through(l *rtnl.Link, remote netip.Addr) (RouteInfo, error) {
	if l.Flags&unix.IFF_LOOPBACK != 0 || i.typ == unix.RTN_LOCAL {
		return RouteInfo{}, fmt.Errorf("remote address %s is an address of this machine", remote)
	}
	i.IfName = l.Name
	if i.MTU == 0 || i.MTU > l.MTU {
		i.MTU = l.MTU
	}
	if i.PathMTU == 0 || i.PathMTU > i.MTU {
		i.PathMTU = i.MTU
	}
	if !i.Local.IsValid() {
		return RouteInfo{}, noSource(fmt.Sprintf("interface %s has no source address", l.Name))
	}
	return i, nil
}

// lookup asks the kernel for the route of a packet.
func (n *Network) lookup(remote, local netip.Addr, oif int, mark uint32) (RouteInfo, error) {
	r, err := rtnl.Lookup(n.nl, remote, local, oif, mark)
	info := RouteInfo{Local: local, IfIndex: r.Oif, Gateway: r.NextHop(), typ: r.Type}
	if !local.IsValid() {
		info.Local = r.Prefsrc
	}
	// A route with an MTU and a lifetime is a path MTU exception.
	if mtu := r.MTU(); r.Expires && mtu != 0 {
		info.PathMTU = mtu
	} else {
		info.MTU = mtu
	}
	if err == nil && info.IfIndex == 0 {
		err = unix.ENETUNREACH
	}
	return info, err
}

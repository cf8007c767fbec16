package platform

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// RouteInfo is the underlay's way to a peer.
type RouteInfo struct {
	Local   netip.Addr // the address to come from
	IfIndex int
	IfName  string
	Gateway netip.Addr // unset when the peer is on the link
	MTU     int        // of the interface or, if lower, of the route
	PathMTU int        // MTU, or what the kernel has learned by ICMP if lower
}

// ErrNoRoute reports that the underlay has no way to a peer now.
var ErrNoRoute = errors.New("no route")

// RouteTo asks the kernel how packets reach remote, from localHint if that is
// set, through interface ifName if that is set, with fwmark mark. It never
// answers with one of our own interfaces. The error wraps ErrNoRoute when only
// time or the network can help.
func (n *Network) RouteTo(remote, localHint netip.Addr, ifName string, mark uint32) (RouteInfo, error) {
	if ifName == "" {
		ifName = remote.Zone()
	}
	remote, localHint = remote.Unmap().WithZone(""), localHint.Unmap().WithZone("")
	if localHint.IsValid() && localHint.Is4() != remote.Is4() {
		return RouteInfo{}, fmt.Errorf("local address %s and remote address %s are of different IP versions", localHint, remote)
	}
	oif := 0
	if ifName != "" {
		l, err := LinkByName(n.nl, ifName)
		if errors.Is(err, ErrNoLink) {
			return RouteInfo{}, fmt.Errorf("%w to %s: interface %s is not there", ErrNoRoute, remote, ifName)
		}
		if err != nil {
			return RouteInfo{}, err
		}
		oif = l.Index
	}
	info, err := n.lookup(remote, localHint, oif, mark)
	if err == nil {
		l, lerr := LinkByIndex(n.nl, info.IfIndex)
		if lerr != nil {
			return RouteInfo{}, lerr
		}
		if !l.Ours() {
			return info.through(l, remote)
		}
		err = unix.ENETUNREACH
	}
	if oif == 0 && (errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH)) {
		// One of our own routes may stand in the way: ask for the way around.
		if info, err2 := n.around(remote, localHint, mark); err2 == nil {
			return info, nil
		}
	}
	switch {
	case errors.Is(err, unix.ENETUNREACH), errors.Is(err, unix.EHOSTUNREACH),
		errors.Is(err, unix.ENETDOWN), errors.Is(err, unix.ENODEV), errors.Is(err, unix.EADDRNOTAVAIL):
		return RouteInfo{}, fmt.Errorf("%w to %s: wait for the WAN or add one", ErrNoRoute, remote)
	case errors.Is(err, unix.EINVAL) && localHint.IsValid():
		return RouteInfo{}, fmt.Errorf("%w to %s: local address %s is not on this machine", ErrNoRoute, remote, localHint)
	}
	return RouteInfo{}, fmt.Errorf("look up the route to %s: %w", remote, err)
}

func (n *Network) around(remote, localHint netip.Addr, mark uint32) (RouteInfo, error) {
	all, err := Links(n.nl)
	if err != nil {
		return RouteInfo{}, err
	}
	ours := make(map[int]bool)
	for _, l := range all {
		if l.Ours() {
			ours[l.Index] = true
		}
	}
	routes, err := foreignRoutes(n.nl, family(remote), ours)
	if err != nil {
		return RouteInfo{}, err
	}
	r, ok := underlay(routes, remote)
	if !ok {
		return RouteInfo{}, ErrNoRoute
	}
	info, err := n.lookup(remote, localHint, r.oif, mark)
	if err != nil {
		return RouteInfo{}, err
	}
	l, err := LinkByIndex(n.nl, info.IfIndex)
	if err != nil {
		return RouteInfo{}, err
	}
	return info.through(l, remote)
}

func (i RouteInfo) through(l *LinkInfo, remote netip.Addr) (RouteInfo, error) {
	if l.Flags&unix.IFF_LOOPBACK != 0 {
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
		return RouteInfo{}, fmt.Errorf("%w to %s: interface %s has no address to come from", ErrNoRoute, remote, l.Name)
	}
	return i, nil
}

// lookup is one RTM_GETROUTE.
func (n *Network) lookup(remote, local netip.Addr, oif int, mark uint32) (RouteInfo, error) {
	m := &nl.RtMsg{}
	m.Family = uint8(family(remote))
	m.Dst_len = uint8(remote.BitLen())
	req := Request(unix.RTM_GETROUTE, 0, m, nl.NewRtAttr(unix.RTA_DST, remote.AsSlice()))
	info := RouteInfo{Local: local}
	if local.IsValid() {
		m.Src_len = uint8(local.BitLen())
		req.AddData(nl.NewRtAttr(unix.RTA_SRC, local.AsSlice()))
	}
	if oif != 0 {
		req.AddData(nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(oif))))
	}
	if mark != 0 {
		req.AddData(nl.NewRtAttr(unix.RTA_MARK, nl.Uint32Attr(mark)))
	}
	err := n.nl.Get(req, func(typ uint16, p []byte) error {
		if typ != unix.RTM_NEWROUTE || len(p) < unix.SizeofRtMsg {
			return nil
		}
		mtu, learned := 0, false
		err := EachAttr(p[unix.SizeofRtMsg:], func(typ uint16, v []byte) error {
			switch typ {
			case unix.RTA_OIF:
				info.IfIndex = int(attr32(v))
			case unix.RTA_GATEWAY:
				info.Gateway, _ = netip.AddrFromSlice(v)
			case unix.RTA_VIA:
				if len(v) > 2 {
					info.Gateway, _ = netip.AddrFromSlice(v[2:])
				}
			case unix.RTA_PREFSRC:
				if !local.IsValid() {
					info.Local, _ = netip.AddrFromSlice(v)
				}
			case unix.RTA_CACHEINFO: // struct rta_cacheinfo, rta_expires is the third word
				learned = len(v) >= 12 && attr32(v[8:]) != 0
			case unix.RTA_METRICS:
				return EachAttr(v, func(typ uint16, v []byte) error {
					if typ == unix.RTAX_MTU {
						mtu = int(attr32(v))
					}
					return nil
				})
			}
			return nil
		})
		// A route with an MTU and a lifetime is a path MTU exception.
		if learned && mtu != 0 {
			info.PathMTU = mtu
		} else {
			info.MTU = mtu
		}
		return err
	})
	if err == nil && info.IfIndex == 0 {
		err = unix.ENETUNREACH
	}
	return info, err
}

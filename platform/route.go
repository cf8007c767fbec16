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

// unreachableMetric is the worst there is: any other route wins.
const unreachableMetric = 4294967295

// defaultMetric6 is what the kernel makes of metric 0 for IPv6.
const defaultMetric6 = 1024

// route is one entry of a routing table, as far as we lay or read them.
type route struct {
	table   uint32
	dst     netip.Prefix
	metric  uint32
	typ     uint8 // unix.RTN_UNICAST, unix.RTN_UNREACHABLE
	oif     int
	gateway netip.Addr

	// Of foreign routes, copied into the host route of a peer.
	via     string // RTA_VIA: an IPv6 gateway of an IPv4 route
	prefsrc netip.Addr
	metrics string // RTA_METRICS
	flags   uint32 // RTNH_F_ONLINK, RTNH_F_DEAD, …
	proto   uint8
}

// key is what makes two of our routes the same one.
func (r route) key() route {
	return route{table: r.table, dst: r.dst, metric: r.metric, typ: r.typ, oif: r.oif, gateway: r.gateway, via: r.via}
}

func (r route) String() string {
	s := r.dst.String()
	if r.typ == unix.RTN_UNREACHABLE {
		s = "unreachable " + s
	}
	if r.gateway.IsValid() {
		s += " via " + r.gateway.String()
	}
	return s
}

// hostRoute leads to one peer the way that r leads.
func (r route) hostRoute(table uint32, peer netip.Addr) route {
	h := route{
		table: table, dst: netip.PrefixFrom(peer, peer.BitLen()), typ: unix.RTN_UNICAST,
		oif: r.oif, gateway: r.gateway, via: r.via, prefsrc: r.prefsrc, metrics: r.metrics, flags: r.flags,
	}
	if peer.Is6() {
		h.metric = defaultMetric6
	}
	return h
}

// into is r for packets of one IP version that go inside others of r's: what
// belongs to r's own version is left out.
func (r route) into(ip4 bool) route {
	if r.dst.Addr().Is4() != ip4 {
		r.gateway, r.via, r.prefsrc, r.flags, r.metrics = netip.Addr{}, "", netip.Addr{}, 0, ""
	}
	return r
}

// unreachable is what lies beneath other routes to dst.
func unreachable(table uint32, dst netip.Prefix) route {
	return route{table: table, dst: dst, metric: unreachableMetric, typ: unix.RTN_UNREACHABLE}
}

// halves splits the default route in two, which beat any other default.
func halves(p netip.Prefix) []netip.Prefix {
	if p.Bits() != 0 {
		return []netip.Prefix{p.Masked()}
	}
	if p.Addr().Is4() {
		return []netip.Prefix{
			netip.PrefixFrom(netip.IPv4Unspecified(), 1),
			netip.PrefixFrom(netip.AddrFrom4([4]byte{0x80}), 1),
		}
	}
	return []netip.Prefix{
		netip.PrefixFrom(netip.IPv6Unspecified(), 1),
		netip.PrefixFrom(netip.AddrFrom16([16]byte{0x80}), 1),
	}
}

// listRoutes reads the unicast routing tables, of one protocol or (0) of all.
func listRoutes(n *netlink.Conn, fam int, proto uint8) ([]route, error) {
	m := &nl.RtMsg{}
	m.Family = uint8(fam)
	m.Protocol = proto // a hint: kernels without strict checking ignore it
	all, err := netlink.Dump(n, unix.RTM_GETROUTE, unix.RTM_NEWROUTE, func(p []byte) (route, bool, error) {
		r, err := parseRoute(p)
		return r, r.dst.IsValid() && r.flags&unix.RTM_F_CLONED == 0 && (proto == 0 || r.proto == proto), err
	}, m)
	if err != nil {
		return nil, fmt.Errorf("read routes: %w", err)
	}
	return all, nil
}

// parseRoute reads an RTM_NEWROUTE. Of several next hops the first that is
// alive counts.
func parseRoute(p []byte) (route, error) {
	if len(p) < unix.SizeofRtMsg {
		return route{}, errors.New("route message: too short")
	}
	r := route{
		table: uint32(p[4]),
		proto: p[5],
		typ:   p[7],
		flags: binary.NativeEndian.Uint32(p[8:]),
	}
	var dst netip.Addr
	switch p[0] {
	case unix.AF_INET:
		dst = netip.IPv4Unspecified()
	case unix.AF_INET6:
		dst = netip.IPv6Unspecified()
	default:
		return r, nil
	}
	var multipath []byte
	err := netlink.EachAttr(p[unix.SizeofRtMsg:], func(typ uint16, v []byte) error {
		switch typ {
		case unix.RTA_DST:
			dst, _ = netip.AddrFromSlice(v)
		case unix.RTA_TABLE:
			r.table = netlink.Uint32(v)
		case unix.RTA_PRIORITY:
			r.metric = netlink.Uint32(v)
		case unix.RTA_PREFSRC:
			r.prefsrc, _ = netip.AddrFromSlice(v)
		case unix.RTA_METRICS:
			r.metrics = string(v)
		case unix.RTA_MULTIPATH:
			multipath = v
		default:
			r.nexthop(typ, v)
		}
		return nil
	})
	if err != nil {
		return r, err
	}
	for len(multipath) >= unix.SizeofRtNexthop {
		size := int(binary.NativeEndian.Uint16(multipath))
		if size < unix.SizeofRtNexthop || size > len(multipath) {
			return r, errors.New("route message: malformed next hop")
		}
		hop := multipath[:size]
		multipath = multipath[min(netlink.Align(size), len(multipath)):]
		r.flags = r.flags&^0xff | uint32(hop[2])
		r.oif = int(binary.NativeEndian.Uint32(hop[4:]))
		r.gateway, r.via = netip.Addr{}, ""
		if err := netlink.EachAttr(hop[unix.SizeofRtNexthop:], func(typ uint16, v []byte) error {
			r.nexthop(typ, v)
			return nil
		}); err != nil {
			return r, err
		}
		if r.alive() {
			break
		}
	}
	r.dst = netip.PrefixFrom(dst, int(p[1]))
	return r, nil
}

func (r *route) nexthop(typ uint16, v []byte) {
	switch typ {
	case unix.RTA_GATEWAY:
		r.gateway, _ = netip.AddrFromSlice(v)
	case unix.RTA_VIA:
		r.via = string(v)
	case unix.RTA_OIF:
		r.oif = int(netlink.Uint32(v))
	}
}

// alive reports whether the kernel would use the route.
func (r *route) alive() bool {
	return r.flags&(unix.RTNH_F_DEAD|unix.RTNH_F_LINKDOWN) == 0
}

// changeRoute adds (RTM_NEWROUTE) or removes (RTM_DELROUTE) one of our routes.
func changeRoute(n *netlink.Conn, typ uint16, r route) error {
	m := &nl.RtMsg{}
	m.Family = uint8(family(r.dst.Addr()))
	m.Dst_len = uint8(r.dst.Bits())
	m.Protocol = ownProtocol
	m.Type = r.typ
	m.Table = unix.RT_TABLE_UNSPEC
	m.Flags = r.flags & unix.RTNH_F_ONLINK
	if r.typ == unix.RTN_UNICAST && !r.gateway.IsValid() && r.via == "" {
		m.Scope = unix.RT_SCOPE_LINK
	}
	req := netlink.Request(typ, 0, m,
		nl.NewRtAttr(unix.RTA_DST, r.dst.Addr().AsSlice()),
		nl.NewRtAttr(unix.RTA_TABLE, nl.Uint32Attr(r.table)),
		nl.NewRtAttr(unix.RTA_PRIORITY, nl.Uint32Attr(r.metric)))
	if r.oif != 0 && r.typ == unix.RTN_UNICAST {
		req.AddData(nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(r.oif))))
	}
	if r.gateway.IsValid() {
		req.AddData(nl.NewRtAttr(unix.RTA_GATEWAY, r.gateway.AsSlice()))
	}
	if r.via != "" {
		req.AddData(nl.NewRtAttr(unix.RTA_VIA, []byte(r.via)))
	}
	if typ == unix.RTM_NEWROUTE {
		// Not NLM_F_EXCL: another tunnel may lay the same prefix, and a foreign
		// route of the same metric must stay what it is.
		req.Flags |= unix.NLM_F_CREATE | unix.NLM_F_APPEND
		if r.prefsrc.IsValid() {
			req.AddData(nl.NewRtAttr(unix.RTA_PREFSRC, r.prefsrc.AsSlice()))
		}
		if r.metrics != "" {
			req.AddData(nl.NewRtAttr(unix.RTA_METRICS, []byte(r.metrics)))
		}
	}
	err := n.Do(req)
	switch {
	case typ == unix.RTM_NEWROUTE && errors.Is(err, unix.EEXIST),
		typ == unix.RTM_DELROUTE && (errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENODEV)):
		return nil
	case err != nil && typ == unix.RTM_NEWROUTE:
		return &Unlaid{r.dst, "add route " + r.String(), err}
	case err != nil:
		return &Unlaid{r.dst, "remove route " + r.String(), err}
	}
	return nil
}

// foreignRoutes reads the routes that are not ours and do not lead into one of
// our interfaces.
func foreignRoutes(n *netlink.Conn, fam int, ours map[int]bool) ([]route, error) {
	routes, err := listRoutes(n, fam, 0)
	return slices.DeleteFunc(routes, func(r route) bool { return r.proto == ownProtocol || ours[r.oif] }), err
}

// underlay finds the best of the foreign routes to an address: longest prefix,
// then lowest metric.
func underlay(foreign []route, to netip.Addr) (route, bool) {
	var best route
	found := false
	for _, r := range foreign {
		if !r.alive() || !r.dst.Contains(to) ||
			r.table != unix.RT_TABLE_MAIN && r.table != unix.RT_TABLE_DEFAULT {
			continue
		}
		better := !found ||
			best.table != r.table && r.table == unix.RT_TABLE_MAIN ||
			best.table == r.table && (r.dst.Bits() > best.dst.Bits() ||
				r.dst.Bits() == best.dst.Bits() && r.metric < best.metric)
		if better {
			best, found = r, true
		}
	}
	if found && best.typ != unix.RTN_UNICAST {
		return route{}, false // somebody closed the way on purpose
	}
	return best, found
}

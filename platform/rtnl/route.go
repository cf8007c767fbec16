package rtnl

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"greseal/platform/inet"
	"greseal/platform/netlink"
)

// unreachableMetric is the highest metric: any other route wins.
const unreachableMetric = 4294967295

// DefaultMetric6 is what the kernel replaces metric 0 by for IPv6.
const DefaultMetric6 = 1024

// connectedMetric6 is that of IPv6 routes which come with an address.
const connectedMetric6 = 256

// Route is one entry of a routing table, as far as we install or read it.
type Route struct {
	Table   uint32
	Dst     netip.Prefix
	Metric  uint32
	Type    uint8 // unix.RTN_UNICAST, unix.RTN_UNREACHABLE
	Oif     int
	gateway netip.Addr

	// Of foreign routes, copied into the host route of a peer.
	via      string // RTA_VIA: an IPv6 gateway of an IPv4 route
	Prefsrc  netip.Addr
	metrics  string // RTA_METRICS
	Expires  bool   // has a lifetime, such as a learned path MTU
	flags    uint32 // RTNH_F_ONLINK, RTNH_F_DEAD, …
	Protocol uint8
}

// Key is what makes two of our routes the same one.
func (r Route) Key() Route {
	return Route{Table: r.Table, Dst: r.Dst, Metric: r.Metric, Type: r.Type, Oif: r.Oif, gateway: r.gateway, via: r.via}
}

func (r Route) String() string {
	s := r.Dst.String()
	if r.Type == unix.RTN_UNREACHABLE {
		s = "unreachable " + s
	}
	if r.gateway.IsValid() {
		s += " via " + r.gateway.String()
	}
	return s
}

// HostRoute leads to one peer the way that r leads.
func (r Route) HostRoute(table uint32, peer netip.Addr) Route {
	h := Route{
		Table: table, Dst: inet.Host(peer), Type: unix.RTN_UNICAST,
		Oif: r.Oif, gateway: r.gateway, via: r.via, Prefsrc: r.Prefsrc, metrics: r.metrics, flags: r.flags,
	}
	if peer.Is6() {
		h.Metric = DefaultMetric6
	}
	return h
}

// Into is r for packets of one IP version that are carried in others of r's: what
// belongs to r's own version is left out.
func (r Route) Into(ip4 bool) Route {
	if r.Dst.Addr().Is4() != ip4 {
		r.gateway, r.via, r.Prefsrc, r.flags, r.metrics = netip.Addr{}, "", netip.Addr{}, 0, ""
	}
	return r
}

// Unreachable is the route that any other to dst overrides.
func Unreachable(table uint32, dst netip.Prefix) Route {
	return Route{Table: table, Dst: dst, Metric: unreachableMetric, Type: unix.RTN_UNREACHABLE}
}

// Routes reads the unicast routing tables, of one protocol or (0) of all.
func Routes(n *netlink.Conn, fam int, proto uint8) ([]Route, error) {
	m := &nl.RtMsg{}
	m.Family = uint8(fam)
	m.Protocol = proto // a hint: kernels without strict checking ignore it
	all, err := netlink.Dump(n, unix.RTM_GETROUTE, unix.RTM_NEWROUTE, func(p []byte) (Route, bool, error) {
		r, err := ParseRoute(p)
		return r, r.Dst.IsValid() && r.flags&unix.RTM_F_CLONED == 0 && (proto == 0 || r.Protocol == proto), err
	}, m)
	if err != nil {
		return nil, fmt.Errorf("read routes: %w", err)
	}
	return all, nil
}

// Connected are the routes that the kernel adds with an address of an interface that
// is up. It never restores them once they are removed.
func Connected(l *Link, a netip.Prefix) []Route {
	host := netip.PrefixFrom(a.Addr(), a.Addr().BitLen())
	routes := []Route{{Table: unix.RT_TABLE_LOCAL, Dst: host, Type: unix.RTN_LOCAL}}
	if a != host {
		routes = append(routes, Route{Table: unix.RT_TABLE_MAIN, Dst: a.Masked(), Type: unix.RTN_UNICAST})
	}
	for i := range routes {
		r := &routes[i]
		r.Oif, r.Protocol = l.Index, unix.RTPROT_KERNEL
		switch {
		case a.Addr().Is4():
			r.Prefsrc = a.Addr()
		case r.Type == unix.RTN_UNICAST:
			r.Metric = connectedMetric6
		}
	}
	return routes
}

// Lookup asks for the route of a packet to an address: from local, out of interface
// oif, with a mark, where these are set.
func Lookup(n *netlink.Conn, to, local netip.Addr, oif int, mark uint32) (r Route, err error) {
	m := &nl.RtMsg{}
	m.Family, m.Dst_len = uint8(inet.Of(to).Family), uint8(to.BitLen())
	req := netlink.Request(unix.RTM_GETROUTE, 0, m, nl.NewRtAttr(unix.RTA_DST, to.AsSlice()))
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
	err = n.Get(req, func(typ uint16, p []byte) (err error) {
		if typ == unix.RTM_NEWROUTE {
			r, err = ParseRoute(p)
		}
		return err
	})
	return r, err
}

// ParseRoute reads an RTM_NEWROUTE. Of several next hops the first that is
// alive counts.
func ParseRoute(p []byte) (Route, error) {
	if len(p) < unix.SizeofRtMsg {
		return Route{}, errors.New("route message: too short")
	}
	r := Route{
		Table:    uint32(p[4]),
		Protocol: p[5],
		Type:     p[7],
		flags:    binary.NativeEndian.Uint32(p[8:]),
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
			r.Table = netlink.Uint32(v)
		case unix.RTA_PRIORITY:
			r.Metric = netlink.Uint32(v)
		case unix.RTA_PREFSRC:
			r.Prefsrc, _ = netip.AddrFromSlice(v)
		case unix.RTA_METRICS:
			r.metrics = string(v)
		case unix.RTA_CACHEINFO: // struct rta_cacheinfo, rta_expires is the third word
			r.Expires = len(v) >= 12 && netlink.Uint32(v[8:]) != 0
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
		r.Oif = int(binary.NativeEndian.Uint32(hop[4:]))
		r.gateway, r.via = netip.Addr{}, ""
		if err := netlink.EachAttr(hop[unix.SizeofRtNexthop:], func(typ uint16, v []byte) error {
			r.nexthop(typ, v)
			return nil
		}); err != nil {
			return r, err
		}
		if r.Alive() {
			break
		}
	}
	r.Dst = netip.PrefixFrom(dst, int(p[1]))
	return r, nil
}

func (r *Route) nexthop(typ uint16, v []byte) {
	switch typ {
	case unix.RTA_GATEWAY:
		r.gateway, _ = netip.AddrFromSlice(v)
	case unix.RTA_VIA:
		r.via = string(v)
	case unix.RTA_OIF:
		r.Oif = int(netlink.Uint32(v))
	}
}

// NextHop is the gateway, whichever IP version it is of; unset for a host on the link.
func (r *Route) NextHop() netip.Addr {
	if len(r.via) > 2 { // struct rtvia begins with the family
		a, _ := netip.AddrFromSlice([]byte(r.via[2:]))
		return a
	}
	return r.gateway
}

// MTU is the route's MTU metric, 0 for none.
func (r *Route) MTU() (mtu int) {
	_ = netlink.EachAttr([]byte(r.metrics), func(typ uint16, v []byte) error {
		if typ == unix.RTAX_MTU {
			mtu = int(netlink.Uint32(v))
		}
		return nil
	})
	return mtu
}

// Alive reports whether the kernel would use the route.
func (r *Route) Alive() bool {
	return r.flags&(unix.RTNH_F_DEAD|unix.RTNH_F_LINKDOWN) == 0
}

// ChangeRoute adds (RTM_NEWROUTE) or removes (RTM_DELROUTE) a route: one of ours, or
// of the protocol that it names. Adding one that exists, or removing one that does
// not, is no error.
func ChangeRoute(n *netlink.Conn, typ uint16, r Route) error {
	m := &nl.RtMsg{}
	m.Family = uint8(inet.Of(r.Dst.Addr()).Family)
	m.Dst_len = uint8(r.Dst.Bits())
	m.Protocol = cmp.Or(r.Protocol, Protocol)
	m.Type = r.Type
	m.Table = unix.RT_TABLE_UNSPEC
	m.Flags = r.flags & unix.RTNH_F_ONLINK
	if r.Type == unix.RTN_UNICAST && !r.gateway.IsValid() && r.via == "" {
		m.Scope = unix.RT_SCOPE_LINK
	}
	if r.Type == unix.RTN_LOCAL {
		m.Scope = unix.RT_SCOPE_HOST
	}
	req := netlink.Request(typ, 0, m,
		nl.NewRtAttr(unix.RTA_DST, r.Dst.Addr().AsSlice()),
		nl.NewRtAttr(unix.RTA_TABLE, nl.Uint32Attr(r.Table)),
		nl.NewRtAttr(unix.RTA_PRIORITY, nl.Uint32Attr(r.Metric)))
	if r.Oif != 0 && r.Type != unix.RTN_UNREACHABLE {
		req.AddData(nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(r.Oif))))
	}
	if r.gateway.IsValid() {
		req.AddData(nl.NewRtAttr(unix.RTA_GATEWAY, r.gateway.AsSlice()))
	}
	if r.via != "" {
		req.AddData(nl.NewRtAttr(unix.RTA_VIA, []byte(r.via)))
	}
	if typ == unix.RTM_NEWROUTE {
		// Not NLM_F_EXCL: another tunnel may have the same prefix, and a foreign
		// route of the same metric must stay as it is.
		req.Flags |= unix.NLM_F_CREATE | unix.NLM_F_APPEND
		if r.Prefsrc.IsValid() {
			req.AddData(nl.NewRtAttr(unix.RTA_PREFSRC, r.Prefsrc.AsSlice()))
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
	}
	return err
}

package platform

import (
	"maps"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"greseal/platform/inet"
	"greseal/platform/rtnl"
)

// What all links want together, from what each wants and what the machine has.

// wantsAny reports whether any link wants a route, unreachable twins included.
func (n *Network) wantsAny() bool {
	for _, in := range n.links {
		if len(in.routes.Prefixes) > 0 || len(in.addresses) > 0 || in.routes.Through != "" || len(in.routes.Inside) > 0 {
			return true
		}
	}
	return false
}

// wanted computes the routes into interfaces that exist and are up, and their
// unreachable twins, which links share.
func (n *Network) wanted(byName map[string]*rtnl.Link) (into map[rtnl.Route]string, shared map[rtnl.Route]bool) {
	into = make(map[rtnl.Route]string)
	shared = make(map[rtnl.Route]bool)
	for _, name := range slices.Sorted(maps.Keys(n.links)) {
		in := n.links[name]
		under := func(p netip.Prefix, table uint32) {
			if !in.routes.Fallback {
				shared[rtnl.Unreachable(table, p)] = true
			}
		}
		for _, whole := range in.routes.Prefixes {
			for _, p := range inet.Halves(whole) {
				under(p, in.routes.Table)
			}
		}
		for _, r := range n.into(in, byName[name]) {
			if _, taken := into[r]; !taken {
				into[r] = name
			}
		}
		for _, p := range in.addresses {
			if p.Bits() < p.Addr().BitLen() {
				under(p.Masked(), unix.RT_TABLE_MAIN)
			}
		}
	}
	return into, shared
}

// into are the routes into a link that exists and is up; l is nil for one that does
// not.
func (n *Network) into(in *inside, l *rtnl.Link) []rtnl.Route {
	metric := in.routes.Metric
	if !in.running {
		metric = in.routes.DownMetric
	}
	if l == nil || !l.Up() || in.foreign || !in.running && metric == 0 {
		return nil
	}
	var routes []rtnl.Route
	has6 := false
	for _, whole := range in.routes.Prefixes {
		for _, p := range inet.Halves(whole) {
			r := rtnl.Route{Table: in.routes.Table, Dst: p, Metric: metric, Type: unix.RTN_UNICAST, Oif: l.Index}
			if p.Addr().Is6() {
				has6 = true
				if r.Metric == 0 {
					r.Metric = rtnl.DefaultMetric6
				}
			}
			routes = append(routes, r)
		}
	}
	if has6 {
		n.wantIPv6(l)
	}
	return routes
}

// pins computes the host routes of the peers that our routes would cover, and those
// of addresses inside to which there is no other route.
func (n *Network) pins(foreign func() ([]rtnl.Route, error), into map[rtnl.Route]string, shared map[rtnl.Route]bool) ([]rtnl.Route, error) {
	n.cover = make(map[netip.Prefix]bool)
	for r := range into {
		if r.Table == unix.RT_TABLE_MAIN {
			n.cover[r.Dst] = true
		}
	}
	for r := range shared {
		if r.Table == unix.RT_TABLE_MAIN {
			n.cover[r.Dst] = true
		}
	}
	covered := make(map[netip.Addr]int) // to the longest prefix that covers it
	for _, in := range n.links {
		if in.foreign && in.routes.Table == unix.RT_TABLE_MAIN {
			for _, whole := range in.routes.Prefixes {
				for _, p := range inet.Halves(whole) {
					n.cover[p] = true
				}
			}
		}
	}
	for _, in := range n.links {
		for _, peer := range in.routes.Peers {
			if bits, ok := n.covers(peer); ok {
				covered[inet.Plain(peer)] = bits
			}
		}
	}
	inside := n.insides()
	if len(covered) == 0 && len(inside) == 0 {
		return nil, nil
	}
	routes, err := foreign()
	if err != nil {
		return nil, err
	}
	var pins []rtnl.Route
	for peer, bits := range covered {
		r, ok := underlay(routes, peer)
		if !ok {
			n.log.Debug("no route to the peer outside the tunnels", "peer", peer)
			continue
		}
		if r.Dst.Bits() > bits {
			continue // it wins anyway
		}
		pins = append(pins, r.HostRoute(unix.RT_TABLE_MAIN, peer))
	}
	for addr, peer := range inside {
		r, ok := underlay(routes, addr)
		bits, ours := n.covers(addr)
		if ok && (!ours || r.Dst.Bits() > bits) {
			continue
		}
		if !ok {
			if r, ok = underlay(routes, peer); !ok {
				continue // the peer has no route either
			}
			r = r.Into(addr.Is4())
		}
		pins = append(pins, r.HostRoute(unix.RT_TABLE_MAIN, addr))
	}
	return pins, nil
}

// insides are the addresses inside of all links, with the peer of each.
func (n *Network) insides() map[netip.Addr]netip.Addr {
	all := make(map[netip.Addr]netip.Addr)
	for _, name := range slices.Sorted(maps.Keys(n.links)) {
		for _, i := range n.links[name].routes.Inside {
			addr, peer := inet.Plain(i.Addr), inet.Plain(i.Peer)
			if _, there := all[addr]; !there && addr != peer {
				all[addr] = peer
			}
		}
	}
	return all
}

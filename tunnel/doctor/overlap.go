package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"greseal/platform/rtnl"
	"greseal/tunnel/config"
	"greseal/tunnel/status"
)

// hop is where the kernel would send a packet.
type hop struct {
	rtnl.Route
	ifname string
}

func (h hop) String() string {
	switch h.Type {
	case unix.RTN_UNREACHABLE:
		return "unreachable"
	case unix.RTN_LOCAL:
		return "this machine itself"
	}
	if to := h.NextHop(); to.IsValid() {
		return h.ifname + " via " + to.String()
	}
	return h.ifname
}

// routeOf asks the kernel where a packet of this machine to a would go.
func (x *exam) routeOf(a netip.Addr) (hop, error) {
	r, err := rtnl.Lookup(x.net.Netlink(), a, netip.Addr{}, 0, 0)
	switch {
	case errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH):
		return hop{Route: rtnl.Route{Type: unix.RTN_UNREACHABLE}}, nil
	case err != nil:
		return hop{}, err
	}
	return x.named(hop{Route: r}), nil
}

func (x *exam) named(h hop) hop {
	if l, err := rtnl.LinkByIndex(x.net.Netlink(), h.Oif); err == nil {
		h.ifname = l.Name
	}
	return h
}

// routesOf lists the routes of one type in a routing table.
func (x *exam) routesOf(table uint32, kind uint8) ([]hop, error) {
	all, err := rtnl.Routes(x.net.Netlink(), unix.AF_UNSPEC, 0)
	var hops []hop
	for _, r := range all {
		if r.Table == table && r.Type == kind {
			hops = append(hops, hop{Route: r})
		}
	}
	return hops, err
}

// routesBeside lists those that lead elsewhere than into the tunnel, with the names of
// their interfaces.
func (x *exam) routesBeside(table uint32) (hops []hop, err error) {
	all, err := x.routesOf(table, unix.RTN_UNICAST)
	for _, h := range all {
		if h = x.named(h); h.ifname != "" && h.ifname != x.name() {
			hops = append(hops, h)
		}
	}
	return hops, err
}

// checkOverlap: what routes and address name leads into the tunnel, and no
// route of somebody else takes it away.
func checkOverlap(x *exam) Step {
	t := x.Tunnel
	if len(t.Routes) == 0 && len(t.Address) == 0 {
		return warn("set address and routes, unless a routing daemon does", "nothing is routed into the tunnel")
	}
	table := cmp.Or(t.Table, config.TableMain)
	beside, err := x.routesBeside(table)
	if err != nil {
		return skip("the routes cannot be read: " + err.Error())
	}
	wanted := slices.Clone(t.Routes)
	if table == config.TableMain {
		for _, p := range t.Address {
			wanted = append(wanted, p.Masked())
		}
	}
	odd := append(x.sharedRoutes(), parts(wanted, beside)...)
	var bad, commands []string
	if table == config.TableMain {
		for _, p := range wanted {
			says, remove := x.diverted(p, beside)
			bad, commands = append(bad, says...), append(commands, remove...)
		}
	}
	switch {
	case len(bad) > 0:
		return fault("remove the overlapping route, or give this tunnel a lower metric or other routes; see also: ip rule", append(bad, odd...)...).with(commands...)
	case len(odd) > 0:
		return warn("", odd...)
	}
	return fine(fmt.Sprintf("%s and %s on %s", status.Plural(len(t.Routes), "route"), status.Plural(len(t.Address), "address"), t.Name))
}

// sharedRoutes are those of other tunnels that are no worse and no better than ours.
func (x *exam) sharedRoutes() (odd []string) {
	for _, o := range x.Others {
		if !o.Enabled || o.Table != x.Tunnel.Table || o.Metric != x.Tunnel.Metric {
			continue
		}
		for _, p := range x.Tunnel.Routes {
			if slices.Contains(o.Routes, p) {
				odd = append(odd, fmt.Sprintf("tunnel %q has the route %s with the same metric: give one of them another", o.Name, p))
			}
		}
	}
	return odd
}

// parts are the parts of what is wanted that go elsewhere by routes of their own.
func parts(wanted []netip.Prefix, beside []hop) (odd []string) {
	for _, h := range beside {
		for _, p := range wanted {
			if h.Dst.Bits() > p.Bits() && p.Contains(h.Dst.Addr()) && p.Bits() != 0 {
				odd = append(odd, fmt.Sprintf("%s, a part of %s, goes to %s", h.Dst, p, h))
			}
		}
	}
	return odd
}

// diverted asks the kernel where an address of p goes. Nothing is said of one that
// goes into the tunnel, nor of what the step before has said.
func (x *exam) diverted(p netip.Prefix, beside []hop) (says, commands []string) {
	a := sample(p, x.Tunnel.Address)
	refused := slices.ContainsFunc(x.refused(), func(r status.Placed) bool {
		q, err := netip.ParsePrefix(r.Prefix)
		return err == nil && q.Masked() == p.Masked()
	})
	if !a.IsValid() || a == x.remote || refused {
		return nil, nil
	}
	h, err := x.routeOf(a)
	if err != nil || h.ifname == x.name() || h.Type == unix.RTN_LOCAL {
		return nil, nil
	}
	meant, commands := divertedBy(p, a, x.inside(p), h.ifname, beside)
	if meant {
		return nil, nil
	}
	return []string{fmt.Sprintf("%s of %s goes to %s instead of %s", a, p, h, x.name())}, commands
}

// divertedBy finds the routes by which an address of p goes to another interface, and
// how to remove them. A smaller network inside a large one may be meant, such as the
// own LAN; inside the tunnel's own little network it is not.
func divertedBy(p netip.Prefix, a netip.Addr, inside bool, ifname string, beside []hop) (meant bool, commands []string) {
	for _, r := range beside {
		if !r.Dst.Contains(a) || r.Dst.Bits() < p.Bits() || r.ifname != ifname {
			continue
		}
		if r.Dst.Bits() > p.Bits() && !inside {
			meant = true
			continue
		}
		commands = append(commands, fmt.Sprintf("ip route delete %s dev %s metric %d", r.Dst, r.ifname, r.Metric))
	}
	return meant, commands
}

// inside tells whether p is the network of one of the tunnel's own addresses.
func (x *exam) inside(p netip.Prefix) bool {
	return slices.ContainsFunc(x.Tunnel.Address, func(a netip.Prefix) bool { return a.Masked() == p })
}

// sample is an address of p that is none of the tunnel's own.
func sample(p netip.Prefix, own []netip.Prefix) netip.Addr {
	a := p.Addr()
	if p.Bits() < p.Addr().BitLen()-1 {
		a = a.Next() // not the network's own address
	}
	for range 4 {
		if !slices.ContainsFunc(own, func(o netip.Prefix) bool { return o.Addr() == a }) {
			break
		}
		a = a.Next()
	}
	if !p.Contains(a) {
		return netip.Addr{}
	}
	return a
}

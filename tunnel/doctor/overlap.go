package doctor

import (
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

// checkOverlap: what routes and address name leads into the tunnel, and no
// route of somebody else takes it away.
func checkOverlap(x *exam) Step {
	name := x.name()
	if len(x.Tunnel.Routes) == 0 && len(x.Tunnel.Address) == 0 {
		return warn("set address and routes, unless a routing daemon does", "nothing is routed into the tunnel")
	}
	var bad, odd, commands []string
	for _, p := range x.Tunnel.Routes {
		for _, o := range x.Others {
			for _, q := range o.Routes {
				if p == q && o.Enabled && o.Table == x.Tunnel.Table && o.Metric == x.Tunnel.Metric {
					odd = append(odd, fmt.Sprintf("tunnel %q has the route %s with the same metric: give one of them another", o.Name, p))
				}
			}
		}
	}
	table := x.Tunnel.Table
	if table == 0 {
		table = config.TableMain
	}
	all, err := x.routesOf(table, unix.RTN_UNICAST)
	if err != nil {
		return skip("the routes cannot be read: " + err.Error())
	}
	wanted := append([]netip.Prefix(nil), x.Tunnel.Routes...)
	if table == config.TableMain {
		for _, p := range x.Tunnel.Address {
			wanted = append(wanted, p.Masked())
		}
	}
	for _, h := range all {
		h = x.named(h)
		if h.ifname == name || h.ifname == "" {
			continue
		}
		for _, p := range wanted {
			if h.Dst.Bits() > p.Bits() && p.Contains(h.Dst.Addr()) && p.Bits() != 0 {
				odd = append(odd, fmt.Sprintf("%s, a part of %s, goes to %s", h.Dst, p, h))
			}
		}
	}
	if table == config.TableMain {
		for _, p := range wanted {
			a := sample(p, x.Tunnel.Address)
			known := slices.ContainsFunc(x.refused(), func(r status.Placed) bool {
				q, err := netip.ParsePrefix(r.Prefix)
				return err == nil && q.Masked() == p.Masked()
			})
			if !a.IsValid() || known { // the step before has said so
				continue
			}
			h, err := x.routeOf(a)
			if err != nil || h.ifname == name || h.Type == unix.RTN_LOCAL || x.remote == a {
				continue
			}
			// A smaller network inside a large one may be meant, such as the own
			// LAN; inside the tunnel's own little network it is not.
			says := fmt.Sprintf("%s of %s goes to %s instead of %s", a, p, h, name)
			meant := false
			for _, r := range all {
				r = x.named(r)
				if !r.Dst.Contains(a) || r.Dst.Bits() < p.Bits() || r.ifname != h.ifname {
					continue
				}
				if meant = r.Dst.Bits() > p.Bits() && !x.inside(p); !meant {
					commands = append(commands, fmt.Sprintf("ip route delete %s dev %s metric %d", r.Dst, r.ifname, r.Metric))
				}
			}
			if !meant {
				bad = append(bad, says)
			}
		}
	}
	switch {
	case len(bad) > 0:
		return fault("take the overlapping route away, or give this tunnel a lower metric or other routes; see also: ip rule", append(bad, odd...)...).with(commands...)
	case len(odd) > 0:
		return warn("", odd...)
	}
	return fine(fmt.Sprintf("%d routes and %d addresses lead into %s", len(x.Tunnel.Routes), len(x.Tunnel.Address), name))
}

// inside tells whether p is the network of one of the tunnel's own addresses.
func (x *exam) inside(p netip.Prefix) bool {
	for _, a := range x.Tunnel.Address {
		if a.Masked() == p {
			return true
		}
	}
	return false
}

// sample is an address of p that is none of the tunnel's own.
func sample(p netip.Prefix, own []netip.Prefix) netip.Addr {
	a := p.Addr()
	if p.Bits() < p.Addr().BitLen()-1 {
		a = a.Next() // not the network's own address
	}
	for range 4 {
		mine := false
		for _, o := range own {
			mine = mine || o.Addr() == a
		}
		if !mine {
			break
		}
		a = a.Next()
	}
	if !p.Contains(a) {
		return netip.Addr{}
	}
	return a
}

package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

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
	if what := discards[h.Type]; what != "" {
		return what
	}
	if h.Type == unix.RTN_LOCAL {
		return "this machine itself"
	}
	if to := h.NextHop(); to.IsValid() {
		return h.ifname + " via " + to.String()
	}
	return h.ifname
}

// discards are the types of routes that lead nowhere, as ip route writes them.
var discards = map[uint8]string{unix.RTN_UNREACHABLE: "unreachable", unix.RTN_BLACKHOLE: "blackhole", unix.RTN_PROHIBIT: "prohibit"}

// connected reports whether it is the network of one of this machine's interfaces.
func (h hop) connected() bool { return h.Protocol == unix.RTPROT_KERNEL }

// ours reports whether greseal added it, for this tunnel or another.
func (h hop) ours() bool { return h.Protocol == rtnl.Protocol }

// remove is the command that deletes the route, "" where that could cut the machine
// off (its own networks and its default route) or the route is greseal's.
func (h hop) remove() string {
	if h.connected() || h.ours() || h.Dst.Bits() == 0 {
		return ""
	}
	if what := discards[h.Type]; what != "" {
		return fmt.Sprintf("ip route delete %s %s metric %d", what, h.Dst, h.Metric)
	}
	return fmt.Sprintf("ip route delete %s dev %s metric %d", h.Dst, h.ifname, h.Metric)
}

// routeOf asks the kernel where a packet of this machine to a would go.
func (x *exam) routeOf(a netip.Addr) (hop, error) {
	return x.routeFrom(a, netip.Addr{}, 0)
}

// routeFrom is routeOf for packets from an address, with a mark.
func (x *exam) routeFrom(a, local netip.Addr, mark uint32) (hop, error) {
	r, err := rtnl.Lookup(x.net.Netlink(), a, local, 0, mark)
	for e, typ := range map[error]uint8{
		unix.ENETUNREACH: unix.RTN_UNREACHABLE, unix.EHOSTUNREACH: unix.RTN_UNREACHABLE,
		unix.EINVAL: unix.RTN_BLACKHOLE, unix.EACCES: unix.RTN_PROHIBIT,
	} {
		if errors.Is(err, e) {
			return hop{Route: rtnl.Route{Type: typ}}, nil
		}
	}
	if err != nil {
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

// routesBeside lists the routes of a table that do not lead into the tunnel, with the
// names of their interfaces. The unreachable twins of a tunnel's are left out.
func (x *exam) routesBeside(table uint32) (hops []hop, err error) {
	all, err := rtnl.Routes(x.net.Netlink(), unix.AF_UNSPEC, 0)
	for _, r := range all {
		h := hop{Route: r}
		discarded := discards[r.Type] != "" && !h.ours() && !h.connected()
		if r.Table != table || !discarded && r.Type != unix.RTN_UNICAST {
			continue
		}
		if h = x.named(h); h.ifname != x.name() && (discarded || h.ifname != "") {
			hops = append(hops, h)
		}
	}
	return hops, err
}

// checkOverlap: what routes and address name leads into the tunnel, and no
// foreign route overrides it.
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
	var bad Step
	if table == config.TableMain {
		for _, p := range wanted {
			bad = bad.join(x.diverted(p, beside))
		}
	}
	switch {
	case bad.Verdict == Fault:
		return bad.and(odd...)
	case len(odd) > 0:
		return warn("", odd...)
	}
	return fine(fmt.Sprintf("%s and %s on %s", status.Plural(len(t.Routes), "route"), status.Plural(len(t.Address), "address"), t.Name))
}

// join adds another fault of the same step.
func (s Step) join(o Step) Step {
	if o.Verdict != Fault {
		return s
	}
	if s.Remedy != "" && !strings.Contains(s.Remedy, o.Remedy) {
		o.Remedy = s.Remedy + "; " + o.Remedy
	} else if s.Remedy != "" {
		o.Remedy = s.Remedy
	}
	o.Evidence, o.Commands = append(s.Evidence, o.Evidence...), append(s.Commands, o.Commands...)
	return o
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

// parts are the parts of what is wanted that other routes take, but for the networks
// of this machine, which are meant to stay reachable.
func parts(wanted []netip.Prefix, beside []hop) (odd []string) {
	for _, h := range beside {
		if h.connected() || h.ours() {
			continue
		}
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
func (x *exam) diverted(p netip.Prefix, beside []hop) Step {
	own, err := rtnl.LocalAddrs(x.net.Netlink())
	if err != nil {
		return Step{}
	}
	a := sample(p, own)
	refused := slices.ContainsFunc(x.refused(), func(r status.Placed) bool {
		q, err := netip.ParsePrefix(r.Prefix)
		return err == nil && q.Masked() == p.Masked()
	})
	if !a.IsValid() || a == x.remote || refused {
		return Step{}
	}
	h, err := x.routeOf(a)
	if err != nil || h.ifname == x.name() || h.Type == unix.RTN_LOCAL {
		return Step{}
	}
	by, meant := divertedBy(p, a, x.inside(p), h, beside)
	if meant {
		return Step{}
	}
	return blame(x.name(), p, a, h, by)
}

// blame says which routes keep an address a of p out of the tunnel, and what to do.
func blame(name string, p netip.Prefix, a netip.Addr, to hop, by []hop) Step {
	s := fault("restart the tunnel; if that does not help, look for a routing rule that takes it elsewhere (ip rule)",
		fmt.Sprintf("%s of %s goes to %s instead of %s", a, p, to, name))
	if len(by) == 0 {
		return s.with("greseal restart " + name)
	}
	s.Remedy = "remove the overlapping route, or give this tunnel a lower metric or other routes"
	for _, r := range by {
		switch {
		case r.connected():
			s.Remedy = fmt.Sprintf("both sides cannot have the same network: renumber one of them, or take %s out of routes", p)
			s = s.and(fmt.Sprintf("%s is the network of this machine's own interface %s", r.Dst, r.ifname))
		case r.remove() != "":
			s = s.and(fmt.Sprintf("the route %s to %s, which is not greseal's, comes first", r.Dst, r)).with(r.remove())
		}
	}
	return s
}

// divertedBy finds the routes by which an address a of p goes to where the kernel
// sends it. A smaller network inside a large one may be meant, such as the own LAN;
// inside the tunnel's own little network it is not. So is another tunnel's route.
func divertedBy(p netip.Prefix, a netip.Addr, inside bool, to hop, beside []hop) (by []hop, meant bool) {
	for _, r := range beside {
		switch {
		case !r.Dst.Contains(a) || r.Dst.Bits() < p.Bits() || r.Type != to.Type || r.Type == unix.RTN_UNICAST && r.ifname != to.ifname:
		case r.ours() || r.Dst.Bits() > p.Bits() && !inside:
			meant = true
		default:
			by = append(by, r)
		}
	}
	return by, meant
}

// inside reports whether p is the network of one of the tunnel's own addresses.
func (x *exam) inside(p netip.Prefix) bool {
	return slices.ContainsFunc(x.Tunnel.Address, func(a netip.Prefix) bool { return a.Masked() == p })
}

// sample is an address of p that is none of the machine's own.
func sample(p netip.Prefix, own []netip.Addr) netip.Addr {
	a := p.Addr()
	if p.Bits() < p.Addr().BitLen()-1 {
		a = a.Next() // not the network's own address
	}
	for slices.Contains(own, a) {
		a = a.Next()
	}
	if !p.Contains(a) {
		return netip.Addr{}
	}
	return a
}

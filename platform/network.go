package platform

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"greseal/platform/netlink"
	"greseal/platform/rtnl"
)

// Network lays the addresses and routes of our interfaces and takes back only
// what is ours: routes by their protocol number, addresses by theirs. It keeps
// what each link wants and makes the kernel agree, as often as it is asked:
// a device that goes down loses its routes and IPv6 addresses, and coming up
// brings none of them back. It belongs to one goroutine.
type Network struct {
	nl    *netlink.Conn
	log   *slog.Logger
	links map[string]*inside
	laid  map[rtnl.Route]bool // by this process; others only Sweep may remove
	ipv6  map[int]bool        // interfaces that were given their link-local address
	exits map[string]exit     // by the interface
	ruled map[rtnl.Rule]bool  // rules laid by this process
	swept bool

	held    bool     // until Release
	waiting []string // links named meanwhile
	look    bool     // at everything, when Release comes

	settled bool                  // since the last time nothing of an earlier daemon is left
	cover   map[netip.Prefix]bool // what our routes covered then, in the main table
}

// inside is what one link wants.
type inside struct {
	addresses []netip.Prefix
	ours      map[netip.Prefix]bool // addresses laid by this process
	routes    RouteSet
	running   bool
	foreign   bool
	clean     bool                // no address is wanted, and none of ours was found
	laid      map[rtnl.Route]bool // routes into the link laid by this process
	seen      *wishes             // by the last look at everything
}

// RouteSet is what is routed into a link.
type RouteSet struct {
	Prefixes []netip.Prefix // 0.0.0.0/0 and ::/0 are laid as two halves
	Metric   uint32         // 0: the kernel's default
	Table    uint32         // 0: main

	// DownMetric, when set, keeps the routes while the link is not running,
	// with this metric instead of Metric; otherwise they are withdrawn.
	DownMetric uint32

	// Fallback lets traffic follow other routes while the link's own are
	// withdrawn. Otherwise an unreachable route lies under each of them, and
	// under the networks of the link's addresses.
	Fallback bool

	// Peers are the outer addresses that must stay reachable outside the
	// tunnels: where a tunnel's routes would cover one, it gets a host route
	// through the underlay.
	Peers []netip.Addr

	// Servers are the name servers that tell the peers' addresses. While the
	// link is not running and our routes cover one, this program's own
	// questions to it go outside the tunnels; nobody else's do.
	Servers []netip.Addr

	// Inside are addresses to which packets go in ESP only. The kernel looks up
	// a route before ESP takes such a packet, and where it knows none, or an
	// unreachable one, the packet is lost: then there is a host route, the way
	// that leads to the peer.
	Inside []Inside

	// Through names the interface by which Peers are reached from its
	// addresses, whatever the routing table prefers (exit.go).
	Through string
}

// Inside is an address that packets reach inside ESP to a peer.
type Inside struct{ Addr, Peer netip.Addr }

// OpenNetwork opens its netlink socket in the calling thread's namespace.
func OpenNetwork(log *slog.Logger) (*Network, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s, err := netlink.Open(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	s.SelectInDumps() // of routes by their protocol
	return &Network{nl: s, log: log, links: make(map[string]*inside), laid: make(map[rtnl.Route]bool), ipv6: make(map[int]bool), ruled: make(map[rtnl.Rule]bool)}, nil
}

// Close closes the socket and leaves the kernel as it is.
func (n *Network) Close() { n.nl.Close() }

// Netlink is the socket, for LinkByName and its like.
func (n *Network) Netlink() *netlink.Conn { return n.nl }

func (n *Network) inside(link string) *inside {
	in := n.links[link]
	if in == nil {
		in = &inside{ours: make(map[netip.Prefix]bool), laid: make(map[rtnl.Route]bool)}
		n.links[link] = in
	}
	return in
}

// SetForeign says that somebody else lays the addresses of link and the routes
// into it. What lies underneath, and the host routes of its peers, stay ours.
func (n *Network) SetForeign(link string, foreign bool) { n.inside(link).foreign = foreign }

// own reads one of our interfaces.
func (n *Network) own(link string) (*rtnl.Link, error) {
	l, err := rtnl.LinkByName(n.nl, link)
	if err != nil {
		return nil, err
	}
	if !l.Ours() {
		return nil, fmt.Errorf("interface %s is not ours: rename it or the tunnel", link)
	}
	return l, nil
}

// SetAddresses makes the addresses of link those wanted: adds what is missing
// and removes what is ours and no longer wanted. Asking again with the same list
// repairs what went missing. An address that is refused does not keep the others
// out (Refused).
func (n *Network) SetAddresses(link string, want []netip.Prefix) error {
	in := n.inside(link)
	in.addresses = slices.Clone(want)
	if len(want) == 0 && in.clean {
		return n.update(link)
	}
	l, err := n.own(link)
	if err != nil {
		return err
	}
	have, err := rtnl.Addresses(n.nl, l.Index)
	if err != nil {
		return err
	}
	var errs []error
	present := make(map[netip.Prefix]bool)
	for _, a := range have {
		if slices.Contains(want, a.Prefix) && (!in.foreign || a.Protocol != rtnl.Protocol && !in.ours[a.Prefix]) {
			if a.Flags&unix.IFA_F_DADFAILED == 0 {
				present[a.Prefix] = true
			}
			continue
		}
		if a.Protocol != rtnl.Protocol && !in.ours[a.Prefix] {
			continue
		}
		if err := rtnl.ChangeAddress(n.nl, unix.RTM_DELADDR, l, a.Prefix); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			errs = append(errs, &Unlaid{a.Prefix, fmt.Sprintf("remove address %s from %s", a.Prefix, link), err})
			continue
		}
		delete(in.ours, a.Prefix)
	}
	if slices.ContainsFunc(want, func(p netip.Prefix) bool { return p.Addr().Is6() }) {
		n.wantIPv6(l)
	}
	for _, p := range want {
		if present[p] || in.foreign {
			continue
		}
		if err := rtnl.ChangeAddress(n.nl, unix.RTM_NEWADDR, l, p); err != nil && !errors.Is(err, unix.EEXIST) {
			errs = append(errs, &Unlaid{p, fmt.Sprintf("add address %s to %s", p, link), err})
			continue
		}
		in.ours[p] = true
	}
	in.clean = len(want) == 0 && len(errs) == 0
	errs = append(errs, n.update(link))
	return errors.Join(errs...)
}

// wantIPv6 gives a link that carries IPv6 the link-local address that was left
// out when it was made.
func (n *Network) wantIPv6(l *rtnl.Link) {
	if n.ipv6[l.Index] {
		return
	}
	if err := rtnl.SetLinkLocal(n.nl, l.Index, true); err != nil {
		n.log.Warn("no IPv6 link-local address", "interface", l.Name, "error", err)
		return
	}
	n.ipv6[l.Index] = true
}

// SetRoutes makes the routes of link those of set, for a link that is running or
// not. The interface may be absent or down: then only what lies underneath is
// laid, and its own routes follow with the next call. It is safe to repeat. A route
// that is refused does not keep the others out (Refused).
func (n *Network) SetRoutes(link string, set RouteSet, running bool) error {
	in := n.inside(link)
	set.Prefixes = slices.Clone(set.Prefixes)
	set.Peers, set.Servers, set.Inside = slices.Clone(set.Peers), slices.Clone(set.Servers), slices.Clone(set.Inside)
	if set.Table == 0 {
		set.Table = unix.RT_TABLE_MAIN
	}
	in.routes, in.running = set, running
	return n.update(link)
}

// Refresh lays the peers' host routes anew after the underlay has changed, and
// whatever else went missing on interfaces that are up.
func (n *Network) Refresh() error {
	return n.reconcile(slices.Collect(maps.Keys(n.links))...)
}

// Forget removes all routes of link: those into it, those underneath that no
// other link shares, and the host routes of its peers. It opens the inner side
// and is for a tunnel that left the config.
func (n *Network) Forget(link string) error {
	delete(n.links, link)
	return n.reconcile()
}

// Sweep removes the routes of earlier daemons that no SetRoutes since asked for.
// Call it when every configured link had its SetRoutes.
func (n *Network) Sweep() error {
	n.swept = true
	return n.reconcile()
}

// Hold puts off changes of routes until Release, which makes them for all links
// at once: with one look at all interfaces and routes that there are, if any.
func (n *Network) Hold() { n.held = true }

// Release ends Hold.
func (n *Network) Release() error {
	links, look := n.waiting, n.look
	n.held, n.waiting, n.look = false, nil, false
	if look {
		return n.reconcile(links...)
	}
	var errs []error
	for _, link := range links {
		errs = append(errs, n.update(link))
	}
	return errors.Join(errs...)
}

// reconcile computes what all links want, removes what is ours and unwanted,
// then adds what is missing: shared routes, and those into the links named.
func (n *Network) reconcile(links ...string) error {
	if n.held {
		n.waiting, n.look = append(n.waiting, links...), true
		return nil
	}
	if n.settled && len(n.laid) == 0 && !n.wantsAny() {
		return nil // a hub of many tunnels without routes lists nothing
	}
	all, err := rtnl.Links(n.nl)
	if err != nil {
		return err
	}
	byName := make(map[string]*rtnl.Link)
	ours := make(map[int]bool)
	for _, l := range all {
		if l.Ours() {
			byName[l.Name] = l
			ours[l.Index] = true
		}
	}
	have, err := rtnl.Routes(n.nl, unix.AF_UNSPEC, rtnl.Protocol)
	if err != nil {
		return err
	}
	into, shared := n.wanted(byName)
	foreign := sync.OnceValues(func() ([]rtnl.Route, error) { return foreignRoutes(n.nl, unix.AF_UNSPEC, ours) })
	pins, err := n.pins(foreign, into, shared)
	if err != nil {
		return err
	}
	ways, rules, err := n.ways(foreign)
	if err != nil {
		return err
	}
	pins = append(pins, ways...)
	asking, err := n.questions(foreign, rules)
	if err != nil {
		return err
	}
	pins = append(pins, asking...)

	var errs []error
	if err := n.dropRules(rules); err != nil {
		errs = append(errs, err)
	}
	keep := make(map[rtnl.Route]bool)
	for r := range into {
		keep[r.Key()] = true
	}
	for r := range shared {
		keep[r.Key()] = true
	}
	for _, r := range pins {
		keep[r.Key()] = true
	}
	present := make(map[rtnl.Route]bool)
	for _, r := range have {
		k := r.Key()
		if k.Type == unix.RTN_UNREACHABLE {
			k.Oif = 0 // IPv6 reports the loopback interface
		}
		if keep[k] {
			present[k] = true
			continue
		}
		if !n.swept && !n.laid[k] {
			continue
		}
		if err := n.changeRoute(unix.RTM_DELROUTE, k); err != nil {
			errs = append(errs, err)
			continue
		}
		delete(n.laid, k)
	}
	add := func(r rtnl.Route) {
		k := r.Key()
		if present[k] {
			n.laid[k] = true
			return
		}
		if err := n.changeRoute(unix.RTM_NEWROUTE, r); err != nil {
			errs = append(errs, err)
			return
		}
		n.laid[k] = true
		present[k] = true
	}
	// The peers' host routes first: nothing may cover them even for a moment.
	for _, r := range pins {
		add(r)
	}
	if err := n.addRules(rules); err != nil {
		errs = append(errs, err)
	}
	for r := range shared {
		add(r)
	}
	named := make(map[string]bool)
	for _, link := range links {
		named[link] = true
	}
	for r, link := range into {
		if named[link] {
			add(r)
			if k := r.Key(); n.laid[k] {
				n.links[link].laid[k] = true
			}
		}
	}
	for k := range n.laid {
		if !keep[k] {
			delete(n.laid, k)
		}
	}
	n.settled = n.swept && len(errs) == 0
	for _, in := range n.links {
		in.saw()
	}
	return errors.Join(errs...)
}

// wantsAny tells whether any link wants a route, one underneath included.
func (n *Network) wantsAny() bool {
	for _, in := range n.links {
		if len(in.routes.Prefixes) > 0 || len(in.addresses) > 0 || in.routes.Through != "" || len(in.routes.Inside) > 0 {
			return true
		}
	}
	return false
}

// wanted computes the routes into interfaces that are there and up, and the
// unreachable ones underneath, which links share.
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
			for _, p := range rtnl.Halves(whole) {
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

// into are the routes into a link that is there and up; l is nil for one that is
// not there.
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
		for _, p := range rtnl.Halves(whole) {
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
// of addresses inside to which there is no other way.
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
				for _, p := range rtnl.Halves(whole) {
					n.cover[p] = true
				}
			}
		}
	}
	for _, in := range n.links {
		for _, peer := range in.routes.Peers {
			if bits, ok := n.covers(peer); ok {
				covered[peer.Unmap().WithZone("")] = bits
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
			n.log.Debug("no way to the peer outside the tunnels", "peer", peer)
			continue
		}
		if r.Dst.Bits() > bits {
			continue // it wins by itself
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
				continue // the peer has no way either
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
			addr, peer := i.Addr.Unmap().WithZone(""), i.Peer.Unmap().WithZone("")
			if _, there := all[addr]; !there && addr != peer {
				all[addr] = peer
			}
		}
	}
	return all
}

// changeRoute adds (RTM_NEWROUTE) or removes (RTM_DELROUTE) a route; the error is an
// *Unlaid.
func (n *Network) changeRoute(typ uint16, r rtnl.Route) error {
	err := rtnl.ChangeRoute(n.nl, typ, r)
	switch {
	case err == nil:
		return nil
	case typ == unix.RTM_NEWROUTE:
		return &Unlaid{r.Dst, "add route " + r.String(), err}
	}
	return &Unlaid{r.Dst, "remove route " + r.String(), err}
}

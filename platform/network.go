package platform

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"greseal/platform/netlink"
	"greseal/platform/rtnl"
)

// Network installs the addresses and routes of our interfaces and removes only its
// own: both are marked by a protocol number. It keeps what each link wants and makes
// the kernel agree, as often as it is asked: a device that goes down loses its routes
// and IPv6 addresses, and coming up does not bring them back. It belongs to one
// goroutine.
type Network struct {
	nl        *netlink.Conn
	log       *slog.Logger
	links     map[string]*inside
	laid      laid[rtnl.Route]
	ipv6      map[int]bool         // interfaces that were given a link-local address
	linkLocal map[int]netip.Prefix // which one, as last seen
	makes6    map[int]bool         // whether the kernel makes one, as it was set or first seen
	exits     map[string]exit      // by the interface
	ruled     laid[rtnl.Rule]
	swept     bool

	batching bool     // until Commit
	batched  []string // links changed meanwhile
	full     bool     // Commit makes a full pass

	repairs Repairs
	found   []Deviation // since the last Audit

	settled bool                  // nothing of an earlier daemon was left then
	cover   map[netip.Prefix]bool // what our routes covered then, in the main table
}

// inside is what one link wants.
type inside struct {
	addresses []netip.Prefix
	index     int                   // of the interface that has our addresses
	ours      map[netip.Prefix]bool // addresses added by this process
	routes    RouteSet
	running   bool
	foreign   bool
	clean     bool                // no address is wanted, and none of ours was found
	laid      map[rtnl.Route]bool // routes into the link added by this process
	last      *lastWanted         // at the last full pass
}

// RouteSet is what is routed into a link.
type RouteSet struct {
	Prefixes []netip.Prefix // 0.0.0.0/0 and ::/0 are installed as two halves
	Metric   uint32         // 0: the kernel's default
	Table    uint32         // 0: main

	// DownMetric, when set, keeps the routes while the link is not running,
	// with this metric instead of Metric; otherwise they are withdrawn.
	DownMetric uint32

	// Fallback lets traffic follow other routes while the link's own are
	// withdrawn. Otherwise each of them has an unreachable twin, and so have the
	// networks of the link's addresses.
	Fallback bool

	// Peers are the outer addresses that must stay reachable outside the
	// tunnels: where a tunnel's routes would cover one, it gets a host route
	// through the underlay.
	Peers []netip.Addr

	// Servers are the name servers that resolve the peers' names. While the link
	// is not running and our routes cover one, this program's own queries to it
	// go outside the tunnels; no others do.
	Servers []netip.Addr

	// Inside are addresses that are reached in ESP only. The kernel looks up a
	// route before ESP takes such a packet, and drops it if there is none or an
	// unreachable one: then it gets a host route like the peer's.
	Inside []Inside

	// Through names the interface by which Peers are reached from its
	// addresses, whatever the routing table prefers (exit.go).
	Through string
}

// Inside is an address that packets reach inside ESP to a peer.
type Inside struct{ Addr, Peer netip.Addr }

// OpenNetwork opens a netlink socket in the calling thread's namespace.
func OpenNetwork(log *slog.Logger) (*Network, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s, err := netlink.Open(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	s.SelectInDumps() // of routes by their protocol
	return &Network{nl: s, log: log, links: make(map[string]*inside), laid: make(laid[rtnl.Route]), ipv6: make(map[int]bool), linkLocal: make(map[int]netip.Prefix), makes6: make(map[int]bool), ruled: make(laid[rtnl.Rule])}, nil
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

// SetForeign says that another program (netifd) sets the addresses of link and the
// routes into it. Their unreachable twins and the peers' host routes remain ours.
func (n *Network) SetForeign(link string, foreign bool) { n.inside(link).foreign = foreign }

// own reads one of our interfaces.
func (n *Network) own(link string) (*rtnl.Link, error) {
	l, err := rtnl.LinkByName(n.nl, link)
	if err != nil {
		return nil, err
	}
	if !l.Ours() {
		return nil, fmt.Errorf("interface %s is not greseal's: rename it or the tunnel", link)
	}
	return l, nil
}

// SetAddresses makes the addresses of link those wanted: adds what is missing
// and removes ours that are no longer wanted. A call with the same list restores what
// went missing. An address that is refused does not hold up the others (Refused).
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
	errs := []error{n.layAddresses(l, in, have), n.update(link)}
	return errors.Join(errs...)
}

// layAddresses makes the addresses of a link, which has these now, those wanted.
func (n *Network) layAddresses(l *rtnl.Link, in *inside, have []rtnl.Address) error {
	var errs []error
	want, link := in.addresses, l.Name
	if in.index != l.Index { // made anew
		in.index = l.Index
		clear(in.ours)
	}
	present := make(map[netip.Prefix]bool)
	for _, a := range have {
		if slices.Contains(want, a.Prefix) && (!in.foreign || a.Protocol != rtnl.Protocol && !in.ours[a.Prefix]) {
			if a.Flags&unix.IFA_F_DADFAILED == 0 {
				present[a.Prefix] = true
			}
			continue
		}
		if a.Protocol != rtnl.Protocol && !in.ours[a.Prefix] || a.Prefix == n.linkLocal[l.Index] {
			continue
		}
		if err := rtnl.ChangeAddress(n.nl, unix.RTM_DELADDR, l, a.Prefix); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			errs = append(errs, &Unlaid{a.Prefix, fmt.Sprintf("remove address %s from %s", a.Prefix, link), err, ObjectAddress})
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
		add := func() error {
			if err := rtnl.ChangeAddress(n.nl, unix.RTM_NEWADDR, l, p); err != nil && !errors.Is(err, unix.EEXIST) {
				return &Unlaid{p, fmt.Sprintf("add address %s to %s", p, link), err, ObjectAddress}
			}
			return nil
		}
		switch {
		case !in.ours[p]:
			if err := add(); err != nil {
				errs = append(errs, err)
			} else {
				in.ours[p] = true
			}
		case l.Up(): // otherwise it may have gone with that
			n.again(ObjectAddress, link, p.String(), add)
		}
	}
	in.clean = len(want) == 0 && len(errs) == 0
	return errors.Join(errs...)
}

// wantIPv6 gives a link that carries IPv6 the link-local address that it was made
// without.
func (n *Network) wantIPv6(l *rtnl.Link) {
	if n.ipv6[l.Index] {
		return
	}
	if err := rtnl.SetLinkLocal(n.nl, l.Index, true); err != nil {
		n.log.Warn("no IPv6 link-local address", "interface", l.Name, "error", err)
		return
	}
	n.ipv6[l.Index] = true
	l.Silent6, n.makes6[l.Index] = false, true
}

// SetRoutes makes the routes of link those of set, for a link that is running or
// not. While the interface is absent or down only the unreachable twins are installed,
// and its own routes follow with the next call. It is safe to repeat. A route that is
// refused does not hold up the others (Refused).
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

// Refresh brings the peers' host routes up to date after the underlay has changed, and
// restores whatever else went missing on interfaces that are up.
func (n *Network) Refresh() error {
	return n.reconcile(slices.Collect(maps.Keys(n.links))...)
}

// Forget removes all routes of link: those into it, their unreachable twins that no
// other link shares, and the host routes of its peers. It opens the inner side, for a
// tunnel that left the config.
func (n *Network) Forget(link string) error {
	delete(n.links, link)
	return n.reconcile()
}

// Sweep removes the routes of earlier daemons that no SetRoutes has asked for since.
// Call it after SetRoutes for every configured link.
func (n *Network) Sweep() error {
	n.swept = true
	return n.reconcile()
}

// Batch defers changes of routes until Commit, which makes them for all links at once,
// with at most one full pass.
func (n *Network) Batch() { n.batching = true }

// Commit ends Batch.
func (n *Network) Commit() error {
	links, full := n.batched, n.full
	n.batching, n.batched, n.full = false, nil, false
	if full {
		return n.reconcile(links...)
	}
	var errs []error
	for _, link := range links {
		errs = append(errs, n.update(link))
	}
	return errors.Join(errs...)
}

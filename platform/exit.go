package platform

import (
	"errors"
	"hash/fnv"
	"net/netip"

	"golang.org/x/sys/unix"

	"greseal/platform/inet"
	"greseal/platform/netlink"
	"greseal/platform/rtnl"
)

// Peers that are reached by a given interface (RouteSet.Through). Packets to such a
// peer from one of the interface's addresses are looked up in a routing table of that
// interface, by a rule before the main table's: so two tunnels to one peer leave by two
// WANs, each by its own. The table holds a host route, copied from the main table's
// route out of that interface, and from then on an unreachable route of a worse
// metric, so that nothing leaves elsewhere while the interface is away.

// exit is one interface that tunnels are to leave by.
type exit struct {
	addresses []netip.Addr        // the interface's, or the last it had
	reached   map[netip.Addr]bool // peers to which there has been a route
}

// exitTable is the number of an interface's routing table: one for each name, far
// from those that people use.
func exitTable(name string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(name))
	return h.Sum32() | 1<<31
}

// ways computes the routes and the rules of the peers that are to be reached by
// one interface.
func (n *Network) ways(foreign func() ([]rtnl.Route, error)) (ways []rtnl.Route, rules map[rtnl.Rule]bool, err error) {
	peers := make(map[string]map[netip.Addr]bool) // by interface
	for _, in := range n.links {
		name := in.routes.Through
		if name == "" {
			continue
		}
		if peers[name] == nil {
			peers[name] = make(map[netip.Addr]bool)
		}
		for _, peer := range in.routes.Peers {
			peers[name][inet.Plain(peer)] = true
		}
	}
	exits := make(map[string]exit)
	rules = make(map[rtnl.Rule]bool)
	for name, peers := range peers {
		routes, err := foreign()
		if err != nil {
			return nil, nil, err
		}
		before := n.exits[name]
		e := exit{addresses: before.addresses, reached: make(map[netip.Addr]bool)}
		by, err := e.read(n.nl, name, routes)
		if err != nil {
			return nil, nil, err
		}
		table := exitTable(name)
		for peer := range peers {
			r, ok := underlay(by, peer)
			if !ok && !before.reached[peer] {
				continue // the administrator's rules may have a route
			}
			e.reached[peer] = true
			if ok {
				ways = append(ways, r.HostRoute(table, peer))
			}
			ways = append(ways, rtnl.Unreachable(table, inet.Host(peer)))
			for _, from := range e.addresses {
				if from.Is4() == peer.Is4() {
					rules[rtnl.Rule{From: from, To: peer, Table: table}] = true
				}
			}
		}
		exits[name] = e
	}
	n.exits = exits
	return ways, rules, nil
}

// read reads the addresses of the interface and picks the routes that lead out of
// it.
func (e *exit) read(s *netlink.Conn, name string, routes []rtnl.Route) (by []rtnl.Route, err error) {
	l, err := rtnl.LinkByName(s, name)
	if errors.Is(err, rtnl.ErrNoLink) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all, err := rtnl.Addresses(s, l.Index)
	if err != nil {
		return nil, err
	}
	var have []netip.Addr
	successor := make(map[bool]bool) // by Is4
	for _, a := range all {
		if a.Scope == unix.RT_SCOPE_UNIVERSE && a.Prefix.Addr().IsValid() {
			have = append(have, a.Prefix.Addr())
			successor[a.Prefix.Addr().Is4()] = true
		}
	}
	for _, old := range e.addresses {
		// An address that is gone may come back; its rule stays until it has a
		// successor.
		if !successor[old.Is4()] {
			have = append(have, old)
		}
	}
	e.addresses = have
	for _, r := range routes {
		if r.Oif == l.Index {
			by = append(by, r)
		}
	}
	return by, nil
}

// dropRules removes our rules that are unwanted, and returns those that remain.
func (n *Network) dropRules(want map[rtnl.Rule]bool) (present map[rtnl.Rule]bool, err error) {
	if n.settled && len(n.ruled) == 0 {
		return make(map[rtnl.Rule]bool), nil
	}
	have, err := rtnl.Rules(n.nl)
	if err != nil {
		return make(map[rtnl.Rule]bool), err
	}
	return n.ruled.drop(have, want, n.swept, n.removeRule)
}

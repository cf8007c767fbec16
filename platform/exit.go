package platform

import (
	"errors"
	"fmt"
	"greseal/platform/netlink"
	"hash/fnv"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Peers that are reached by one interface (RouteSet.Through). What goes to such a
// peer from one of the interface's addresses is looked up in a routing table of
// the interface's own, by a rule that stands in front of the main table: so two
// tunnels to one peer leave by two WANs, each by its own. The table holds a host
// route the way the main table knows by that interface, and once there was one an
// unreachable route beneath, so that nothing takes another way while the
// interface is away and when it comes back.

// exit is one interface that tunnels are to leave by.
type exit struct {
	addresses []netip.Addr        // the interface's, or the last it had
	reached   map[netip.Addr]bool // peers to whom a way has been known
}

// exitTable is the number of the routing table of an interface: one of its own
// for each name, far from those people use.
func exitTable(name string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(name))
	return h.Sum32() | 1<<31
}

// ways computes the routes and the rules of the peers that are to be reached by
// one interface.
func (n *Network) ways(foreign func() ([]route, error)) (ways []route, rules map[rule]bool, err error) {
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
			peers[name][peer.Unmap().WithZone("")] = true
		}
	}
	exits := make(map[string]exit)
	rules = make(map[rule]bool)
	for name, peers := range peers {
		routes, err := foreign()
		if err != nil {
			return nil, nil, err
		}
		before := n.exits[name]
		e := exit{addresses: before.addresses, reached: make(map[netip.Addr]bool)}
		by, err := e.look(n.nl, name, routes)
		if err != nil {
			return nil, nil, err
		}
		table := exitTable(name)
		for peer := range peers {
			r, ok := underlay(by, peer)
			if !ok && !before.reached[peer] {
				continue // people's own rules may know a way
			}
			e.reached[peer] = true
			if ok {
				ways = append(ways, r.hostRoute(table, peer))
			}
			ways = append(ways, unreachable(table, netip.PrefixFrom(peer, peer.BitLen())))
			for _, from := range e.addresses {
				if from.Is4() == peer.Is4() {
					rules[rule{from, peer, table}] = true
				}
			}
		}
		exits[name] = e
	}
	n.exits = exits
	return ways, rules, nil
}

// look reads the addresses of the interface and picks the routes that lead out of
// it.
func (e *exit) look(s *netlink.Conn, name string, routes []route) (by []route, err error) {
	l, err := LinkByName(s, name)
	if errors.Is(err, ErrNoLink) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all, err := listAddresses(s, l.Index)
	if err != nil {
		return nil, err
	}
	var have []netip.Addr
	successor := make(map[bool]bool) // by Is4
	for _, a := range all {
		if a.scope == unix.RT_SCOPE_UNIVERSE && a.prefix.Addr().IsValid() {
			have = append(have, a.prefix.Addr())
			successor[a.prefix.Addr().Is4()] = true
		}
	}
	for _, old := range e.addresses {
		// One that is gone may come back; until its successor is there, its
		// rule stays.
		if !successor[old.Is4()] {
			have = append(have, old)
		}
	}
	e.addresses = have
	for _, r := range routes {
		if r.oif == l.Index {
			by = append(by, r)
		}
	}
	return by, nil
}

// rule sends what goes from one address to another to a routing table, or (from
// is unset) what this program asks of a name server.
type rule struct {
	from, to netip.Addr
	table    uint32
}

func (r rule) String() string {
	if !r.from.IsValid() {
		return fmt.Sprintf("to %s port %d of our own lookup %d", r.to, portDNS, r.table)
	}
	return fmt.Sprintf("from %s to %s lookup %d", r.from, r.to, r.table)
}

// rulePriority puts a rule just in front of the main table's, behind all others.
const rulePriority = 32765

// dropRules removes the rules that are ours and unwanted.
func (n *Network) dropRules(want map[rule]bool) error {
	if n.settled && len(n.ruled) == 0 {
		return nil
	}
	have, err := listRules(n.nl)
	if err != nil {
		return err
	}
	var errs []error
	laid := n.ruled
	n.ruled = make(map[rule]bool)
	for _, r := range have {
		if want[r] {
			n.ruled[r] = true
			continue
		}
		if !n.swept && !laid[r] {
			continue
		}
		if err := changeRule(n.nl, unix.RTM_DELRULE, r); err != nil {
			errs = append(errs, err)
			n.ruled[r] = true
		}
	}
	return errors.Join(errs...)
}

// addRules adds the rules that are missing.
func (n *Network) addRules(want map[rule]bool) error {
	var errs []error
	for r := range want {
		if n.ruled[r] {
			continue
		}
		if err := changeRule(n.nl, unix.RTM_NEWRULE, r); err != nil {
			errs = append(errs, err)
			continue
		}
		n.ruled[r] = true
	}
	return errors.Join(errs...)
}

// listRules reads our rules.
func listRules(s *netlink.Conn) ([]rule, error) {
	all, err := netlink.Dump(s, unix.RTM_GETRULE, unix.RTM_NEWRULE, parseRule, &nl.RtMsg{})
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil // a kernel without rules
	}
	if err != nil {
		return nil, fmt.Errorf("read routing rules: %w", err)
	}
	return all, nil
}

// parseRule reads an RTM_NEWRULE and tells whether it is one of ours.
func parseRule(p []byte) (r rule, ours bool, err error) {
	if len(p) < unix.SizeofRtMsg {
		return r, false, errors.New("rule message: too short")
	}
	question := false
	err = netlink.EachAttr(p[unix.SizeofRtMsg:], func(typ uint16, v []byte) error {
		switch typ {
		case unix.FRA_SRC:
			r.from, _ = netip.AddrFromSlice(v)
		case unix.FRA_DST:
			r.to, _ = netip.AddrFromSlice(v)
		case unix.FRA_TABLE:
			r.table = netlink.Uint32(v)
		case unix.FRA_DPORT_RANGE:
			question = true
		case unix.FRA_PROTOCOL:
			ours = len(v) == 1 && v[0] == ownProtocol
		}
		return nil
	})
	if !r.from.IsValid() {
		return r, ours && question && r.to.IsValid(), err
	}
	return r, ours && r.to.IsValid() && int(p[1]) == r.to.BitLen() && int(p[2]) == r.from.BitLen(), err
}

// changeRule adds (RTM_NEWRULE) or removes (RTM_DELRULE) one of our rules.
func changeRule(s *netlink.Conn, typ uint16, r rule) error {
	m := &nl.RtMsg{} // struct fib_rule_hdr has the same shape
	m.Family = uint8(family(r.to))
	m.Dst_len, m.Src_len = uint8(r.to.BitLen()), uint8(r.from.BitLen())
	m.Type = ruleToTable
	req := netlink.Request(typ, 0, m,
		nl.NewRtAttr(unix.FRA_DST, r.to.AsSlice()),
		nl.NewRtAttr(unix.FRA_PRIORITY, nl.Uint32Attr(rulePriority)),
		nl.NewRtAttr(unix.FRA_TABLE, nl.Uint32Attr(r.table)),
		nl.NewRtAttr(unix.FRA_PROTOCOL, []byte{ownProtocol}))
	if r.from.IsValid() {
		req.AddData(nl.NewRtAttr(unix.FRA_SRC, r.from.AsSlice()))
	} else {
		ownQuestions(req)
	}
	if typ == unix.RTM_NEWRULE {
		req.Flags |= unix.NLM_F_CREATE | unix.NLM_F_EXCL
	}
	err := s.Do(req)
	switch {
	case typ == unix.RTM_NEWRULE && errors.Is(err, unix.EEXIST),
		typ == unix.RTM_DELRULE && errors.Is(err, unix.ENOENT):
		return nil
	case !r.from.IsValid() && (errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EAFNOSUPPORT)):
		return fmt.Errorf("routing rule %s: the kernel has no policy routing (CONFIG_IP_MULTIPLE_TABLES): write the peer's address in remote, or take the name server out of the tunnel's routes (%w)", r, err)
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EAFNOSUPPORT):
		return fmt.Errorf("routing rule %s: the kernel has no policy routing (CONFIG_IP_MULTIPLE_TABLES): set local to an address (%w)", r, err)
	case err != nil && typ == unix.RTM_NEWRULE:
		return fmt.Errorf("add routing rule %s: %w", r, err)
	case err != nil:
		return fmt.Errorf("remove routing rule %s: %w", r, err)
	}
	return nil
}

// ruleToTable is FR_ACT_TO_TBL (linux/fib_rules.h).
const ruleToTable = 1

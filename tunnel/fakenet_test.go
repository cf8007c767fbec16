package tunnel

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"greseal/platform"
)

// worldNet is the machine's network.
type worldNet struct{ w *world }

func (worldNet) Batch()                  {}
func (worldNet) Commit() error           { return nil }
func (worldNet) Refresh() error          { return nil }
func (worldNet) Sweep() error            { return nil }
func (worldNet) SetForeign(string, bool) {}
func (worldNet) Close()                  {}

// Audit lays what was refused once more.
func (n worldNet) Audit(*platform.Interfaces) (found []platform.Deviation) {
	for _, what := range []struct {
		platform.Object
		call string
		want map[string][]netip.Prefix
	}{
		{platform.ObjectAddress, "SetAddresses", n.w.addresses}, {platform.ObjectRoute, "SetRoutes", n.w.routes},
	} {
		for _, name := range slices.Sorted(maps.Keys(what.want)) {
			refused, _ := platform.Refused(n.refused(what.want[name]))
			for _, u := range refused {
				found = append(found, platform.Deviation{Link: name, Object: what.Object, Name: u.Prefix.String(), Text: u.Why()})
			}
			if err := n.w.fails(what.call); err != nil {
				found = append(found, platform.Deviation{Link: name, Object: what.Object, Text: err.Error()})
			}
		}
	}
	return found
}

func (worldNet) Interfaces() (*platform.Interfaces, error) { return new(platform.Interfaces), nil }

func (n worldNet) Leaves(netip.Addr) (string, error) {
	if n.w.leaves == "nowhere" {
		return "", errors.New("no way there")
	}
	return n.w.leaves, nil
}

func (n worldNet) Forget(name string) error {
	n.w.say("%s: routes forgotten", name)
	delete(n.w.laid, name+" addresses")
	delete(n.w.laid, name+" routes")
	delete(n.w.addresses, name)
	delete(n.w.routes, name)
	return n.w.fails("Forget")
}

func (n worldNet) SetAddresses(name string, want []netip.Prefix) error {
	n.w.addresses[name] = want
	if n.w.devices[name] {
		n.w.lay(name, "addresses", strings.Join(words(want), " "))
	}
	return errors.Join(n.refused(want), n.w.fails("SetAddresses"))
}

func (n worldNet) SetRoutes(name string, set platform.RouteSet, running bool) error {
	n.w.routesTo = map[netip.Addr]bool{}
	for _, p := range set.Peers {
		n.w.routesTo[p] = true
	}
	n.w.routes[name] = set.Prefixes
	n.w.lay(name, "routes", routesLine(set, running))
	return errors.Join(n.refused(set.Prefixes), n.w.fails("SetRoutes"))
}

// routesLine is a set of routes in a line.
func routesLine(set platform.RouteSet, running bool) string {
	if len(set.Prefixes) == 0 {
		return ""
	}
	s := strings.Join(words(set.Prefixes), " ")
	switch {
	case running && set.Metric != 0:
		s += fmt.Sprintf(" by it, metric %d", set.Metric)
	case running:
		s += " by it"
	case set.DownMetric != 0:
		s += fmt.Sprintf(" by it, metric %d", set.DownMetric)
	case set.Fallback:
		s += " as others lead"
	default:
		s += " unreachable"
	}
	if set.Table != 0 && set.Table != 254 {
		s += fmt.Sprintf(", table %d", set.Table)
	}
	if len(set.Peers) > 0 {
		s += "; outside: " + strings.Join(sorted(set.Peers), " ")
	}
	for _, i := range set.Inside {
		s += fmt.Sprintf("; inside: %s as %s", i.Addr, i.Peer)
	}
	return s
}

func words[T fmt.Stringer](list []T) (out []string) {
	for _, x := range list {
		out = append(out, x.String())
	}
	return out
}

func sorted[T fmt.Stringer](list []T) []string {
	out := words(list)
	slices.Sort(out)
	return slices.Compact(out)
}

func (n worldNet) refused(want []netip.Prefix) error {
	var errs []error
	for _, p := range want {
		if p == n.w.refuse {
			errs = append(errs, &platform.Unlaid{Prefix: p, What: "add " + p.String(), Err: errors.New("operation not permitted")})
		}
	}
	return errors.Join(errs...)
}

// card is an interface of the machine.
type card struct {
	name  string
	index int
	mtu   int
	addrs []netip.Addr
}

func (w *world) card(name string) *card {
	for _, c := range w.cards() {
		if c.name == name {
			return &c
		}
	}
	return nil
}

// cards are the interfaces: wan, whose addresses have fields of their own, and others.
func (w *world) cards() []card {
	wan := card{name: "wan", index: 2, mtu: w.wanMTU}
	for _, a := range []netip.Addr{w.wan4, w.wan6} {
		if a.IsValid() {
			wan.addrs = append(wan.addrs, a)
		}
	}
	return append([]card{wan}, w.others...)
}

// has tells whether an address is the machine's.
func (w *world) has(a netip.Addr) bool {
	return slices.ContainsFunc(w.cards(), func(c card) bool { return slices.Contains(c.addrs, a) })
}

func (n worldNet) RouteTo(remote, local netip.Addr, ifname string, _ uint32) (platform.RouteInfo, error) {
	w := n.w
	route, by := w.route4, w.by4
	if remote.Is6() {
		route, by = w.route6, w.by6
	}
	if ifname != "" {
		by = ifname
	}
	family := func(a netip.Addr) bool { return a.BitLen() == remote.BitLen() }
	var own netip.Addr
	c := w.card(by)
	if c == nil {
		return platform.RouteInfo{}, fmt.Errorf("interface %s has no address: %w", by, platform.ErrNoSource)
	}
	if i := slices.IndexFunc(c.addrs, family); i >= 0 {
		own = c.addrs[i]
	}
	if local.IsValid() && w.has(local) && (ifname == "" || slices.Contains(c.addrs, local)) {
		own = local
	}
	if !own.IsValid() || local.IsValid() && local != own {
		return platform.RouteInfo{}, fmt.Errorf("interface %s has no address: %w", by, platform.ErrNoSource)
	}
	if !route {
		return platform.RouteInfo{}, fmt.Errorf("%w to %s: wait for the WAN or add one", platform.ErrNoRoute, remote)
	}
	path := c.mtu
	if w.pathMTU != 0 {
		path = w.pathMTU
	}
	return platform.RouteInfo{Local: own, IfIndex: c.index, IfName: c.name, MTU: c.mtu, PathMTU: path}, nil
}

func (n worldNet) LocalAddrs() (all []netip.Addr, _ error) {
	for _, c := range n.w.cards() {
		all = append(all, c.addrs...)
	}
	return all, n.w.fails("LocalAddrs")
}

func (n worldNet) ForeignGRE() (map[netip.Addr]string, error) { return n.w.foreign, nil }

func (n worldNet) HasElsewhere(_ string, a netip.Addr) (bool, error) { return n.w.has(a), nil }

func (n worldNet) InterfaceAddrs(name string) ([]netip.Addr, error) {
	if c := n.w.card(name); c != nil {
		return c.addrs, nil
	}
	return nil, nil
}

func (n worldNet) Link(name string) (*platform.LinkInfo, error) {
	if !n.w.devices[name] && n.w.card(name) == nil {
		return nil, platform.ErrNoLink
	}
	info := &platform.LinkInfo{Name: name, Index: 7, Stats: n.w.stats}
	if !n.w.setDown {
		info.Flags = 1 // IFF_UP
	}
	return info, n.w.fails("Link")
}

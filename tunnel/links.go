package tunnel

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"greseal/ikev2"
	"greseal/platform"
	"greseal/tunnel/cause"
	"greseal/tunnel/config"
	"greseal/tunnel/doctor"
	"greseal/tunnel/resolve"
	"greseal/tunnel/status"
)

// The machine's side of a tunnel, in this order: close (guards and unreachable routes),
// prepare (interface and addresses), setRunning (routes and link state), dismantle (the
// reverse, still closed), open (only when the tunnel leaves the configuration or its
// operator asks for it).

// close puts the guards and unreachable routes in place. It is done before
// anything else, also for tunnels that are disabled or down.
func (l *loop) close(t *tunnel) {
	c := t.cfg
	t.guards.Close()
	l.net.SetForeign(t.name, c.Netifd)
	if t.index != 0 {
		l.layAddresses(t)
	} else {
		_ = l.net.SetAddresses(t.name, c.Address) // for the unreachable routes; there is no interface yet
	}
	l.layRoutes(t)
	addrs, _ := resolve.Literals(c.Remotes)
	l.report(t, "close", l.guard(t, append(addrs, c.GRERemote)...))
}

// layRoutes brings the kernel's routes up to date: into the interface while the peer
// answers, their unreachable twins, and host routes to the peers outside.
func (l *loop) layRoutes(t *tunnel) {
	if t.guards.Opened() {
		return // not even unreachable ones, until the tunnel is closed again
	}
	var outer []netip.Addr
	for _, p := range t.peers {
		outer = append(outer, p.attempt.Candidates()...)
		if c := p.current(); c != nil {
			outer = append(outer, c.Remote.Addr())
		}
	}
	set := routeSet(t.cfg, outer)
	if t.named() && t.wanted {
		set.Servers = l.nameServers()
	}
	if l.dp.Kind() == platform.KindKernel {
		for _, p := range t.peers {
			set.Inside = append(set.Inside, p.insideESP()...)
		}
	}
	l.laid(l.net.SetRoutes(t.name, set, t.running))
}

// routeSet are the routes of a tunnel whose peers are reached at these addresses.
func routeSet(c *config.Tunnel, peers []netip.Addr) platform.RouteSet {
	set := platform.RouteSet{
		Prefixes: c.Routes, Metric: c.Metric, Table: c.Table, Fallback: c.Fallback,
		Peers: peers,
	}
	if c.LinkDown == config.LinkDownMetric {
		set.DownMetric = downMetric
	}
	if _, err := netip.ParseAddr(c.Local); c.Local != "" && err != nil {
		set.Through = c.Local
	}
	return set
}

// downMetric is the metric of routes that are kept while the peer does not answer:
// worse than what administrators and routing daemons use, better than unreachable.
const downMetric = 4_000_000_000

// open takes guards and unreachable routes away.
func (l *loop) open(t *tunnel) {
	t.guards.Open()
	if err := l.net.Forget(t.name); err != nil {
		l.event(t, slog.LevelError, "open", "routes: "+err.Error())
	}
	l.report(t, "open", l.dp.Unguard(t.name))
}

// prepare makes the interface as far as possible before the peer is known: its MTU is
// the smallest that the proposals allow, so that it need not shrink later.
func (l *loop) prepare(p *peer) error {
	if err := l.guard(p.tunnel, p.remote(), p.cfg.GRERemote); err != nil {
		return err
	}
	l.layRoutes(p.tunnel)
	l.makeRoom(p)
	return l.refresh(p)
}

// refresh makes or changes the interface according to the Child SA that carries the
// traffic, or before there is one to the configuration.
func (l *loop) refresh(p *peer) error {
	if sas := p.current(); sas != nil {
		return l.setLink(p, sas.Child)
	}
	return l.setLink(p, nil)
}

// setLink makes the interface what it should be for a Child SA, nil before there is one.
func (l *loop) setLink(p *peer, c *ikev2.Child) error {
	want := l.wantLink(p, c)
	if c != nil {
		p.tunnel.behind = c.Remote.Addr() != c.GRERemote
	}
	if p.tunnel.index != 0 && want == p.tunnel.link {
		return nil
	}
	return l.putLink(p.tunnel, want)
}

// putLink makes the interface or changes it in place, with its addresses.
func (l *loop) putLink(t *tunnel, want platform.Link) error {
	made := t.index == 0
	index, err := l.dp.SetLink(want)
	if err != nil {
		return err
	}
	if !made && want.MTU != t.link.MTU {
		l.event(t, slog.LevelInfo, "mtu", fmt.Sprintf("MTU %d instead of %d", want.MTU, t.link.MTU))
	}
	if !made && index != t.index {
		l.event(t, slog.LevelInfo, "machine", fmt.Sprintf("interface recreated (index %d): the outer address family changed", index))
	}
	t.link, t.index = want, index
	l.layAddresses(t)
	return nil
}

// layAddresses makes the addresses of the interface those of the configuration, and
// what the kernel needs besides.
func (l *loop) layAddresses(t *tunnel) { l.laid(l.net.SetAddresses(t.name, l.addresses(t))) }

// wantLink is the wanted interface.
func (l *loop) wantLink(p *peer, child *ikev2.Child) platform.Link {
	c := p.cfg
	want := platform.Link{
		Name: c.Name, Ethernet: c.GRE.Ethernet,
		Local: c.GRELocal, Remote: c.GRERemote,
		Key: c.GRE.Key, HasKey: c.GRE.HasKey, Sequence: c.GRE.Sequence, Checksum: c.GRE.Checksum,
		TTL: c.GRE.TTL, TOS: c.GRE.TOS, TOSInherit: c.GRE.TOSInherit, IgnoreDF: c.GRE.IgnoreDF,
		Bridge: c.GRE.Bridge, FWMark: c.FWMark,
		Neighbor4: neighbor(c.Address, netip.Addr.Is4), Neighbor6: neighbor(c.Address, netip.Addr.Is6),
	}
	if child != nil {
		want.Local, want.Remote = child.GRELocal, child.GRERemote
	} else {
		if !want.Local.IsValid() {
			want.Local = p.underlay.Local()
		}
		if !want.Remote.IsValid() {
			want.Remote = p.remote()
		}
		if p.tunnel.index != 0 && !want.Remote.IsValid() {
			want.Local, want.Remote = p.tunnel.link.Local, p.tunnel.link.Remote // as with the last peer
		}
	}
	l.size(p, child, &want)
	return want
}

// neighbor is the other end's inner address of one IP version, where our own prefixes
// leave only one.
func neighbor(own []netip.Prefix, version func(netip.Addr) bool) netip.Addr {
	return doctor.Inside(slices.DeleteFunc(slices.Clone(own), func(p netip.Prefix) bool { return !version(p.Addr()) }))
}

// setRunning shows the peer's liveness: link state and routes. Addresses are set
// again, since the kernel drops IPv6 ones when a link goes down.
func (l *loop) setRunning(t *tunnel, running bool) {
	if t.index == 0 {
		return
	}
	name := t.name
	if running {
		for _, p := range t.peers {
			if p.established() {
				l.followUnderlay(p)
			}
		}
		l.layAddresses(t)
	}
	if err := l.dp.SetRunning(name, running); err != nil {
		l.event(t, slog.LevelError, "machine", "link state: "+err.Error())
	}
	t.running = running
	l.layRoutes(t)
}

// linkLost recreates an interface that was deleted. Its SAs went with it, so new ones
// are negotiated.
func (l *loop) linkLost(t *tunnel) {
	l.event(t, slog.LevelWarn, "machine", "another program deleted the interface; recreating it")
	t.index, t.running = 0, false
	for _, p := range t.peers {
		l.restart(p, "the interface was deleted from outside")
	}
}

// dismantle removes SAs and interface; the tunnel stays closed.
func (l *loop) dismantle(t *tunnel) {
	name := t.name
	for _, p := range t.peers {
		l.reschedule(p)
		for _, c := range p.children {
			l.remove(p, c.Child, true)
			l.remove(p, c.Child, false)
		}
		clear(p.children)
		p.inherited = inheritance{}
		p.carrying = 0
	}
	t.running = false
	l.layRoutes(t)
	if t.index != 0 {
		if err := l.dp.DeleteLink(name); err != nil {
			l.event(t, slog.LevelError, "machine", "removing the interface: "+err.Error())
		}
	}
	t.index, t.link = 0, platform.Link{}
}

// linkKind is the interface's kind as in ip-link(8).
func (l *loop) linkKind(t *tunnel) string {
	kind := "gre"
	switch {
	case l.dp.Kind() == platform.KindUserspace && t.cfg.GRE.Ethernet:
		return "tap"
	case l.dp.Kind() == platform.KindUserspace:
		return "tun"
	case t.cfg.GRE.Ethernet:
		kind = "gretap"
	}
	if t.link.Remote.Is6() {
		kind = "ip6" + kind
	}
	return kind
}

// describeInterface is the interface as it is now.
func (l *loop) describeInterface(t *tunnel) status.Interface {
	s := status.Interface{Name: t.name, Kind: l.linkKind(t)}
	info, err := l.net.Link(t.name)
	if t.index == 0 || err != nil {
		return s
	}
	s.Index, s.Up, s.Running = info.Index, info.Up(), info.Up() && info.Running()
	if info.Master != 0 {
		s.Bridge = t.cfg.GRE.Bridge
	}
	return s
}

// describePlaced lists addresses, routes and guards with whether they are in
// place; up is the interface's administrative state.
func (l *loop) describePlaced(t *tunnel, up bool) (addrs, routes []status.Placed, guards []status.Guard) {
	placed := func(p netip.Prefix, wanted bool, without, why string) status.Placed {
		if !wanted {
			why = without
		}
		return status.Placed{Prefix: p.String(), InPlace: why == "", Why: why}
	}
	for _, a := range t.cfg.Address {
		addrs = append(addrs, placed(a, t.index != 0, "there is no interface yet", t.standing.Why(platform.ObjectAddress, a.String())))
	}
	guard := func(what, target, how, not string) {
		guards = append(guards, status.Guard{What: what, Target: target, InPlace: not == "", How: cmp.Or(not, how)})
	}
	for _, r := range t.cfg.Routes {
		without := "withdrawn while the peer does not answer"
		if t.running {
			without = "the interface is down"
		}
		routes = append(routes, placed(r, up && t.running, without, t.standing.WhyRoute(platform.ObjectRoute, "", r)))
		if !t.cfg.Fallback && !t.guards.Opened() {
			guard("route", r.String(), "unreachable route", t.standing.WhyRoute(platform.ObjectGuard, "unreachable ", r))
		}
	}
	how := "xfrm block policy"
	if l.dp.Kind() == platform.KindUserspace {
		how = "no code path sends GRE outside ESP"
	}
	for _, a := range t.guards.Laid() {
		guard("gre", a.String(), how, t.standing.Why(platform.ObjectGuard, a.String()))
	}
	for _, d := range t.standing.differs { // never installed, or the unreachable route of an address
		if d.Object != platform.ObjectGuard || slices.ContainsFunc(guards, func(g status.Guard) bool { return !g.InPlace && g.How == d.Text }) {
			continue
		}
		if network, route := strings.CutPrefix(d.Name, "unreachable "); route {
			guard("route", network, "", d.Text)
		} else {
			guard("gre", d.Name, "", d.Text)
		}
	}
	return addrs, routes, guards
}

// describeDiffering shows what is not as wanted. If the tunnel is up but its interface
// down, or if it is not closed, that is the reason.
func (l *loop) describeDiffering(t *tunnel, s *status.Tunnel) {
	for _, d := range t.standing.differs {
		s.Differs = append(s.Differs, d.String())
	}
	d, any := t.standing.Hindrance()
	up := s.State == status.StateUp || s.State == status.StateSuspect
	if !any || !up && d.Object != platform.ObjectGuard {
		return
	}
	why := cause.Here(status.CodeUnavailable, d.String(), cmp.Or(d.Remedy, tried))
	why.Found, why.Confirmed = d.since, time.Now()
	if d.Object == platform.ObjectGuard {
		why.Text = "NOT CLOSED: " + why.Text
	}
	tell(&why, s)
	// netifd sets its interface up when the tunnel comes up.
	if up && !(t.cfg.Netifd && d.Object == platform.ObjectLink) {
		s.State = status.StateDown
	}
}

// restore repairs an interface that another program changed: its settings, addresses
// and routes.
func (l *loop) restore(t *tunnel) error {
	info, err := l.net.Link(t.name)
	if errors.Is(err, platform.ErrNoLink) {
		l.linkLost(t)
		return nil
	}
	if err != nil {
		return err
	}
	if !info.Up() {
		// It was meant, or netifd waits for the tunnel to come up. The unreachable
		// routes still close it.
		return nil
	}
	l.layAddresses(t)
	l.layRoutes(t)
	return nil
}

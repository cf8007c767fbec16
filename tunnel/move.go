package tunnel

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"

	"greseal/ikev2"
	"greseal/platform"
	"greseal/tunnel/attempt"
	"greseal/tunnel/cause"
	"greseal/tunnel/standby"
	"greseal/tunnel/status"
	"greseal/tunnel/underlay"
)

// surroundingsChanged is called when addresses, links or routes changed.
func (l *loop) surroundingsChanged(ch platform.Change) {
	l.looked = machineSeen{}
	l.laid(nil)
	if ch.Underlay {
		if err := l.net.Refresh(); err != nil {
			l.laid(err)
		}
	}
	l.net.Batch()
	for _, name := range ch.Own {
		if t := l.tunnels[name]; t != nil && t.wanted && t.index != 0 {
			l.report(t, "machine", l.restore(t))
		}
	}
	if err := l.net.Commit(); err != nil {
		l.laid(err)
	}
	if !ch.Underlay {
		return
	}
	all, err := l.net.LocalAddrs()
	if err != nil {
		l.log.Warn("reading the local addresses", "error", err)
		return
	}
	locals := make(map[netip.Addr]bool, len(all))
	for _, a := range all {
		locals[a] = true
	}
	for _, name := range l.order {
		for _, p := range l.tunnels[name].peers {
			if p.tunnel.wanted {
				l.addressesChanged(p, locals)
			}
		}
	}
}

// addressesChanged adapts a peer's tunnel to the current local addresses and routes.
func (l *loop) addressesChanged(p *peer, locals map[netip.Addr]bool) {
	l.followLocal(p)
	if p.inherits() && !locals[p.current().Local.Addr()] {
		l.disinherit(p)
	}
	trying := p.attempt.State() == attempt.UnderWay
	switch {
	case p.settled():
		l.followAddress(p, locals)
		l.followSilence(p)
	case trying && (!locals[p.underlay.Local()] || l.cutOff(p)), !trying && (p.phase == phaseWaiting || p.cfg.RemoteAny || l.rerouted(p)):
		p.attempt.Stop()
		l.markDirty(p)
	}
}

// cutOff reports whether there is no route any more to where a handshake goes.
func (l *loop) cutOff(p *peer) bool {
	_, err := l.outside(p, p.remote())
	return p.remote().IsValid() && errors.Is(err, platform.ErrNoRoute)
}

// followLocal updates the engine when local means other addresses than before.
func (l *loop) followLocal(p *peer) {
	if p.cfg.Local == "" {
		return
	}
	if own, _ := l.ownAddresses(p); !slices.Equal(own, p.locals) {
		l.register(p)
	}
}

// rerouted reports whether the route to the peer has changed since the last attempt.
func (l *loop) rerouted(p *peer) bool {
	if !p.remote().IsValid() {
		return false
	}
	info, err := l.routeFor(p, p.remote())
	return err == nil && p.underlay.Rerouted(info)
}

// followAddress moves an established tunnel to the local address that it should have.
func (l *loop) followAddress(p *peer, locals map[netip.Addr]bool) {
	c := p.current()
	local := c.Local.Addr()
	verdict, way, err := underlay.Judge(local, !locals[local], p.initiated, func() (platform.RouteInfo, error) {
		return l.routeFor(p, c.Remote.Addr())
	})
	switch verdict {
	case underlay.Follow:
		l.followUnderlay(p)
	case underlay.Move:
		l.relocate(p, way)
	case underlay.Wait:
		l.event(p.tunnel, slog.LevelWarn, "moved", fmt.Sprintf("local address %s is gone; waiting for another: %v", local, err))
	}
}

// followSilence checks a silent peer at once when there is a route to it again.
func (l *loop) followSilence(p *peer) {
	if p.phase != phaseSuspect || p.cause.Known().Failure != nil {
		return
	}
	if why := l.silence(p); why.Text != p.cause.Known().Text {
		p.set(phaseSuspect, why)
		l.do(l.engine.Check(l.now(), p.id))
	}
}

// silence is why a peer no longer answers, as far as it is known.
func (l *loop) silence(p *peer) cause.Cause {
	if _, err := l.outside(p, p.current().Remote.Addr()); err != nil {
		return cause.Here(status.CodeNoPath, "the peer is out of reach: "+err.Error(), appears)
	}
	return cause.Cause{
		Code: status.CodeNoAnswer, Side: status.SideUnknown,
		Text:   "the peer has not answered liveness checks for " + p.cfg.DPDSuspect.String(),
		Remedy: "check the path to the peer; the tunnel continues by itself when it answers",
	}
}

// routeFor is the route to a peer from the configured local address.
func (l *loop) routeFor(p *peer, remote netip.Addr) (platform.RouteInfo, error) {
	hint, ifname := netip.Addr{}, ""
	if a, err := netip.ParseAddr(p.cfg.Local); err == nil {
		hint = a
	} else {
		ifname = p.cfg.Local
	}
	return l.net.RouteTo(remote, hint, ifname, p.cfg.FWMark)
}

// outside is routeFor for a tunnel that is to be set up: if local is an interface the
// kernel is asked again which one such packets really leave by.
func (l *loop) outside(p *peer, remote netip.Addr) (platform.RouteInfo, error) {
	info, err := l.routeFor(p, remote)
	if _, literal := netip.ParseAddr(p.cfg.Local); err != nil || p.cfg.Local == "" || literal == nil {
		return info, err
	}
	really, err := l.net.RouteTo(remote, info.Local, "", p.cfg.FWMark)
	if err != nil {
		return info, err
	}
	if really.IfIndex != info.IfIndex {
		return info, fmt.Errorf("packets from %s to %s would leave through %s, which local = %q forbids: wait for a route to the peer through %s, add one, or check the routing rules (ip rule)", info.Local, remote, really.IfName, p.cfg.Local, p.cfg.Local)
	}
	return info, nil
}

// relocate moves an established tunnel to another local address (contract 12): by
// MOBIKE where the peer supports it, else by a second IKE SA, make before break.
func (l *loop) relocate(p *peer, info platform.RouteInfo) {
	c := p.current()
	by := "a new IKE SA"
	mobile := l.engine.Mobile(p.id)
	if mobile {
		by = "MOBIKE"
	}
	l.event(p.tunnel, slog.LevelInfo, "moving", fmt.Sprintf("the local address changes from %s to %s: moving by %s", c.Local.Addr(), info.Local, by))
	p.underlay.Arrive(info.Local)
	l.do(l.engine.Move(l.now(), p.id, info.Local))
	switch {
	case mobile:
	case p.cfg.RemoteAny:
		l.restart(p, "the local address changed") // the peer must initiate again
	default:
		l.replace(p, standby.Moved, netip.Addr{})
	}
}

// moved follows a change of outer addresses or ports in the datapath. IKE follows the
// Child SAs later where the peer's NAT gave it another mapping: that is one move.
func (l *loop) moved(p *peer, a ikev2.Moved) {
	i, known := p.ike[a.IKE]
	if known && i.Remote != a.Remote {
		l.event(p.tunnel, slog.LevelInfo, "moved", fmt.Sprintf("the peer moved from %s to %s", i.Remote, a.Remote))
	}
	if known {
		i.Local, i.Remote = a.Local, a.Remote
		p.ike[a.IKE] = i
	}
	if l.report(p.tunnel, "close", l.guardOuter(p, a.Remote.Addr())) {
		return
	}
	for _, c := range a.Children {
		sas := p.children[c.ID]
		if sas == nil {
			continue
		}
		for _, sa := range sas.installed() {
			if err := l.dp.MoveSA(sa.key, c.Local, c.Remote); err != nil {
				l.event(p.tunnel, slog.LevelWarn, "moved", err.Error())
			}
		}
		sas.Child = c
	}
	if sas := p.current(); sas != nil && sas.IKE == a.IKE && len(a.Children) > 0 {
		l.settleIn(p)
	}
}

// settleIn updates what depends on the outer addresses of the Child SA that carries the
// traffic: the peer's host route and the path MTU.
func (l *loop) settleIn(p *peer) {
	p.arrive()
	l.layRoutes(p.tunnel)
	l.followUnderlay(p)
	l.searchPath(p)
}

// arrive notes the outer addresses of the Child SA that carries the traffic.
func (p *peer) arrive() {
	c := p.current()
	p.underlay.Arrive(c.Local.Addr())
	p.attempt.Goto(c.Remote.Addr())
}

package tunnel

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"

	"greseal/ikev2"
	"greseal/platform"
	"greseal/tunnel/attempt"
	"greseal/tunnel/standby"
	"greseal/tunnel/underlay"
)

// surroundingsChanged is called when addresses, links or routes changed.
func (l *loop) surroundingsChanged(ch platform.Change) {
	l.looked = machine{}
	if ch.Underlay {
		if err := l.net.Refresh(); err != nil {
			l.log.Warn("laying routes anew", "error", err)
		}
	}
	l.net.Hold()
	for _, name := range ch.Own {
		if t := l.tunnels[name]; t != nil && t.wanted && t.index != 0 {
			if err := l.restore(t); err != nil {
				l.event(t, slog.LevelError, "machine", err.Error())
			}
		}
	}
	if err := l.net.Release(); err != nil {
		l.log.Warn("laying routes anew", "error", err)
		for _, name := range ch.Own {
			if t := l.tunnels[name]; t != nil {
				t.routes.again = l.now() // by themselves: that tells whose is refused
			}
		}
	}
	if !ch.Underlay {
		return
	}
	all, err := l.net.LocalAddrs()
	if err != nil {
		l.log.Warn("reading the own addresses", "error", err)
		return
	}
	locals := make(map[netip.Addr]bool, len(all))
	for _, a := range all {
		locals[a] = true
	}
	for _, name := range l.order {
		for _, p := range l.tunnels[name].peers {
			if p.wanted {
				l.addressesChanged(p, locals)
			}
		}
	}
}

// addressesChanged has a peer's tunnel follow what has become of the own addresses
// and the routes.
func (l *loop) addressesChanged(t *peer, locals map[netip.Addr]bool) {
	l.followLocal(t)
	trying := t.attempt.State() == attempt.UnderWay
	switch {
	case t.established():
		l.followAddress(t, locals)
		l.followSilence(t)
	case trying && !locals[t.underlay.Local()], !trying && (t.phase == phaseWaiting || t.cfg.RemoteAny || l.rerouted(t)):
		t.attempt.Stop()
		l.markDirty(t)
	}
}

// followLocal tells the engine when local means other addresses than before.
func (l *loop) followLocal(t *peer) {
	if t.cfg.Local == "" {
		return
	}
	if own, _ := l.ownAddresses(t); !slices.Equal(own, t.locals) {
		l.register(t)
	}
}

// rerouted tells whether there is another way to the peer than at the last attempt.
func (l *loop) rerouted(t *peer) bool {
	if !t.remote().IsValid() {
		return false
	}
	info, err := l.routeFor(t, t.remote())
	return err == nil && t.underlay.Rerouted(info)
}

// followAddress has a tunnel that stands come from where it should.
func (l *loop) followAddress(t *peer, locals map[netip.Addr]bool) {
	c := t.current()
	local := c.Local.Addr()
	verdict, way, err := underlay.Judge(local, !locals[local], t.initiated, func() (platform.RouteInfo, error) {
		return l.routeFor(t, c.Remote.Addr())
	})
	switch verdict {
	case underlay.Follow:
		l.followUnderlay(t)
	case underlay.Move:
		l.relocate(t, way)
	case underlay.Wait:
		l.event(t.tunnel, slog.LevelWarn, "moved", fmt.Sprintf("the own address %s is gone; waiting for another: %v", local, err))
	}
}

// followSilence asks a silent peer at once when there is a way to it again.
func (l *loop) followSilence(t *peer) {
	if t.phase != phaseSuspect {
		return
	}
	if why := l.silence(t); why != t.reason {
		t.set(phaseSuspect, why)
		l.do(l.engine.Check(l.now(), t.id))
	}
}

// silence is why a peer that was there does not answer, as far as it is known.
func (l *loop) silence(t *peer) reason {
	if _, err := l.outside(t, t.current().Remote.Addr()); err != nil {
		return reason{"the peer is out of reach: " + err.Error(), "the tunnel goes on by itself when the address or route appears"}
	}
	return reason{
		text:   "the peer has not answered liveness checks for " + t.cfg.DPDSuspect.String(),
		remedy: "look at the path to the peer; the tunnel goes on by itself when it answers",
	}
}

// routeFor is the way to a peer from where the configuration wants to come.
func (l *loop) routeFor(t *peer, remote netip.Addr) (platform.RouteInfo, error) {
	hint, ifname := netip.Addr{}, ""
	if a, err := netip.ParseAddr(t.cfg.Local); err == nil {
		hint = a
	} else {
		ifname = t.cfg.Local
	}
	return l.net.RouteTo(remote, hint, ifname, t.cfg.FWMark)
}

// outside is routeFor when a tunnel is to go there: with an interface in local
// the kernel is asked once more by which one such packets really leave.
func (l *loop) outside(t *peer, remote netip.Addr) (platform.RouteInfo, error) {
	info, err := l.routeFor(t, remote)
	if _, literal := netip.ParseAddr(t.cfg.Local); err != nil || t.cfg.Local == "" || literal == nil {
		return info, err
	}
	really, err := l.net.RouteTo(remote, info.Local, "", t.cfg.FWMark)
	if err != nil {
		return info, err
	}
	if really.IfIndex != info.IfIndex {
		return info, fmt.Errorf("packets from %s to %s would leave by %s, which local = %q forbids: wait for a route to the peer by %s or add one, or look at the routing rules (ip rule)", info.Local, remote, really.IfName, t.cfg.Local, t.cfg.Local)
	}
	return info, nil
}

// relocate takes a tunnel that stands to another address of ours (contract 12):
// by MOBIKE where the peer has it, else by a new IKE SA beside the old one.
func (l *loop) relocate(t *peer, info platform.RouteInfo) {
	c := t.current()
	by := "a new IKE SA"
	mobile := l.engine.Mobile(t.id)
	if mobile {
		by = "MOBIKE"
	}
	l.event(t.tunnel, slog.LevelInfo, "moving", fmt.Sprintf("the own address changes from %s to %s: moving by %s", c.Local.Addr(), info.Local, by))
	t.underlay.Arrive(info.Local)
	l.do(l.engine.Move(l.now(), t.id, info.Local))
	switch {
	case mobile:
	case t.cfg.RemoteAny:
		l.restart(t, "the own address changed") // the peer must come again
	default:
		l.replace(t, standby.Moved, netip.Addr{})
	}
}

// moved follows a change of outer addresses or ports in the datapath.
func (l *loop) moved(a ikev2.Moved) {
	t := l.peers[a.Peer]
	if t == nil {
		return
	}
	l.reschedule(t)
	if a.OldRemote != a.Remote {
		l.event(t.tunnel, slog.LevelInfo, "moved", fmt.Sprintf("the peer moved from %s to %s", a.OldRemote, a.Remote))
	}
	if err := l.guardOuter(t, a.Remote.Addr()); err != nil {
		l.event(t.tunnel, slog.LevelError, "close", err.Error())
		return
	}
	if i, ok := t.ike[a.IKE]; ok {
		i.Local, i.Remote = a.Local, a.Remote
		t.ike[a.IKE] = i
	}
	for _, c := range a.Children {
		p := t.pairs[c.ID]
		if p == nil {
			continue
		}
		for _, out := range []bool{false, true} {
			key := platform.SAKey{Link: t.name, Out: out, SPI: c.SPIIn}
			if out {
				key.SPI = c.SPIOut
			}
			if out && !p.out || !out && !p.in {
				continue
			}
			if err := l.dp.MoveSA(key, c.Local, c.Remote); err != nil {
				l.event(t.tunnel, slog.LevelWarn, "moved", err.Error())
			}
		}
		p.Child = c
	}
	if p := t.current(); p != nil && p.IKE == a.IKE && len(a.Children) > 0 {
		l.settleIn(t)
	}
}

// settleIn brings what depends on the outer addresses in line with those of the
// pair that carries the traffic: the peer's host route, the path's MTU.
func (l *loop) settleIn(t *peer) {
	t.arrive()
	l.layRoutes(t.tunnel)
	l.followUnderlay(t)
	l.searchPath(t)
}

// arrive notes where the pair that carries the traffic goes.
func (t *peer) arrive() {
	c := t.current()
	t.underlay.Arrive(c.Local.Addr())
	t.attempt.Goto(c.Remote.Addr())
}

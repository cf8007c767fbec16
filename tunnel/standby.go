package tunnel

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"greseal/ikev2/wire"
	"greseal/tunnel/standby"
)

// Make before break: tunnel/standby decides when a second IKE SA is made, and with
// which remote; it is made here.

// replace wants another IKE SA instead of the one in use; to is the remote of
// standby.Preferred.
func (l *loop) replace(p *peer, why standby.Why, to netip.Addr) {
	c := p.current()
	if c == nil || p.inherits() || p.cfg.RemoteAny && why != standby.Settings {
		return
	}
	p.standby.Replace(why, uint64(c.IKE), to)
	l.makeStandby(p)
}

// makeStandby is one step towards it.
func (l *loop) makeStandby(p *peer) {
	if !p.tunnel.wanted || !p.settled() {
		p.standby.Stop()
		return
	}
	here := p.current().Remote.Addr()
	to, probe := p.standby.Step(l.now(), here, p.attempt.Candidates())
	if probe {
		l.probeRemote(p, here)
	}
	if !to.IsValid() {
		return
	}
	info, err := l.routeFor(p, to)
	if err != nil {
		return
	}
	if p.standby.Why() == standby.Settings && to == here && (p.cfg.RemoteAny || info.Local == p.current().Local.Addr()) {
		l.register(p)
		l.tellTime()
		l.do(l.engine.Reauthenticate(l.now(), p.id)) // between the same addresses and ports
		return
	}
	if l.report(p.tunnel, "close", l.guard(p.tunnel, to)) {
		return
	}
	l.register(p)
	l.layRoutes(p.tunnel)
	l.beginHandshake(p, info.Local, to)
}

// beginHandshake has the engine make an IKE SA.
func (l *loop) beginHandshake(p *peer, local, remote netip.Addr) {
	l.tellTime()
	from, to := p.ports(local, remote)
	l.do(l.engine.Initiate(l.now(), p.id, from, to))
}

// probeRemote sends IKE_SA_INIT to an address just to see whether it answers.
func (l *loop) probeRemote(p *peer, remote netip.Addr) {
	info, err := l.routeFor(p, remote)
	if err != nil {
		return
	}
	from, to := p.ports(info.Local, remote)
	l.do(l.engine.ProbeReachability(l.now(), p.id, from, to))
}

// preferred are the addresses in remote before the one in use. The addresses of one
// name rank equally. The choice is the initiator's.
func (p *peer) preferred() []netip.Addr {
	c := p.current()
	if c == nil || !p.initiated {
		return nil
	}
	rank := len(p.cfg.Remotes)
	if rank == 1 && !p.tunnel.named() {
		return nil // the peer moved from its only address, and may move back
	}
	if r, ok := p.attempt.Rank(c.Remote.Addr()); ok {
		rank = r
	}
	var out []netip.Addr
	for _, a := range p.attempt.Candidates() {
		if r, _ := p.attempt.Rank(a); r < rank && a.BitLen() == c.Remote.Addr().BitLen() {
			out = append(out, a)
		}
	}
	return out
}

// probePause is the time between two looks at a preferred remote.
func (p *peer) probePause() time.Duration {
	return min(max(p.cfg.Failback/4, time.Second), 15*time.Second)
}

// probePreferred probes the remotes of higher preference.
func (l *loop) probePreferred(p *peer) {
	list := p.preferred()
	p.standby.Probe(l.now(), list, p.probePause())
	for _, remote := range list {
		l.probeRemote(p, remote)
	}
}

// answered handles the answer to a probe.
func (l *loop) answered(p *peer, remote netip.Addr) {
	if !p.settled() {
		return
	}
	now := l.now()
	restarted, since := p.standby.ProbeAnswered(now, remote, p.current().Remote.Addr())
	switch {
	case restarted:
		info, err := l.routeFor(p, remote)
		if err != nil {
			return
		}
		l.event(p.tunnel, slog.LevelWarn, "forgotten", fmt.Sprintf("%s answers new handshakes but nothing on the IKE SA: it seems to have restarted; making a new IKE SA", remote))
		l.beginHandshake(p, info.Local, remote)
	case since != 0 && now-since >= p.cfg.Failback && p.standby.Why() == standby.None && p.phase == phaseUp && slices.Contains(p.preferred(), remote):
		l.event(p.tunnel, slog.LevelInfo, "failback", fmt.Sprintf("%s has answered for %s: going back to it", remote, (now-since).Round(time.Second)))
		l.replace(p, standby.Preferred, remote)
	}
}

// ports completes the addresses of an attempt.
func (p *peer) ports(local, remote netip.Addr) (netip.AddrPort, netip.AddrPort) {
	from := uint16(wire.PortIKE)
	if p.cfg.RemotePort != wire.PortIKE {
		from = wire.PortNAT // any port but 500 gets the non-ESP marker
	}
	return netip.AddrPortFrom(local, from), netip.AddrPortFrom(remote, p.cfg.RemotePort)
}

package tunnel

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"greseal/ikev2"
	"greseal/tunnel/standby"
)

// Make before break: tunnel/standby decides when another IKE SA is made beside the
// one that carries the traffic, and with whom, and here it is made.

// replace wants another IKE SA instead of the one in use; to is the remote of
// standby.Preferred.
func (l *loop) replace(t *peer, why standby.Why, to netip.Addr) {
	c := t.current()
	if c == nil || t.cfg.RemoteAny {
		return
	}
	t.standby.Replace(why, uint64(c.IKE), to)
	l.makeStandby(t)
}

// makeStandby is one step towards it.
func (l *loop) makeStandby(t *peer) {
	if !t.wanted || !t.established() {
		t.standby.Stop()
		return
	}
	here := t.current().Remote.Addr()
	to, probe := t.standby.Step(l.now(), here, t.attempt.Candidates())
	if probe {
		l.probeRemote(t, here)
	}
	if !to.IsValid() {
		return
	}
	info, err := l.routeFor(t, to)
	if err != nil {
		return
	}
	if err := l.guard(t.tunnel, to); err != nil {
		l.event(t.tunnel, slog.LevelError, "close", err.Error())
		return
	}
	l.register(t)
	l.layRoutes(t.tunnel)
	l.beginHandshake(t, info.Local, to)
}

// beginHandshake has the engine make an IKE SA.
func (l *loop) beginHandshake(t *peer, local, remote netip.Addr) {
	l.tellTime()
	from, to := t.ports(local, remote)
	l.do(l.engine.Initiate(l.now(), t.id, from, to))
}

// probeRemote asks an address for an answer to IKE_SA_INIT, which makes no IKE SA.
func (l *loop) probeRemote(t *peer, remote netip.Addr) {
	info, err := l.routeFor(t, remote)
	if err != nil {
		return
	}
	from, to := t.ports(info.Local, remote)
	l.do(l.engine.Knock(l.now(), t.id, from, to))
}

// preferred are the addresses that remote names before the one in use. The
// addresses of one name are equals. It is for the side that began to choose.
func (t *peer) preferred() []netip.Addr {
	c := t.current()
	if c == nil || !t.initiated {
		return nil
	}
	rank := len(t.cfg.Remotes)
	if rank == 1 && !t.named() {
		return nil // the peer moved from its only address, and may move back
	}
	if r, ok := t.attempt.Rank(c.Remote.Addr()); ok {
		rank = r
	}
	var out []netip.Addr
	for _, a := range t.attempt.Candidates() {
		if r, _ := t.attempt.Rank(a); r < rank && a.BitLen() == c.Remote.Addr().BitLen() {
			out = append(out, a)
		}
	}
	return out
}

// probePause is the time between two looks at a preferred remote.
func (t *peer) probePause() time.Duration {
	return min(max(t.cfg.Failback/4, time.Second), 15*time.Second)
}

// probePreferred asks the remotes of higher preference whether they are there.
func (l *loop) probePreferred(t *peer) {
	list := t.preferred()
	t.standby.Probe(l.now(), list, t.probePause())
	for _, remote := range list {
		l.probeRemote(t, remote)
	}
}

// answered takes the answer to a probe.
func (l *loop) answered(e ikev2.Answered) {
	t := l.peers[e.Peer]
	if t == nil || !t.established() {
		return
	}
	l.reschedule(t)
	now, remote := l.now(), e.Remote.Addr()
	restarted, since := t.standby.Answered(now, remote, t.current().Remote.Addr())
	switch {
	case restarted:
		info, err := l.routeFor(t, remote)
		if err != nil {
			return
		}
		l.event(t.tunnel, slog.LevelWarn, "forgotten", fmt.Sprintf("%s answers new handshakes, and nothing on the IKE SA: it was restarted, it seems; making a new IKE SA", remote))
		l.beginHandshake(t, info.Local, remote)
	case since != 0 && now-since >= t.cfg.Failback && t.standby.Why() == standby.None && t.phase == phaseUp && slices.Contains(t.preferred(), remote):
		l.event(t.tunnel, slog.LevelInfo, "failback", fmt.Sprintf("%s has answered for %s: going back to it", remote, (now-since).Round(time.Second)))
		l.replace(t, standby.Preferred, remote)
	}
}

// ports completes the addresses of an attempt.
func (t *peer) ports(local, remote netip.Addr) (netip.AddrPort, netip.AddrPort) {
	from := uint16(portIKE)
	if t.cfg.RemotePort != portIKE {
		from = portNAT // anything but 500 is spoken to with the non-ESP marker
	}
	return netip.AddrPortFrom(local, from), netip.AddrPortFrom(remote, t.cfg.RemotePort)
}

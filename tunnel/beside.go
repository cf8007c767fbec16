package tunnel

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"greseal/ikev2"
)

// Make before break: while one IKE SA carries a tunnel's traffic, another is
// made beside it, and the engine deletes the old one when the new one stands.
// That is wanted
//
//   - when our address changed and the peer has no MOBIKE,
//   - when the peer is suspect and remote names another one (failover), or it
//     seems to have forgotten the one in use (forgotten.go),
//   - when a remote of higher preference has answered for the time of failback.

// asideReason is why another IKE SA is wanted.
type asideReason uint8

const (
	asideNone asideReason = iota
	asideMoved
	asideSuspect
	asidePreferred
)

// aside is the making of an IKE SA beside the one that stands.
type aside struct {
	why   asideReason
	from  ikev2.SAID // the one that is to be replaced
	to    netip.Addr // of asidePreferred
	at    ikev2.Time // of the next step, 0: none
	tries int

	asked   bool       // a suspect peer was knocked at, and has not answered yet
	answers ikev2.Time // it has answered each time since then, 0: it did not

	probeAt ikev2.Time            // of the next look at remotes of higher preference, 0: none
	health  map[netip.Addr]health // of those
}

// health is what is known of a remote that is not in use.
type health struct {
	asked, answered bool
	since           ikev2.Time // it has answered without a gap since then, 0: it did not
}

// asideTime is how long one remote is tried before the next.
const asideTime = 5 * time.Second

// replace wants another IKE SA instead of the one in use.
func (l *loop) replace(t *peer, why asideReason, to netip.Addr) {
	c := t.current()
	if c == nil || t.cfg.RemoteAny {
		return
	}
	t.aside.why, t.aside.from, t.aside.to = why, c.IKE, to
	t.aside.tries, t.aside.asked, t.aside.answers = 0, false, 0
	l.takeOver(t)
}

// takeOver is one step towards it.
func (l *loop) takeOver(t *peer) {
	a := &t.aside
	a.at = 0
	if a.why == asideNone || !t.wanted || !t.established() {
		return
	}
	now := l.now()
	remote, ok := t.asideRemote()
	if a.why == asideSuspect {
		l.knock(t)
	}
	if !ok {
		a.at = now + asideTime // when a name has another address
		return
	}
	a.tries++
	a.at = now + asideTime
	info, err := l.routeFor(t, remote)
	if err != nil {
		return
	}
	if err := l.guard(t.tunnel, remote); err != nil {
		l.event(t.tunnel, slog.LevelError, "close", err.Error())
		return
	}
	l.register(t)
	l.layRoutes(t.tunnel)
	l.tellTime()
	local, peer := t.ports(info.Local, remote)
	l.do(l.engine.Initiate(now, t.id, local, peer))
}

// asideRemote is the address to try now.
func (t *peer) asideRemote() (netip.Addr, bool) {
	here, candidates := t.current().Remote.Addr(), t.attempt.Candidates()
	switch t.aside.why {
	case asidePreferred:
		return t.aside.to, true
	case asideMoved:
		if i := t.aside.tries % (len(candidates) + 1); i > 0 {
			return candidates[i-1], true
		}
		return here, true
	}
	first := slices.Index(candidates, here) + 1
	for i := range candidates {
		if c := candidates[(first+t.aside.tries+i)%len(candidates)]; c != here {
			return c, true
		}
	}
	return netip.Addr{}, false
}

// asideFailed notes that an attempt beside came to nothing.
func (l *loop) asideFailed(t *peer) {
	if t.aside.why == asidePreferred {
		// It is given the time of failback to become better.
		t.aside.why, t.aside.at = asideNone, 0
		clear(t.aside.health)
	}
}

// tookOver is called when another pair carries the traffic.
func (l *loop) tookOver(t *peer) {
	c := t.current()
	if t.aside.why != asideNone && c.IKE != t.aside.from {
		t.aside = aside{}
	}
	if t.aside.probeAt == 0 && len(t.preferred()) > 0 {
		t.aside.probeAt = l.now() + t.probePause()
	}
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

// probe asks the remotes of higher preference whether they are there.
func (l *loop) probe(t *peer) {
	a := &t.aside
	a.probeAt = 0
	list := t.preferred()
	if len(list) == 0 {
		a.health = nil
		return
	}
	if a.health == nil {
		a.health = map[netip.Addr]health{}
	}
	now := l.now()
	a.probeAt = now + t.probePause()
	for _, remote := range list {
		h := a.health[remote]
		if h.asked && !h.answered {
			h.since = 0
		}
		h.asked, h.answered = true, false
		a.health[remote] = h
		info, err := l.routeFor(t, remote)
		if err != nil {
			continue
		}
		local, peer := t.ports(info.Local, remote)
		l.do(l.engine.Knock(now, t.id, local, peer))
	}
}

// answered takes the answer of a remote that is not in use.
func (l *loop) answered(e ikev2.Answered) {
	t := l.of(e.Peer)
	if t == nil || !t.established() {
		return
	}
	if t.knocks(e) {
		l.knockAnswered(t, e.Remote)
		return
	}
	remote := e.Remote.Addr()
	h, asked := t.aside.health[remote]
	if !asked {
		return
	}
	now := l.now()
	if h.answered = true; h.since == 0 {
		h.since = now
	}
	t.aside.health[remote] = h
	if now-h.since < t.cfg.Failback || t.aside.why != asideNone || t.phase != phaseUp || !slices.Contains(t.preferred(), remote) {
		return
	}
	l.event(t.tunnel, slog.LevelInfo, "failback", fmt.Sprintf("%s has answered for %s: going back to it", remote, (now-h.since).Round(time.Second)))
	l.replace(t, asidePreferred, remote)
}

// ports completes the addresses of an attempt.
func (t *peer) ports(local, remote netip.Addr) (netip.AddrPort, netip.AddrPort) {
	from := uint16(portIKE)
	if t.cfg.RemotePort != portIKE {
		from = portNAT // anything but 500 is spoken to with the non-ESP marker
	}
	return netip.AddrPortFrom(local, from), netip.AddrPortFrom(remote, t.cfg.RemotePort)
}

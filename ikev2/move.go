package ikev2

import (
	"bytes"
	"net/netip"
	"slices"

	"greseal/ikev2/selector"
	"greseal/ikev2/wire"
)

// Move makes local our address towards a peer. IKE SAs with MOBIKE take their Child SAs
// along (Mobile); of others only the IKE messages are sent from there, which serves to
// delete them.
func (e *Engine) Move(now Time, id PeerID, local netip.Addr) []Action {
	local = local.Unmap()
	return e.withPeer(now, id, func(p *peer) {
		for _, s := range slices.Clone(p.sas) {
			if s.keys != nil && s.local.Addr() != local && s.local.Addr().BitLen() == local.BitLen() {
				e.moveTo(s, netip.AddrPortFrom(local, s.local.Port()), s.remote)
			}
		}
	})
}

// Mobile reports whether the IKE SA in use with a peer supports MOBIKE.
func (e *Engine) Mobile(id PeerID) bool {
	p := e.peers[id]
	if p == nil {
		return false
	}
	all := p.established()
	return len(all) > 0 && !slices.ContainsFunc(all, func(s *ikeSA) bool { return s.mob == nil })
}

// Mapped reports an authenticated ESP packet from another address or port than
// the peer is taken to be at. Alone it moves nothing: the peer is asked there.
func (e *Engine) Mapped(now Time, spiIn uint32, from netip.AddrPort) []Action {
	e.enter(now)
	if c := e.bySPI[spiIn]; c != nil && c.sa.stands() {
		c.sa.mapped = from
		e.markDirty(c.sa)
	}
	return e.flush()
}

// moveTo changes the addresses of an IKE SA by our own decision.
func (e *Engine) moveTo(s *ikeSA, local, remote netip.AddrPort) {
	was := s.local
	s.local, s.remote = local, remote
	e.markDirty(s)
	m := s.mob
	switch {
	case s.state == stateAuthenticating && s.req != nil:
		s.req.spread = true
		s.esp = s.fromHere()
		return
	case m == nil || !s.stands():
		s.espLeftBehind = true
		s.esp = s.fromHere() // of future Child SAs; existing ones can't move along
		return
	}
	m.tell, m.strange, s.mapped = true, 0, netip.AddrPort{}
	if local.Addr() != was.Addr() {
		m.renew, m.renewAt = true, e.now
	}
	if !s.origin.ours {
		m.follows, m.overdue = e.now+followTime, false
	}
	e.goTo(s, s.fromHere(), way{local, s.told.remote})
	e.settleWay(s)
	e.resendNow(s)
}

// movedMeanwhile is for an IKE SA whose IKE_AUTH request was sent from more than
// one address: the peer may have taken any of them.
func (e *Engine) movedMeanwhile(s *ikeSA) {
	if s.mob == nil {
		s.espLeftBehind = true
		e.reauthenticate(s)
		return
	}
	s.mob.tell, s.mob.renew = true, true
	e.markDirty(s)
}

// addressUpdate is UPDATE_SA_ADDRESSES or, as responder, the list of our addresses.
type addressUpdate struct {
	lone
	cookie2 []byte // which the response must bring back
}

func (x *addressUpdate) payloads(e *Engine, s *ikeSA) (wire.ExchangeType, []wire.Payload, bool) {
	ps := []wire.Payload{notify(wire.NoAdditionalAddresses)}
	if s.origin.ours {
		ps = []wire.Payload{notify(wire.UpdateSAAddresses)}
	}
	if s.natd {
		ps = append(ps, s.natPayloads()...)
	} else {
		ps = append(ps, s.noNATs())
	}
	if x.cookie2 = e.newCookie2(); x.cookie2 == nil {
		return 0, nil, false
	}
	s.mob.tell = false
	return wire.Informational, append(ps, wire.NewNotify(wire.Cookie2, x.cookie2)), true
}

func (x *addressUpdate) answer(e *Engine, s *ikeSA, r *request, c content, d *Datagram) {
	m := s.mob
	if !e.sound(s, r, c) || m == nil || !e.checkCookie2(s, x.cookie2, c.Contents) || m.tell {
		return // with tell: moved again meanwhile; another update follows
	}
	switch n := c.Error(); {
	case n == nil:
	case n.Kind == wire.UnexpectedNATDetected && m.strange < natTries:
		m.strange++
		m.tell = true
		return
	default:
		e.closeSA(s, s.refusedBy(n, "INFORMATIONAL", nil, nil), false)
		return
	}
	m.strange = 0
	if !s.origin.ours {
		if m.follows != never && !m.overdue {
			m.follows = e.now + followTime
		}
		return
	}
	if seen := seenAs(c.Contents); seen != nil {
		s.natDetect(c.Contents, d, s.SPIr)
		m.seen = seen
	}
	if r.spread {
		m.tell = true // sent to several addresses: it is unknown which of them was received
		return
	}
	if r.at.remote == s.remote {
		m.test = e.now + pathTestTime
		e.arrived(s)
	}
}

// lookAtMapping looks, at the answer to a liveness check, whether the NAT in front of us has given us another
// address or port (section 3.8).
func (s *ikeSA) lookAtMapping(c *wire.Contents) {
	m := s.mob
	if m == nil || !s.origin.ours {
		return
	}
	if seen := seenAs(c); seen != nil && !bytes.Equal(seen, m.seen) {
		m.tell = true
	}
}

// alivePayloads are those of a liveness check.
func (s *ikeSA) alivePayloads() []wire.Payload {
	if s.mob != nil && s.origin.ours && s.NATLocal {
		return s.natPayloads()
	}
	return nil
}

// onMobility handles what an INFORMATIONAL request says about addresses, and
// returns what is answered to it.
func (e *Engine) onMobility(s *ikeSA, d *Datagram, c *wire.Contents) (answer []wire.Payload) {
	if s.mob == nil {
		return nil
	}
	if refusal := e.onAddresses(s, d, c); refusal != 0 {
		answer = append(answer, notify(refusal))
	} else if c.Notify(wire.NATDetectionDestinationIP) != nil && s.natd {
		answer = append(answer, s.natPayloadsOf(d.Local, d.Remote)...)
	}
	if n := c.Notify(wire.Cookie2); n != nil && len(n.Data) >= 8 && len(n.Data) <= 64 {
		answer = append(answer, wire.NewNotify(wire.Cookie2, bytes.Clone(n.Data)))
		s.mob.test = 0
	}
	return answer
}

// onAddresses takes an UPDATE_SA_ADDRESSES, or the list of the peer's addresses; not
// 0: it is refused.
func (e *Engine) onAddresses(s *ikeSA, d *Datagram, c *wire.Contents) (refusal wire.NotifyType) {
	update := c.Notify(wire.UpdateSAAddresses) != nil && !s.origin.ours
	others := additional(c)
	list := len(others) > 0 || c.Notify(wire.NoAdditionalAddresses) != nil
	switch {
	case !update && !list:
		return 0
	case natsFound(c, d):
		refusal = wire.UnexpectedNATDetected
	case !s.acceptable(d):
		refusal = wire.UnacceptableAddresses
	}
	if refusal != 0 {
		f := s.failure(FailAddresses, "INFORMATIONAL",
			refusal.String(),
			"the peer makes a new IKE SA; an address it moves to must be of the same IP version, and local here must be the address it sends to")
		f.Theirs = "moved to " + d.Remote.String() + ", sending to " + d.Local.String()
		e.note(s.peer, f)
		return refusal
	}
	if list {
		s.mob.others = others
	}
	switch {
	case update:
		e.follows(s, d, c)
	case s.origin.ours && d.Remote != s.remote && !slices.Contains(others, s.remote.Addr()):
		// The responder is no longer at the address that we use.
		e.moveTo(s, s.local, d.Remote)
	}
	return 0
}

// acceptable judges the addresses of an update. Who the peer is was verified by
// its keys, so it may be anywhere; but a Child SA's IP version stays, and a fixed
// own address is what we are reached at.
func (s *ikeSA) acceptable(d *Datagram) bool {
	from, to := d.Remote.Addr(), d.Local.Addr()
	return selector.Usable(from) && from != to && d.Remote.Port() != 0 &&
		from.BitLen() == s.remote.Addr().BitLen() && s.peer.comesFrom(to)
}

// follows carries out the peer's update.
func (e *Engine) follows(s *ikeSA, d *Datagram, c *wire.Contents) {
	m := s.mob
	m.follows, m.overdue = never, false
	if c.Notify(wire.NATDetectionSourceIP) != nil {
		s.natDetect(c, d, s.SPIr)
	}
	was := way{s.local, s.remote}
	s.local, s.remote = d.Local, d.Remote
	e.settleWay(s)
	if was != (way{s.local, s.remote}) {
		e.resendNow(s)
	}
}

// overdue is for an IKE SA whose initiator has not followed us to our new address: it
// is replaced, or given up.
func (e *Engine) overdue(s *ikeSA) bool {
	m := s.mob
	if m == nil || m.follows > e.now {
		return false
	}
	if !m.overdue {
		m.overdue, m.follows = true, e.now+overdueTime
		e.reauthenticate(s)
		return false
	}
	e.closeSA(s, s.failure(FailTimeout, "INFORMATIONAL",
		"the peer was told our new address and has not moved its SAs there", "a new IKE SA is made"), false)
	return true
}

// elsewhere repeats a request to the peer's other addresses, when the one in use
// seems dead, and moves there when one of them answers (section 3.4).
func (e *Engine) elsewhere(s *ikeSA, r *request) {
	m := s.mob
	if m == nil || !s.origin.ours || r.tries <= othersTries || !s.stands() {
		return
	}
	for _, a := range m.others {
		if a.BitLen() == s.remote.Addr().BitLen() && a != s.remote.Addr() {
			r.spread = true
			e.sendFrom(s, s.local, netip.AddrPortFrom(a, s.remote.Port()), r.message.Data)
		}
	}
}

// answeredElsewhere moves to the other address of the peer that answered.
func (e *Engine) answeredElsewhere(s *ikeSA, r *request, d *Datagram) {
	if m := s.mob; m != nil && s.origin.ours && r.spread && s.stands() && slices.Contains(m.others, d.Remote.Addr()) && d.Remote.Addr() != s.remote.Addr() {
		m.others = append(slices.DeleteFunc(m.others, func(a netip.Addr) bool { return a == d.Remote.Addr() }), s.remote.Addr())
		e.moveTo(s, s.local, d.Remote)
	}
}

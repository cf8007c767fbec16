package ikev2

import (
	"net/netip"
	"slices"
)

// What an IKE SA does unprompted: the exchange that it wants next (pump), when the next
// thing is due (nextWake), and what is then done (due). All kinds of it meet here, so
// that nothing else needs to know of each.

// pump starts the next exchange that an SA wants, when none is under way.
func (e *Engine) pump(s *ikeSA) {
	if s.stands() && s.probing() && s.nextExchange() <= e.now {
		e.cutProbeShort(s)
	}
	if s.req != nil || s.keys == nil {
		return
	}
	switch {
	case s.handshake != nil && s.handshake.newcomer != nil:
		e.decideNewcomer(s)
	case s.state == stateDeleting:
		e.ask(s, deleteIKE{})
	case s.redundant() && s.state != stateCollisionLost && s.check:
		s.check = false
		e.ask(s, livenessCheck{bare: true})
	case s.mayAsk():
		e.pumpInUse(s)
	}
}

// pumpInUse is pump for an SA that is in use: what moves it comes first, then its
// keys, then questions about the path and whether the peer lives.
func (e *Engine) pumpInUse(s *ikeSA) {
	switch {
	case e.pumpMobility(s):
	case s.pending == nil && !s.mob.testDue(e.now) && e.pumpSAs(s):
	case e.pumpProbe(s):
		s.check = false
	case s.check || e.idle(s) || e.tells(s):
		s.check = false
		e.ask(s, livenessCheck{})
	}
}

// pumpSAs starts the exchange that deletes, rekeys or makes an SA, when one is due.
func (e *Engine) pumpSAs(s *ikeSA) bool {
	return e.pumpDeletes(s) || e.pumpRekeyIKE(s) || e.pumpRekeyChild(s) || e.pumpNewChild(s)
}

// nextWake is the next time an SA has something to do.
func (s *ikeSA) nextWake() Time {
	at := s.dropAt
	for _, c := range s.children {
		at = min(at, c.nextWake())
	}
	if s.state == stateGone {
		return at
	}
	if s.req != nil {
		at = min(at, s.req.next)
	}
	if s.pending != nil {
		at = min(at, s.pending.expires)
	}
	at = min(at, s.parts.Expires())
	switch {
	case s.state == stateInitiating, s.state == stateAuthenticating:
		if n := s.handshake.newcomer; n != nil {
			at = min(at, n.until)
		}
		return min(at, s.handshake.deadline)
	case s.stands(), s.state == stateReplaced:
	default:
		return at
	}
	at = min(at, s.nextLiveness(), s.nextKeepalive())
	if !s.inUse() {
		return at
	}
	at = min(at, s.expireAt, s.reauthAt, s.reauthEnd)
	if s.mob != nil {
		at = min(at, s.mob.follows)
	}
	if s.req == nil && s.mayAsk() {
		if s.mob != nil && s.mob.test != 0 {
			return min(at, s.mob.test)
		}
		if s.mob != nil && s.mob.renew && s.mob.follows == never {
			at = min(at, s.mob.renewAt)
		}
		at = min(at, s.nextExchange())
	} else if s.probing() {
		at = min(at, s.nextExchange())
	}
	return at
}

// nextExchange is when the next rekeying or new Child SA is due.
func (s *ikeSA) nextExchange() Time {
	at := s.createAt
	if s.rekeyAt != never {
		at = min(at, max(s.rekeyAt, s.retryAt))
	}
	for _, c := range s.children {
		at = min(at, c.nextRekey())
	}
	return at
}

// due does what an SA's time has come for, except starting exchanges.
func (e *Engine) due(s *ikeSA) {
	for _, c := range slices.Clone(s.children) {
		e.childDue(c)
	}
	if s.state == stateGone {
		return
	}
	if s.pending != nil && s.pending.expires <= e.now {
		e.release(s)
	}
	s.parts.Expire(e.now)
	if s.dropAt <= e.now && !e.dropDue(s) {
		return
	}
	if s.handshake != nil && s.handshake.deadline <= e.now {
		e.handshakeTimeout(s)
		return
	}
	e.retransmit(s)
	if !s.stands() && s.state != stateReplaced {
		return
	}
	if !e.liveness(s) {
		return
	}
	e.keepalive(s)
	if !s.stands() {
		return
	}
	if s.expireAt <= e.now && !s.redundant() {
		e.closeSA(s, s.expired("IKE SA"), false)
		return
	}
	if e.overdue(s) {
		return
	}
	if !s.redundant() {
		e.reauthDue(s)
	}
}

// dropDue ends the time that an SA's state has. False: nothing more is due.
func (e *Engine) dropDue(s *ikeSA) bool {
	switch s.state {
	case stateHalfOpen:
		e.unfinished(s)
		e.turnOut(s, 1)
		return false
	case stateReplaced:
		// The peer was to delete it and did not; or it has not had our answer,
		// and knows this one only.
		if next := s.replacedBy; next != nil && next.stands() && next.LastHeard <= next.Established {
			s.dropAt = e.now + replacedPatience
		} else {
			e.closeSA(s, nil, true)
		}
	case stateCollisionLost:
		e.drop(s, nil, true) // nothing hangs on it
	case stateRedundantOurs, stateRedundantTheirs, stateRedundantGone:
		e.supersededDue(s)
	case stateChildless, stateEstablished, stateUnconfirmed:
		if s.state == stateChildless && s.childless() {
			e.closeSA(s, nil, false)
		} else {
			s.state, s.dropAt = stateEstablished, never
		}
	case stateDeleting:
		if s.dropAt = s.deadline(); s.dropAt > e.now {
			break
		}
		fallthrough
	default:
		e.drop(s, nil, false)
		return false
	}
	return true
}

// deadline is until when an unanswered Delete is repeated beyond that: where Child SAs
// fade the peer may send on them until it has the Delete, or has given us up as
// we do it, whose silence begins a liveness check later at most.
func (s *ikeSA) deadline() Time {
	fades := func(c *child) bool { return c.state == childLingers && c.lingerAt == never }
	if s.req == nil || !slices.ContainsFunc(s.children, fades) {
		return 0
	}
	c := &s.peer.cfg
	return min(max(s.req.first, s.LastHeard)+c.Dead+c.DPD, s.req.first+deafness*c.Dead)
}

// childDue does what a Child SA's time has come for.
func (e *Engine) childDue(c *child) {
	switch {
	case c.state == childLingers && c.lingerAt <= e.now:
		e.forgetChild(c)
	case c.state == childLive && c.deleteAt <= e.now && c.expireAt > e.now && c.succeeded():
		// The peer may not have our answer, and so nothing else to send on.
		c.deleteAt = e.now + replacedPatience
		e.markDirty(c.sa)
	case c.state == childLive && min(c.expireAt, c.deleteAt) <= e.now:
		// Its lifetime is over (RFC 7296 section 2.8): it must not be used any
		// more. Where it was not replaced a new one is made from scratch.
		c.expireAt, c.deleteAt = never, never
		if !c.replaced {
			e.note(c.sa.peer, c.sa.expired("Child SA"))
		}
		e.deleteChild(c)
		e.wantChild(c.sa, 0)
	}
}

// succeeded reports whether the peer has asked for a Child SA in this one's place and
// has not shown yet that it has it.
func (c *child) succeeded() bool {
	return slices.ContainsFunc(c.sa.children, func(o *child) bool {
		return o.pub.Replaces == c.pub.ID && o.unconfirmed && !o.closing()
	})
}

// handshakeTimeout ends an attempt that came to nothing.
func (e *Engine) handshakeTimeout(s *ikeSA) {
	f := s.handshake.refused
	if f == nil {
		if s.req != nil {
			f = s.timeoutFailure(s.req)
		} else {
			f = s.failure(FailTimeout, "IKE_SA_INIT", "", "")
		}
	}
	p, silent := s.peer, s.handshake.abandoned
	e.drop(s, nil, false)
	if p != nil && !silent {
		e.emit(Failed{p.cfg.ID, f})
	}
}

// pumpMobility starts the exchange that an address calls for.
func (e *Engine) pumpMobility(s *ikeSA) bool {
	m := s.mob
	switch {
	case m != nil && m.tell:
		return e.ask(s, &addressUpdate{})
	case s.unverified():
		return e.testPath(s, netip.AddrPort{})
	case s.mapped.IsValid() && s.mapped != s.esp.remote:
		to := s.mapped
		s.mapped = netip.AddrPort{}
		return e.testPath(s, to)
	case m != nil && !m.testDue(e.now) && m.renew && m.follows == never && m.renewAt <= e.now && s.pending == nil:
		return e.renewEnds(s)
	}
	return false
}

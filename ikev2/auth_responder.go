package ikev2

import (
	"slices"

	"greseal/ikev2/wire"
)

// onAuthRequest answers IKE_AUTH: the peer is found by its identity (contract
// 9) and authenticated by that tunnel's own key.
func (e *Engine) onAuthRequest(s *ikeSA, m *wire.Message, d *Datagram, c content) {
	e.half.leave(s)
	s.state, s.dropAt = stateAuthenticating, never
	s.handshake.deadline = e.now + attemptTime
	e.arriveAuth(s, d)
	switch {
	case c.broken != nil:
		e.refuseSyntax(s, m, d, c.broken.Error())
		return
	case m.Exchange != wire.IKEAuth, len(s.handshake.inter.methods) > 0:
		e.refuseSyntax(s, m, d, m.Exchange.String()+" is not the exchange that is due")
		return
	case c.critical != 0:
		e.refuseUnknown(s, m, d, criticalNotify(c), s.criticalFailure(c, m.Exchange.String()))
		return
	case c.IDi == nil:
		e.refuseSyntax(s, m, d, "the request has no identity of the initiator (IDi)")
		return
	}
	s.RemoteID = identityFrom(c.IDi)
	p, f := e.choosePeer(s, c.Contents)
	if f == nil && c.Auth == nil {
		f = s.wantsEAP(p)
	}
	auth := c.Auth
	if f == nil {
		s.handshake.signatures.learn(c.Contents, false)
		auth, f = s.acceptPPK(p, c.Contents)
	}
	if f == nil {
		verify := func(a *wire.Auth) *Failure { return e.verifyEither(s, p, c.Contents, a, c.IDi) }
		if f = verify(auth); f != nil && f.Kind == FailAuthentication {
			f = s.wrongPPK(f, c.Contents, func(a *wire.Auth) bool { return verify(a) == nil })
		}
	}
	if f == nil {
		f = s.checkSuite(p)
	}
	var answer []wire.Payload
	if f == nil {
		s.LocalID, _ = p.answersTo(identityFrom(c.IDr), s.local.Addr())
		idr := idPayload(wire.TypeIDr, s.LocalID)
		var mine proof
		mine, f = e.prove(s, p, idr)
		answer = append(append([]wire.Payload{idr}, mine.certs...), mine.auth)
	}
	if f != nil {
		e.deny(s, m, d, notify(wire.AuthenticationFailed))
		if p != nil {
			// Unauthenticated: this must not disturb existing SAs.
			e.noteStranger(p, f)
		}
		return
	}
	s.learnRun(c.Contents)
	if !e.wait(s, p, m, d, c.Contents, answer) {
		e.authenticated(s, p, m, d, c.Contents, answer)
	}
}

// verifyEither is verify by the peer's credentials, or else the earlier ones.
func (e *Engine) verifyEither(s *ikeSA, p *peer, c *wire.Contents, a *wire.Auth, id *wire.ID) *Failure {
	f := e.verify(s, p, c, a, id)
	if f == nil || p.earlier == nil {
		return f
	}
	s.Auth = AuthInfo{Earlier: true}
	if e.verify(s, p, c, a, id) == nil {
		return nil
	}
	s.Auth = AuthInfo{}
	return f
}

// checkSuite requires the suite agreed on before the tunnel was known to be one
// of the tunnel's own (contract 9).
func (s *ikeSA) checkSuite(p *peer) *Failure {
	for _, o := range p.cfg.IKE {
		ok := sameAddKE(&o, &s.Suite) && slices.Contains(o.Transforms, s.Suite.Encr) && slices.Contains(o.Transforms, s.Suite.PRF) && slices.Contains(o.Transforms, s.Suite.KE)
		if ok && (s.Suite.Integ.ID == 0 || slices.Contains(o.Transforms, s.Suite.Integ)) {
			return nil
		}
	}
	f := s.failure(FailNoProposal, "IKE_AUTH",
		"the agreed suite belongs to another tunnel of the same address, not to this one",
		"offer what this tunnel's ike allows at the peer, or give each tunnel its own remote address")
	f.Ours, f.Theirs = proposalsText(p.cfg.IKE), s.Suite.String()
	return f
}

// authenticated answers an authenticated peer: with our own proof, ps, and, where they
// agree, the Child SA.
func (e *Engine) authenticated(s *ikeSA, p *peer, m *wire.Message, d *Datagram, c *wire.Contents, ps []wire.Payload) {
	s.peer = p
	p.sas = append(p.sas, s)
	e.half.authenticated(e.now, s)
	e.boundSAs(p)
	e.recordAuthenticated(s)
	if s.handshake.ppk.mixed {
		ps = append(ps, notify(wire.PPKIdentity))
	}
	if s.takeMobility(c); s.mob != nil {
		if natsFound(c, d) {
			e.refuse(s, m, d, notify(wire.UnexpectedNATDetected))
			f := s.failure(FailAddresses, "IKE_AUTH",
				wire.UnexpectedNATDetected.String(),
				"the peer has no NAT traversal and there is a NAT in between: turn on NAT traversal at the peer")
			e.drop(s, f, false)
			e.emit(Failed{p.cfg.ID, f})
			return
		}
		ps = append(ps, notify(wire.MOBIKESupported))
	}
	if s.run.told() {
		ps = append(ps, e.runNotify(p)...)
	}
	ni, nr := s.handshake.ni, s.handshake.nr
	s.lowNonce = lowest(ni, nr)
	a, answer, no := e.acceptChild(s, wire.IKEAuth, c, nil, ni, nr, true)
	if no != nil && no.notify.Kind == wire.InvalidSyntax {
		e.refuse(s, m, d, no.notify) // fatal on both sides (RFC 7296 section 2.21.2)
		e.drop(s, nil, false)
		e.emit(Failed{p.cfg.ID, no.why})
		return
	}
	e.establish(s)
	s.planReauth(e)
	ps = append(ps, p.lifetimeNotify()...)
	if no != nil {
		e.respond(s, m, d, append(ps, no.notify))
		if no.why != nil {
			e.emit(Failed{p.cfg.ID, no.why})
		}
		// The initiator may ask again on this SA, or delete it.
		s.state, s.dropAt = stateChildless, e.now+replacedPatience
		return
	}
	e.announce(s)
	child := e.addChild(s, a)
	e.initialContact(s, c, child)
	e.settleDuplicates(s, child)
	e.respond(s, m, d, append(ps, answer...))
}

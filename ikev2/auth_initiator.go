package ikev2

import (
	"slices"
	"time"

	"greseal/crypto/suite"
	"greseal/ikev2/wire"
)

// sendAuth sends the IKE_AUTH request, with the first Child SA in it.
func (e *Engine) sendAuth(s *ikeSA) {
	p := s.peer
	s.localID = p.localID(s.local.Addr())
	idi := idPayload(wire.TypeIDi, s.localID)
	mine, f := e.prove(s, p, idi)
	if f != nil {
		// The peer has half an SA, which it forgets by itself.
		e.fail(s, f)
		return
	}
	spi, err := e.newESPSPI()
	if err != nil {
		f := s.failure(FailNotify, "IKE_AUTH", false)
		f.Detail = err.Error()
		e.fail(s, f)
		return
	}
	r := &request{kind: askAuth, exchange: wire.IKEAuth, spi: spi, offer: suite.WithoutKE(p.cfg.ESP)}
	e.espReserved[spi] = true
	ps := append([]wire.Payload{idi}, mine.certs...)
	if !e.known(s) {
		ps = append(ps, notify(wire.InitialContact))
	}
	ps = append(ps, requests(p)...)
	if want := p.cfg.RemoteID.Exact(); want.IsSet() {
		ps = append(ps, idPayload(wire.TypeIDr, want))
	}
	var ppk []wire.Payload
	if s.shake.ppk.agreed && p.cfg.usesPPK() {
		if ppk, err = s.offerPPK(mine.auth.Data); err != nil {
			e.fail(s, s.noPPK(err.Error(), "choose other ike proposals"))
			return
		}
		if mine, f = e.prove(s, p, idi); f != nil {
			e.fail(s, f)
			return
		}
	}
	ps = append(ps, mine.auth)
	mode, sa, tsi, tsr := e.offerChild(s, r)
	ps = append(append(append(ps, mode...), sa, tsi, tsr), ppk...)
	ps = append(append(ps, s.offerMobility()...), e.runNotify(s.peer)...)
	s.state = stateAuth
	e.sendRequest(s, wire.IKEAuth, r, ps)
}

// known tells whether another IKE SA with the peer is in use, so that
// INITIAL_CONTACT would be a lie (RFC 7296 section 2.4), or is just being made
// by the peer, who might forget it at our word (contract 10).
func (e *Engine) known(s *ikeSA) bool {
	if e.half.waits(s.remote.Addr()) {
		return true
	}
	return slices.ContainsFunc(s.peer.sas, func(o *ikeSA) bool {
		return o != s && (o.state == stateEstablished || o.state == stateReplaced)
	})
}

// onAuthResponse is the answer to sendAuth.
func (e *Engine) onAuthResponse(s *ikeSA, c content, r *request) {
	p := s.peer
	if c.broken != nil {
		f := s.failure(FailSyntax, "IKE_AUTH", false)
		f.Detail = c.broken.Error()
		f.Remedy = "report it to the peer's maker"
		e.giveUp(s, f, notify(wire.InvalidSyntax))
		return
	}
	if c.critical != 0 {
		e.giveUp(s, s.criticalFailure(c, "IKE_AUTH"), criticalNotify(c))
		return
	}
	if c.Auth == nil || c.IDr == nil {
		if n := c.Error(); n != nil {
			if c.Notify(wire.TunnelInUse) != nil {
				e.fail(s, s.inUse())
				return
			}
			e.fail(s, s.refusedBy(n, "IKE_AUTH", r.offer, nil))
			return
		}
		f := s.failure(FailSyntax, "IKE_AUTH", false)
		f.Detail = "the response has no identity or no AUTH payload"
		f.Remedy = "report it to the peer's maker"
		e.giveUp(s, f, notify(wire.InvalidSyntax))
		return
	}
	if s.shake.abandoned {
		// It was closed meanwhile; the peer has it, so it is told.
		e.establish(s)
		e.closeSA(s, nil, false)
		return
	}
	s.remoteID = identityFrom(c.IDr)
	if f := s.settlePPK(c.Contents); f != nil {
		e.giveUp(s, f, notify(wire.AuthenticationFailed))
		return
	}
	if f := e.checkPeer(s, c.Contents); f != nil {
		e.giveUp(s, f, notify(wire.AuthenticationFailed))
		return
	}
	ni, nr := s.shake.ni, s.shake.nr
	s.lowNonce = lowest(ni, nr)
	if n := c.Error(); n != nil {
		// Authenticated, but without the Child SA, which is all we are here
		// for: the IKE SA goes (RFC 7296 section 2.21.2).
		f := s.refusedBy(n, "IKE_AUTH", r.offer, nil)
		e.establish(s)
		e.emit(Failed{p.cfg.ID, f})
		e.closeSA(s, f, false)
		return
	}
	a, f := e.takeChild(s, r, c.Contents, ni, nr)
	if f != nil {
		e.establish(s)
		e.emit(Failed{p.cfg.ID, f})
		e.closeSA(s, f, false)
		return
	}
	s.takeMobility(c.Contents)
	s.learnRun(c.Contents)
	e.establish(s)
	s.planReauth(e)
	e.authLifetime(s, c.Contents)
	e.announce(s)
	child := e.addChild(s, a)
	e.initialContact(s, c.Contents, child)
	e.settleDuplicates(s, child)
	if r.spread {
		e.movedMeanwhile(s)
	}
}

// checkPeer authenticates the responder: its identity, then its AUTH.
func (e *Engine) checkPeer(s *ikeSA, c *wire.Contents) *Failure {
	want := s.peer.cfg.RemoteID
	// With a certificate, the expected name may be another of the peer's.
	if !s.remoteID.IsSet() || s.peer.cfg.Certificates == nil && !want.Matches(s.remoteID) {
		f := s.failure(FailIdentity, "IKE_AUTH", false)
		f.Ours, f.Theirs = "we expect "+want.String(), "it is "+s.remoteID.String()
		f.Remedy = "set local_id at the peer, or remote_id here, so that they are equal"
		return f
	}
	f := e.verify(s, s.peer, c, c.Auth, c.IDr)
	if f != nil && f.Kind == FailAuthentication && s.shake.ppk.mixed {
		f.Detail += ", or its postquantum pre-shared key does"
		f.Remedy += "; and the same ppk"
	}
	return f
}

// wrongAuth explains an AUTH payload that does not authenticate.
func (s *ikeSA) wrongAuth(p *peer, a *wire.Auth) *Failure {
	f := s.failure(FailAuthentication, "IKE_AUTH", false)
	f.Theirs = "it is " + s.remoteID.String()
	if p.cfg.signs() || a.Method != wire.AuthSharedKey {
		f.Detail = "the peer authenticates by " + a.Method.String() + ", " + p.cfg.way()
		f.Remedy = p.cfg.wayRemedy()
		return f
	}
	f.Detail = "the peer's pre-shared key differs from ours"
	f.Remedy = "write the same psk on both sides; mind spaces and line ends"
	return f
}

// giveUp ends an IKE SA whose responder could not be authenticated, and tells it
// (RFC 7296 section 2.21.2).
func (e *Engine) giveUp(s *ikeSA, f *Failure, why *wire.Notify) {
	p, silent := s.peer, s.shake.abandoned
	s.shake.wipe()
	s.shake = nil
	s.state = stateDeleting
	s.dropAt = e.now + giveUpPatience
	if !silent {
		e.emit(Failed{p.cfg.ID, f})
	}
	e.sendRequest(s, wire.Informational, &request{kind: askGiveUp}, []wire.Payload{why})
}

const giveUpPatience = 4 * time.Second

// announce reports an IKE SA.
func (e *Engine) announce(s *ikeSA) {
	if !s.announced {
		s.announced = true
		e.emit(IKEUp{s.info()})
	}
}

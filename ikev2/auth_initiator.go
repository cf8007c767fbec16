package ikev2

import (
	"slices"
	"time"

	"greseal/crypto/suite"
	"greseal/ikev2/wire"
)

// saAuth is IKE_AUTH, with the first Child SA in it.
type saAuth struct{ childOffer }

// sendAuth begins IKE_AUTH.
func (e *Engine) sendAuth(s *ikeSA) { e.ask(s, &saAuth{}) }

// payloads builds the request. Where it cannot be built the attempt has failed: the
// peer's half-open SA expires.
func (x *saAuth) payloads(e *Engine, s *ikeSA) (wire.ExchangeType, []wire.Payload, bool) {
	p := s.peer
	s.LocalID = p.settings(s).localID(s.local.Addr())
	idi := idPayload(wire.TypeIDi, s.LocalID)
	mine, f := e.prove(s, p, idi)
	if f != nil {
		e.fail(s, f)
		return 0, nil, false
	}
	spi, err := e.newESPSPI()
	if err != nil {
		e.fail(s, s.failure(FailNotify, "IKE_AUTH", err.Error(), ""))
		return 0, nil, false
	}
	x.spi, x.offer = spi, suite.WithoutKE(p.cfg.ESP)
	ps := append([]wire.Payload{idi}, mine.certs...)
	if !e.known(s) {
		ps = append(ps, notify(wire.InitialContact))
	}
	ps = append(ps, requests(p)...)
	if want := p.cfg.RemoteID.Exact(); want.IsSet() {
		ps = append(ps, idPayload(wire.TypeIDr, want))
	}
	var ppk []wire.Payload
	if s.handshake.ppk.agreed && p.cfg.usesPPK() {
		if ppk, err = s.offerPPK(mine.auth.Data); err != nil {
			e.fail(s, s.noPPK(err.Error(), "choose other ike proposals"))
			return 0, nil, false
		}
		if mine, f = e.prove(s, p, idi); f != nil {
			e.fail(s, f)
			return 0, nil, false
		}
	}
	e.espReserved[spi] = true
	ps = append(ps, mine.auth)
	mode, sa, tsi, tsr := e.offerChild(s, &x.childOffer)
	ps = append(append(append(ps, mode...), sa, tsi, tsr), ppk...)
	ps = append(append(ps, s.offerMobility()...), e.runNotify(s.peer)...)
	s.state = stateAuthenticating
	return wire.IKEAuth, ps, true
}

func (x *saAuth) giveUp(e *Engine, _ *ikeSA) { delete(e.espReserved, x.spi) }

func (x *saAuth) meet(crossing) bool { return true }

// known reports whether another IKE SA with the peer is in use, so that
// INITIAL_CONTACT would be wrong (RFC 7296 section 2.4), or is just being made by the
// peer, who might delete it upon ours (contract 10). After a crash it MAY be sent; but as
// long as Child SAs of the earlier run carry packets the peer is to keep its ends.
func (e *Engine) known(s *ikeSA) bool {
	if len(s.peer.cfg.Elsewhere) > 0 || e.half.waits(s.remote.Addr()) {
		return true
	}
	return slices.ContainsFunc(s.peer.sas, func(o *ikeSA) bool {
		return o != s && (o.stands() || o.state == stateReplaced)
	})
}

func (x *saAuth) answer(e *Engine, s *ikeSA, r *request, c content, _ *Datagram) {
	delete(e.espReserved, x.spi)
	if f, why := x.unreadable(s, c); f != nil {
		e.giveUp(s, f, why)
		return
	}
	if c.Auth == nil || c.IDr == nil {
		f := s.refusedBy(c.Error(), "IKE_AUTH", x.offer, nil)
		if c.Notify(wire.TunnelInUse) != nil {
			f = s.tunnelInUse()
		}
		s.peer.otherwise(s, f)
		e.fail(s, f)
		return
	}
	if s.handshake.abandoned {
		// It was closed meanwhile; the peer has it, so it gets a Delete.
		e.establish(s)
		e.closeSA(s, nil, false)
		return
	}
	s.RemoteID = identityFrom(c.IDr)
	f := s.settlePPK(c.Contents)
	if f == nil {
		f = e.checkPeer(s, c.Contents)
	}
	if f != nil {
		s.peer.otherwise(s, f)
		e.giveUp(s, f, notify(wire.AuthenticationFailed))
		return
	}
	ni, nr := s.handshake.ni, s.handshake.nr
	s.lowNonce = lowest(ni, nr)
	var a agreed
	if n := c.Error(); n != nil {
		f = s.refusedBy(n, "IKE_AUTH", x.offer, nil)
	} else {
		a, f = e.takeChild(s, &x.childOffer, "IKE_AUTH", c.Contents, ni, nr)
	}
	if f != nil {
		// Authenticated, but without the Child SA, which is all we are here
		// for: the IKE SA goes (RFC 7296 section 2.21.2).
		e.establish(s)
		e.emit(Failed{s.peer.cfg.ID, f})
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

// unreadable explains a response that neither authenticates the peer nor refuses
// us, and what to answer the peer.
func (x *saAuth) unreadable(s *ikeSA, c content) (*Failure, *wire.Notify) {
	f := s.failure(FailSyntax, "IKE_AUTH", "", "report it to the peer's vendor")
	switch {
	case c.broken != nil:
		f.Detail = c.broken.Error()
	case c.critical != 0:
		return s.criticalFailure(c, "IKE_AUTH"), criticalNotify(c)
	case (c.Auth == nil || c.IDr == nil) && c.Error() == nil:
		f.Detail = "the response has no identity or no AUTH payload"
	default:
		return nil, nil
	}
	return f, notify(wire.InvalidSyntax)
}

// checkPeer authenticates the responder: its identity, then its AUTH.
func (e *Engine) checkPeer(s *ikeSA, c *wire.Contents) *Failure {
	want := s.peer.cfg.RemoteID
	// With a certificate, the expected name may be another of the peer's.
	if !s.RemoteID.IsSet() || s.peer.settings(s).Certificates == nil && !want.Matches(s.RemoteID) {
		f := s.failure(FailIdentity, "IKE_AUTH", "", "set local_id at the peer, or remote_id here, so that they are equal")
		f.Ours, f.Theirs = "expected identity "+want.String(), "identity "+s.RemoteID.String()
		return f
	}
	f := e.verify(s, s.peer, c, c.Auth, c.IDr)
	if f != nil && f.Kind == FailAuthentication && s.handshake.ppk.mixed {
		f.Detail += ", or its post-quantum pre-shared key does"
		f.Remedy += "; and the same ppk"
	}
	return f
}

// giveUp ends an IKE SA whose responder could not be authenticated, and tells it
// (RFC 7296 section 2.21.2).
func (e *Engine) giveUp(s *ikeSA, f *Failure, why *wire.Notify) {
	p, silent := s.peer, s.handshake.abandoned
	s.handshake.wipe()
	s.handshake = nil
	s.state = stateDeleting
	s.dropAt = e.now + giveUpPatience
	if !silent {
		e.emit(Failed{p.cfg.ID, f})
	}
	e.ask(s, rejectPeer{why: why})
}

const giveUpPatience = 4 * time.Second

// rejectPeer ends an IKE SA whose responder could not be authenticated (RFC 7296
// section 2.21.2).
type rejectPeer struct {
	deleteIKE
	why *wire.Notify
}

func (x rejectPeer) payloads(*Engine, *ikeSA) (wire.ExchangeType, []wire.Payload, bool) {
	return wire.Informational, []wire.Payload{x.why}, true
}

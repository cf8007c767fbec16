package ikev2

import (
	"bytes"
	"slices"
	"time"

	"greseal/crypto/kex"
	"greseal/crypto/suite"
	"greseal/ikev2/wire"
)

// Rekeying a Child SA (RFC 7296 sections 1.3.3, 2.8 and 2.8.1). The initiator
// installs the new pair and deletes the old one. The responder installs the
// inbound SA before it answers, and the outbound one when it sees a packet on
// it or the Delete of the old pair (contract 11). When both rekey at once there
// are two new pairs for a moment; the one of the exchange with the lowest of
// the four nonces is deleted by the side that asked for it.

// retryPause is the wait after a refusal of another kind.
const retryPause = 30 * time.Second

// pumpRekeyChild starts the rekeying of a pair that is due.
func (e *Engine) pumpRekeyChild(s *ikeSA) bool {
	for _, c := range s.children {
		if c.nextRekey() <= e.now {
			return e.askChild(s, &request{kind: askRekeyChild, old: c, noPFS: c.noPFS}, 0)
		}
	}
	return false
}

// pumpNewChild starts the making of a pair from scratch.
func (e *Engine) pumpNewChild(s *ikeSA) bool {
	if s.createAt > e.now || !s.childless() {
		return false
	}
	return e.askChild(s, &request{kind: askNewChild}, 0)
}

// askChild sends a CREATE_CHILD_SA request for a pair. group is the key exchange
// method, 0: the one of the IKE SA.
func (e *Engine) askChild(s *ikeSA, r *request, group uint16) bool {
	r.exchange = wire.CreateChildSA
	r.offer = s.espOffer(s.peer.cfg.PFS && !r.noPFS)
	if len(r.offer) == 0 {
		return false
	}
	var err error
	if r.nonce, err = e.rnd.nonce(); err != nil {
		return false
	}
	if r.spi, err = e.newESPSPI(); err != nil {
		return false
	}
	if groups := suite.Groups(r.offer); len(groups) > 0 {
		if r.ke, err = e.startKE(groups, group, s.suite.KE.ID); err != nil {
			return false
		}
	}
	var ps []wire.Payload
	if r.old != nil {
		ps = append(ps, wire.NewSANotify(wire.RekeySA, suite.ESP, r.old.pub.SPIIn))
	}
	mode, sa, tsi, tsr := e.offerChild(s, r)
	ps = append(append(ps, mode...), sa, &wire.Nonce{Data: r.nonce})
	if r.ke != nil {
		ps = append(ps, &wire.KE{Method: r.ke.Group(), Data: r.ke.Public()})
	}
	e.espReserved[r.spi] = true
	s.createAt = never
	e.sendRequest(s, wire.CreateChildSA, r, append(ps, tsi, tsr))
	return true
}

// startKE begins a key exchange by the wanted method, else the preferred one,
// else the first of those offered.
func (e *Engine) startKE(groups []suite.Transform, wanted, preferred uint16) (kex.Exchange, error) {
	group := groups[0].ID
	for _, g := range groups {
		if g.ID == preferred {
			group = preferred
		}
	}
	if wanted != 0 {
		group = wanted
	}
	return e.kex.start(group, e.rnd.r)
}

// onChildResponse handles the answer to askChild.
func (e *Engine) onChildResponse(s *ikeSA, r *request, c *wire.Contents) {
	if n := c.Error(); n != nil {
		if c.SA != nil {
			// It failed, whatever else it says (RFC 7296 section 3.10.1).
			e.disown(s, r.spi)
		}
		e.childRefused(s, r, n)
		return
	}
	if c.Nonce == nil {
		c.SA = nil // takeChild says what is wrong
	}
	var nr []byte
	if c.Nonce != nil {
		nr = c.Nonce.Data
	}
	var a agreed
	var f *Failure
	if x := r.series; x != nil {
		nr = x.nr
		a, f = e.takeFollowup(s, r, c)
	} else {
		a, f = e.takeChild(s, r, c, r.nonce, nr)
	}
	if f != nil {
		// The peer has a pair now that we cannot use (RFC 7296 section 2.21).
		e.disown(s, r.spi)
		e.childFailed(s, r, f)
		return
	}
	if a.series != nil {
		e.followChild(s, r, a.series)
		return
	}
	s.stalled = 0
	stillborn := slices.Contains(r.gone, a.spiOut)
	if s.state != stateEstablished || stillborn {
		// The SA was closed, or this pair deleted, while the answer was under way.
		a.in.Wipe()
		a.out.Wipe()
		if r.old != nil && !r.old.closing() {
			r.old.retryAt = e.afterBusy(s, r.old.expireAt)
		}
		e.wantChild(s, 0)
		return
	}
	others := !s.childless()
	c2 := e.addChild(s, a)
	// The nonces alone decide, even when the peer's pair has long been replaced
	// or deleted: the peer has decided by them, too.
	if r.rival != nil && others && bytes.Compare(lowest(r.nonce, nr), r.rivalLow) < 0 {
		// Ours has the lowest nonce: we delete it; the peer deletes the old
		// one. It is installed inbound, as the peer may have begun to use it.
		c2.loser = true
		if r.old != nil {
			e.superseded(r.old)
		}
		e.doom(c2)
		return
	}
	if r.rival != nil {
		r.rival.loser = true
		r.rival.replaced = true
		e.superseded(r.rival)
	}
	if s.redundant {
		c2.loser = true // as the others of this IKE SA, unless it comes into use again
	} else {
		e.carry(c2)
	}
	if r.old != nil {
		e.doom(r.old)
	}
	if r.renews != nil {
		e.renewed(s, c2)
	}
}

// superseded leaves a pair to the peer's Delete.
func (e *Engine) superseded(c *child) {
	if c.state != childLive {
		return
	}
	c.replaced = true
	c.deleteAt = e.now + replacedPatience
	e.touch(c.sa)
}

// childRefused handles an error answer to askChild.
func (e *Engine) childRefused(s *ikeSA, r *request, n *wire.Notify) {
	if r.old != nil && (r.rival != nil || r.old.replaced || r.old.closing()) {
		// The peer's own rekeying, or Delete, was first.
		e.wantChild(s, s.recreatePause())
		return
	}
	switch n.Kind {
	case wire.InvalidKEPayload:
		group, ok := n.Number()
		if ok && r.regroup < maxRegroups && r.ke != nil && group != r.ke.Group() && slices.Contains(suite.Groups(r.offer), suite.Transform{Type: suite.TypeKE, ID: group}) {
			e.askChild(s, &request{kind: r.kind, old: r.old, renews: r.renews, regroup: r.regroup + 1, noPFS: r.noPFS}, group)
			return
		}
	case wire.NoProposalChosen:
		if r.ke != nil {
			// A group that the peer does not allow shows at the first rekeying
			// only. Without one it is still rekeyed, by the IKE SA's secrets.
			f := s.refusedBy(n, "CREATE_CHILD_SA", r.offer, r.old)
			f.Detail = "the peer may not allow a key exchange of the Child SA's own; going on without (pfs)"
			f.Remedy = "add the group to the peer's ESP proposal, or set pfs = false here"
			e.note(s.peer, f)
			if r.old != nil {
				r.old.noPFS = true
			}
			e.askChild(s, &request{kind: r.kind, old: r.old, renews: r.renews, noPFS: true}, 0)
			return
		}
	case wire.ChildSANotFound:
		if r.old != nil {
			// The peer has lost it: remove it in silence and begin anew (RFC
			// 7296 section 2.25).
			e.retire(r.old, false)
			e.wantChild(s, 0)
			return
		}
	}
	e.childFailed(s, r, s.refusedBy(n, "CREATE_CHILD_SA", r.offer, r.old))
}

// childFailed plans another try, or gives up: a pair that stands is used until
// the end of its lifetime; an IKE SA without any is closed.
func (e *Engine) childFailed(s *ikeSA, r *request, f *Failure) {
	if f.Kind == FailTemporary {
		expire := never
		if r.old != nil {
			expire = r.old.expireAt
		}
		again, ok := e.busy(s, f, expire)
		switch {
		case !ok:
		case r.renews != nil && s.mob != nil:
			s.mob.renew, s.mob.renewAt = true, again
		case r.old != nil:
			r.old.retryAt = again
		default:
			e.wantChild(s, again-e.now)
		}
		return
	}
	if r.old != nil && !r.old.closing() {
		e.note(s.peer, f)
		r.old.retryAt = e.now + e.jitter(retryPause)
		e.touch(s)
		if f.Kind == FailNoAdditionalSA {
			e.reauthenticate(s) // the only way to new keys with this peer
		}
		return
	}
	e.emit(Failed{s.peer.cfg.ID, f})
	e.closeSA(s, f, false)
}

// onCreateChild answers CREATE_CHILD_SA.
func (e *Engine) onCreateChild(s *ikeSA, m *wire.Message, d *Datagram, c *wire.Contents) {
	if !s.peer.renewals.take(e.now) {
		e.refuse(s, m, d, notify(wire.TemporaryFailure))
		return
	}
	if c.SA != nil && len(c.SA.Proposals) > 0 && c.SA.Proposals[0].Protocol == suite.IKE {
		e.onRekeyIKE(s, m, d, c)
		return
	}
	// An IKE SA that is being rekeyed or closed takes no new pairs (RFC 7296
	// section 2.25.2), and neither does one that is not settled yet.
	if s.state != stateEstablished || s.redundant || s.contends != nil || s.rival != nil || s.req != nil && s.req.kind == askRekeyIKE {
		e.refuse(s, m, d, notify(wire.TemporaryFailure))
		return
	}
	var old *child
	if n := c.Notify(wire.RekeySA); n != nil {
		spi := n.SPI32()
		for _, o := range s.children {
			if o.pub.SPIOut == spi && n.Protocol == suite.ESP && o.state != childLingers {
				old = o
			}
		}
		if r := s.req; old == nil && r != nil && (r.kind == askNewChild || r.kind == askRekeyChild) {
			e.refuse(s, m, d, notify(wire.TemporaryFailure)) // perhaps the pair we are asking for
			return
		}
		if old == nil {
			e.refuse(s, m, d, &wire.Notify{Kind: wire.ChildSANotFound, Protocol: n.Protocol, SPI: n.SPI})
			return
		}
		if old.closing() || old.loser && old.replaced { // or the peer's to delete
			e.refuse(s, m, d, notify(wire.TemporaryFailure))
			return
		}
	}
	under, following := s.asking(old)
	if following {
		e.refuse(s, m, d, notify(wire.TemporaryFailure)) // RFC 9370 section 2.2.4
		return
	}
	if s.peer.pairs() >= maxChildren {
		e.refuse(s, m, d, notify(wire.NoAdditionalSAs))
		return
	}
	if c.Nonce == nil {
		e.brokenRequest(s, m, d, &wire.Error{Notify: wire.InvalidSyntax, Reason: "CREATE_CHILD_SA without nonce"})
		return
	}
	nr, err := e.rnd.nonce()
	if err != nil {
		e.refuse(s, m, d, notify(wire.TemporaryFailure))
		return
	}
	if s.unproved() && s.encap() != s.esp.encap {
		e.refuse(s, m, d, notify(wire.TemporaryFailure))
		return
	}
	a, answer, no := e.acceptChild(s, wire.CreateChildSA, c, old, c.Nonce.Data, nr, false)
	if no != nil {
		if s.unproved() && no.notify.Kind == wire.TSUnacceptable {
			// Perhaps right for where the peer has moved to, and soon to be proved.
			no = &refusal{notify(wire.TemporaryFailure), nil}
		}
		e.refuse(s, m, d, no.notify)
		switch {
		case no.notify.Kind == wire.InvalidSyntax:
			e.drop(s, no.why, false) // fatal on both sides (RFC 7296 section 2.21.3)
		case no.why != nil:
			e.note(s.peer, no.why)
		}
		return
	}
	switch {
	case a.series == nil:
		e.grantChild(s, a, lowest(c.Nonce.Data, nr))
	case under:
		e.refuse(s, m, d, notify(wire.TemporaryFailure))
		return
	default:
		e.hold(s, a.series)
	}
	e.respond(s, m, d, answer)
}

// grantChild makes the pair that the peer asked for in an exchange, or series of
// them, with this lowest nonce.
func (e *Engine) grantChild(s *ikeSA, a agreed, low []byte) {
	old := a.old
	alone := s.childless()
	s.stalled = 0
	n := e.addChild(s, a)
	if old != nil {
		old.replaced = true
		old.deleteAt = e.now + replacedPatience
		if s.req != nil && s.req.kind == askRekeyChild && s.req.old == old {
			s.req.rival, s.req.rivalLow = n, low
		}
	}
	if old == nil {
		s.childlessEnd = false
		if !s.quiet {
			s.dropAt = never
		}
		e.announce(s)
		if s.req != nil && s.req.kind == askNewChild {
			e.crossedNew(s, n, low)
		} else if alone {
			e.carry(n)
		}
	}
}

// crossedNew treats two Child SAs that both sides ask for from scratch at the
// same time like simultaneous rekeying: one of them goes.
func (e *Engine) crossedNew(s *ikeSA, n *child, low []byte) {
	s.req.rival, s.req.rivalLow = n, low
	e.carry(n)
}

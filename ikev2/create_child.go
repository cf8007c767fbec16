package ikev2

import (
	"bytes"
	"slices"

	"greseal/crypto/kex"
	"greseal/crypto/suite"
	"greseal/ikev2/wire"
)

// CREATE_CHILD_SA for a Child SA (RFC 7296 sections 1.3.1 and 1.3.3):
// what rekeying one (rekey_child.go) and making another one (new_child.go) have in
// common. Proposals and traffic selectors are in negotiate.go, additional key
// exchanges in followup.go.

// createChild is the part of a request for a Child SA that rekeyChild and newChild
// share.
type createChild struct {
	childOffer
	self    childRequest
	nonce   []byte
	group   uint16 // key exchange method, 0: the one of the IKE SA
	noPFS   bool   // a second try without key exchange
	regroup int    // INVALID_KE_PAYLOAD retries

	series *series // IKE_FOLLOWUP_KE: what it goes on with

	// The Child SA that the peer's own request for the same thing made meanwhile, and
	// the lowest nonce of that exchange.
	colliding *child
	lowNonce  []byte
}

// childRequest is rekeyChild or newChild.
type childRequest interface {
	exchange
	shared() *createChild
	// stays is called when the Child SA that was made stays.
	stays(e *Engine, s *ikeSA, made *child)
	// givesWay is called when ours goes, after a collision.
	givesWay(e *Engine)
	// gone is called when the Child SA was deleted before it was known here.
	gone(e *Engine, s *ikeSA)
	// refused takes an error notify that has a meaning of its own.
	refused(e *Engine, s *ikeSA, n *wire.Notify) bool
	// later plans another try after TEMPORARY_FAILURE.
	later(e *Engine, s *ikeSA, at Time)
	// failed takes what can't be tried again soon. False: the IKE SA is of no use.
	failed(e *Engine, s *ikeSA, f *Failure) bool
}

func (x *createChild) shared() *createChild { return x }

// creating is the request for a Child SA that is under way, nil: there is none.
func (s *ikeSA) creating() *createChild {
	if x, ok := asking[childRequest](s); ok {
		return x.shared()
	}
	return nil
}

func (x *createChild) payloads(e *Engine, s *ikeSA) (wire.ExchangeType, []wire.Payload, bool) {
	if x.series != nil {
		ps := x.series.payloads(e)
		if ps != nil {
			e.espReserved[x.spi] = true
		}
		return wire.IKEFollowupKE, ps, ps != nil
	}
	x.offer = s.espOffer(s.peer.cfg.PFS && !x.noPFS)
	x.ke, x.colliding = nil, nil
	if len(x.offer) == 0 {
		return 0, nil, false
	}
	var err error
	x.nonce = drawn(&err, e.rnd.nonce)
	x.spi = drawn(&err, e.newESPSPI)
	if groups := suite.Groups(x.offer); len(groups) > 0 {
		x.ke = drawn(&err, func() (kex.Exchange, error) { return e.startKE(groups, x.group, s.Suite.KE.ID) })
	}
	if err != nil {
		return 0, nil, false
	}
	mode, sa, tsi, tsr := e.offerChild(s, &x.childOffer)
	ps := append(mode, sa, &wire.Nonce{Data: x.nonce})
	if x.ke != nil {
		ps = append(ps, &wire.KE{Method: x.ke.Group(), Data: x.ke.Public()})
	}
	e.espReserved[x.spi] = true
	s.createAt = never
	return wire.CreateChildSA, append(ps, tsi, tsr), true
}

func (x *createChild) giveUp(e *Engine, _ *ikeSA) {
	delete(e.espReserved, x.spi)
	if x.series != nil {
		x.series.wipe()
	}
}

// meet refuses to rekey the IKE SA before the Child SAs are settled (RFC 7296 section
// 2.25.1), and what cannot be decided by nonces: a Child SA that may be the one we
// are asking for, or the same thing when one of the two goes on in
// IKE_FOLLOWUP_KE (RFC 9370 section 2.2.4).
func (x *createChild) meet(theirs crossing) bool {
	switch {
	case theirs.ike, theirs.unknown:
		return false
	case theirs.old != x.old:
		return true
	}
	return x.series == nil && !theirs.followUp
}

func (x *createChild) answer(e *Engine, s *ikeSA, r *request, c content, _ *Datagram) {
	delete(e.espReserved, x.spi)
	if !e.sound(s, r, c) {
		x.giveUp(e, s)
		return
	}
	if n := c.Error(); n != nil {
		if c.SA != nil {
			// It failed, whatever else it says (RFC 7296 section 3.10.1).
			e.disown(s, x.spi)
		}
		x.refusedBy(e, s, n)
		return
	}
	a, nr, f := x.take(e, s, r, c.Contents)
	if f != nil {
		// The peer has a Child SA now that we cannot use (RFC 7296 section 2.21).
		e.disown(s, x.spi)
		x.fails(e, s, f)
		return
	}
	if a.series != nil {
		x.followUp(e, s, r, a.series)
		return
	}
	s.stalled = 0
	if !s.stands() || slices.Contains(r.gone, a.SPIOut) {
		// The SA was closed, or this Child SA deleted, while the answer was under way.
		a.in.Wipe()
		a.out.Wipe()
		x.self.gone(e, s)
		e.wantChild(s, 0)
		return
	}
	x.made(e, s, a, lowest(x.nonce, nr))
}

// take reads the responder's half, of CREATE_CHILD_SA or IKE_FOLLOWUP_KE.
func (x *createChild) take(e *Engine, s *ikeSA, r *request, c *wire.Contents) (a agreed, nr []byte, f *Failure) {
	if x.series != nil {
		nr = x.series.nr
		a, f = x.takeFollowup(s, r, c)
		return a, nr, f
	}
	if c.Nonce != nil {
		nr = c.Nonce.Data
	} else {
		c.SA = nil // takeChild says what is wrong
	}
	a, f = e.takeChild(s, &x.childOffer, r.exchange.String(), c, x.nonce, nr)
	return a, nr, f
}

// made adds the Child SA. Where the peer's own request has made another one, the
// Child SA of the exchange with the lowest nonce is deleted by the side that asked
// for it. The nonces alone decide, even when the peer's Child SA has long been
// replaced or deleted: the peer has decided by them, too.
func (x *createChild) made(e *Engine, s *ikeSA, a agreed, low []byte) {
	others := !s.childless()
	c := e.addChild(s, a)
	if x.colliding != nil && others && bytes.Compare(low, x.lowNonce) < 0 {
		// Ours goes. It is installed inbound, as the peer may have begun to use it.
		c.loser = true
		x.self.givesWay(e)
		e.deleteChild(c)
		return
	}
	if x.colliding != nil {
		x.colliding.loser = true
		x.colliding.replaced = true
		e.superseded(x.colliding)
	}
	if s.redundant() {
		c.loser = true // as the others of this IKE SA, unless it comes into use again
	} else {
		e.carry(c)
	}
	x.self.stays(e, s, c)
}

// superseded leaves a Child SA to the peer's Delete.
func (e *Engine) superseded(c *child) {
	if c.state != childLive {
		return
	}
	c.replaced = true
	c.deleteAt = e.now + replacedPatience
	e.markDirty(c.sa)
}

// refusedBy handles an error answer.
func (x *createChild) refusedBy(e *Engine, s *ikeSA, n *wire.Notify) {
	if x.self.refused(e, s, n) {
		return
	}
	switch n.Kind {
	case wire.InvalidKEPayload:
		group, ok := n.Number()
		if ok && x.regroup < maxRegroups && x.ke != nil && group != x.ke.Group() && slices.Contains(suite.Groups(x.offer), suite.Transform{Type: suite.TypeKE, ID: group}) {
			x.regroup, x.group = x.regroup+1, group
			e.ask(s, x.self)
			return
		}
	case wire.NoProposalChosen:
		if x.ke != nil {
			// A group that the peer does not allow shows at the first rekeying
			// only. Without one it is still rekeyed, by the IKE SA's secrets.
			f := s.refusedBy(n, "CREATE_CHILD_SA", x.offer, x.old)
			f.Detail = "the peer may not allow a separate key exchange for the Child SA (pfs); continuing without"
			f.Remedy = "add the group to the peer's ESP proposal, or set pfs = false here"
			e.note(s.peer, f)
			if x.old != nil {
				x.old.noPFS = true
			}
			x.regroup, x.group, x.noPFS = 0, 0, true
			e.ask(s, x.self)
			return
		}
	}
	x.fails(e, s, s.refusedBy(n, "CREATE_CHILD_SA", x.offer, x.old))
}

// fails schedules another try, or gives up: an existing Child SA is used until the end
// of its lifetime; an IKE SA without any is closed.
func (x *createChild) fails(e *Engine, s *ikeSA, f *Failure) {
	if f.Kind == FailTemporary {
		expire := never
		if x.old != nil {
			expire = x.old.expireAt
		}
		if again, ok := e.busy(s, f, expire); ok {
			x.self.later(e, s, again)
		}
		return
	}
	if !x.self.failed(e, s, f) {
		e.emit(Failed{s.peer.cfg.ID, f})
		e.closeSA(s, f, false)
	}
}

// onCreateChild answers CREATE_CHILD_SA.
func (e *Engine) onCreateChild(s *ikeSA, m *wire.Message, d *Datagram, c *wire.Contents) {
	if !s.peer.renewals.Take(e.now) {
		e.decline(s, m, d, temporary())
		return
	}
	if c.SA != nil && len(c.SA.Proposals) > 0 && c.SA.Proposals[0].Protocol == suite.IKE {
		e.onRekeyIKE(s, m, d, c)
		return
	}
	a, low, answer, no := e.judgeChild(s, c)
	switch {
	case no != nil:
		e.decline(s, m, d, no)
		return
	case a.series != nil:
		e.hold(s, a.series)
	default:
		e.grantChild(s, a, low)
	}
	e.respond(s, m, d, answer)
}

// judgeChild decides on a request for a Child SA, and answers it. low is the lowest
// nonce.
func (e *Engine) judgeChild(s *ikeSA, c *wire.Contents) (a agreed, low []byte, answer []wire.Payload, no *refusal) {
	// An IKE SA that is being rekeyed or closed takes no new Child SAs (RFC 7296
	// section 2.25.2), and neither does one that is not settled yet.
	if !s.settled() {
		return a, nil, nil, temporary()
	}
	old, refused := s.rekeyed(c)
	switch {
	case refused != nil:
		return a, nil, nil, &refusal{refused, nil}
	case s.peer.childSAs() >= maxChildren:
		return a, nil, nil, &refusal{notify(wire.NoAdditionalSAs), nil}
	case c.Nonce == nil:
		return a, nil, nil, s.lacks(wire.CreateChildSA, "CREATE_CHILD_SA without nonce")
	case s.unverified() && s.encap() != s.esp.encap:
		return a, nil, nil, temporary()
	}
	nr, err := e.rnd.nonce()
	if err != nil {
		return a, nil, nil, temporary()
	}
	a, answer, no = e.acceptChild(s, wire.CreateChildSA, c, old, c.Nonce.Data, nr, false)
	if no == nil && a.series != nil && !s.meets(crossing{old: old, followUp: true}) {
		no = temporary()
	}
	return a, lowest(c.Nonce.Data, nr), answer, no
}

// rekeyed finds the Child SA that the peer asks to be rekeyed, nil: it wants another
// one. With a notify it is refused.
func (s *ikeSA) rekeyed(c *wire.Contents) (old *child, no *wire.Notify) {
	n := c.Notify(wire.RekeySA)
	if n != nil {
		spi := n.SPI32()
		for _, o := range s.children {
			if o.pub.SPIOut == spi && n.Protocol == suite.ESP && o.state != childLingers {
				old = o
			}
		}
	}
	unknown := n != nil && old == nil
	switch {
	case !s.meets(crossing{old: old, unknown: unknown}):
		return nil, notify(wire.TemporaryFailure)
	case unknown:
		return nil, &wire.Notify{Kind: wire.ChildSANotFound, Protocol: n.Protocol, SPI: n.SPI}
	case old != nil && (old.closing() || old.loser && old.replaced): // or the peer's to delete
		return nil, notify(wire.TemporaryFailure)
	}
	return old, nil
}

// grantChild makes the Child SA that the peer asked for in an exchange, or series of
// them, with this lowest nonce.
func (e *Engine) grantChild(s *ikeSA, a agreed, low []byte) {
	wasChildless := s.childless()
	s.stalled = 0
	n := e.addChild(s, a)
	x := s.creating()
	crossed := x != nil && x.old == a.old
	if crossed {
		x.colliding, x.lowNonce = n, low
	}
	if a.old != nil {
		a.old.replaced = true
		a.old.deleteAt = e.now + replacedPatience
		return
	}
	if s.mayAsk() {
		s.state, s.dropAt = stateEstablished, never
	}
	e.announce(s)
	if crossed || wasChildless {
		e.carry(n)
	}
}

// takeFollowup is takeChild for IKE_FOLLOWUP_KE.
func (x *createChild) takeFollowup(s *ikeSA, r *request, c *wire.Contents) (agreed, *Failure) {
	more := x.series
	if bad := more.take(c); bad != "" {
		more.wipe()
		return agreed{}, s.failure(FailSyntax, r.exchange.String(), bad, "report it to the peer's vendor")
	}
	a := more.childSA
	if len(more.methods) > 0 {
		a.series = more
		return a, nil
	}
	defer more.wipe()
	var err error
	a.in, a.out, err = s.keys.ChildKeys(a.Suite, true, more.shared[0], more.ni, more.nr, a.SPIIn, a.SPIOut, more.shared[1:]...)
	if err != nil {
		return agreed{}, s.failure(FailNoProposal, r.exchange.String(), err.Error(), "choose other esp proposals")
	}
	return a, nil
}

// followUp goes on with the series of a Child SA, unless the Child SA is no longer
// wanted: in simultaneous rekeying the series of the exchange with the lowest
// nonce is not begun.
func (x *createChild) followUp(e *Engine, s *ikeSA, r *request, more *series) {
	switch {
	case !s.inUse():
		more.wipe()
		return
	case x.colliding != nil && !s.childless() && bytes.Compare(lowest(more.ni, more.nr), x.lowNonce) < 0:
		more.wipe()
		x.self.givesWay(e)
		return
	}
	x.series, x.ke = more, nil
	if !e.ask(s, x.self) {
		x.fails(e, s, s.failure(FailInvalidKE, "IKE_FOLLOWUP_KE", errRandom.Error(), ""))
	} else if s.req != nil {
		s.req.gone = r.gone
	}
}

package ikev2

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"

	"greseal/crypto/kex"
	"greseal/crypto/prf"
	"greseal/crypto/suite"
	"greseal/ikev2/keymat"
	"greseal/ikev2/wire"
)

// Rekeying an IKE SA (RFC 7296 sections 1.3.2, 2.8.2 and 2.18). The new IKE SA
// inherits the Child SAs; the side that asked deletes the old one, as its last
// request. When both ask at once the SA of the exchange with the lowest nonce
// is deleted by the side that asked for it, and the other inherits.

// unconfirmedTime is how long the responder of a rekeying leaves the new IKE SA alone
// while the peer may not have our answer yet.
const unconfirmedTime = 10 * time.Second

// rekeyIKE is CREATE_CHILD_SA with a proposal for an IKE SA.
type rekeyIKE struct {
	offer   []suite.Proposal
	nonce   []byte
	spi     uint64
	ke      kex.Exchange
	group   uint16 // key exchange method, 0: the one of the IKE SA
	regroup int    // INVALID_KE_PAYLOAD retries

	series *series // IKE_FOLLOWUP_KE: what it goes on with
}

// pumpRekeyIKE starts the rekeying of an IKE SA that is due.
func (e *Engine) pumpRekeyIKE(s *ikeSA) bool {
	return s.rekeyAt <= e.now && s.retryAt <= e.now && e.ask(s, &rekeyIKE{})
}

func (x *rekeyIKE) payloads(e *Engine, s *ikeSA) (wire.ExchangeType, []wire.Payload, bool) {
	if x.series != nil {
		ps := x.series.payloads(e)
		if ps != nil {
			e.ikeReserved[x.spi] = true
		}
		return wire.IKEFollowupKE, ps, ps != nil
	}
	x.offer = s.peer.cfg.IKE
	groups := s.peer.groups()
	var err error
	if len(groups) == 0 {
		return 0, nil, false
	}
	x.nonce = drawn(&err, e.rnd.nonce)
	x.spi = drawn(&err, e.newIKESPI)
	x.ke = drawn(&err, func() (kex.Exchange, error) { return e.startKE(groups, x.group, s.Suite.KE.ID) })
	if err != nil {
		return 0, nil, false
	}
	e.ikeReserved[x.spi] = true
	spi := binary.BigEndian.AppendUint64(nil, x.spi)
	return wire.CreateChildSA, []wire.Payload{
		saPayload(x.offer, spi), &wire.Nonce{Data: x.nonce}, &wire.KE{Method: x.ke.Group(), Data: x.ke.Public()},
	}, true
}

func (x *rekeyIKE) giveUp(e *Engine, _ *ikeSA) {
	delete(e.ikeReserved, x.spi)
	if x.series != nil {
		x.series.wipe()
	}
}

// meet refuses new Child SAs on an IKE SA that is being rekeyed (RFC 7296 section
// 2.25.2), and a second rekeying of it when one of the two goes on in
// IKE_FOLLOWUP_KE: not both can be finished (RFC 9370 section 2.2.4).
func (x *rekeyIKE) meet(theirs crossing) bool {
	return theirs.ike && !theirs.followUp && x.series == nil
}

// successor makes the new IKE SA, with the addresses and what is known of NATs
// of the old one.
func (e *Engine) successor(s *ikeSA, initiator bool, chosen suite.Suite, spiI, spiR uint64, shared, ni, nr []byte, additional ...[]byte) (*ikeSA, error) {
	defer clear(shared)
	if _, err := prf.New(chosen.PRF.ID); err != nil {
		return nil, err
	}
	// SKEYSEED by the PRF of the old IKE SA (RFC 7296 section 2.18).
	k, err := keymat.New(chosen, initiator, s.keys.Next(shared, ni, nr, additional...), ni, nr, spiI, spiR, e.rnd.r)
	if err != nil {
		return nil, err
	}
	n := e.newSA(s.peer, initiator, spiI, spiR, s.local, s.remote)
	n.Suite, n.keys, n.Replaces = chosen, k, s.ID
	n.Fragmentation = s.Fragmentation
	n.natState, n.NAT, n.Authenticated, n.run = s.natState, s.NAT, s.Authenticated, s.run
	n.lowNonce = lowest(ni, nr)
	n.reauthAt, n.reauthEnd = s.reauthAt, s.reauthEnd
	s.handOverWays(n)
	if s.mob != nil {
		n.mob = &mobility{follows: never}
	}
	e.establish(n)
	n.origin = s.origin
	return n, nil
}

// inherit hands the Child SAs to the new IKE SA, which replaces the old one.
func (e *Engine) inherit(old, next *ikeSA) {
	old.replacedBy = next
	next.rtt, next.recovers, next.recoversAt = old.rtt, old.recovers, old.recoversAt
	old.handOverWays(next)
	old.handOverMobility(next)
	var stay []*child
	for _, c := range old.children {
		if c.state == childLingers {
			stay = append(stay, c)
			continue
		}
		// A Delete that was never sent is sent on the new SA.
		c.sa = next
		p := *c.pub
		p.IKE = next.ID
		c.pub = &p
		next.children = append(next.children, c)
	}
	old.children = stay
	next.createAt = old.createAt
	switch {
	case old.redundant():
		next.state = stateRedundantTheirs
		if old.state == stateRedundantOurs {
			next.state = old.state
		}
		next.superseded, next.dropAt = old.superseded, e.now+duplicateLook
	case next.state == stateColliding, next.state == stateUnconfirmed:
		next.state, next.dropAt = stateUnconfirmed, e.now+unconfirmedTime // of its caution, if the peer says nothing
	}
	old.createAt = never
	if old.announced {
		e.announce(next)
		old.announced = false
		e.emit(IKEDown{old.info(), nil})
	}
	if old.stands() {
		old.state = stateReplaced
		old.dropAt = e.now + replacedPatience
	}
	e.wantChild(next, next.recreatePause())
	e.markDirty(next)
	e.markDirty(old)
}

func (x *rekeyIKE) answer(e *Engine, s *ikeSA, r *request, c content, _ *Datagram) {
	delete(e.ikeReserved, x.spi)
	if !e.sound(s, r, c) {
		x.giveUp(e, s)
		return
	}
	theirs := s.collidingSA()
	if n := c.Error(); n != nil { // whatever else it says (RFC 7296 section 3.10.1)
		x.refused(e, s, n, theirs)
		return
	}
	take := x.take
	if x.series != nil {
		take = x.takeFollowup
	}
	ours, more, f := take(e, s, r, c.Contents)
	switch {
	case f != nil && theirs != nil:
		e.inherit(s, theirs)
	case f != nil:
		// The peer has an IKE SA now that we cannot use, and it expects the
		// Delete of this one: nothing can be mended.
		e.closeSA(s, f, false)
	case more != nil:
		x.followUp(e, s, more, theirs)
	default:
		e.rekeyedIKE(s, ours, theirs)
	}
}

// rekeyedIKE puts the new IKE SA that we asked for in the place of s. Where the
// peer's own request has made another one, theirs, that of the exchange with the
// lowest nonce is deleted by the side that asked for it (RFC 7296 section 2.8.2).
func (e *Engine) rekeyedIKE(s, ours, theirs *ikeSA) {
	s.stalled = 0
	switch {
	case !s.stands():
		// Closed while the answer was under way: the new one is to go too.
		e.closeSA(ours, nil, false)
		return
	case theirs != nil && bytes.Compare(ours.lowNonce, theirs.lowNonce) < 0:
		// Ours is ours to delete; the peer deletes the old one.
		e.inherit(s, theirs)
		e.closeSA(ours, nil, false)
		return
	case theirs != nil:
		// Theirs is theirs to delete. Should they never notice, because the
		// Delete of the old SA reaches them first, it is forgotten.
		theirs.state, theirs.dropAt = stateCollisionLost, e.now+unconfirmedTime
		e.markDirty(theirs)
	}
	e.inherit(s, ours)
	e.closeSA(s, nil, true)
}

// take reads the responder's half. With additional key exchanges the new IKE SA
// is still to come, and there is a series instead.
func (x *rekeyIKE) take(e *Engine, s *ikeSA, _ *request, c *wire.Contents) (*ikeSA, *series, *Failure) {
	bad := func(detail string) (*ikeSA, *series, *Failure) {
		return nil, nil, s.failure(FailSyntax, "CREATE_CHILD_SA", detail, "report it to the peer's vendor; a new IKE SA is made")
	}
	chosen, err := accepted(x.offer, c.SA)
	if err != nil {
		return bad(err.Error())
	}
	spiR := c.SA.Proposals[0].SPI64()
	if spiR == 0 || c.Nonce == nil || c.KE == nil || c.KE.Method != x.ke.Group() || chosen.KE.ID != x.ke.Group() {
		return bad("the response to rekeying the IKE SA lacks its SPI, nonce or key exchange value")
	}
	shared, err := x.ke.Shared(c.KE.Data)
	if err != nil {
		return bad(err.Error())
	}
	if more := newSeries(&chosen, shared, x.nonce, c.Nonce.Data); more != nil {
		more.ike, more.next, more.spiR = true, chosen, spiR
		if wrong := more.linked(c); wrong != "" {
			return bad(wrong)
		}
		return nil, more, nil
	}
	n, err := e.successor(s, true, chosen, x.spi, spiR, shared, x.nonce, c.Nonce.Data)
	if err != nil {
		return bad(err.Error())
	}
	return n, nil, nil
}

// refused handles an error answer. theirs is the IKE SA of the peer's own
// rekeying.
func (x *rekeyIKE) refused(e *Engine, s *ikeSA, n *wire.Notify, theirs *ikeSA) {
	if theirs != nil {
		e.inherit(s, theirs) // the peer's own rekeying was first
		return
	}
	if !s.stands() {
		return
	}
	if n.Kind == wire.InvalidKEPayload {
		group, ok := n.Number()
		if ok && x.ke != nil && x.regroup < maxRegroups && group != x.ke.Group() && slices.Contains(s.peer.groups(), suite.Transform{Type: suite.TypeKE, ID: group}) {
			e.ask(s, &rekeyIKE{regroup: x.regroup + 1, group: group})
			return
		}
	}
	f := s.refusedBy(n, "CREATE_CHILD_SA", x.offer, nil)
	if f.Kind == FailTemporary {
		if again, ok := e.busy(s, f, s.expireAt); ok {
			s.retryAt = again
		}
		return
	}
	// A peer that does not rekey IKE SAs gets a new one (RFC 7296 section 2.8).
	e.note(s.peer, f)
	s.retryAt = e.now + e.rnd.jitter(2*retryPause)
	e.reauthenticate(s)
	e.markDirty(s)
}

// onRekeyIKE answers a request to rekey the IKE SA.
func (e *Engine) onRekeyIKE(s *ikeSA, m *wire.Message, d *Datagram, c *wire.Contents) {
	chosen, offer, no := s.judgeRekeyIKE(c)
	var public, shared []byte
	if no == nil {
		public, shared, no = e.respondKE(s, wire.CreateChildSA, chosen.KE.ID, c.KE.Data, "report it to the peer's vendor; a new IKE SA is made")
	}
	if no != nil {
		e.decline(s, m, d, no)
		return
	}
	e.acceptRekeyIKE(s, m, d, c, chosen, offer, public, shared)
}

// judgeRekeyIKE decides on a request to rekey the IKE SA, and chooses of its offer.
func (s *ikeSA) judgeRekeyIKE(c *wire.Contents) (chosen suite.Suite, offer *wire.Proposal, no *refusal) {
	if !s.settled() || !s.meets(crossing{ike: true}) {
		return chosen, nil, temporary()
	}
	if c.Nonce == nil || c.KE == nil {
		return chosen, nil, s.lacks(wire.CreateChildSA, "rekeying the IKE SA without nonce or key exchange value")
	}
	chosen, number, want, err := chooseKE(s.peer.cfg.IKE, c.SA.Offers(), c.KE.Method)
	switch {
	case err != nil:
		return chosen, nil, &refusal{notify(wire.NoProposalChosen), s.noProposal("CREATE_CHILD_SA", err)}
	case want != 0:
		return chosen, nil, &refusal{invalidKE(want), nil}
	case !s.meets(crossing{ike: true, followUp: len(addKEs(&chosen)) > 0}):
		return chosen, nil, temporary()
	}
	offer = &c.SA.Proposals[number-1]
	if offer.SPI64() == 0 {
		no = s.lacks(wire.CreateChildSA, "rekeying the IKE SA without SPI")
	}
	return chosen, offer, no
}

// acceptRekeyIKE answers a request that we agree to, with our half of the key
// exchange: the new IKE SA, or the series that it comes of, is made.
func (e *Engine) acceptRekeyIKE(s *ikeSA, m *wire.Message, d *Datagram, c *wire.Contents, chosen suite.Suite, offer *wire.Proposal, public, shared []byte) {
	spiI := offer.SPI64()
	spiR, err := e.newIKESPI()
	nr := drawn(&err, e.rnd.nonce)
	var next *ikeSA
	var link *wire.Notify
	x := newSeries(&chosen, shared, c.Nonce.Data, nr)
	switch {
	case err != nil:
	case x != nil:
		x.ike, x.next, x.spiI, x.spiR = true, chosen, spiI, spiR
		if link = x.relink(e); link == nil {
			err = errRandom
		}
	default:
		next, err = e.successor(s, false, chosen, spiI, spiR, shared, c.Nonce.Data, nr)
	}
	if err != nil {
		e.refuse(s, m, d, notify(wire.TemporaryFailure))
		return
	}
	ps := []wire.Payload{
		answerSA(offer, binary.BigEndian.AppendUint64(nil, spiR), chosen.Answer(offer.Offer())),
		&wire.Nonce{Data: nr}, &wire.KE{Method: chosen.KE.ID, Data: public},
	}
	if x != nil {
		e.hold(s, x)
		e.respond(s, m, d, append(ps, link))
		return
	}
	e.respond(s, m, d, ps)
	e.grantIKE(s, next)
}

// grantIKE puts the new IKE SA that the peer asked for in the place of the old.
func (e *Engine) grantIKE(s, next *ikeSA) {
	if _, both := asking[*rekeyIKE](s); both { // who wins shows with the answer to ours
		next.state, next.dropAt = stateColliding, never
		return
	}
	next.state = stateUnconfirmed
	e.inherit(s, next)
}

// decided ends an undecided collision when the peer uses its own new IKE SA for
// anything but its deletion: then that is the one that stays.
func (e *Engine) decided(s *ikeSA, c content) {
	old := e.ids[s.Replaces]
	if s.state != stateColliding || old == nil {
		return
	}
	for _, d := range c.Deletes {
		if d.Protocol == suite.IKE {
			return
		}
	}
	e.inherit(old, s)
	e.confirm(s)
}

// RekeyIKE rekeys an IKE SA now.
func (e *Engine) RekeyIKE(now Time, id SAID) []Action {
	e.enter(now)
	if s := e.ids[id]; s != nil && s.stands() {
		s.rekeyAt = min(s.rekeyAt, e.now)
		e.markDirty(s)
	}
	return e.flush()
}

// takeFollowup is take for IKE_FOLLOWUP_KE.
func (x *rekeyIKE) takeFollowup(e *Engine, s *ikeSA, r *request, c *wire.Contents) (*ikeSA, *series, *Failure) {
	more := x.series
	bad := more.take(c)
	if bad == "" && len(more.methods) > 0 {
		return nil, more, nil
	}
	defer more.wipe()
	if bad == "" {
		n, err := e.successor(s, true, more.next, x.spi, more.spiR, more.shared[0], more.ni, more.nr, more.shared[1:]...)
		if err == nil {
			return n, nil, nil
		}
		bad = err.Error()
	}
	return nil, nil, s.failure(FailSyntax, r.exchange.String(), bad, "report it to the peer's vendor; a new IKE SA is made")
}

// followUp goes on with the series of a new IKE SA. theirs is the one of the
// peer's own rekeying.
func (x *rekeyIKE) followUp(e *Engine, s *ikeSA, more *series, theirs *ikeSA) {
	switch {
	case !s.stands():
		more.wipe()
		return
	case theirs != nil && bytes.Compare(lowest(more.ni, more.nr), theirs.lowNonce) < 0:
		// Ours is to go, and there is nothing of it yet.
		more.wipe()
		e.inherit(s, theirs)
		return
	}
	x.series, x.ke = more, nil
	if !e.ask(s, x) {
		s.retryAt = e.now + e.rnd.jitter(retryPause)
		e.markDirty(s)
	}
}

package ikev2

import (
	"encoding/binary"
	"errors"
	"slices"

	"greseal/crypto/kex"
	"greseal/crypto/suite"
	"greseal/ikev2/selector"
	"greseal/ikev2/wire"
)

// chooseKE picks a suite as responder. Our own order decides on the algorithms;
// the key exchange method is the one the initiator has already sent a value for
// (0: none), where our list allows that with the same algorithms, which saves a
// round trip. want is the method to ask for with INVALID_KE_PAYLOAD, 0 when all
// is well.
func chooseKE(own, offered []suite.Proposal, sent uint16) (s suite.Suite, number int, want uint16, err error) {
	s, number, err = suite.Choose(own, offered)
	if err != nil || s.KE.ID == sent {
		return s, number, 0, err
	}
	same := make([]suite.Proposal, 0, len(own))
	for _, p := range own {
		q := suite.Proposal{Protocol: p.Protocol}
		for _, t := range p.Transforms {
			if t.Type != suite.TypeKE || t.ID == sent {
				q.Transforms = append(q.Transforms, t)
			}
		}
		if q.Has(suite.TypeKE) == p.Has(suite.TypeKE) {
			same = append(same, q)
		}
	}
	o, n, err2 := suite.Choose(same, offered)
	if err2 == nil && o.KE.ID == sent && o.AddKE == s.AddKE && o.Encr == s.Encr && o.Integ == s.Integ && o.PRF == s.PRF {
		return o, n, 0, nil
	}
	// A value that is not needed does no harm.
	return s, number, s.KE.ID, nil
}

// invalidKE is the notify that asks for another method.
func invalidKE(want uint16) *wire.Notify { return wire.NewNumberNotify(wire.InvalidKEPayload, want) }

// saPayload writes proposals with one SPI for all.
func saPayload(ps []suite.Proposal, spi []byte) *wire.SA {
	sa := &wire.SA{Proposals: make([]wire.Proposal, len(ps))}
	for i, p := range ps {
		sa.Proposals[i] = wire.NewProposal(uint8(i+1), spi, p)
	}
	return sa
}

// answerSA answers an offered proposal by what was chosen of it.
func answerSA(offer *wire.Proposal, spi []byte, chosen suite.Proposal) *wire.SA {
	answer := wire.NewProposal(offer.Number, spi, chosen)
	offer.Echo(&answer)
	return &wire.SA{Proposals: []wire.Proposal{answer}}
}

// respondKE makes our half of a key exchange, as responder.
func (e *Engine) respondKE(s *ikeSA, exchange wire.ExchangeType, method uint16, peer []byte, remedy string) (public, shared []byte, no *refusal) {
	public, shared, err := e.kex.respond(method, e.rnd.r, peer)
	switch {
	case err == nil:
		return public, shared, nil
	case !errors.Is(err, kex.ErrPublic):
		return nil, nil, temporary() // no randomness
	}
	return nil, nil, &refusal{notify(wire.InvalidSyntax), s.failure(FailInvalidKE, exchange.String(), err.Error(), remedy)}
}

// accepted checks the one proposal of a response against what was offered.
func accepted(offer []suite.Proposal, sa *wire.SA) (suite.Suite, error) {
	if sa == nil || len(sa.Proposals) != 1 {
		return suite.Suite{}, errors.New("the response does not hold exactly one proposal")
	}
	p := &sa.Proposals[0]
	n := int(p.Number)
	if n < 1 || n > len(offer) {
		return suite.Suite{}, errors.New("the response accepts a proposal number that was not offered")
	}
	return suite.Verify(offer[n-1:n], p.Offer())
}

// childOffer is what a request of ours for a Child SA offers, and what its response is
// read by.
type childOffer struct {
	offer  []suite.Proposal
	spi    uint32 // our inbound SPI
	ke     kex.Exchange
	want   selector.Ends // the selectors asked for
	old    *child        // rekeyed Child SA
	renews *child        // Child SA that this one takes the place of, with a new endpoint
}

// offerChild are the payloads by which a request asks for a Child SA: the mode, the
// proposals and the traffic selectors.
func (e *Engine) offerChild(s *ikeSA, o *childOffer) (mode []wire.Payload, sa *wire.SA, tsi, tsr *wire.TS) {
	if s.asksTransport(o.old) {
		mode = []wire.Payload{notify(wire.UseTransportMode)}
	}
	w := s.wantedEnds(o.old)
	if o.renews != nil && s.peer.cfg.GRERemoteAny {
		w.Remote = o.renews.pub.GRERemote
	}
	o.want = w
	tsi, tsr = selector.Payloads(w.Local, w.Remote)
	return mode, saPayload(o.offer, binary.BigEndian.AppendUint32(nil, o.spi)), tsi, tsr
}

// asksTransport reports whether transport mode is asked for. It takes GRE
// endpoints that are the outer addresses.
func (s *ikeSA) asksTransport(old *child) bool {
	if old != nil {
		return old.pub.Transport
	}
	return s.peer.cfg.Transport && s.wantedEnds(nil) == s.outerEnds()
}

// takeChild reads, as initiator, the response to offerChild. nr is the
// responder's nonce, x the exchange.
func (e *Engine) takeChild(s *ikeSA, o *childOffer, x string, c *wire.Contents, ni, nr []byte) (agreed, *Failure) {
	a := agreed{old: o.old}
	a.Initiator, a.SPIIn = true, o.spi
	bad := func(kind FailureKind, detail, remedy string) (agreed, *Failure) {
		return agreed{}, s.failure(kind, x, detail, remedy)
	}
	var err error
	if a.Suite, err = accepted(o.offer, c.SA); err != nil {
		return bad(FailNoProposal, err.Error(), "the peer breaks RFC 7296 section 2.7; report it to its maker")
	}
	if a.SPIOut = c.SA.Proposals[0].SPI32(); a.SPIOut < 256 {
		return bad(FailSyntax, "the response has no usable SPI", "report it to the peer's vendor")
	}
	var shared []byte
	if a.Suite.KE.ID != 0 {
		if c.KE == nil || o.ke == nil || c.KE.Method != o.ke.Group() || a.Suite.KE.ID != o.ke.Group() {
			return bad(FailInvalidKE, "the response has no key exchange value for "+a.Suite.KE.Word(), "report it to the peer's vendor")
		}
		if shared, err = o.ke.Shared(c.KE.Data); err != nil {
			return bad(FailInvalidKE, err.Error(), "report it to the peer's vendor")
		}
	}
	if err = s.responseEnds(o, c, &a); err != nil {
		kind := FailSelectors
		if errors.Is(err, errMode) {
			kind = FailMode
		}
		a, f := bad(kind, err.Error(), "set the peer's traffic selectors to exactly our GRE endpoints, protocol 47")
		f.Ours = o.want.String()
		f.Theirs = selector.Text(c.TSi, c.TSr)
		return a, f
	}
	if more := newSeries(&a.Suite, shared, ni, nr); more != nil {
		if wrong := more.linked(c); wrong != "" {
			return bad(FailSyntax, wrong, "report it to the peer's vendor")
		}
		more.childSA = a
		a.series = more
		return a, nil
	}
	if a.in, a.out, err = s.keys.ChildKeys(a.Suite, true, shared, ni, nr, a.SPIIn, a.SPIOut); err != nil {
		return bad(FailNoProposal, err.Error(), "choose other esp proposals")
	}
	return a, nil
}

var (
	errMode  = errors.New("the response uses transport mode, which was not asked for")
	errWider = errors.New("the response does not hold exactly the traffic selectors that were offered")
)

// responseEnds checks the traffic selectors of a response: nothing but what was
// offered is taken. Transport mode is only in use when the peer confirmed it
// (RFC 7296 section 1.3.1); otherwise the Child SA is a tunnel mode one.
func (s *ikeSA) responseEnds(o *childOffer, c *wire.Contents, a *agreed) error {
	w := o.want
	a.GRELocal, a.GRERemote, a.Transport = w.Local, w.Remote, c.Notify(wire.UseTransportMode) != nil
	if a.Transport && !s.asksTransport(o.old) {
		return errMode
	}
	tsi, tsr := c.TSi, c.TSr
	if tsi == nil || tsr == nil {
		return errWider
	}
	if a.Transport {
		if t, ok := selector.Substitute(tsi, w.Local); ok && s.NATLocal {
			tsi = t
		}
		if t, ok := selector.Substitute(tsr, w.Remote); ok && s.NATRemote {
			tsr = t
		}
	}
	if !selector.Exact(tsi, w.Local) || !selector.Exact(tsr, w.Remote) {
		return errWider
	}
	return nil
}

// acceptChild answers, as responder, a request for a Child SA. old is the Child SA that
// is rekeyed; with first it is that of IKE_AUTH, whose nonces are those of
// IKE_SA_INIT. Nothing is installed yet.
func (e *Engine) acceptChild(s *ikeSA, exchange wire.ExchangeType, c *wire.Contents, old *child, ni, nr []byte, first bool) (agreed, []wire.Payload, *refusal) {
	bad := func(detail string) (agreed, []wire.Payload, *refusal) {
		return agreed{}, nil, &refusal{notify(wire.InvalidSyntax), s.failure(FailSyntax, exchange.String(), detail, "report it to the peer's vendor")}
	}
	if c.SA == nil || c.TSi == nil || c.TSr == nil || len(ni) == 0 {
		return bad("the request for a Child SA lacks a payload")
	}
	a := agreed{old: old}
	own, offers := s.peer.espAccept(), c.SA.Offers()
	if first {
		own = suite.WithoutKE(s.peer.cfg.ESP)
		for i := range offers { // some offer one, which has no place in IKE_AUTH (RFC 7296 section 1.2)
			offers[i].Transforms = slices.DeleteFunc(offers[i].Transforms, func(t suite.Transform) bool { return t.Type.IsKE() && t.ID != suite.KE_NONE })
		}
	}
	sent := uint16(0)
	if c.KE != nil {
		sent = c.KE.Method
	}
	var want uint16
	var number int
	var err error
	a.Suite, number, want, err = chooseKE(own, offers, sent)
	if err != nil {
		return a, nil, &refusal{notify(wire.NoProposalChosen), s.noProposal(exchange.String(), err)}
	}
	offer := &c.SA.Proposals[number-1]
	if a.SPIOut = offer.SPI32(); a.SPIOut < 256 {
		return bad("the offered SPI is reserved or missing")
	}
	if want != 0 {
		return a, nil, &refusal{invalidKE(want), nil}
	}
	tsi, tsr, ok := e.acceptEnds(s, c, &a)
	if !ok {
		return a, nil, &refusal{notify(wire.TSUnacceptable), s.noSelectors(exchange, c, old)}
	}
	ke, link, no := e.keyChild(s, exchange, c, &a, ni, nr)
	if no != nil {
		return a, nil, no
	}
	var ps []wire.Payload
	if a.Transport {
		ps = append(ps, notify(wire.UseTransportMode))
	}
	ps = append(ps, answerSA(offer, binary.BigEndian.AppendUint32(nil, a.SPIIn), a.Suite.Answer(offers[number-1])))
	if !first {
		ps = append(ps, &wire.Nonce{Data: nr})
	}
	ps = append(append(ps, ke...), tsi, tsr)
	return a, append(ps, link...), nil
}

// noSelectors explains that we accept none of the peer's traffic selectors.
func (s *ikeSA) noSelectors(exchange wire.ExchangeType, c *wire.Contents, old *child) *Failure {
	f := s.failure(FailSelectors, exchange.String(), "", "")
	f.Ours = s.wantedEnds(old).String()
	if s.peer.cfg.GRERemoteAny && old == nil {
		f.Ours = wire.HostSelector(s.wantedEnds(nil).Local, selector.GRE).String() + " to any single address"
	}
	f.Theirs = selector.Text(c.TSr, c.TSi)
	f.Detail, f.Remedy = s.explainTS(c, old)
	return f
}

// keyChild makes the keys of a Child SA that is agreed on, as responder, or the series
// of additional key exchanges that they come of. ke and link are what is answered.
func (e *Engine) keyChild(s *ikeSA, exchange wire.ExchangeType, c *wire.Contents, a *agreed, ni, nr []byte) (ke, link []wire.Payload, no *refusal) {
	var shared []byte
	if a.Suite.KE.ID != 0 {
		var public []byte
		public, shared, no = e.respondKE(s, exchange, a.Suite.KE.ID, c.KE.Data, "report it to the peer's vendor")
		if no != nil {
			return nil, nil, no
		}
		ke = []wire.Payload{&wire.KE{Method: a.Suite.KE.ID, Data: public}}
	}
	more := newSeries(&a.Suite, shared, ni, nr)
	var err error
	a.SPIIn, err = e.newESPSPI()
	switch {
	case err != nil:
	case more != nil:
		n := more.relink(e)
		if n == nil {
			err = errRandom
		}
		link, more.childSA = []wire.Payload{n}, *a
		a.series = more
	default:
		a.in, a.out, err = s.keys.ChildKeys(a.Suite, false, shared, ni, nr, a.SPIIn, a.SPIOut)
	}
	if err != nil {
		return nil, nil, &refusal{notify(wire.NoProposalChosen), s.failure(FailNoProposal, exchange.String(), err.Error(), "")}
	}
	return ke, link, nil
}

// acceptEnds finds the endpoints and the mode of a request, with the address
// substitution of transport mode (RFC 7296 section 2.23.1), and the selectors to
// answer with.
func (e *Engine) acceptEnds(s *ikeSA, c *wire.Contents, a *agreed) (tsi, tsr *wire.TS, ok bool) {
	w := s.wantedEnds(a.old)
	outer := s.outerEnds()
	any := s.peer.cfg.GRERemoteAny && a.old == nil
	if any {
		w.Remote = outer.Remote
	}
	wanted := s.peer.cfg.Transport
	if a.old != nil {
		wanted = a.old.pub.Transport
	}
	if wanted && c.Notify(wire.UseTransportMode) != nil && w == outer && !e.transportTaken(s, outer) && s.substitutes(c, outer) {
		a.GRELocal, a.GRERemote, a.Transport = w.Local, w.Remote, true
		tsi, tsr = selector.Payloads(w.Remote, w.Local)
		return tsi, tsr, true
	}
	got, ok := selector.Narrow(c.TSi, c.TSr, w, any, outer.Remote)
	if !ok && s.renewable(a.old) {
		// The peer rekeys with our new address in the selectors.
		w.Local = outer.Local
		if got, ok = selector.Narrow(c.TSi, c.TSr, w, false, outer.Remote); ok {
			s.mob.renew, s.mob.follows = false, never
		}
	}
	if !ok {
		return nil, nil, false
	}
	a.GRELocal, a.GRERemote = got.Local, got.Remote
	tsi, tsr = selector.Payloads(got.Remote, got.Local)
	return tsi, tsr, true
}

// substitutes reports whether a request for transport mode has selectors for the outer
// addresses, with those that a NAT changed substituted.
func (s *ikeSA) substitutes(c *wire.Contents, outer selector.Ends) bool {
	theirs, ours, fits := c.TSi, c.TSr, true
	if s.NATRemote {
		theirs, fits = selector.Substitute(theirs, outer.Remote)
	}
	if s.NATLocal && fits {
		ours, fits = selector.Substitute(ours, outer.Local)
	}
	if fits {
		_, fits = selector.Narrow(theirs, ours, outer, false, outer.Remote)
	}
	return fits
}

// transportTaken reports whether another peer, behind the same NAT, already has a
// transport mode Child SA between these addresses: its packets could not be
// distinguished from this one's.
func (e *Engine) transportTaken(s *ikeSA, outer selector.Ends) bool {
	for _, p := range e.order {
		if p == s.peer {
			continue
		}
		for _, o := range p.sas {
			if slices.ContainsFunc(o.children, func(c *child) bool {
				return !c.closing() && c.pub.Transport && c.pub.GRELocal == outer.Local && c.pub.GRERemote == outer.Remote
			}) {
				return true
			}
		}
	}
	return false
}

// disown has the peer delete a Child SA that it made and we cannot take.
func (e *Engine) disown(s *ikeSA, spiIn uint32) {
	c := &child{
		pub: &Child{Peer: s.peer.cfg.ID, IKE: s.ID, Created: e.now},
		sa:  s, state: childDeleting, rekeyAt: never, expireAt: never,
	}
	c.pub.SPIIn = spiIn
	s.children = append(s.children, c)
	e.registerChild(c)
	e.markDirty(s)
}

// groups are the key exchange methods offered to the peer.
func (p *peer) groups() []suite.Transform { return suite.Groups(p.cfg.IKE) }

// espOffer is what is offered for a Child SA by CREATE_CHILD_SA.
// Additional key exchanges are asked for where the IKE SA has them.
func (s *ikeSA) espOffer(pfs bool) []suite.Proposal {
	p := s.peer
	if !pfs {
		return suite.WithoutKE(p.cfg.ESP)
	}
	plain := suite.WithKE(p.cfg.ESP, p.groups(), false)
	if len(addKEs(&s.Suite)) == 0 {
		return plain
	}
	return append(p.withAddKE(), plain...)
}

// espAccept is what is accepted for one: with a key exchange and without, the
// configured choice first.
func (p *peer) espAccept() []suite.Proposal {
	if p.cfg.PFS {
		return append(p.withAddKE(), suite.WithKE(p.cfg.ESP, p.groups(), true)...)
	}
	none := append([]suite.Transform{{Type: suite.TypeKE}}, p.groups()...)
	return append(suite.WithKE(p.cfg.ESP, none, false), p.withAddKE()...)
}

// withAddKE are ESP proposals with the key exchanges of the IKE proposals that
// have additional ones, for those that name none themselves (RFC 9370 section
// 2.2.4).
func (p *peer) withAddKE() []suite.Proposal {
	var kinds [][]suite.Transform
	for _, o := range p.cfg.IKE {
		if !o.NeedsAddKE() {
			continue
		}
		var kind []suite.Transform
		for _, t := range o.Transforms {
			if t.Type.IsKE() {
				kind = append(kind, t)
			}
		}
		if !slices.ContainsFunc(kinds, func(k []suite.Transform) bool { return slices.Equal(k, kind) }) {
			kinds = append(kinds, kind)
		}
	}
	var out []suite.Proposal
	for _, kind := range kinds {
		for _, o := range p.cfg.ESP {
			if !o.Has(suite.TypeKE) {
				out = append(out, suite.Proposal{Protocol: o.Protocol, Transforms: slices.Concat(o.Transforms, kind)})
			}
		}
	}
	return out
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

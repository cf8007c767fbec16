package ikev2

import (
	"bytes"
	"slices"

	"greseal/crypto/kex"
	"greseal/crypto/prf"
	"greseal/crypto/suite"
	"greseal/ikev2/wire"
)

// onInitRequest answers IKE_SA_INIT. Until IKE_AUTH comes nobody is
// authenticated: memory is bounded, and no answer is much larger than the
// request.
func (e *Engine) onInitRequest(m *wire.Message, d *Datagram) {
	key := halfKeyOf(m.Raw)
	if s := e.half.sas[key]; s != nil {
		e.stats.Retransmitted++
		if s.state == stateHalfOpen {
			e.sendFrom(s, d.Local, d.Remote, [][]byte{s.shake.message2})
		}
		return
	}
	if t, bad := wire.UnsupportedCritical(m.Payloads); bad {
		e.refuseInit(m, d, wire.NewNotify(wire.UnsupportedCriticalPayload, []byte{byte(t)}))
		return
	}
	c, err := wire.Collect(m.Payloads)
	if err != nil || c.SA == nil || c.KE == nil || c.Nonce == nil {
		e.stats.Malformed++
		return
	}
	cands := e.candidates(d.Local.Addr(), d.Remote.Addr())
	if len(cands) == 0 {
		e.refuseInit(m, d, notify(wire.NoProposalChosen))
		return
	}
	ni, from := c.Nonce.Data, d.Remote.Addr()
	proved := false
	if n := c.Notify(wire.Cookie); n != nil {
		proved = e.cookies.valid(e.now, n.Data, m.SPIi, ni, from)
	}
	switch e.half.admission(from, proved) {
	case askCookie:
		if cookie := e.cookies.make(e.now, e.rnd, m.SPIi, ni, from); cookie != nil {
			e.stats.Cookies++
			e.answerInit(m, d, wire.NewNotify(wire.Cookie, cookie))
		}
		return
	case turnAway:
		e.stats.Refused++
		return
	}

	// The union of the candidates' proposals; whether the tunnel itself has
	// the suite is checked once it is known (contract 9).
	own := e.offersOf(cands)
	offers := c.SA.Offers()
	if c.Notify(wire.IntermediateExchangeSupported) == nil && hasAddKE(offers) {
		offers = unread(offers)
	}
	chosen, number, want, err := chooseKE(own, offers, c.KE.Method)
	if err != nil {
		e.stats.Refused++
		if !e.errors.take(e.now) {
			return // explaining it costs as much as answering
		}
		e.answerInit(m, d, notify(wire.NoProposalChosen))
		f := &Failure{Kind: FailNoProposal, Exchange: "IKE_SA_INIT", Local: d.Local.String(), Remote: d.Remote.String()}
		describeNoMatch(f, err)
		if usable := slices.ContainsFunc(offers, func(o suite.Proposal) bool { return len(o.Transforms) > 0 }); !usable {
			f.Detail = "the peer offers nothing without an additional key exchange, but no IKE_INTERMEDIATE for it (RFC 9370 section 2.2.1)"
			f.Remedy = "update the peer's software, or have it offer proposals without an additional key exchange, too"
			f.Theirs = proposalsText(c.SA.Offers())
		}
		e.noteStrangers(cands, f)
		return
	}
	if want != 0 {
		e.refuseInit(m, d, invalidKE(want))
		return
	}
	e.openHalf(m, d, c, key, cands, chosen, number)
}

// refuseInit sends an unprotected error, as often as the limit allows.
func (e *Engine) refuseInit(m *wire.Message, d *Datagram, n *wire.Notify) {
	e.stats.Refused++
	if n.Kind == wire.InvalidKEPayload || e.errors.take(e.now) {
		e.answerInit(m, d, n)
	}
}

// answerInit answers an IKE_SA_INIT request of which no IKE SA comes.
func (e *Engine) answerInit(m *wire.Message, d *Datagram, n *wire.Notify) {
	if sent := e.answerClear(m.Header, d, n); sent > 0 {
		e.recordRefused(m, d, n, sent)
	}
}

// openHalf makes the half-open SA and sends the IKE_SA_INIT response. The
// shared secret is only computed when IKE_AUTH comes.
func (e *Engine) openHalf(m *wire.Message, d *Datagram, c *wire.Contents, key halfKey, cands []*peer, chosen suite.Suite, number int) {
	ke, err := e.kex.start(chosen.KE.ID, e.rnd.r)
	if err != nil || len(c.KE.Data) != kex.PublicLen(chosen.KE.ID) {
		e.stats.Malformed++
		return
	}
	spi, err := e.newIKESPI()
	if err != nil {
		return
	}
	nr, err := e.rnd.nonce()
	if err != nil {
		return
	}
	s := e.newSA(nil, false, m.SPIi, spi, d.Local, d.Remote)
	s.state, s.suite = stateHalfOpen, chosen
	s.dropAt = e.now + halfOpenLife
	s.nextIn = 1
	best := -1
	for _, p := range cands {
		if n, _ := p.accepts(d.Local.Addr(), d.Remote.Addr()); n > best {
			best = n
			s.setEncap(p.cfg.Encap)
		}
	}
	s.natDetect(c, d, 0)

	offer := &c.SA.Proposals[number-1]
	answer := wire.NewProposal(offer.Number, nil, chosen.Answer(offer.Offer()))
	ps := []wire.Payload{
		&wire.SA{Proposals: []wire.Proposal{answer}},
		&wire.KE{Method: chosen.KE.ID, Data: ke.Public()},
		&wire.Nonce{Data: nr},
	}
	if s.natd {
		ps = append(ps, s.natPayloads()...)
	}
	if s.fragmentation = c.Notify(wire.FragmentationSupported) != nil; s.fragmentation {
		ps = append(ps, notify(wire.FragmentationSupported))
	}
	ppk := c.Notify(wire.UsePPK) != nil && slices.ContainsFunc(cands, func(p *peer) bool { return p.cfg.usesPPK() })
	if ppk {
		ps = append(ps, notify(wire.UsePPK))
	}
	methods := addKEs(&chosen)
	if len(methods) > 0 {
		ps = append(ps, notify(wire.IntermediateExchangeSupported))
	}
	hashes := hashPayload(cands...)
	if hashes != nil && c.Notify(wire.SignatureHashAlgorithms) != nil {
		ps = append(ps, hashes)
	}
	ps = append(ps, requests(cands...)...)
	h := s.header(wire.IKESAInit, 0, true)
	msg := wire.Message{Header: h, Payloads: ps}
	data, err := msg.Append(nil)
	if err != nil {
		e.drop(s, nil, false)
		return
	}
	s.shake = &handshake{
		ke: ke, ni: bytes.Clone(c.Nonce.Data), nr: nr, key: key, peerKE: bytes.Clone(c.KE.Data),
		message1: bytes.Clone(m.Raw), message2: data, deadline: never,
		inter: intermediate{methods: methods}, ppk: ppkState{agreed: ppk},
	}
	s.shake.signatures.learn(c, hashes != nil)
	e.tell(data, h, ps, nil)
	if e.rec.strangers.take(e.now) {
		s.shake.recorded = 1
		e.record(s, recordReceived, m.Header, m.Payloads, len(m.Raw), 1, d.Local, d.Remote)
		e.record(s, recordSent, h, ps, len(data), 1, d.Local, d.Remote)
	}
	e.half.enter(s)
	e.send(s, data)
}

// deriveHalf computes the keys of a half-open SA, once.
func (e *Engine) deriveHalf(s *ikeSA) bool {
	h := s.shake
	if s.state != stateHalfOpen || h.ke == nil {
		return false
	}
	shared, err := h.ke.Shared(h.peerKE)
	h.ke, h.peerKE = nil, nil
	if err != nil {
		return false // an invalid public value (RFC 6989 section 2.5)
	}
	defer clear(shared)
	p, err := prf.New(s.suite.PRF.ID)
	if err != nil {
		return false
	}
	s.keys, err = e.newKeys(s.suite, false, p.SKEYSEED(h.ni, h.nr, shared), h.ni, h.nr, s.spiI, s.spiR)
	return err == nil
}

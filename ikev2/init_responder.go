package ikev2

import (
	"bytes"
	"slices"

	"greseal/crypto/kex"
	"greseal/crypto/prf"
	"greseal/crypto/suite"
	"greseal/ikev2/keymat"
	"greseal/ikev2/recorder"
	"greseal/ikev2/wire"
)

// onInitRequest answers IKE_SA_INIT. Until IKE_AUTH comes nobody is
// authenticated: memory is bounded, and no answer is much larger than the
// request.
func (e *Engine) onInitRequest(m *wire.Message, d *Datagram) {
	key := halfKeyOf(m.Raw)
	if s := e.half.sas[key]; s != nil {
		e.stats.Retransmitted++
		e.sendFrom(s, d.Local, d.Remote, [][]byte{s.handshake.message2})
		return
	}
	if e.half.done[key] {
		e.stats.Retransmitted++
		return
	}
	c := e.readInit(m, d)
	if c == nil {
		return
	}
	to := e.audience(d.Local.Addr(), d.Remote.Addr())
	if len(to.peers) == 0 {
		e.refuseInit(m, d, notify(wire.NoProposalChosen))
		return
	}
	from := standing{
		origins: e.half.originsOf(e.now, d.Remote.Addr()),
		known:   to.named || e.half.heard[d.Remote.Addr().Unmap()],
	}
	proved := false
	if n := c.Notify(wire.Cookie); n != nil {
		proved = e.cookies.Valid(e.now, n.Data, m.SPIi, c.Nonce.Data, d.Remote.Addr())
	}
	if !proved && e.half.wantsCookie(e.now, from.origins, 0) {
		e.askCookie(m, d, c)
		return
	}

	chosen, number, offers, ok := e.chooseInit(m, d, c, to)
	if !ok {
		return
	}
	cost := costOf(&chosen)
	if !proved && e.half.wantsCookie(e.now, from.origins, cost) {
		e.askCookie(m, d, c)
		return
	}
	if slow(cost) && !from.known && e.half.short(e.now) {
		if quick, _, err := suite.Choose(to.quick, offers); err == nil {
			e.refuseInit(m, d, invalidKE(quick.KE.ID))
			return
		}
	}
	octets := halfOpenOctets + 2*len(m.Raw) + keOctets*len(c.KE.Data)
	if !e.half.affords(e.now, &from, cost) || !e.makeRoom(&from, nil, octets) {
		e.stats.Refused++ // it asks again, and may have more luck then
		return
	}
	e.half.charge(e.now, &from, cost)
	e.openHalf(m, d, c, key, to, from, chosen, number)
}

// readInit reads a request, nil: it can't be.
func (e *Engine) readInit(m *wire.Message, d *Datagram) *wire.Contents {
	if t, bad := wire.UnsupportedCritical(m.Payloads); bad {
		e.refuseInit(m, d, wire.NewNotify(wire.UnsupportedCriticalPayload, []byte{byte(t)}))
		return nil
	}
	c, err := wire.CollectOf(m.Exchange, m.Payloads)
	if err != nil || c.SA == nil || c.KE == nil || c.Nonce == nil {
		e.stats.Malformed++
		return nil
	}
	return c
}

// chooseInit chooses a suite for a request out of the union of the candidates'
// proposals; whether the tunnel itself has it is checked once that is known
// (contract 9). False: the request was refused.
func (e *Engine) chooseInit(m *wire.Message, d *Datagram, c *wire.Contents, to *audience) (chosen suite.Suite, number int, offers []suite.Proposal, ok bool) {
	offers = c.SA.Offers()
	if c.Notify(wire.IntermediateExchangeSupported) == nil && hasAddKE(offers) {
		offers = unread(offers)
	}
	chosen, number, want, err := chooseKE(to.offers, offers, c.KE.Method)
	if err == nil && want == 0 {
		return chosen, number, offers, true
	}
	if err == nil {
		e.refuseInit(m, d, invalidKE(want))
		return chosen, number, offers, false
	}
	e.stats.Refused++
	if !e.errors.Take(e.now) {
		return chosen, number, offers, false // explaining it costs as much as answering
	}
	e.answerInit(m, d, notify(wire.NoProposalChosen))
	f := &Failure{Kind: FailNoProposal, Exchange: "IKE_SA_INIT", Local: d.Local.String(), Remote: d.Remote.String()}
	describeNoMatch(f, err)
	if usable := slices.ContainsFunc(offers, func(o suite.Proposal) bool { return len(o.Transforms) > 0 }); !usable {
		f.Detail = "the peer offers nothing without an additional key exchange, but no IKE_INTERMEDIATE for it (RFC 9370 section 2.2.1)"
		f.Remedy = "update the peer's software, or have it offer proposals without an additional key exchange, too"
		f.Theirs = proposalsText(c.SA.Offers())
	}
	e.noteStrangers(to.peers, f)
	return chosen, number, offers, false
}

// askCookie answers a request whose sender has not shown its address.
func (e *Engine) askCookie(m *wire.Message, d *Datagram, c *wire.Contents) {
	if cookie := e.cookies.Make(e.now, e.rnd.r, m.SPIi, c.Nonce.Data, d.Remote.Addr()); cookie != nil {
		e.stats.Cookies++
		e.answerInit(m, d, wire.NewNotify(wire.Cookie, cookie))
	}
}

// refuseInit sends an unprotected error, as often as the limit allows.
func (e *Engine) refuseInit(m *wire.Message, d *Datagram, n *wire.Notify) {
	e.stats.Refused++
	if n.Kind == wire.InvalidKEPayload || e.errors.Take(e.now) {
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
func (e *Engine) openHalf(m *wire.Message, d *Datagram, c *wire.Contents, key halfKey, to *audience, from standing, chosen suite.Suite, number int) {
	ke, err := e.kex.start(chosen.KE.ID, e.rnd.r)
	if err != nil || len(c.KE.Data) != kex.PublicLen(chosen.KE.ID) {
		e.stats.Malformed++
		return
	}
	spi, err := e.newIKESPI()
	nr := drawn(&err, e.rnd.nonce)
	if err != nil {
		return
	}
	s := e.newSA(nil, false, m.SPIi, spi, d.Local, d.Remote)
	s.state, s.Suite = stateHalfOpen, chosen
	s.dropAt = e.now + halfOpenLife
	s.nextIn = 1
	s.setEncap(to.encap)
	s.natDetect(c, d, 0)

	offer := &c.SA.Proposals[number-1]
	ps := []wire.Payload{
		answerSA(offer, nil, chosen.Answer(offer.Offer())),
		&wire.KE{Method: chosen.KE.ID, Data: ke.Public()},
		&wire.Nonce{Data: nr},
	}
	if s.natd {
		ps = append(ps, s.natPayloads()...)
	}
	if s.Fragmentation = c.Notify(wire.FragmentationSupported) != nil; s.Fragmentation {
		ps = append(ps, notify(wire.FragmentationSupported))
	}
	ppk := c.Notify(wire.UsePPK) != nil && to.ppk
	if ppk {
		ps = append(ps, notify(wire.UsePPK))
	}
	methods := addKEs(&chosen)
	if len(methods) > 0 {
		ps = append(ps, notify(wire.IntermediateExchangeSupported))
	}
	if to.hashes != nil && c.Notify(wire.SignatureHashAlgorithms) != nil {
		ps = append(ps, to.hashes)
	}
	ps = append(ps, to.requests...)
	h := s.header(wire.IKESAInit, 0, true)
	msg := wire.Message{Header: h, Payloads: ps}
	data, err := msg.Append(nil)
	if err != nil {
		e.drop(s, nil, false)
		return
	}
	s.handshake = &handshake{
		ke: ke, ni: bytes.Clone(c.Nonce.Data), nr: nr, key: key, peerKE: bytes.Clone(c.KE.Data),
		message1: bytes.Clone(m.Raw), message2: data, deadline: never,
		inter: intermediate{methods: methods}, ppk: ppkState{agreed: ppk}, standing: from,
	}
	s.handshake.signatures.learn(c, to.hashes != nil)
	e.tell(data, h, ps, nil)
	if e.rec.Strangers.Take(e.now) {
		s.handshake.recorded = 1
		e.record(s, recorder.Received, m.Header, m.Payloads, len(m.Raw), 1, d.Local, d.Remote)
		e.record(s, recorder.Sent, h, ps, len(data), 1, d.Local, d.Remote)
	}
	e.half.enter(s)
	e.send(s, data)
}

// deriveHalf computes the keys of a half-open SA, once.
func (e *Engine) deriveHalf(s *ikeSA) bool {
	h := s.handshake
	if s.state != stateHalfOpen || h.ke == nil {
		return false
	}
	shared, err := h.ke.Shared(h.peerKE)
	h.ke, h.peerKE = nil, nil
	if err != nil {
		return false // an invalid public value (RFC 6989 section 2.5)
	}
	defer clear(shared)
	p, err := prf.New(s.Suite.PRF.ID)
	if err != nil {
		return false
	}
	s.keys, err = keymat.New(s.Suite, false, p.SKEYSEED(h.ni, h.nr, shared), h.ni, h.nr, s.SPIi, s.SPIr, e.rnd.r)
	return err == nil
}

// recordRefused records an IKE_SA_INIT request that makes no IKE SA, and the
// answer to it.
func (e *Engine) recordRefused(m *wire.Message, d *Datagram, answer wire.Payload, octets int) {
	if !e.rec.Strangers.Take(e.now) {
		return
	}
	r := recorder.Record{At: e.now, Kind: recorder.Received, Local: d.Local, Remote: d.Remote, Octets: len(m.Raw), Fragments: 1}
	if c := e.candidates(d.Local.Addr(), d.Remote.Addr()); len(c) == 1 {
		r.Peer = string(c[0].cfg.ID)
	}
	e.rec.Foreign.Add(e.rec.Message(r, m.Header, m.Payloads))
	h := m.Header
	h.Flags = wire.FlagResponse
	r.Kind, r.Octets = recorder.Sent, octets
	e.rec.Foreign.Add(e.rec.Message(r, h, []wire.Payload{answer}))
}

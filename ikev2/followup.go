package ikev2

import (
	"bytes"
	"slices"
	"time"

	"greseal/crypto/kex"
	"greseal/crypto/suite"
	"greseal/ikev2/wire"
)

// Additional key exchanges of a CREATE_CHILD_SA (RFC 9370 section 2.2.4): one
// IKE_FOLLOWUP_KE exchange each, after it. The SAs come to be with the last one:
// until then the initiator has a request with a series, and the responder holds
// one for a while. What is asked to be rekeyed while our own series for it is
// under way, or while our request for it is unanswered, is refused by
// TEMPORARY_FAILURE; both sides then wait for times of different length.

// seriesLife is how long a responder waits for the next exchange of a series.
const seriesLife = 20 * time.Second

// series is a CREATE_CHILD_SA exchange that goes on in IKE_FOLLOWUP_KE.
type series struct {
	methods []uint16     // key exchanges that are still to come
	shared  [][]byte     // SK(0), SK(1), …
	ke      kex.Exchange // initiator: the one that is under way
	link    []byte       // ADDITIONAL_KEY_EXCHANGE: by it the responder knows its own
	ni, nr  []byte
	expires Time // responder

	pair agreed // what was agreed on for a Child SA, without keys; or,
	ike  bool   // for an IKE SA:
	next suite.Suite
	spiI uint64
	spiR uint64
}

// newSeries is nil for a suite without additional key exchanges.
func newSeries(s *suite.Suite, shared, ni, nr []byte) *series {
	methods := addKEs(s)
	if len(methods) == 0 {
		return nil
	}
	return &series{methods: methods, shared: [][]byte{shared}, ni: bytes.Clone(ni), nr: bytes.Clone(nr)}
}

func (x *series) wipe() {
	for _, b := range x.shared {
		clear(b)
	}
	x.shared, x.ke = nil, nil
}

// relink names the exchange that the responder waits for next.
func (x *series) relink(e *Engine) *wire.Notify {
	link := make([]byte, 8)
	if !e.rnd.fill(link) {
		return nil
	}
	x.link = link
	return wire.NewNotify(wire.AdditionalKeyExchange, link)
}

// hold keeps a series as responder. There is one an IKE SA: a peer that begins
// another has forgotten the last one.
func (e *Engine) hold(s *ikeSA, x *series) {
	e.release(s)
	s.pending = x
	x.expires = e.now + seriesLife
	if x.ike {
		e.ikeReserved[x.spiR] = true
	} else {
		e.espReserved[x.pair.SPIIn] = true
	}
	e.markDirty(s)
}

// release ends the holding of a series; what it was to make is not made.
func (e *Engine) release(s *ikeSA) {
	x := s.pending
	if x == nil {
		return
	}
	if x.ike {
		delete(e.ikeReserved, x.spiR)
	} else {
		delete(e.espReserved, x.pair.SPIIn)
	}
	x.wipe()
	s.pending = nil
	e.markDirty(s)
}

// onFollowup answers IKE_FOLLOWUP_KE.
func (e *Engine) onFollowup(s *ikeSA, m *wire.Message, d *Datagram, c *wire.Contents) {
	x, n := s.pending, c.Notify(wire.AdditionalKeyExchange)
	if x == nil || n == nil || !bytes.Equal(n.Data, x.link) || x.expires <= e.now {
		e.refuse(s, m, d, notify(wire.StateNotFound))
		return
	}
	if !s.settled() ||
		x.ike && !s.meets(crossing{ike: true, followUp: true}) || x.pair.old != nil && x.pair.old.closing() {
		e.release(s)
		e.refuse(s, m, d, notify(wire.TemporaryFailure))
		return
	}
	if c.KE == nil || c.KE.Method != x.methods[0] {
		e.brokenRequest(s, m, d, &wire.Error{Notify: wire.InvalidSyntax, Reason: "IKE_FOLLOWUP_KE without the key exchange value that is due"})
		return
	}
	public, shared, err := e.kex.respond(x.methods[0], e.rnd.r, c.KE.Data)
	if err != nil {
		e.brokenRequest(s, m, d, &wire.Error{Notify: wire.InvalidSyntax, Reason: err.Error()})
		return
	}
	ps := []wire.Payload{&wire.KE{Method: x.methods[0], Data: public}}
	x.shared, x.methods = append(x.shared, shared), x.methods[1:]
	x.expires = e.now + seriesLife
	if len(x.methods) > 0 {
		link := x.relink(e)
		if link == nil {
			e.release(s)
			e.refuse(s, m, d, notify(wire.TemporaryFailure))
			return
		}
		e.respond(s, m, d, append(ps, link))
		return
	}
	e.grantSeries(s, m, d, x, ps)
	e.release(s)
}

// grantSeries ends a series with what it was to make; ps is the last answer.
func (e *Engine) grantSeries(s *ikeSA, m *wire.Message, d *Datagram, x *series, ps []wire.Payload) {
	if x.ike {
		next, err := e.successor(s, false, x.next, x.spiI, x.spiR, x.shared[0], x.ni, x.nr, x.shared[1:]...)
		if err != nil {
			e.refuse(s, m, d, notify(wire.TemporaryFailure))
			return
		}
		e.respond(s, m, d, ps)
		e.grantIKE(s, next)
		return
	}
	a := x.pair
	var err error
	a.in, a.out, err = s.keys.ChildKeys(a.Suite, false, x.shared[0], x.ni, x.nr, a.SPIIn, a.SPIOut, x.shared[1:]...)
	if err != nil {
		e.refuse(s, m, d, notify(wire.TemporaryFailure))
		return
	}
	e.grantChild(s, a, lowest(x.ni, x.nr))
	e.respond(s, m, d, ps)
}

// payloads are those of the next exchange, as initiator; nil when there is no
// randomness for it.
func (x *series) payloads(e *Engine) []wire.Payload {
	ke, err := e.kex.start(x.methods[0], e.rnd.r)
	if err != nil {
		x.wipe()
		return nil
	}
	x.ke = ke
	return []wire.Payload{
		&wire.KE{Method: ke.Group(), Data: ke.Public()}, wire.NewNotify(wire.AdditionalKeyExchange, x.link),
	}
}

// linked takes the link to the next exchange from a response, which must have
// one as long as another method is due. The answer is what is wrong with it.
func (x *series) linked(c *wire.Contents) string {
	n := c.Notify(wire.AdditionalKeyExchange)
	switch {
	case len(x.methods) == 0:
		return ""
	case n == nil || len(n.Data) == 0:
		return "the response has no ADDITIONAL_KEY_EXCHANGE for the key exchange that is to follow"
	case len(n.Data) > maxKept:
		return "the response has an ADDITIONAL_KEY_EXCHANGE that is too long to be sent back"
	}
	x.link = bytes.Clone(n.Data)
	return ""
}

// take reads the responder's half of an exchange of the series. The answer is
// what is wrong with it.
func (x *series) take(c *wire.Contents) string {
	if c.KE == nil || c.KE.Method != x.ke.Group() {
		return "the response has no key exchange value for " + suite.Transform{Type: suite.TypeKE, ID: x.ke.Group()}.Word()
	}
	shared, err := x.ke.Shared(c.KE.Data)
	if err != nil {
		return err.Error()
	}
	x.ke, x.shared, x.methods = nil, append(x.shared, shared), x.methods[1:]
	return x.linked(c)
}

// takeFollowup is takeChild for IKE_FOLLOWUP_KE.
func (x *createChild) takeFollowup(s *ikeSA, r *request, c *wire.Contents) (agreed, *Failure) {
	more := x.series
	if bad := more.take(c); bad != "" {
		more.wipe()
		return agreed{}, s.failure(FailSyntax, r.exchange.String(), bad, "report it to the peer's maker")
	}
	a := more.pair
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

// followUp goes on with the series of a pair, unless the pair is no longer
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
	return nil, nil, s.failure(FailSyntax, r.exchange.String(), bad, "report it to the peer's maker; a new IKE SA is made")
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
		s.retryAt = e.now + e.jitter(retryPause)
		e.markDirty(s)
	}
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

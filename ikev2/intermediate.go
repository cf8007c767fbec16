package ikev2

import (
	"encoding/binary"
	"slices"

	"greseal/crypto/kex"
	"greseal/crypto/suite"
	"greseal/ikev2/fragment"
	"greseal/ikev2/keymat"
	"greseal/ikev2/wire"
)

// Additional key exchanges while an IKE SA is made (RFC 9370 section 2.2.2): one
// IKE_INTERMEDIATE exchange each (RFC 9242) between IKE_SA_INIT and IKE_AUTH,
// which may be fragmented as IKE_SA_INIT may not. Every one changes the keys of
// the SA, and IKE_AUTH authenticates them all. Those of a CREATE_CHILD_SA are in
// followup.go.

// intermediate is what a handshake knows of them.
type intermediate struct {
	methods []uint16     // key exchanges that are still to come
	ke      kex.Exchange // initiator: the one that is under way
	i, r    []byte       // IntAuth_i and IntAuth_r so far
	rounds  uint32       // exchanges that are done
}

// addKEs lists the additional key exchange methods of a suite in their order.
func addKEs(s *suite.Suite) []uint16 {
	var out []uint16
	for _, t := range s.AddKE {
		if t.ID != suite.KE_NONE {
			out = append(out, t.ID)
		}
	}
	return out
}

// hasAddKE reports whether one of the proposals has an additional key exchange, so
// that IKE_INTERMEDIATE has to be negotiated with it (RFC 9370 section 2.2.1).
func hasAddKE(ps []suite.Proposal) bool {
	for _, p := range ps {
		for _, t := range p.Transforms {
			if t.Type.IsAddKE() {
				return true
			}
		}
	}
	return false
}

// unread makes offered proposals with an additional key exchange ones that
// cannot be chosen, each in its place: without IKE_INTERMEDIATE their transform
// types count as unknown (RFC 9370 section 2.2.1).
func unread(offers []suite.Proposal) []suite.Proposal {
	out := make([]suite.Proposal, len(offers))
	for i, p := range offers {
		out[i] = p
		if hasAddKE(offers[i : i+1]) {
			out[i] = suite.Proposal{Protocol: p.Protocol}
		}
	}
	return out
}

// proceed goes on after IKE_SA_INIT: with the next additional key exchange, or
// with IKE_AUTH.
func (e *Engine) proceed(s *ikeSA) {
	x := &s.handshake.inter
	if len(x.methods) == 0 {
		e.sendAuth(s)
		return
	}
	e.ask(s, additionalKE{})
}

// additionalKE is IKE_INTERMEDIATE with the next additional key exchange.
type additionalKE struct{ lone }

func (additionalKE) payloads(e *Engine, s *ikeSA) (wire.ExchangeType, []wire.Payload, bool) {
	x := &s.handshake.inter
	ke, err := e.kex.start(x.methods[0], e.rnd.r)
	if err != nil {
		e.fail(s, s.failure(FailInvalidKE, "IKE_INTERMEDIATE", err.Error(), ""))
		return 0, nil, false
	}
	x.ke = ke
	inner := []wire.Payload{&wire.KE{Method: ke.Group(), Data: ke.Public()}}
	s.state = stateAuthenticating
	x.i = s.intAuth(x.i, s.keys.Pi, s.header(wire.IKEIntermediate, s.nextOut, false), contentOf(inner))
	return wire.IKEIntermediate, inner, true
}

// contentOf is what a message of ours will hold, as the peer will see it.
func contentOf(inner []wire.Payload) wire.Content {
	plain, err := wire.AppendPayloads(nil, inner)
	if err != nil || len(inner) == 0 {
		return wire.Content{} // the message itself cannot be sent either
	}
	return wire.Content{First: inner[0].Type(), Plain: plain}
}

// intAuth adds a message to the octets that AUTH covers (RFC 9242 section
// 3.3.2): IntAuth_n = prf(SK_p_n, IntAuth_n-1 | A | P), by the keys from before
// the exchange.
func (s *ikeSA) intAuth(before, skp []byte, h wire.Header, c wire.Content) []byte {
	return s.keys.PRF.Sum(skp, before, c.IntAuth(h))
}

// octets is the chunk that the signed octets end with, empty when no
// IKE_INTERMEDIATE took place:
//
//	IntAuth = IntAuth_iN | IntAuth_rN | IKE_AUTH_MID
//
// The first IKE_AUTH message follows the last IKE_INTERMEDIATE one.
func (x *intermediate) octets() []byte {
	if x.rounds == 0 {
		return nil
	}
	b := append(append([]byte(nil), x.i...), x.r...)
	return binary.BigEndian.AppendUint32(b, x.rounds+1)
}

func (additionalKE) answer(e *Engine, s *ikeSA, _ *request, c content, _ *Datagram) {
	x := &s.handshake.inter
	if s.handshake.abandoned {
		e.drop(s, nil, false) // closed meanwhile: the peer forgets it by itself
		return
	}
	refuse := func(kind FailureKind, detail string) {
		e.fail(s, s.failure(kind, "IKE_INTERMEDIATE", detail, "report it to the peer's vendor"))
	}
	method := suite.Transform{Type: suite.TypeKE, ID: x.ke.Group()}
	switch {
	case c.broken != nil:
		refuse(FailSyntax, c.broken.Error())
		return
	case c.critical != 0:
		e.fail(s, s.criticalFailure(c, "IKE_INTERMEDIATE"))
		return
	case c.KE == nil && c.Error() != nil:
		e.fail(s, s.refusedBy(c.Error(), "IKE_INTERMEDIATE", s.peer.cfg.IKE, nil))
		return
	case c.KE == nil || c.KE.Method != x.ke.Group():
		refuse(FailSyntax, "the response has no key exchange value for "+method.Word())
		return
	}
	shared, err := x.ke.Shared(c.KE.Data)
	if err != nil {
		refuse(FailInvalidKE, err.Error())
		return
	}
	x.r = s.intAuth(x.r, s.keys.Pr, c.header, c.whole)
	if err := e.updateKeys(s, shared); err != nil {
		refuse(FailNoProposal, err.Error())
		return
	}
	e.proceed(s)
}

// updateKeys changes the keys of an SA that is being made by the shared secret of an
// additional key exchange, which is then done:
//
//	SKEYSEED(n) = prf(SK_d(n-1), SK(n) | Ni | Nr)
func (e *Engine) updateKeys(s *ikeSA, shared []byte) error {
	defer clear(shared)
	h := s.handshake
	seed := s.keys.Next(shared, h.ni, h.nr)
	k, err := keymat.New(s.Suite, s.Initiator, seed, h.ni, h.nr, s.SPIi, s.SPIr, e.rnd.r)
	if err != nil {
		return err
	}
	s.keys.Wipe()
	s.keys, s.parts = k, fragment.Collector{}
	h.inter.ke, h.inter.methods = nil, h.inter.methods[1:]
	h.inter.rounds++
	return nil
}

// onIntermediateRequest answers an additional key exchange. The peer is not
// authenticated yet: what was agreed on is done once each, within the time that
// a whole attempt may take, and anything else ends the SA.
func (e *Engine) onIntermediateRequest(s *ikeSA, m *wire.Message, d *Datagram, c content) {
	x := &s.handshake.inter
	switch {
	case c.broken != nil:
		e.refuseSyntax(s, m, d, c.broken.Error())
		return
	case c.critical != 0:
		e.refuseUnknown(s, m, d, criticalNotify(c), s.criticalFailure(c, m.Exchange.String()))
		return
	case len(x.methods) == 0, c.KE == nil, c.KE.Method != x.methods[0]:
		e.refuseSyntax(s, m, d, "the request has no key exchange value that is due")
		return
	}
	public, shared, err := e.kex.respond(x.methods[0], e.rnd.r, c.KE.Data)
	if err != nil {
		e.refuseSyntax(s, m, d, err.Error())
		return
	}
	inner := []wire.Payload{&wire.KE{Method: x.methods[0], Data: public}}
	x.i = s.intAuth(x.i, s.keys.Pi, c.header, c.whole)
	x.r = s.intAuth(x.r, s.keys.Pr, s.header(m.Exchange, m.MessageID, true), contentOf(inner))
	e.respond(s, m, d, inner) // by the keys of the request
	if err := e.updateKeys(s, shared); err != nil {
		e.drop(s, nil, false)
		return
	}
	s.dropAt = min(e.now+halfOpenLife, s.began+attemptTime)
	s.parts.Request = nil
	e.grow(s)
	e.markDirty(s)
}

// sameAddKE reports whether a suite's additional key exchanges are what one of our
// own proposals asks for: all of them, and no others.
func sameAddKE(own *suite.Proposal, s *suite.Suite) bool {
	for i, t := range s.AddKE {
		typ := suite.TypeAddKE1 + suite.Type(i)
		if t.ID != suite.KE_NONE || own.Has(typ) {
			if !slices.Contains(own.Transforms, suite.Transform{Type: typ, ID: t.ID}) {
				return false
			}
		}
	}
	return true
}

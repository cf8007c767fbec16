package ikev2

import (
	"bytes"

	"greseal/ikev2/wire"
)

// Additional key exchanges of a CREATE_CHILD_SA (RFC 9370 section 2.2.4): one
// IKE_FOLLOWUP_KE exchange each, after it. The SAs are made by the last one:
// until then the initiator has a request with a series, and the responder holds
// one for a while. What is asked to be rekeyed while our own series for it is
// under way, or while our request for it is unanswered, is refused by
// TEMPORARY_FAILURE; both sides then wait for times of different length.

// onFollowup answers IKE_FOLLOWUP_KE.
func (e *Engine) onFollowup(s *ikeSA, m *wire.Message, d *Datagram, c *wire.Contents) {
	x, n := s.pending, c.Notify(wire.AdditionalKeyExchange)
	if x == nil || n == nil || !bytes.Equal(n.Data, x.link) || x.expires <= e.now {
		e.refuse(s, m, d, notify(wire.StateNotFound))
		return
	}
	ps, no := e.goOn(s, x, c)
	switch {
	case no != nil:
		e.release(s)
		e.decline(s, m, d, no)
	case len(x.methods) > 0:
		e.respond(s, m, d, ps)
	default:
		e.grantSeries(s, m, d, x, ps)
		e.release(s)
	}
}

// goOn makes our half of the key exchange that is due in a series, and answers it.
func (e *Engine) goOn(s *ikeSA, x *series, c *wire.Contents) ([]wire.Payload, *refusal) {
	if !s.settled() ||
		x.ike && !s.meets(crossing{ike: true, followUp: true}) || x.childSA.old != nil && x.childSA.old.closing() {
		return nil, temporary()
	}
	if c.KE == nil || c.KE.Method != x.methods[0] {
		return nil, s.lacks(wire.IKEFollowupKE, "IKE_FOLLOWUP_KE without the key exchange value that is due")
	}
	public, shared, err := e.kex.respond(x.methods[0], e.rnd.r, c.KE.Data)
	if err != nil {
		return nil, s.lacks(wire.IKEFollowupKE, err.Error())
	}
	ps := []wire.Payload{&wire.KE{Method: x.methods[0], Data: public}}
	x.shared, x.methods = append(x.shared, shared), x.methods[1:]
	x.expires = e.now + seriesLife
	if len(x.methods) == 0 {
		return ps, nil
	}
	link := x.relink(e)
	if link == nil {
		return nil, temporary()
	}
	return append(ps, link), nil
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
	a := x.childSA
	var err error
	a.in, a.out, err = s.keys.ChildKeys(a.Suite, false, x.shared[0], x.ni, x.nr, a.SPIIn, a.SPIOut, x.shared[1:]...)
	if err != nil {
		e.refuse(s, m, d, notify(wire.TemporaryFailure))
		return
	}
	e.grantChild(s, a, lowest(x.ni, x.nr))
	e.respond(s, m, d, ps)
}

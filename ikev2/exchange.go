package ikev2

import (
	"net/netip"
	"time"

	"greseal/ikev2/fragment"
	"greseal/ikev2/wire"
)

// exchange is what a request of ours is about. Each kind is a type with a file of
// its own.
type exchange interface {
	// payloads builds the request, reserving the SPIs that it names; false: it
	// cannot be made now.
	payloads(e *Engine, s *ikeSA) (wire.ExchangeType, []wire.Payload, bool)
	// answer takes the authentic response. The request is no longer outstanding.
	answer(e *Engine, s *ikeSA, r *request, c content, d *Datagram)
	// giveUp ends a request that stays without an answer, with its IKE SA.
	giveUp(e *Engine, s *ikeSA)
	// meet reports whether a request of the peer's that crosses this one may be
	// granted (RFC 7296 sections 2.8.1, 2.8.2 and 2.25). If not, the peer is told
	// TEMPORARY_FAILURE and tries again.
	meet(theirs crossing) bool
}

// crossing is a CREATE_CHILD_SA request of the peer's that reaches us while a
// request of ours is unanswered.
type crossing struct {
	ike      bool   // it rekeys the IKE SA; else:
	old      *child // it rekeys this Child SA; nil: it wants another one,
	unknown  bool   // or rekeys one that is not known here
	followUp bool   // it goes on in IKE_FOLLOWUP_KE
}

// lone is an exchange that has reserved nothing and conflicts with no other.
type lone struct{}

func (lone) giveUp(*Engine, *ikeSA) {}
func (lone) meet(crossing) bool     { return true }

// meets reports whether the peer's request may be granted beside ours.
func (s *ikeSA) meets(theirs crossing) bool { return s.req == nil || s.req.about.meet(theirs) }

// asking is the exchange that is under way, if it is of type T.
func asking[T exchange](s *ikeSA) (x T, ok bool) {
	if s.req != nil {
		x, ok = s.req.about.(T)
	}
	return x, ok
}

// request is the one request of ours that may be unanswered. It is repeated bit
// for bit (RFC 7296 section 2.1), but for the size of its fragments.
type request struct {
	about    exchange
	id       uint32
	exchange wire.ExchangeType
	message  fragment.Message

	first, next Time
	wait        time.Duration
	tries       int

	to     netip.AddrPort // where it goes, from the NAT port, instead of IKE's way
	at     way            // last sent so
	spread bool           // sent to or from more than one address

	gone []uint32 // SPIs the peer deleted meanwhile that are not known yet
}

// requestWindow are the messages of both sides that count: one request each (window size
// 1).
type requestWindow struct {
	// Ours: the next message ID, and what is unanswered.
	nextOut uint32
	req     *request
	// The peer's: the next expected, the answer to the last, and a CREATE_CHILD_SA
	// that goes on in IKE_FOLLOWUP_KE.
	nextIn   uint32
	answered cached
	pending  *series
	parts    fragment.Collector // of the peer's messages

	rtt time.Duration // from the last request of ours to its answer
}

// Retransmission: exponential, with jitter, by the side that asks only (RFC
// 7296 section 2.4). The pause is bounded so that an outage ends soon after the
// path is back (contract 13).
const (
	firstPause = 500 * time.Millisecond
	lastPause  = 10 * time.Second

	// A path is tried so often before a request goes the usual way.
	pathTries = 2

	// At this try a message is taken to be too large for the path; an answer,
	// at this repetition of its request.
	sizeDoubt = 3
)

// ask begins an exchange of a protected request. False: it cannot be begun now.
func (e *Engine) ask(s *ikeSA, x exchange) bool { return e.askAt(s, x, netip.AddrPort{}) }

// askAt is ask with a request that goes to another address.
func (e *Engine) askAt(s *ikeSA, x exchange, to netip.AddrPort) bool {
	kind, inner, ok := x.payloads(e, s)
	if !ok {
		return false
	}
	data, err := e.seal(s, s.header(kind, s.nextOut, false), inner)
	if err != nil {
		x.giveUp(e, s)
		e.exhausted(s, kind, err)
		return true
	}
	e.startRequest(s, kind, &request{about: x, to: to}, data)
	return true
}

// exhausted ends an SA on which nothing more can be sent: randomness or the IVs
// have run out.
func (e *Engine) exhausted(s *ikeSA, x wire.ExchangeType, err error) {
	e.drop(s, s.failure(FailNotify, x.String(), err.Error(), "a new IKE SA is made"), false)
}

// startRequest sends a request that is already encoded.
func (e *Engine) startRequest(s *ikeSA, x wire.ExchangeType, r *request, m fragment.Message) {
	r.id, r.exchange, r.message = s.nextOut, x, m
	r.first, r.tries, r.wait = e.now, 1, firstPause
	if r.probe() != nil {
		r.wait = max(r.wait, 2*s.rtt)
	}
	r.next = e.now + e.rnd.jitter(r.wait)
	s.nextOut++
	s.req = r
	e.markDirty(s)
	e.sendOut(s, r)
}

// sendOut sends a request where it is to go.
func (e *Engine) sendOut(s *ikeSA, r *request) {
	r.at = way{s.local, s.remote}
	if r.to.IsValid() {
		r.at = way{netip.AddrPortFrom(s.local.Addr(), e.cfg.PortNAT), r.to}
	}
	if p := r.probe(); p != nil {
		e.sendProbeOut(s, r, p)
		return
	}
	e.sendFrom(s, r.at.local, r.at.remote, r.message.Data)
}

// endRequest takes the outstanding request, which has been answered or is given up.
func (e *Engine) endRequest(s *ikeSA) *request {
	r := s.req
	if r != nil {
		s.req = nil
		e.markDirty(s)
	}
	return r
}

// retransmit repeats the outstanding request when its pause is over.
func (e *Engine) retransmit(s *ikeSA) {
	r := s.req
	if r == nil || r.next > e.now {
		return
	}
	if s.probing() && r.tries >= probeTries {
		e.nextForm(s, r)
		return
	}
	r.tries++
	r.wait = min(r.wait*9/5, lastPause)
	if r.tries >= sizeDoubt && r.probe() == nil && e.refragment(s, &r.message) {
		r.wait = firstPause
	}
	r.next = e.now + e.rnd.jitter(r.wait)
	s.Retransmits++
	e.stats.Repeated++
	e.markDirty(s)
	if s.handshake != nil && s.handshake.refused == nil && r.tries == 4 && !s.handshake.reachability {
		e.note(s.peer, s.timeoutFailure(r))
	}
	if r.to.IsValid() && r.tries > pathTries {
		r.to, r.spread = netip.AddrPort{}, true
	}
	e.sendOut(s, r)
	e.elsewhere(s, r)
	e.toVerified(s, r)
}

// send sends a message of an SA.
func (e *Engine) send(s *ikeSA, data ...[]byte) { e.sendFrom(s, s.local, s.remote, data) }

func (e *Engine) sendFrom(s *ikeSA, local, remote netip.AddrPort, data [][]byte) {
	s.sentBy(way{local, remote}, e.now)
	for _, d := range data {
		a := Send{Datagram: Datagram{Local: local, Remote: remote, Data: d}}
		if s.peer != nil {
			a.Peer = s.peer.cfg.ID
		}
		e.emit(a)
	}
}

// respond seals, sends and keeps the response to the request m.
func (e *Engine) respond(s *ikeSA, m *wire.Message, d *Datagram, inner []wire.Payload) {
	h := s.header(m.Exchange, m.MessageID, true)
	kept := cached{mark: fragment.MarkOf(m.Raw), id: m.MessageID, at: e.now}
	if p := m.SKF(); p != nil && s.parts.Request != nil {
		s.fitTo(s.parts.Request.Longest())
		kept.mark, kept.total = s.parts.Request.Mark, p.Total
	}
	var err error
	if kept.Message, err = e.seal(s, h, inner); err != nil {
		return // as if it was lost: the peer asks again and gives up
	}
	s.answered = kept
	// Answers go where the request came from (RFC 7296 section 2.23).
	e.sendFrom(s, d.Local, d.Remote, kept.Data)
}

// refuse is respond with one error notify.
func (e *Engine) refuse(s *ikeSA, m *wire.Message, d *Datagram, n *wire.Notify) {
	e.respond(s, m, d, []wire.Payload{n})
}

// refusal is what a request is answered with, and the sentence for our side.
type refusal struct {
	notify *wire.Notify
	why    *Failure
}

// temporary asks the peer to try again later.
func temporary() *refusal { return &refusal{notify(wire.TemporaryFailure), nil} }

// malformed refuses an authentic but malformed request, which is fatal on both
// sides (RFC 7296 section 2.21.3).
func (s *ikeSA) malformed(x wire.ExchangeType, err *wire.Error) *refusal {
	return &refusal{notify(wire.InvalidSyntax), s.failure(FailSyntax, x.String(),
		err.Error(), "a new IKE SA is made; if this repeats, the peer's software is at fault")}
}

// lacks is malformed for a request without what it has to have.
func (s *ikeSA) lacks(x wire.ExchangeType, what string) *refusal {
	return s.malformed(x, &wire.Error{Notify: wire.InvalidSyntax, Reason: what})
}

// decline answers a request that we do not agree to.
func (e *Engine) decline(s *ikeSA, m *wire.Message, d *Datagram, no *refusal) {
	if s.unverified() && no.notify.Kind == wire.TSUnacceptable {
		no = temporary() // perhaps right for where the peer has moved to, and soon verified
	}
	e.refuse(s, m, d, no.notify)
	switch {
	case no.notify.Kind == wire.InvalidSyntax:
		e.drop(s, no.why, false)
	case no.why != nil:
		e.note(s.peer, no.why)
	}
}

// sound reports whether a response on an established IKE SA can be read at all.
// Else the two sides no longer agree, and the IKE SA is closed (RFC 7296 section
// 2.21).
func (e *Engine) sound(s *ikeSA, r *request, c content) bool {
	if c.critical != 0 && c.broken == nil {
		e.closeSA(s, s.criticalFailure(c, r.exchange.String()), false) // no response may have one
		return false
	}
	refused := c.broken == nil && c.Notify(wire.InvalidSyntax) != nil
	if c.broken == nil && !refused {
		return true
	}
	if refused {
		e.drop(s, s.failure(FailSyntax, r.exchange.String(), "",
			"a new IKE SA is made; if this repeats, compare the two sides' software versions").byPeer(), false)
		return false
	}
	e.closeSA(s, s.failure(FailSyntax, r.exchange.String(),
		c.broken.Error(), "a new IKE SA is made; if this repeats, the peer's software is at fault"), false)
	return false
}

// toVerified repeats a request to where the peer was known to be, when it does not
// answer from where its last message came: anyone can forward that from
// elsewhere. An answer brings IKE back. With MOBIKE it has said itself that it moved.
func (e *Engine) toVerified(s *ikeSA, r *request) {
	if s.mob == nil && s.unverified() && r.tries > pathTries && s.stands() {
		r.spread = true
		e.sendFrom(s, s.told.local, s.told.remote, r.message.Data)
	}
}

package ikev2

import (
	"errors"

	"greseal/ikev2/recorder"
	"greseal/ikev2/wire"
)

// Receive takes one datagram that came in. Nothing in it is believed before it
// is authenticated; what cannot be an IKEv2 message is counted and dropped.
func (e *Engine) Receive(now Time, d Datagram) []Action {
	e.enter(now)
	e.stats.Received++
	e.receive(&d)
	return e.flush()
}

func (e *Engine) receive(d *Datagram) {
	h, err := wire.ParseHeader(d.Data)
	if err != nil || uint64(h.Length) != uint64(len(d.Data)) {
		e.stats.Malformed++
		return
	}
	if h.Major() != 2 {
		e.otherVersion(h, d)
		return
	}
	if h.SPIi == 0 {
		e.stats.Malformed++
		if e.errors.Take(e.now) {
			e.doubtedSPI(h, d) // the one message that may have none (RFC 7296 section 1.5)
		}
		return
	}
	if h.Exchange == wire.IKESAInit {
		e.receiveInit(h, d)
		return
	}
	own, other := h.SPIi, h.SPIr
	if h.Initiator() {
		own, other = h.SPIr, h.SPIi
	}
	s := e.sas[own]
	if s == nil || s.Initiator == h.Initiator() {
		e.receiveUnknown(own, h, d)
		return
	}
	if s.other() != other {
		e.stats.UnknownSPI++
		return
	}
	if s.handshake != nil {
		s.handshake.followed = true
	}
	m, err := wire.Parse(d.Data)
	if err != nil {
		e.stats.Malformed++
		return
	}
	if h.Response() {
		e.receiveResponse(s, m, d)
	} else {
		e.receiveRequest(s, m, d)
	}
}

// maxInit is the longest message of IKE_SA_INIT that is looked at, octets: 3000
// should be processed (RFC 7296 section 2), and a responder keeps the request
// until IKE_AUTH comes, for anyone who shows an address.
const maxInit = 4096

// receiveInit sorts the messages of IKE_SA_INIT, which nothing protects.
func (e *Engine) receiveInit(h wire.Header, d *Datagram) {
	if len(d.Data) > maxInit {
		e.stats.Malformed++
		return
	}
	m, err := wire.Parse(d.Data)
	if err == nil && h.MessageID != 0 {
		err = errMessageID
	}
	if err != nil {
		if s := e.sas[h.SPIi]; s != nil && s.state == stateInitiating && h.Response() && !h.Initiator() {
			e.oddAnswer(s, d, err)
			return
		}
		e.stats.Malformed++
		return
	}
	switch {
	case h.Response() && !h.Initiator():
		s := e.sas[h.SPIi]
		if s == nil || !s.Initiator || s.state != stateInitiating {
			e.stats.UnknownSPI++
			return
		}
		e.onInitResponse(s, m, d)
	case !h.Response() && h.Initiator() && h.SPIr == 0:
		e.onInitRequest(m, d)
	default:
		e.stats.Malformed++
	}
}

// receiveUnknown handles a message for no SA of ours: a repeated last request,
// or one from a peer that still has an SA we have forgotten (RFC 7296 section
// 2.21.4).
func (e *Engine) receiveUnknown(own uint64, h wire.Header, d *Datagram) {
	if g := e.responses[own]; g != nil {
		if !h.Response() && g.answer.is(h.MessageID, d.Data) {
			e.stats.Retransmitted++
			for _, data := range g.answer.Data {
				e.emit(Send{Datagram: Datagram{d.Local, d.Remote, data}})
			}
		}
		return
	}
	e.stats.UnknownSPI++
	if h.Response() || e.ikeReserved[own] || !e.errors.Take(e.now) || e.doubtedSPI(h, d) {
		return
	}
	e.answerClear(h, d, notify(wire.InvalidIKESPI))
}

// otherVersion answers a higher major version (RFC 7296 section 2.5) and lets a
// person know that the other side speaks IKEv1.
func (e *Engine) otherVersion(h wire.Header, d *Datagram) {
	e.stats.Malformed++
	if h.Response() && h.Major() > 2 || !e.errors.Take(e.now) {
		return
	}
	if h.Major() > 2 {
		e.answerClear(h, d, notify(wire.InvalidMajorVersion))
		return
	}
	if h.Major() != 1 {
		return
	}
	e.oldVersion = Sighting{d.Remote, e.now}
	for _, p := range e.candidates(d.Local.Addr(), d.Remote.Addr()) {
		if len(p.cfg.Remotes) == 0 || len(p.established()) > 0 {
			continue
		}
		e.noteStranger(p, &Failure{
			Kind: FailMajorVersion, Local: d.Local.String(), Remote: d.Remote.String(),
			Ours: "IKEv2", Theirs: "IKEv1",
			Remedy: "set the peer to IKEv2 (on strongSwan version = 2, on RouterOS exchange-mode=ike2)",
		})
	}
}

// receiveRequest handles a request to an SA that exists.
func (e *Engine) receiveRequest(s *ikeSA, m *wire.Message, d *Datagram) {
	if s.answered.is(m.MessageID, d.Data) || s.answered.askedAnew(m, s.keys) {
		e.stats.Retransmitted++
		s.asked = e.now
		if s.answered.again++; s.answered.again >= sizeDoubt-1 {
			e.refragment(s, &s.answered.Message)
		}
		e.sendFrom(s, d.Local, d.Remote, s.answered.Data)
		return
	}
	if m.MessageID != s.nextIn || s.keys == nil && s.state != stateHalfOpen {
		e.stats.OutOfWindow++
		return
	}
	if s.state == stateInitiating || s.state == stateAuthenticating {
		e.stats.OutOfWindow++ // the peer is ahead of us; it asks again
		return
	}
	c, ok := e.open(s, m, d)
	if !ok {
		e.grow(s)
		return
	}
	defer func() { s.parts.Request = nil }() // once it is answered
	s.nextIn++
	if s.state == stateHalfOpen {
		if m.Exchange == wire.IKEIntermediate {
			e.onIntermediateRequest(s, m, d, c)
		} else {
			e.onAuthRequest(s, m, d, c)
		}
		return
	}
	e.heard(s, d)
	e.decided(s, c)
	for _, c := range s.children {
		c.unconfirmed = false // a new request shows that the last answer came (window 1)
	}
	e.takeRequest(s, m, d, c)
	e.markDirty(s)
}

// takeRequest passes a request on an established IKE SA to its exchange.
func (e *Engine) takeRequest(s *ikeSA, m *wire.Message, d *Datagram, c content) {
	switch {
	case c.broken != nil:
		e.decline(s, m, d, s.malformed(m.Exchange, c.broken))
	case c.critical != 0:
		e.decline(s, m, d, &refusal{criticalNotify(c), s.criticalFailure(c, m.Exchange.String())})
	case m.Exchange == wire.CreateChildSA:
		e.onCreateChild(s, m, d, c.Contents)
	case m.Exchange == wire.IKEFollowupKE:
		e.onFollowup(s, m, d, c.Contents)
	case m.Exchange == wire.Informational:
		e.onInformational(s, m, d, c.Contents)
	default:
		e.decline(s, m, d, s.lacks(m.Exchange, m.Exchange.String()+" is not an exchange of an established IKE SA"))
	}
}

// receiveResponse handles a response; only the one to the outstanding request
// is looked at.
func (e *Engine) receiveResponse(s *ikeSA, m *wire.Message, d *Datagram) {
	if m.SK() == nil && m.SKF() == nil {
		// Unprotected errors are hints at most (RFC 7296 section 2.21.4).
		e.hint(s, m)
		return
	}
	r := s.req
	if r == nil || m.MessageID != r.id || m.Exchange != r.exchange || s.keys == nil {
		e.stats.OutOfWindow++
		return
	}
	c, ok := e.open(s, m, d)
	if !ok {
		return
	}
	s.parts.Response = nil
	if p := r.probe(); r.tries == 1 && (p == nil || !p.changed) { // else it may be the answer to any of them (RFC 6298 section 3)
		s.rtt = min(e.now-r.first, longestRTT)
	}
	e.endRequest(s)
	e.heard(s, d)
	e.answeredElsewhere(s, r, d)
	r.about.answer(e, s, r, c, d)
	e.markDirty(s)
}

// open authenticates and decrypts a message. When ok is false it was dropped.
func (e *Engine) open(s *ikeSA, m *wire.Message, d *Datagram) (c content, ok bool) {
	if s.keys == nil && !e.deriveHalf(s) {
		e.stats.Unauthentic++
		return c, false
	}
	var ps []wire.Payload
	var err error
	c.header = m.Header
	octets, parts := len(m.Raw), 1
	outside, _ := wire.UnsupportedCritical(m.Payloads)
	if m.SKF() == nil {
		c.whole, err = m.Decrypt(s.keys.In)
	} else {
		var whole *wire.Content
		if whole, err = e.reassemble(s, m); err == nil && whole == nil {
			return c, false // more is to come
		}
		if err == nil {
			c.whole = *whole
			f := s.parts.Of(m)
			octets, parts, outside = f.Octets, int(m.SKF().Total), f.Critical
		}
	}
	if err == nil {
		ps, err = c.whole.PayloadsOf(m.Exchange)
	}
	if err == nil {
		c.Contents, err = wire.CollectOf(m.Exchange, ps)
	}
	if err != nil {
		if !errors.As(err, &c.broken) {
			e.stats.Unauthentic++
			return c, false
		}
		e.record(s, recorder.Received, m.Header, nil, octets, parts, d.Local, d.Remote)
		c.Contents = &wire.Contents{}
		return c, true
	}
	e.record(s, recorder.Received, m.Header, ps, octets, parts, d.Local, d.Remote)
	var bad bool
	if c.critical, bad = wire.UnsupportedCritical(ps); !bad {
		c.critical = outside // in front of SK, which covers it
	}
	return c, true
}

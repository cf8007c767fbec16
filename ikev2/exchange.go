package ikev2

import (
	"net/netip"
	"time"

	"greseal/crypto/kex"
	"greseal/crypto/suite"
	"greseal/ikev2/wire"
)

// ask is what a request of ours is for.
type ask uint8

const (
	askInit ask = iota + 1
	askAuth
	askAlive        // empty INFORMATIONAL: a liveness check
	askRekeyChild   // CREATE_CHILD_SA with REKEY_SA
	askNewChild     // CREATE_CHILD_SA
	askRekeyIKE     // CREATE_CHILD_SA with an IKE proposal
	askDeleteChild  // INFORMATIONAL with D(ESP …)
	askDeleteIKE    // INFORMATIONAL with D(IKE)
	askGiveUp       // INFORMATIONAL with a fatal error notify
	askIntermediate // IKE_INTERMEDIATE: an additional key exchange
	askMove         // INFORMATIONAL with UPDATE_SA_ADDRESSES, or a list of addresses
	askPath         // INFORMATIONAL with COOKIE2: whether the peer receives there
	askProbe        // INFORMATIONAL of a certain size: whether the path takes it
)

// request is the one request of ours that may be unanswered. It is repeated bit
// for bit (RFC 7296 section 2.1), but for the size of its fragments.
type request struct {
	kind     ask
	id       uint32
	exchange wire.ExchangeType
	message  sealed

	first, next Time
	wait        time.Duration
	tries       int

	// MOBIKE (RFC 4555).
	to      netip.AddrPort // where it goes, from the NAT port, instead of IKE's way
	at      way            // last sent so
	spread  bool           // sent to or from more than one address
	cookie2 []byte         // which the response must bring back

	probe *probe // of askProbe

	// What a CREATE_CHILD_SA request needs for its response.
	old     *child // rekeyed pair
	renews  *child // pair that this one takes the place of, with a new endpoint
	want    ends   // the selectors asked for
	nonce   []byte
	ke      kex.Exchange
	spi     uint32 // offered inbound SPI
	ikeSPI  uint64 // offered IKE SPI
	offer   []suite.Proposal
	noPFS   bool // a second try without key exchange
	regroup int  // INVALID_KE_PAYLOAD retries

	series *series // IKE_FOLLOWUP_KE: what it goes on with

	rival    *child // pair made by the peer's rekeying of old meanwhile
	rivalLow []byte // lowest nonce of the exchange that made it

	deletes []*child
	gone    []uint32 // SPIs the peer deleted meanwhile that are not known yet
}

// Retransmission: exponential, with jitter, by the side that asks only (RFC
// 7296 section 2.4). The pause is bounded so that an outage ends soon after the
// path is back (contract 13).
const (
	firstPause = 500 * time.Millisecond
	lastPause  = 10 * time.Second

	// At this try a message is taken to be too large for the path; an answer,
	// at this repetition of its request.
	sizeDoubt = 3
)

// sendRequest seals and sends a request and makes it the SA's outstanding one.
func (e *Engine) sendRequest(s *ikeSA, x wire.ExchangeType, r *request, inner []wire.Payload) {
	h := s.header(x, s.nextOut, false)
	data, err := e.seal(s, h, inner)
	if err != nil {
		e.exhausted(s, x, err)
		return
	}
	e.startRequest(s, x, r, data)
}

// exhausted ends an SA on which nothing more can be sent: randomness or the IVs
// have run out.
func (e *Engine) exhausted(s *ikeSA, x wire.ExchangeType, err error) {
	f := s.failure(FailNotify, x.String(), false)
	f.Detail = err.Error()
	f.Remedy = "a new IKE SA is made"
	e.drop(s, f, false)
}

// startRequest sends a request that is already encoded.
func (e *Engine) startRequest(s *ikeSA, x wire.ExchangeType, r *request, m sealed) {
	r.id, r.exchange, r.message = s.nextOut, x, m
	r.first, r.tries, r.wait = e.now, 1, firstPause
	if r.probe != nil {
		r.wait = max(r.wait, 2*s.rtt)
	}
	r.next = e.now + e.jitter(r.wait)
	s.nextOut++
	s.req = r
	e.touch(s)
	e.sendOut(s, r)
}

// sendOut sends a request where it is to go.
func (e *Engine) sendOut(s *ikeSA, r *request) {
	r.at = way{s.local, s.remote}
	if r.to.IsValid() {
		r.at = way{netip.AddrPortFrom(s.local.Addr(), e.cfg.PortNAT), r.to}
	}
	if r.probe != nil {
		e.sendProbeOut(s, r)
		return
	}
	e.sendFrom(s, r.at.local, r.at.remote, r.message.data)
}

func (e *Engine) jitter(d time.Duration) time.Duration {
	return d - d/8 + e.rnd.between(0, d/4)
}

// endRequest forgets the outstanding request with everything that hangs on it.
func (e *Engine) endRequest(s *ikeSA) {
	r := s.req
	if r == nil {
		return
	}
	s.req = nil
	if r.spi != 0 {
		delete(e.espReserved, r.spi)
	}
	if r.ikeSPI != 0 {
		delete(e.ikeReserved, r.ikeSPI)
	}
	e.touch(s)
}

// reserved tells whether an IKE SPI stands in an unanswered request of ours.
func (e *Engine) reserved(spi uint64) bool { return e.ikeReserved[spi] }

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
	if r.tries >= sizeDoubt && r.probe == nil && e.refragment(s, &r.message) {
		r.wait = firstPause
	}
	r.next = e.now + e.jitter(r.wait)
	s.repeats++
	e.touch(s)
	if s.shake != nil && s.shake.refused == nil && r.tries == 4 && !s.shake.knock {
		e.note(s.peer, s.timeoutFailure(r))
	}
	if r.to.IsValid() && r.tries > pathTries {
		r.to, r.spread = netip.AddrPort{}, true
	}
	e.sendOut(s, r)
	e.elsewhere(s, r)
	e.whereProved(s, r)
}

func (s *ikeSA) header(x wire.ExchangeType, id uint32, response bool) wire.Header {
	h := wire.Header{SPIi: s.spiI, SPIr: s.spiR, Exchange: x, MessageID: id}
	if s.initiator {
		h.Flags |= wire.FlagInitiator
	}
	if response {
		h.Flags |= wire.FlagResponse
	}
	return h
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

// cached is the answer to the last request, kept until the next one comes (RFC
// 7296 section 2.1). A repeated request is known by its end, which is the
// integrity check value: it is the same only if the whole message is. Of a
// fragmented request that is fragment 1.
type cached struct {
	sealed
	tail  [16]byte
	size  int
	id    uint32
	total uint16 // fragments of the request, 0 for none
	again uint8  // how often it was asked for again
	at    Time   // when it was given
}

func (c *cached) is(id uint32, datagram []byte) bool {
	return c.data != nil && c.id == id && c.size == len(datagram) && c.tail == tailOf(datagram)
}

func tailOf(b []byte) (t [16]byte) {
	copy(t[:], b[max(0, len(b)-len(t)):])
	return t
}

// respond seals, sends and keeps the response to the request m.
func (e *Engine) respond(s *ikeSA, m *wire.Message, d *Datagram, inner []wire.Payload) {
	h := s.header(m.Exchange, m.MessageID, true)
	parts := s.requestParts
	if m.SKF() == nil {
		parts = nil
	}
	if parts != nil {
		s.fitTo(parts.set.LongestFragment())
	}
	answer, err := e.seal(s, h, inner)
	if err != nil {
		return // as if it was lost: the peer asks again and gives up
	}
	s.answered = cached{sealed: answer, tail: tailOf(m.Raw), size: len(m.Raw), id: m.MessageID, at: e.now}
	if parts != nil {
		s.answered.tail, s.answered.size, s.answered.total = parts.tail, parts.size, m.SKF().Total
	}
	// Answers go where the request came from (RFC 7296 section 2.23).
	e.sendFrom(s, d.Local, d.Remote, answer.data)
}

// sealedOnly is the outside of a protected message, for tell.
var sealedOnly = []wire.Payload{&wire.SK{}}

// tell reports what a message says before it is sent.
func (e *Engine) tell(data []byte, h wire.Header, outer, inner []wire.Payload) {
	if e.onMessage != nil {
		if inner == nil {
			inner = []wire.Payload{}
		}
		e.onMessage(data, h, outer, inner)
	}
}

// refuse is respond with one error notify.
func (e *Engine) refuse(s *ikeSA, m *wire.Message, d *Datagram, n *wire.Notify) {
	e.respond(s, m, d, []wire.Payload{n})
}

func notify(t wire.NotifyType) *wire.Notify { return wire.NewNotify(t, nil) }

// ghost answers repeated requests to an SA that is gone: the Delete that ended
// it, or the IKE_AUTH that was refused. No other answer outlives its SA: a peer
// that got it would take for up what is gone.
type ghost struct {
	spi     uint64
	answer  cached
	expires Time
}

// Ghosts stay for as long as a peer is likely to repeat a request, and are
// bounded in number; the oldest go first.
const (
	ghostLife  = 90 * time.Second
	maxGhosts  = 1024
	maxRefused = 128 // of peers that were not authenticated, who push out each other only
)

// haunt leaves a ghost of an SA that is gone.
func (e *Engine) haunt(s *ikeSA) {
	if s.answered.data == nil || s.answered.at != e.now || s.own() == 0 {
		return
	}
	g := &ghost{s.own(), s.answered, e.now + ghostLife}
	s.answered = cached{}
	e.ghosts[g.spi] = g
	list, most := &e.buried, maxGhosts
	if s.peer == nil {
		list, most = &e.turned, maxRefused
		g.answer.plain, g.answer.sealer = nil, nil
	}
	if *list = append(*list, g); len(*list) > most {
		e.exorcise(list)
	}
}

// bury removes ghosts whose time is over.
func (e *Engine) bury() {
	for _, list := range []*[]*ghost{&e.buried, &e.turned} {
		for len(*list) > 0 && (*list)[0].expires <= e.now {
			e.exorcise(list)
		}
	}
}

func (e *Engine) exorcise(list *[]*ghost) {
	g := (*list)[0]
	(*list)[0] = nil
	*list = (*list)[1:]
	if e.ghosts[g.spi] == g {
		delete(e.ghosts, g.spi)
	}
}

// bucket limits how often something is done on unauthenticated input (RFC 7296
// section 2.21.4).
type bucket struct {
	rate   float64 // a second
	burst  float64
	tokens float64
	at     Time
	filled bool
}

func (b *bucket) take(now Time) bool {
	if !b.filled {
		b.tokens, b.filled = b.burst, true
	}
	b.tokens = min(b.burst, b.tokens+(now-b.at).Seconds()*b.rate)
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

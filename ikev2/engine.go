package ikev2

import (
	"cmp"
	"io"
	"net/netip"
	"time"

	"greseal/crypto/kex"
	"greseal/crypto/rate"
	"greseal/ikev2/cookie"
	"greseal/ikev2/recorder"
	"greseal/ikev2/wire"
)

// Engine is the IKEv2 machine of one daemon. It is not safe for concurrent use:
// one goroutine owns it (contract 6). Every method that takes the time returns
// the actions to carry out in their order; afterwards no half-done step is left
// behind, whatever the input was. Time that runs backwards is taken to stand still.
type Engine struct {
	cfg Config
	rnd random
	now Time
	out []Action

	directory
	registry
	lastResponses

	half strangers

	oldVersion Sighting // of IKEv1
	cookies    cookie.Jar
	errors     rate.Bucket // unprotected error answers

	timers   timers
	dirty    []*ikeSA
	reported Time // last WakeAt, 0: none
	wall     wallClock
	stats    Stats
	rec      recorder.Recorder
	kex      keyExchanges

	// onMessage, when set, gets the content of every message that is sent.
	onMessage func(data []byte, h wire.Header, outer, inner []wire.Payload)
}

// keyExchanges makes key exchanges: those of crypto/kex, but in a simulation.
type keyExchanges struct {
	start   func(method uint16, rand io.Reader) (kex.Exchange, error)
	respond func(method uint16, rand io.Reader, peer []byte) (public, shared []byte, err error)
}

// Stats counts what came in; it only grows, HalfOpen excepted.
type Stats struct {
	Received      uint64 // datagrams
	Malformed     uint64 // dropped as no IKEv2 message
	UnknownSPI    uint64 // of no IKE SA of ours
	Unauthentic   uint64 // integrity check failed, or clear where SK was due
	OutOfWindow   uint64 // wrong message ID
	Retransmitted uint64 // requests answered again from the cache
	Repeated      uint64 // requests of ours sent again
	Cookies       uint64 // IKE_SA_INIT requests answered with a COOKIE
	Refused       uint64 // IKE_SA_INIT requests dropped or refused
	Displaced     uint64 // half-open IKE SAs that made room for others
	HalfOpen      int    // IKE SAs waiting for IKE_AUTH now
}

// Sighting is who sent something, and when. From is unset when none came.
type Sighting struct {
	From netip.AddrPort
	At   Time
}

// IKEv1 is who sent a message of IKE version 1 last.
func (e *Engine) IKEv1() Sighting { return e.oldVersion }

// New returns an engine without peers.
func New(cfg Config) *Engine {
	cfg.PortIKE = cmp.Or(cfg.PortIKE, wire.PortIKE)
	cfg.PortNAT = cmp.Or(cfg.PortNAT, wire.PortNAT)
	if cfg.NATKeepalive <= 0 {
		cfg.NATKeepalive = 20 * time.Second
	}
	return &Engine{
		cfg:           cfg,
		rnd:           random{cfg.Rand},
		directory:     directory{peers: map[PeerID]*peer{}},
		registry:      newRegistry(),
		lastResponses: lastResponses{responses: map[uint64]*lastResponse{}},
		errors:        rate.Bucket{Burst: 40, Each: time.Second / 20},
		half:          newStrangers(&cfg),
		rec:           recorder.New(),
		kex:           keyExchanges{kex.New, kex.Respond},
	}
}

// Tick does what is due.
func (e *Engine) Tick(now Time) []Action {
	e.enter(now)
	e.reported = 0
	for {
		s := e.timers.first()
		if s == nil || s.wake > e.now {
			break
		}
		e.timers.remove(s)
		e.markDirty(s)
		e.due(s)
		e.settle()
	}
	return e.flush()
}

// Stats returns the counters.
func (e *Engine) Stats() Stats {
	s := e.stats
	s.HalfOpen = len(e.half.waiting)
	return s
}

// enter starts a call.
func (e *Engine) enter(now Time) { e.now = max(e.now, now) }

// withPeer is a call about a peer, if there is such a one.
func (e *Engine) withPeer(now Time, id PeerID, do func(*peer)) []Action {
	e.enter(now)
	if p := e.peers[id]; p != nil {
		do(p)
	}
	return e.flush()
}

// markDirty notes that something about an SA changed: before the call ends its next
// exchange is started, if one is due, and its timer set.
func (e *Engine) markDirty(s *ikeSA) {
	if s != nil && !s.marked {
		s.marked = true
		e.dirty = append(e.dirty, s)
	}
}

func (e *Engine) emit(a Action) {
	e.out = append(e.out, a)
	e.recordAction(a)
}

// blockedPause is the wait for something that is due and cannot be done.
const blockedPause = time.Second

// settle starts what is due on the SAs that changed and sets their timers.
func (e *Engine) settle() {
	for len(e.dirty) > 0 {
		s := e.dirty[0]
		e.dirty = e.dirty[1:]
		s.marked = false
		if s.state == stateGone && len(s.children) == 0 {
			e.timers.remove(s)
			continue
		}
		e.pump(s)
		at := s.nextWake()
		if at <= e.now {
			// It could not be done now, for want of randomness or proposals.
			at = e.now + blockedPause
		}
		e.timers.set(s, at)
	}
	e.dirty = nil
}

// flush ends a call: it hands over the actions and the next time to wake.
func (e *Engine) flush() []Action {
	e.settle()
	e.expireResponses(e.now)
	e.half.forget(e.now)
	wake := Time(0)
	if s := e.timers.first(); s != nil {
		wake = max(s.wake, e.now)
	}
	if wake != 0 && wake != e.reported {
		e.reported = wake
		e.emit(WakeAt{wake})
	}
	out := e.out
	e.out = nil
	return out
}

// note reports something while the engine goes on.
func (e *Engine) note(p *peer, f *Failure) {
	if p != nil {
		e.emit(Noted{p.cfg.ID, f})
	}
}

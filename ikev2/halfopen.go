package ikev2

import (
	"slices"
	"time"

	"greseal/ikev2/wire"
)

// The end of an IKE SA whose peer is not authenticated, and what is reported about it:
// it makes room for others on the budget (strangers.go), or is refused.

// makeRoom lets half-open SAs go until more octets fit that b is to hold, which
// may belong to s. False: none has to make room for it now.
func (e *Engine) makeRoom(b *standing, s *ikeSA, octets int) bool {
	h := &e.half
	limit := float64(h.limit)
	for {
		var over func(*standing) bool
		for i, o := range b.origins {
			share := widestShare
			if i > 0 {
				share = originShare
			}
			if float64(o.held+octets) > limit*share {
				over = func(v *standing) bool { return slices.Contains(v.origins, o) }
			}
		}
		if over == nil {
			switch {
			case !b.known && float64(h.foreign+octets) > limit*foreignShare, h.held+octets > h.limit && h.foreign > 0:
				over = func(v *standing) bool { return !v.known }
			case h.held+octets > h.limit:
				over = func(v *standing) bool { return v.known }
			default:
				return true
			}
		}
		v := h.heaviest(e.now, over)
		if v == nil || !h.yields(e.now, v, b) {
			v = h.oldest(e.now, over, b)
		}
		if v == nil || v == s {
			return false
		}
		e.stats.Displaced++
		h.futile.Add(e.now, 1)
		e.turnOut(v, 1)
	}
}

// turnOut ends a half-open SA that was not completed.
func (e *Engine) turnOut(s *ikeSA, weight float64) {
	s.handshake.standing.waste(e.now, weight)
	e.drop(s, nil, false)
}

// grow counts what a half-open SA holds after it has received something. Beyond
// the budget it goes itself (RFC 7383 section 5).
func (e *Engine) grow(s *ikeSA) {
	if s.state != stateHalfOpen || s.handshake == nil {
		return
	}
	b := &s.handshake.standing
	octets := s.octets()
	if octets > b.held && !e.makeRoom(b, s, octets-b.held) {
		e.stats.Refused++
		e.turnOut(s, refusedWeight)
		return
	}
	e.half.count(b, octets)
}

// deny refuses a peer that is not authenticated. What remains of it is the
// answer, for a while, and that its networks have wasted a handshake.
func (e *Engine) deny(s *ikeSA, m *wire.Message, d *Datagram, n *wire.Notify) {
	e.refuse(s, m, d, n)
	e.half.futile.Add(e.now, 1)
	e.turnOut(s, refusedWeight)
}

// refuseUnknown ends an IKE SA whose peer is not known yet by an error that is
// fatal on both sides (RFC 7296 section 2.21.2), and tells the tunnels that it may
// have been meant for.
func (e *Engine) refuseUnknown(s *ikeSA, m *wire.Message, d *Datagram, n *wire.Notify, f *Failure) {
	e.deny(s, m, d, n)
	if !e.errors.Take(e.now) {
		return
	}
	f.Local, f.Remote = d.Local.String(), d.Remote.String()
	e.noteStrangers(e.candidates(d.Local.Addr(), d.Remote.Addr()), f)
}

// refuseSyntax is refuseUnknown for what lacks something or can't be read.
func (e *Engine) refuseSyntax(s *ikeSA, m *wire.Message, d *Datagram, detail string) {
	f := s.failure(FailSyntax, m.Exchange.String(),
		detail, "check what the peer is configured to offer; if that is right, report it to the peer's vendor")
	e.refuseUnknown(s, m, d, notify(wire.InvalidSyntax), f)
}

// toldAtMost is how many tunnels learn of a stranger that went no further: to each of a
// hub's many tunnels it means little, and is not worth the time.
const toldAtMost = 8

// unfinished notes for the tunnels that a half-open SA may have been meant for that
// nothing followed its IKE_SA_INIT.
func (e *Engine) unfinished(s *ikeSA) {
	if s.handshake.followed || !e.errors.Take(e.now) {
		return
	}
	to := e.candidates(s.local.Addr(), s.remote.Addr())
	if len(to) > toldAtMost {
		return
	}
	e.noteStrangers(to, s.failure(FailUnfinished, "IKE_SA_INIT", "",
		"unless the other side gave up by itself, let UDP 4500 in here and on the way, as UDP 500 is; the other side's doctor or log says how far it got"))
}

// strangerPause is how often the same note about unauthenticated input is made.
const strangerPause = 30 * time.Second

// noteStranger is note for what anyone can cause: the same one is not repeated.
func (e *Engine) noteStranger(p *peer, f *Failure) {
	text := f.Error()
	if p == nil || p.strange == text && e.now < p.strangeAt+strangerPause {
		return
	}
	p.strange, p.strangeAt = text, e.now
	f.stranger = true
	e.note(p, f)
}

// noteStrangers is noteStranger for each peer the input may have come from that has
// no IKE SA.
func (e *Engine) noteStrangers(peers []*peer, f *Failure) {
	for _, p := range peers {
		if len(p.established()) == 0 {
			e.noteStranger(p, f)
		}
	}
}

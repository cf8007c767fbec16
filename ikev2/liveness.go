package ikev2

import (
	"encoding/binary"
	"slices"
	"time"

	"greseal/ikev2/wire"
)

// Liveness counts authenticated IKE messages only: ESP that arrives says
// nothing about the other direction. A silent SA is asked; while a request is
// unanswered it is repeated, the SA becomes suspect, and after the dead
// threshold it is given up (contract 13).

// livenessCheck is an INFORMATIONAL that asks whether the peer lives (RFC 7296
// section 2.4). What goes along says how the peer sees our address, and tells it
// our MTU; nothing when it is bare.
type livenessCheck struct {
	lone
	bare bool
}

func (x livenessCheck) payloads(e *Engine, s *ikeSA) (wire.ExchangeType, []wire.Payload, bool) {
	if x.bare {
		return wire.Informational, nil, true
	}
	return wire.Informational, append(s.alivePayloads(), e.mtuPayload(s)...), true
}

func (livenessCheck) answer(e *Engine, s *ikeSA, r *request, c content, _ *Datagram) {
	if e.sound(s, r, c) {
		s.lookAtMapping(c.Contents)
	}
}

// heard notes an authentic message that is no repetition.
func (e *Engine) heard(s *ikeSA, d *Datagram) {
	s.LastHeard = e.now
	e.follow(s, d)
	e.confirm(s)
	if s.state == stateRedundantGone {
		e.remembered(s)
	}
	for _, c := range s.children {
		if c.waits && !c.loser && !c.closing() {
			e.carry(c)
		}
	}
	e.deleteSuperseded(s)
	e.lookAtNewcomer(s.peer)
	if s.suspect {
		s.suspect = false
		e.emit(Liveness{s.peer.cfg.ID, s.ID, Alive})
	}
	e.markDirty(s)
}

// confirm marks an SA that the peer made by rekeying as confirmed: it uses it, so it
// has our answer.
func (e *Engine) confirm(s *ikeSA) {
	if s.state == stateUnconfirmed {
		s.state, s.dropAt = stateEstablished, never
	}
}

// idle reports whether a liveness check is due.
func (e *Engine) idle(s *ikeSA) bool {
	return s.peer.cfg.DPD > 0 && s.LastHeard+s.peer.cfg.DPD <= e.now
}

// silence is since when the peer owes us an answer, never: it does not.
func (s *ikeSA) silence() Time {
	if s.req == nil || s.patient() {
		return never
	}
	return max(s.req.first, s.LastHeard)
}

// deafness bounds how long one request goes unanswered by a peer that sends
// requests of its own: as a multiple of the dead threshold.
const deafness = 3

// nextLiveness is when an SA is to be asked, suspected or given up.
func (s *ikeSA) nextLiveness() Time {
	c := &s.peer.cfg
	if s.req == nil {
		if c.DPD <= 0 || !s.mayAsk() {
			return never
		}
		return s.LastHeard + c.DPD
	}
	if s.patient() {
		return never
	}
	at := min(s.silence()+c.Dead, s.req.first+deafness*c.Dead)
	if !s.suspect && s.announced && s.stands() {
		at = min(at, s.suspectAt())
	}
	return at
}

// suspectAt is when an unanswered request makes an SA suspect: when nothing was
// heard for the threshold, so that a dead peer is found out within it however
// long the pause between checks is; but not before the request was repeated for
// a third of it.
func (s *ikeSA) suspectAt() Time {
	threshold := s.peer.cfg.Suspect
	return max(s.LastHeard+threshold, s.silence()+threshold/3)
}

// liveness acts on silence. It is false when the SA is gone.
func (e *Engine) liveness(s *ikeSA) bool {
	if s.req == nil || s.patient() {
		return true
	}
	c := &s.peer.cfg
	if s.silence()+c.Dead <= e.now || s.req.first+deafness*c.Dead <= e.now {
		f := s.failure(FailDead, s.req.exchange.String(),
			"nothing authenticated came back for "+(e.now-s.silence()).Round(time.Second).String(),
			"check the path to the peer and whether it is running; a new IKE SA is made")
		f.Attempts = s.req.tries
		e.drop(s, f, false)
		if s.replacedBy != nil && s.replacedBy.stands() {
			e.confirm(s.replacedBy)
			e.markDirty(s.replacedBy)
		}
		return false
	}
	if !s.suspect && s.stands() && s.announced && s.suspectAt() <= e.now {
		s.suspect = true
		e.emit(Liveness{c.ID, s.ID, Suspect})
	}
	return true
}

// hintPause limits liveness checks that unauthenticated input can cause (RFC
// 7296 section 2.21.4).
const hintPause = 10 * time.Second

// hint takes an unprotected error answer, such as INVALID_IKE_SPI, for a reason
// to look whether the peer is alive, and for nothing else.
func (e *Engine) hint(s *ikeSA, m *wire.Message) {
	e.stats.Unauthentic++
	if len(m.Payloads) > 0 {
		e.doubt(s)
	}
}

// doubtedSPI takes an unprotected INVALID_SPI the same way: the sender at the peer's
// address does not know a Child SA that we send on, as after a restart (RFC 7296
// sections 1.5 and 2.4). It reports whether a message is one.
func (e *Engine) doubtedSPI(h wire.Header, d *Datagram) bool {
	if h.Exchange != wire.Informational || h.Response() {
		return false
	}
	m, err := wire.Parse(d.Data)
	if err != nil {
		return false
	}
	for _, p := range m.Payloads {
		n, ok := p.(*wire.Notify)
		if !ok || n.Kind != wire.InvalidSPI {
			continue
		}
		for _, p := range e.candidates(d.Local.Addr(), d.Remote.Addr()) {
			for _, s := range p.established() {
				sends := func(c *child) bool {
					return c.out && len(n.Data) == 4 && c.pub.SPIOut == binary.BigEndian.Uint32(n.Data)
				}
				if from := d.Remote.Addr(); (from == s.remote.Addr() || from == s.esp.remote.Addr()) && slices.ContainsFunc(s.children, sends) {
					e.doubt(s)
				}
			}
		}
		return true
	}
	return false
}

// doubt asks whether the peer is alive, unless that is known or being asked.
func (e *Engine) doubt(s *ikeSA) {
	if !s.stands() || s.req != nil || s.LastHeard+hintPause > e.now {
		return
	}
	s.check = true
	e.markDirty(s)
}

// Check starts a liveness check of a peer's IKE SAs at once. Where the peer is
// suspect, the request that it has not answered is repeated now.
func (e *Engine) Check(now Time, id PeerID) []Action {
	return e.withPeer(now, id, func(p *peer) {
		for _, s := range p.sas {
			if !s.stands() {
				continue
			}
			s.check = true
			if s.suspect && s.req != nil {
				s.req.next = min(s.req.next, e.now)
				e.retransmit(s)
			}
			e.markDirty(s)
		}
	})
}

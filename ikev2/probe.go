package ikev2

import (
	"slices"
	"time"

	"greseal/ikev2/fragment"
	"greseal/ikev2/wire"
)

// A probe finds out whether IP packets of a size reach the peer (RFC 8899): a
// liveness check, padded by a notify of a private status type, which every peer
// ignores (RFC 7296 section 3.10.1), and sent with DF. The answer to it is small.
//
// The window is 1, so a probe that does not arrive holds up what comes next, and
// it cannot be withdrawn: the peer may have received it. So it goes on after a second try,
// or at once when a rekeying is due, under the same
// message ID, as something that arrives:
//
//	in fragments   the same content (RFC 7383 section 2.5.2). A peer that had it
//	               whole repeats its answer at the first of them (section 2.6.1).
//	split          the same octets in fragments of IP, where the peer takes none
//	               of IKE, or none of this exchange: strongSwan with its mediation
//	               extension (5.9.8 to 6.0 at least) takes each INFORMATIONAL that
//	               does not begin with an SK payload for something else.
//
// Which of them comes through is rehearsed before the first probe of an IKE SA, by
// a small message that goes out in fragments, then split, and at last as it is,
// which always arrives. Where that alone was answered nothing is ever probed.
//
// The answer to a probe's second form says two things at once: the peer is there,
// and what was large was lost. Without it nothing is concluded about sizes, and
// neither where it does not come at once: a peer that was slow may be answering what
// went before. Such a probe is sent again, and that a rehearsal's first form is lost
// must show twice in a row. What a rehearsal found to be of no use is looked at again
// after a while. The silence after a probe counts towards suspect and dead from its
// second form on.

// probe is the exchange, from the wish for it on.
type probe struct {
	lone
	size     int // of the IP packet, bytes; of a rehearsal 0
	octets   int // of the notify
	token    uint64
	whole    []byte
	pieces   [][]byte // the same in fragments
	form     recovery // that it is in
	formAt   Time     // since then
	changed  bool     // it went out in another one before
	cutShort bool
	rehearse bool
	again    int // times it was sent anew because its result said nothing
}

// probe is what a request probes, nil: nothing.
func (r *request) probe() *probe {
	p, _ := r.about.(*probe)
	return p
}

const (
	probeTries    = 2           // of each form but the last
	longestRTT    = time.Second // that the pause between them allows for
	rehearsalSize = 160         // octets of the notify

	rehearsals   = 2                // that must end alike, to say that a form is lost
	probesAgain  = 3                // of which the result says nothing
	recoverAgain = 10 * time.Minute // that no form arrives is believed so long
)

// Probe asks for one probe of the path to a peer, with an IP packet of size bytes,
// or a little less where the cipher works in blocks. It is sent when the IKE SA has
// nothing else to ask; Probed tells how it went. A newer probe takes the place of
// one that was not sent yet.
func (e *Engine) Probe(now Time, id PeerID, size int, token uint64) []Action {
	return e.withPeer(now, id, func(p *peer) { e.wantProbe(p, &probe{size: size, token: token}) })
}

func (e *Engine) wantProbe(p *peer, want *probe) {
	p.probe = want
	for _, s := range p.sas {
		e.markDirty(s)
	}
}

// ProbeRefused reports that a Send with DF was larger than what this machine's own
// interface takes.
func (e *Engine) ProbeRefused(now Time, id PeerID) []Action {
	return e.withPeer(now, id, func(p *peer) {
		for _, s := range p.sas {
			if s.probing() {
				e.nextForm(s, s.req)
			}
		}
	})
}

// cutProbeShort has what is under way go on in its last form at once, because
// something else is due. Nothing is concluded from it then.
func (e *Engine) cutProbeShort(s *ikeSA) {
	for s.probing() {
		s.req.probe().cutShort = true
		e.nextForm(s, s.req)
	}
}

// probing reports whether the outstanding request is a probe, or the rehearsal of
// one, before its last form.
func (s *ikeSA) probing() bool {
	p, ok := asking[*probe](s)
	return ok && p.form != s.lastForm(p)
}

// patient reports whether silence says nothing yet: a large probe may be lost.
func (s *ikeSA) patient() bool { return s.probing() && !s.req.probe().rehearse }

// lastForm is the form that arrives whatever the path does.
func (s *ikeSA) lastForm(p *probe) recovery {
	if p.rehearse {
		return recoverNever
	}
	return s.recovers
}

// pumpProbe sends the probe that is wanted, or what comes before it.
func (e *Engine) pumpProbe(s *ikeSA) bool {
	want := s.peer.probe
	switch {
	case want == nil || !s.announced:
		return false
	case s.recovers == recoverNever && e.now-s.recoversAt >= recoverAgain:
		s.recovers = recoverUnknown
		return e.pumpProbe(s)
	case s.recovers == recoverUnknown:
		p := &probe{rehearse: true, octets: rehearsalSize}
		first := recoverSplit
		if s.Fragmentation {
			first = recoverFragments
		}
		return e.sendProbe(s, p, first)
	case s.recovers == recoverNever:
		s.peer.probe = nil
		e.emit(Probed{Peer: s.peer.cfg.ID, Size: want.size, Token: want.token, Hopeless: true})
		return false
	}
	s.peer.probe = nil
	around := 20 + 8 // IPv4 and UDP
	if s.remote.Addr().Is6() {
		around += 20
	}
	if s.local.Port() == e.cfg.PortNAT {
		around += 4 // non-ESP marker
	}
	head := around + wire.HeaderLen + 4 // of the SK payload
	n := max(want.size-head, probeHead)
	for n > probeHead && head+n+s.keys.Out.Overhead(n) > want.size {
		n--
	}
	p := &probe{size: head + n + s.keys.Out.Overhead(n), token: want.token, again: want.again, octets: n}
	return e.sendProbe(s, p, recoverUnknown)
}

// probeHead is the notify without padding.
const probeHead = 8

func (p *probe) payloads(*Engine, *ikeSA) (wire.ExchangeType, []wire.Payload, bool) {
	return wire.Informational, []wire.Payload{wire.NewNotify(wire.PathMTUProbe, make([]byte, p.octets-probeHead))}, true
}

// sendProbe sends a request in its first form.
func (e *Engine) sendProbe(s *ikeSA, p *probe, first recovery) bool {
	r := &request{about: p}
	_, inner, _ := p.payloads(e, s)
	h := s.header(wire.Informational, s.nextOut, false)
	m, err := fragment.Keep(h, inner, s.keys.Out)
	if err == nil {
		p.whole, err = m.Whole()
	}
	if err != nil {
		e.exhausted(s, wire.Informational, err)
		return true
	}
	e.tell(p.whole, h, sealedOnly, inner)
	if !s.Fragmentation {
		m.Settle()
	}
	p.form, p.formAt = first, e.now
	r.message = m
	e.shape(s, r, p)
	e.startRequest(s, wire.Informational, r, r.message)
	return true
}

// shape gives a request the datagrams of its form. The fragments are the same in
// every form: by them alone the peer knows a request again that it had in fragments.
func (e *Engine) shape(s *ikeSA, r *request, p *probe) {
	if p.pieces == nil && s.Fragmentation && p.form != recoverUnknown && (p.rehearse || s.recovers == recoverFragments) {
		size := s.least()
		if p.rehearse {
			size = len(p.whole) - rehearsalSize/2
		}
		p.pieces, _ = r.message.Split(size) // fails as sealing did not: the whole is left
		e.tellFragments(r.message.Header(), p.pieces, nil)
	}
	r.message.Data = slices.Clone(p.pieces)
	if p.form != recoverFragments || p.pieces == nil {
		r.message.Data = append(r.message.Data, p.whole)
	}
}

// nextForm goes over to a request's next form. Its timers start again.
func (e *Engine) nextForm(s *ikeSA, r *request) {
	p := r.probe()
	if p.rehearse {
		p.form++
	} else {
		p.form = s.recovers
	}
	p.formAt, p.changed = e.now, true
	e.shape(s, r, p)
	if !p.rehearse {
		r.first = e.now
	}
	r.tries, r.wait = 1, max(firstPause, 2*s.rtt)
	r.next = e.now + e.rnd.jitter(r.wait)
	e.markDirty(s)
	e.sendOut(s, r)
}

// sendProbeOut sends a request in its form.
func (e *Engine) sendProbeOut(s *ikeSA, r *request, p *probe) {
	for _, d := range r.message.Data {
		whole := &d[0] == &p.whole[0]
		e.emit(Send{
			Datagram: Datagram{Local: s.local, Remote: s.remote, Data: d}, Peer: s.peer.cfg.ID,
			DF:    whole && p.form == recoverUnknown,
			Split: whole && p.form == recoverSplit,
		})
	}
	s.sentBy(r.at, e.now)
}

// answer takes the response to a probe or a rehearsal, in whatever form.
func (p *probe) answer(e *Engine, s *ikeSA, r *request, c content, _ *Datagram) {
	switch {
	case !e.sound(s, r, c):
	case r.spread && p.form != s.lastForm(p):
		p.giveUp(e, s) // it went more than one way
	case p.cutShort:
		if !p.rehearse && s.stands() && s.peer.probe == nil {
			e.wantProbe(s.peer, &probe{size: p.size, token: p.token, again: p.again})
		}
	case p.rehearse:
		p.rehearsed(e, s, r)
	case p.form != recoverUnknown && p.again < probesAgain && !p.atOnce(e, r):
		if s.peer.probe == nil {
			e.wantProbe(s.peer, &probe{size: p.size, token: p.token, again: p.again + 1})
		}
	default:
		e.emit(Probed{Peer: s.peer.cfg.ID, Size: p.size, Token: p.token, Arrived: p.form == recoverUnknown})
	}
}

// atOnce reports whether the answer to a probe's present form came before that was
// repeated.
func (p *probe) atOnce(e *Engine, r *request) bool { return r.tries == 1 && e.now-p.formAt <= r.wait }

// rehearsed takes the result of a rehearsal, which is repeated where it may not be
// true.
func (p *probe) rehearsed(e *Engine, s *ikeSA, r *request) {
	first := p.form == recoverFragments || p.form == recoverSplit && p.pieces == nil
	switch {
	case first:
	case !p.atOnce(e, r) && s.rehearsals.unclear < probesAgain:
		s.rehearsals.unclear++
		return
	case s.rehearsals.form != p.form || s.rehearsals.alike+1 < rehearsals:
		if s.rehearsals.form != p.form {
			s.rehearsals.form, s.rehearsals.alike = p.form, 0
		}
		s.rehearsals.alike++
		return
	}
	s.recovers, s.recoversAt = p.form, e.now
	s.rehearsals = rehearsalCount{}
}

// giveUp has a probe that ended in its first form without an answer sent again,
// on this IKE SA or another one of the peer.
func (p *probe) giveUp(e *Engine, s *ikeSA) {
	if !p.rehearse && p.form == recoverUnknown && s.peer != nil && s.peer.probe == nil {
		e.wantProbe(s.peer, &probe{size: p.size, token: p.token})
	}
}

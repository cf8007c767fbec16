package ikev2

import (
	"time"

	"greseal/ikev2/wire"
)

// A probe finds out whether IP packets of a size reach the peer (RFC 8899): a
// liveness check, padded by a notify of a private status type, which every peer
// ignores (RFC 7296 section 3.10.1), and sent with DF. The answer to it is small.
//
// The window is 1, so a probe that does not arrive holds up what comes next, and
// it cannot be taken back: the peer may have had it. So it goes on as something
// that arrives, under the same message ID:
//
//	try 1, 2   whole, with DF, the same octets
//	try 3, 4   the same content in fragments (RFC 7383 section 2.5.2); a peer that
//	           had it whole repeats its answer at the first of them (section
//	           2.6.1)
//	then       the same octets as at first, without DF, beside smaller fragments
//
// The last is for peers that cannot put fragments together, or not of this exchange:
// strongSwan with its mediation extension (5.9.8 to 6.0 at least) takes every
// INFORMATIONAL that does not begin with an SK payload for something else. With a
// peer that answered to nothing but that, it comes right after try 2.
//
// The answer to a later form says two things at once: the peer is there, and what was
// large was lost. Without it nothing is concluded about sizes. A probe counts as
// unanswered, towards suspect and dead, from its last form on.

// probe is what a request probes.
type probe struct {
	size  int // of the IP packet, bytes
	token uint64
	whole []byte
	small bool // in a later form
	all   bool // in the last one
}

const (
	probeTries = 2               // of the first form
	longestRTT = 5 * time.Second // that the pause between them allows for
)

// Probe asks for one probe of the path to a peer, with an IP packet of size bytes,
// or a little less where the cipher works in blocks. It is sent when the IKE SA has
// nothing else to ask; Probed tells how it went. A newer probe takes the place of
// one that was not sent yet.
func (e *Engine) Probe(now Time, id PeerID, size int, token uint64) []Action {
	e.enter(now)
	if p := e.peers[id]; p != nil {
		e.wantProbe(p, &probe{size: size, token: token})
	}
	return e.flush()
}

func (e *Engine) wantProbe(p *peer, want *probe) {
	p.probe = want
	for _, s := range p.sas {
		e.touch(s)
	}
}

// ProbeRefused reports that a Send with DF was larger than what this machine's own
// interface takes.
func (e *Engine) ProbeRefused(now Time, id PeerID) []Action {
	e.enter(now)
	if p := e.peers[id]; p != nil {
		for _, s := range p.sas {
			if s.probeWhole() {
				e.shrinkProbe(s, s.req)
			}
		}
	}
	return e.flush()
}

// hastenProbe has a probe that is under way go on in its last form at once.
func (e *Engine) hastenProbe(s *ikeSA) {
	if s.probing() {
		s.req.probe.small = true
		e.shrinkProbe(s, s.req)
	}
}

// probing tells whether the outstanding request is a probe before its last form.
func (s *ikeSA) probing() bool {
	return s.req != nil && s.req.probe != nil && !s.req.probe.all
}

// probeWhole tells whether it is one in its first form, with DF.
func (s *ikeSA) probeWhole() bool { return s.probing() && !s.req.probe.small }

// pumpProbe sends the probe that is wanted.
func (e *Engine) pumpProbe(s *ikeSA) bool {
	p := s.peer.probe
	if p == nil || !s.announced {
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
	const notifyHead = 8
	n := max(p.size-head, notifyHead)
	for n > notifyHead && head+n+s.keys.out.Overhead(n) > p.size {
		n--
	}
	r := &request{kind: askProbe, probe: &probe{size: head + n + s.keys.out.Overhead(n), token: p.token}}
	inner := []wire.Payload{wire.NewNotify(wire.PathMTUProbe, make([]byte, n-notifyHead))}
	h := s.header(wire.Informational, s.nextOut, false)
	plain, err := wire.AppendPayloads(nil, inner)
	var data []byte
	if err == nil {
		data, err = wire.AppendSealedBytes(nil, h, inner[0].Type(), plain, s.keys.out)
	}
	if err != nil {
		e.exhausted(s, wire.Informational, err)
		return true
	}
	e.tell(data, h, sealedOnly, inner)
	r.probe.whole = data
	m := sealed{data: [][]byte{data}}
	if s.fragmentation {
		m.plain, m.header, m.first, m.sealer = plain, h, inner[0].Type(), s.keys.out
	}
	e.startRequest(s, wire.Informational, r, m)
	return true
}

// shrinkProbe goes over to a probe's next form. Its timers start anew.
func (e *Engine) shrinkProbe(s *ikeSA, r *request) {
	whole := r.probe.whole
	r.probe.all = r.probe.small || !s.fragmentation || s.peer.wholeProbes
	r.probe.small = true
	r.message.data = nil
	if s.fragmentation {
		size := s.largest()
		if r.probe.all || len(whole) <= size {
			size = s.fitting(leastPathMTU)
		}
		r.message.data, _ = e.fragment(s, &r.message, size, nil) // fails as sealing did not: the whole is left
	}
	if r.probe.all || r.message.data == nil {
		r.message.data = append(r.message.data, whole)
	}
	r.first, r.tries, r.wait = e.now, 1, max(firstPause, 2*s.rtt)
	r.next = e.now + e.jitter(r.wait)
	e.touch(s)
	e.sendOut(s, r)
}

// onProbed is the answer to a probe, in whatever form.
func (e *Engine) onProbed(s *ikeSA, r *request) {
	if r.spread && !r.probe.small {
		e.keepProbe(s, r) // it went more than one way
		return
	}
	if r.probe.all {
		s.peer.wholeProbes = true
	}
	e.emit(Probed{s.peer.cfg.ID, r.probe.size, r.probe.token, !r.probe.small})
}

// keepProbe has a probe that ended in its first form without an answer sent again,
// on this IKE SA or another one of the peer.
func (e *Engine) keepProbe(s *ikeSA, r *request) {
	if r != nil && r.probe != nil && !r.probe.small && s.peer != nil && s.peer.probe == nil {
		e.wantProbe(s.peer, &probe{size: r.probe.size, token: r.probe.token})
	}
}

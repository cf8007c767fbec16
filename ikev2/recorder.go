package ikev2

import (
	"net/netip"
	"slices"
	"sort"

	"greseal/ikev2/rate"
	"greseal/ikev2/wire"
)

// The flight recorder keeps the latest handshakes: what was sent and received in
// every exchange but the empty INFORMATIONAL that asks whether somebody lives,
// and what came of it. Repetitions are not kept. It is one ring of bounded size,
// a quarter of which is for what nobody has authenticated, so that strangers
// push out strangers only; how many of them are heard is limited as well. What
// is kept of a message is its summary (wire.AppendSummary), which has no secret.
const (
	recordedOctets  = 256 << 10
	recordedForeign = recordedOctets / 4
	recordedMessage = 2 << 10 // of one message
	recordedEarly   = 24      // messages of one IKE SA before it is authenticated
	recordCost      = 192     // octets of a record beside its body
)

// recordKind says what a record is.
type recordKind uint8

const (
	recordSent recordKind = iota
	recordReceived
	recordNote
)

type record struct {
	seq           uint64
	at            Time
	kind          recordKind
	cut           bool // not all payloads fitted
	initiator     bool
	exchange      wire.ExchangeType
	response      bool
	id            uint32
	octets, parts int
	ike           SAID // 0: outside any
	peer          PeerID
	local, remote netip.AddrPort
	body          []byte // summary, or the text of a note
}

func (r *record) size() int { return recordCost + len(r.body) }

type recorder struct {
	seq            uint64
	known, foreign recordRing
	strangers      rate.Bucket // conversations begun by strangers that are kept
	remarks        rate.Bucket // notes on what strangers sent
	scratch        []byte
}

func newRecorder() recorder {
	return recorder{
		known: recordRing{limit: recordedOctets - recordedForeign}, foreign: recordRing{limit: recordedForeign},
		strangers: rate.Bucket{Rate: 1, Burst: 20}, remarks: rate.Bucket{Rate: 1, Burst: 20},
	}
}

// recordRing holds records, oldest first, of at most limit octets.
type recordRing struct {
	records     []record
	size, limit int
}

func (g *recordRing) add(r record) {
	g.records = append(g.records, r)
	g.size += r.size()
	if g.size <= g.limit {
		return
	}
	// Some more than needed, so that the rest is seldom moved.
	n := 0
	for g.size > g.limit-g.limit/8 {
		g.size -= g.records[n].size()
		n++
	}
	g.records = slices.Delete(g.records, 0, n)
}

// record records a message of an IKE SA.
func (e *Engine) record(s *ikeSA, kind recordKind, h wire.Header, ps []wire.Payload, octets, parts int, local, remote netip.AddrPort) {
	if h.Exchange == wire.Informational && liveness(ps) {
		return
	}
	early := s.handshake != nil
	if early {
		if s.handshake.recorded == 0 || s.handshake.recorded > recordedEarly {
			return
		}
		s.handshake.recorded++
	}
	r := e.recordOf(kind, h, ps, octets, parts, local, remote)
	r.ike, r.initiator = s.id, s.initiator
	if s.peer != nil {
		r.peer = s.peer.cfg.ID
	}
	if early && !s.initiator {
		e.rec.foreign.add(r)
	} else {
		e.rec.known.add(r)
	}
}

// liveness tells whether a message is nothing but a liveness check, or a probe.
func liveness(ps []wire.Payload) bool {
	if len(ps) != 1 {
		return len(ps) == 0
	}
	n, ok := ps[0].(*wire.Notify)
	return ok && n.Kind == wire.PathMTUProbe
}

func (e *Engine) recordOf(kind recordKind, h wire.Header, ps []wire.Payload, octets, parts int, local, remote netip.AddrPort) record {
	sum, whole := wire.AppendSummary(e.rec.scratch[:0], ps, recordedMessage)
	e.rec.scratch = sum[:0]
	e.rec.seq++
	return record{
		seq: e.rec.seq, at: e.now, kind: kind, cut: !whole, exchange: h.Exchange, response: h.Response(), id: h.MessageID,
		octets: octets, parts: parts, local: local, remote: remote, body: slices.Clone(sum),
	}
}

// recordRefused records an IKE_SA_INIT request that makes no IKE SA, and the
// answer to it.
func (e *Engine) recordRefused(m *wire.Message, d *Datagram, answer wire.Payload, octets int) {
	if !e.rec.strangers.Take(e.now) {
		return
	}
	var peer PeerID
	if c := e.candidates(d.Local.Addr(), d.Remote.Addr()); len(c) == 1 {
		peer = c[0].cfg.ID
	}
	in := e.recordOf(recordReceived, m.Header, m.Payloads, len(m.Raw), 1, d.Local, d.Remote)
	h := m.Header
	h.Flags = wire.FlagResponse
	out := e.recordOf(recordSent, h, []wire.Payload{answer}, octets, 1, d.Local, d.Remote)
	in.peer, out.peer = peer, peer
	e.rec.foreign.add(in)
	e.rec.foreign.add(out)
}

// recordAuthenticated moves what was kept of an IKE SA that a stranger began to
// where strangers cannot push it out.
func (e *Engine) recordAuthenticated(s *ikeSA) {
	if s.handshake.recorded == 0 {
		return
	}
	g := &e.rec.foreign
	g.records = slices.DeleteFunc(g.records, func(r record) bool {
		if r.ike != s.id {
			return false
		}
		g.size -= r.size()
		r.peer = s.peer.cfg.ID
		e.rec.known.add(r)
		return true
	})
}

// recordAction records what came of a handshake.
func (e *Engine) recordAction(a Action) {
	r := record{at: e.now, kind: recordNote}
	ring := &e.rec.known
	var text string
	about := func(i *IKEInfo) {
		r.ike, r.peer, r.initiator, r.local, r.remote = i.ID, i.Peer, i.Initiator, i.Local, i.Remote
	}
	failure := func(p PeerID, f *Failure) { r.ike, r.peer, text = f.ike, p, f.Error() }
	switch a := a.(type) {
	case InstallIn:
		c := a.Child
		mode := "tunnel mode"
		if c.Transport {
			mode = "transport mode"
		}
		if c.Encap {
			mode += " in UDP"
		}
		r.ike, r.peer, r.local, r.remote = c.IKE, c.Peer, c.Local, c.Remote
		text = "Child SA agreed: " + c.Suite.IANA() + ", " + mode + ", protocol 47 between " + c.GRELocal.String() + " and " + c.GRERemote.String()
	case IKEUp:
		about(&a.IKEInfo)
		text = "IKE SA up: " + a.Suite.IANA() + "; the peer is " + a.RemoteID.String()
		if a.NATLocal {
			text += "; we are behind a NAT"
		}
		if a.NATRemote {
			text += "; it is behind a NAT"
		}
	case IKEDown:
		about(&a.IKEInfo)
		text = "IKE SA closed"
		if a.Reason != nil {
			text = "IKE SA down: " + a.Reason.Error()
		}
	case Failed:
		failure(a.Peer, a.Reason)
	case Noted:
		failure(a.Peer, a.Reason)
		if a.Reason.stranger {
			if !e.rec.remarks.Take(e.now) {
				return
			}
			ring = &e.rec.foreign
		}
	default:
		return
	}
	e.rec.seq++
	r.seq, r.body = e.rec.seq, []byte(text[:min(len(text), recordedMessage)])
	ring.add(r)
}

// Step is a message of the past, or what came of those before it.
type Step struct {
	At            Time
	Peer          PeerID // empty: a stranger whose tunnel is not known
	IKE           SAID   // 0: no IKE SA came of it
	Initiator     bool   // our role in the IKE SA
	Local, Remote netip.AddrPort

	Sent, Received bool // neither: Text says what came of it
	Exchange       string
	Response       bool
	MessageID      uint32
	Octets         int      // of the IKE message, all fragments together when sent
	Fragments      int      // 1 when it was not fragmented
	Payloads       []string // without their secrets
	Text           string
}

// Handshakes are the latest handshakes with a peer, oldest first; an empty ID
// means with all, and with strangers.
func (e *Engine) Handshakes(id PeerID) []Step {
	all := slices.Concat(e.rec.known.records, e.rec.foreign.records)
	sort.SliceStable(all, func(i, j int) bool { return all[i].seq < all[j].seq })
	owner, initiator := map[SAID]PeerID{}, map[SAID]bool{} // which not every record tells
	for _, r := range all {
		initiator[r.ike] = initiator[r.ike] || r.initiator
		if r.peer != "" && r.ike != 0 {
			owner[r.ike] = r.peer
		}
	}
	out := []Step{}
	for i := range all {
		r := &all[i]
		if r.peer == "" {
			r.peer = owner[r.ike]
		}
		if id != "" && r.peer != id {
			continue
		}
		s := Step{
			At: r.at, Peer: r.peer, IKE: r.ike, Initiator: initiator[r.ike], Local: r.local, Remote: r.remote,
			Sent: r.kind == recordSent, Received: r.kind == recordReceived,
		}
		if r.kind == recordNote {
			s.Text = string(r.body)
		} else {
			s.Exchange, s.Response, s.MessageID = r.exchange.String(), r.response, r.id
			s.Octets, s.Fragments, s.Payloads = r.octets, r.parts, wire.SummaryLines(r.body)
			if r.cut {
				s.Payloads = append(s.Payloads, "and more")
			}
		}
		out = append(out, s)
	}
	return out
}

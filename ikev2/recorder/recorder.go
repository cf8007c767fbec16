// Package recorder is the flight recorder of IKE: it keeps the latest handshakes,
// what was sent and received in them and what came of it. It is two rings of
// bounded size, one of which is for what nobody has authenticated, so that
// strangers push out strangers only. What is kept of a message is its summary
// (wire.AppendSummary), which has no secret.
package recorder

import (
	"net/netip"
	"slices"
	"sort"
	"time"

	"greseal/crypto/rate"
	"greseal/ikev2/wire"
)

// Bounds of what is kept.
const (
	Octets  = 256 << 10  // of both rings
	Foreign = Octets / 4 // of the ring for strangers
	message = 2 << 10    // of one message
	cost    = 192        // octets of a record beside its body
)

// Kind says what a record is.
type Kind uint8

// Kinds of records.
const (
	Sent Kind = iota
	Received
	Note
)

// Record is a message, or a note on what came of those before it.
type Record struct {
	At            time.Duration
	Kind          Kind
	Initiator     bool // our role in the IKE SA
	IKE           uint64
	Peer          string
	Local, Remote netip.AddrPort
	Octets        int // of the message, all fragments together when sent
	Fragments     int // 1 when it was not fragmented

	seq      uint64
	cut      bool // not all payloads fitted
	exchange wire.ExchangeType
	response bool
	id       uint32
	Body     []byte // summary, or the text of a note
}

// Size is what a record takes, octets in round figures.
func (r *Record) Size() int { return cost + len(r.Body) }

// Recorder is the flight recorder.
type Recorder struct {
	Known, Foreign Ring
	// Strangers limits conversations begun by strangers that are kept, Remarks
	// the notes on what they sent.
	Strangers, Remarks rate.Bucket

	seq     uint64
	scratch []byte
}

// New returns an empty recorder.
func New() Recorder {
	return Recorder{
		Known: Ring{Limit: Octets - Foreign}, Foreign: Ring{Limit: Foreign},
		Strangers: rate.Bucket{Burst: 20, Each: time.Second}, Remarks: rate.Bucket{Burst: 20, Each: time.Second},
	}
}

// Ring holds records, oldest first, of at most Limit octets.
type Ring struct {
	Records     []Record
	Size, Limit int
}

// Add adds a record. The oldest go when there is no room.
func (g *Ring) Add(r Record) {
	g.Records = append(g.Records, r)
	g.Size += r.Size()
	if g.Size <= g.Limit {
		return
	}
	// Some more than needed, so that the rest is seldom moved.
	n := 0
	for g.Size > g.Limit-g.Limit/8 {
		g.Size -= g.Records[n].Size()
		n++
	}
	g.Records = slices.Delete(g.Records, 0, n)
}

// Message completes the record of a message: r says when, where and which way.
func (c *Recorder) Message(r Record, h wire.Header, ps []wire.Payload) Record {
	sum, whole := wire.AppendSummary(c.scratch[:0], ps, message)
	c.scratch = sum[:0]
	c.seq++
	r.seq, r.cut, r.exchange, r.response, r.id = c.seq, !whole, h.Exchange, h.Response(), h.MessageID
	r.Body = slices.Clone(sum)
	return r
}

// Note completes the record of what came of a handshake.
func (c *Recorder) Note(r Record, text string) Record {
	c.seq++
	r.Kind, r.seq, r.Body = Note, c.seq, []byte(text[:min(len(text), message)])
	return r
}

// Authenticated moves what was kept of an IKE SA that a stranger began, and which
// turned out to be a peer's, to where strangers cannot push it out.
func (c *Recorder) Authenticated(ike uint64, peer string) {
	g := &c.Foreign
	g.Records = slices.DeleteFunc(g.Records, func(r Record) bool {
		if r.IKE != ike {
			return false
		}
		g.Size -= r.Size()
		r.Peer = peer
		c.Known.Add(r)
		return true
	})
}

// Step is a record as it is shown.
type Step struct {
	Record
	Exchange  string
	Response  bool
	MessageID uint32
	Payloads  []string // without their secrets
	Text      string   // of a note
}

// Steps are the records of one peer, oldest first; peer empty means of all, and
// of strangers.
func (c *Recorder) Steps(peer string) []Step {
	all := slices.Concat(c.Known.Records, c.Foreign.Records)
	sort.SliceStable(all, func(i, j int) bool { return all[i].seq < all[j].seq })
	owner, initiator := map[uint64]string{}, map[uint64]bool{} // which not every record tells
	for _, r := range all {
		initiator[r.IKE] = initiator[r.IKE] || r.Initiator
		if r.Peer != "" && r.IKE != 0 {
			owner[r.IKE] = r.Peer
		}
	}
	out := []Step{}
	for _, r := range all {
		if r.Peer == "" {
			r.Peer = owner[r.IKE]
		}
		if peer != "" && r.Peer != peer {
			continue
		}
		r.Initiator = initiator[r.IKE]
		s := Step{Record: r}
		if r.Kind == Note {
			s.Text = string(r.Body)
		} else {
			s.Exchange, s.Response, s.MessageID = r.exchange.String(), r.response, r.id
			s.Payloads = wire.SummaryLines(r.Body)
			if r.cut {
				s.Payloads = append(s.Payloads, "and more")
			}
		}
		out = append(out, s)
	}
	return out
}

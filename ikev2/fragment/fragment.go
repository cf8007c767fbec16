// Package fragment is IKE message fragmentation (RFC 7383) as one side of an IKE
// SA does it. A protected message that does not fit the path goes out as several
// datagrams, each sealed by itself (Seal, Message.Split); fragments of the peer's
// are authenticated one by one before anything of them is kept (Collector), and how
// much and how long they are kept is bounded. It knows nothing of exchanges and has
// no clock: who calls it says what time it is.
package fragment

import (
	"errors"
	"math"
	"net/netip"
	"time"

	"greseal/ikev2/wire"
)

const (
	// IPv6MinMTU is what fits nearly everywhere: the minimum MTU of IPv6 (RFC 7383
	// section 2.5.1). IPv4MinMTU is what everything lets through, bytes of IP.
	IPv6MinMTU = 1280
	IPv4MinMTU = 576

	most            = 64       // fragments of one message
	MostOctets      = 32 << 10 // of one message that is put together
	MostOfStrangers = 16 << 10 // the same, before the peer is authenticated

	// Life is how long the rest of a message is waited for after a fragment: longer
	// than between two repetitions.
	Life = 30 * time.Second
)

// Outside is the number of bytes around an IKE message in an IP packet to remote.
func Outside(remote netip.Addr) int {
	n := 20 + 8 + 4 // IPv4, UDP, non-ESP marker
	if remote.Is6() {
		n += 20
	}
	return n
}

// Fitting is the length of an IKE message in an IP packet of mtu bytes to remote.
func Fitting(mtu int, remote netip.Addr) int { return max(mtu, IPv4MinMTU) - Outside(remote) }

// Message is a protected message as it goes out: one datagram, or fragments.
type Message struct {
	Data [][]byte

	// What a message was before it was sealed that may not fit every path; nil
	// for one that does. It keeps its sealer, for the SA may change its keys.
	plain  []byte
	header wire.Header
	first  wire.PayloadType
	sealer wire.Sealer
}

// Limits are lengths of IKE messages in octets: of the longest that goes out in
// one piece, and of one that fits every path. The zero value is for a peer that
// can't put fragments together.
type Limits struct{ Largest, Least int }

// Seal encodes a protected message, as one datagram or in fragments.
func Seal(h wire.Header, inner []wire.Payload, s wire.Sealer, l Limits) (Message, error) {
	whole, err := Keep(h, inner, s)
	if err != nil {
		return Message{}, err
	}
	n := wire.HeaderLen + 4 + len(whole.plain) + s.Overhead(len(whole.plain))
	if l.Largest != 0 && n > l.Largest {
		whole.Data, err = whole.Split(l.Largest)
		return whole, err
	}
	data, err := whole.Whole()
	if err != nil {
		return Message{}, err
	}
	if l.Largest == 0 || n <= l.Least {
		whole = Message{}
	}
	whole.Data = [][]byte{data}
	return whole, nil
}

// Keep is a message that is not sealed yet.
func Keep(h wire.Header, inner []wire.Payload, s wire.Sealer) (Message, error) {
	plain, err := wire.AppendPayloads(nil, inner)
	if err != nil {
		return Message{}, err
	}
	m := Message{plain: plain, header: h, sealer: s}
	if len(inner) > 0 {
		m.first = inner[0].Type()
	}
	return m, nil
}

// Whole seals the message in one piece.
func (m *Message) Whole() ([]byte, error) {
	return wire.AppendSealedBytes(nil, m.header, m.first, m.plain, m.sealer)
}

// Split seals the message in fragments of up to size octets.
func (m *Message) Split(size int) ([][]byte, error) {
	return wire.SealFragments(m.header, m.first, m.plain, m.sealer, size, most)
}

// Splits tells whether the message can be split.
func (m *Message) Splits() bool { return m.plain != nil }

// Settle has the message stay as it is: what it was before is forgotten.
func (m *Message) Settle() { *m = Message{Data: m.Data} }

// Header is the IKE header of a message that can be split, but for its length.
func (m *Message) Header() wire.Header { return m.header }

// Octets is the length of all its datagrams.
func (m *Message) Octets() int {
	n := 0
	for _, d := range m.Data {
		n += len(d)
	}
	return n
}

// Held is about how many octets of memory it takes.
func (m *Message) Held() int { return m.Octets() + len(m.plain) }

// Mark knows a repeated message again: by its end, which is the integrity check
// value, and so the same only if the whole message is. Of a fragmented message that
// is fragment 1 (RFC 7383 section 2.6.1).
type Mark struct {
	tail [16]byte
	size int
}

// MarkOf is that of a datagram.
func MarkOf(b []byte) Mark {
	m := Mark{size: len(b)}
	copy(m.tail[:], b[max(0, len(b)-len(m.tail)):])
	return m
}

// Parts is a message of the peer's that is being put together.
type Parts struct {
	Mark     Mark             // of fragment 1
	Critical wire.PayloadType // in front of SKF, in fragment 1: not known here
	Octets   int              // of all fragments that were taken

	id      uint32
	set     wire.Reassembly
	expires time.Duration
}

// Held is about how many octets of memory the fragments so far take.
func (p *Parts) Held() int {
	if p == nil {
		return 0
	}
	return p.set.Held()
}

// Longest is the length of the longest fragment so far, octets.
func (p *Parts) Longest() int { return p.set.LongestFragment() }

// Collector is what comes in on one IKE SA: no more than one request and one
// response can be due. Each has a message ID of its own, and neither disturbs the
// other. The zero value is empty.
type Collector struct {
	Request, Response *Parts // nil: nothing of one is there
}

func (c *Collector) of(m *wire.Message) **Parts {
	if m.Response() {
		return &c.Response
	}
	return &c.Request
}

// Of is the message that a fragment belongs to.
func (c *Collector) Of(m *wire.Message) *Parts { return *c.of(m) }

// ErrTooLong is returned by Add for an authentic fragment with which the message
// is longer than is taken.
var ErrTooLong = errors.New("the fragments hold more than is taken of one message")

// Add takes a fragment of a message of up to limit octets. The content is nil as
// long as more are missing; an error means that the fragment was dropped.
func (c *Collector) Add(now time.Duration, m *wire.Message, o wire.Opener, limit int) (*wire.Content, error) {
	at := c.of(m)
	p := *at
	if p == nil || p.id != m.MessageID {
		p = &Parts{id: m.MessageID, set: wire.Reassembly{MaxFragments: most, MaxOctets: limit}}
	}
	complete, err := p.set.Add(m, o)
	if errors.Is(err, wire.ErrFragmentLimit) && int(m.SKF().Total) <= most {
		return nil, ErrTooLong
	}
	if err != nil {
		return nil, err
	}
	*at = p // only now: a forged fragment replaces nothing
	p.Octets += len(m.Raw)
	p.expires = now + Life
	if m.SKF().Number == 1 {
		p.Mark = MarkOf(m.Raw)
		p.Critical, _ = wire.UnsupportedCritical(m.Payloads)
	}
	if !complete {
		return nil, nil
	}
	content := p.set.Content()
	return &content, nil
}

// Expires is when the next of them is to be given up.
func (c *Collector) Expires() time.Duration {
	at := time.Duration(math.MaxInt64)
	for _, p := range []*Parts{c.Request, c.Response} {
		if p != nil {
			at = min(at, p.expires)
		}
	}
	return at
}

// Expire gives up messages of which nothing more has come (RFC 7383 section 2.6).
func (c *Collector) Expire(now time.Duration) {
	for _, at := range []**Parts{&c.Request, &c.Response} {
		if *at != nil && (*at).expires <= now {
			*at = nil
		}
	}
}

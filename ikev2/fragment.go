package ikev2

import (
	"errors"
	"time"

	"greseal/ikev2/recorder"
	"greseal/ikev2/wire"
)

// IKE message fragmentation (RFC 7383). A protected message that does not fit
// the path goes out as several datagrams, each sealed by itself; fragments of
// the peer are authenticated one by one before anything of them is kept.
const (
	// ipv6MinMTU is the default of the path: it fits nearly everywhere (RFC 7383
	// section 2.5.1).
	ipv6MinMTU      = 1280
	ipv4MinMTU      = 576
	maxFragments    = 64
	maxReassembled  = 32 << 10 // octets of one message
	maxFromStranger = 16 << 10 // the same, before the peer is authenticated

	// partsLife is how long the rest of a message is waited for after a fragment:
	// longer than between two repetitions.
	partsLife = 30 * time.Second
)

// fragments is a message of the peer's that is being put together: no more than
// one request and one response of an SA can be due.
type fragments struct {
	id  uint32
	set wire.Reassembly
	// Of fragment 1: by it alone a repeated request is known and answered
	// again (section 2.6.1).
	tail [16]byte
	size int

	critical wire.PayloadType // in front of SKF, in fragment 1: not known here

	octets  int // of all fragments that were taken
	expires Time
}

// largest is the length of the longest IKE message that goes out in one piece.
func (s *ikeSA) largest() int {
	n := ipv6MinMTU
	if s.peer != nil && s.peer.cfg.PathMTU != 0 {
		n = s.peer.cfg.PathMTU
	}
	if s.threshold != 0 {
		n = min(n, s.threshold)
	}
	return s.fitting(n)
}

// fitting is the length of an IKE message in an IP packet of n octets.
func (s *ikeSA) fitting(n int) int { return max(n, ipv4MinMTU) - s.outside() }

// outside is what stands around an IKE message.
func (s *ikeSA) outside() int {
	n := 20 + 8 + 4 // IPv4, UDP, non-ESP marker
	if s.remote.Addr().Is6() {
		n += 20
	}
	return n
}

// sealed is a protected message as it goes out: one datagram, or fragments.
type sealed struct {
	data [][]byte
	// What a message was before it was sealed that may not fit every path; nil
	// for one that does. It keeps its sealer, for the SA may change its keys.
	plain  []byte
	header wire.Header
	first  wire.PayloadType
	sealer wire.Sealer
}

// seal encodes a protected message, as one datagram or in fragments.
func (e *Engine) seal(s *ikeSA, h wire.Header, inner []wire.Payload) (sealed, error) {
	plain, err := wire.AppendPayloads(nil, inner)
	if err != nil {
		return sealed{}, err
	}
	first := wire.NoNext
	if len(inner) > 0 {
		first = inner[0].Type()
	}
	var out sealed
	whole := wire.HeaderLen + 4 + len(plain) + s.keys.Out.Overhead(len(plain))
	if s.Fragmentation && whole > s.fitting(ipv4MinMTU) {
		out = sealed{plain: plain, header: h, first: first, sealer: s.keys.Out}
	}
	if s.Fragmentation && whole > s.largest() {
		out.data, err = e.fragment(s, &out, s.largest(), inner)
		return out, err
	}
	data, err := wire.AppendSealedBytes(nil, h, first, plain, s.keys.Out)
	if err != nil {
		return sealed{}, err
	}
	e.tell(data, h, sealedOnly, inner)
	e.record(s, recorder.Sent, h, inner, len(data), 1, s.local, s.remote)
	out.data = [][]byte{data}
	return out, nil
}

// fragment encodes a message in fragments of up to size octets.
func (e *Engine) fragment(s *ikeSA, m *sealed, size int, inner []wire.Payload) ([][]byte, error) {
	out, err := wire.SealFragments(m.header, m.first, m.plain, m.sealer, size, maxFragments)
	octets := 0
	for i, data := range out {
		var said []wire.Payload
		if i == 0 {
			said = inner
		}
		e.tell(data, m.header, []wire.Payload{&wire.SKF{Number: uint16(i + 1), Total: uint16(len(out))}}, said)
		octets += len(data)
	}
	if err == nil && inner != nil { // else it stands there already
		e.record(s, recorder.Sent, m.header, inner, octets, len(out), s.local, s.remote)
	}
	return out, err
}

// refragment makes the fragments of a message that seems to get lost on its way
// for its size smaller, once: as small as everything lets through (RFC 7383
// section 2.5.2). What follows on this SA is as small. False: it stays as it is.
func (e *Engine) refragment(s *ikeSA, m *sealed) bool {
	if m.plain == nil || s.largest() <= s.fitting(ipv4MinMTU) {
		return false
	}
	s.threshold = ipv4MinMTU
	smaller, err := e.fragment(s, m, s.largest(), nil)
	if err != nil || len(smaller) <= len(m.data) {
		return false
	}
	m.data = smaller
	return true
}

// fitTo takes the longest fragment of a request as what fits its answer too (RFC
// 7383 section 2.5.1).
func (s *ikeSA) fitTo(longest int) {
	s.threshold = max(longest+s.outside(), ipv4MinMTU)
}

// askedAnew tells whether a request is the answered one in more fragments than
// before, of which the first asks for the answer (RFC 7383 section 2.6.1), or as
// a peer sends it that seals its repetitions anew (against RFC 7296 section 2.1).
func (s *ikeSA) askedAnew(m *wire.Message) bool {
	p, a := m.SKF(), &s.answered
	if a.data == nil || m.MessageID != a.id || s.keys == nil || p != nil && (p.Number != 1 || p.Total < a.total) {
		return false
	}
	tail, total := tailOf(m.Raw), uint16(0)
	if p == nil {
		if _, err := m.Decrypt(s.keys.In); err != nil {
			return false
		}
	} else {
		if _, err := m.DecryptFragment(s.keys.In); err != nil {
			return false
		}
		total = p.Total
	}
	a.tail, a.size, a.total = tail, len(m.Raw), total
	return true
}

// forgetParts gives up messages of which nothing more has come (RFC 7383 section
// 2.6).
func (s *ikeSA) forgetParts(now Time) {
	for _, f := range []**fragments{&s.requestParts, &s.responseParts} {
		if *f != nil && (*f).expires <= now {
			*f = nil
		}
	}
}

// parts is where the fragments of a message are put together.
func (s *ikeSA) parts(m *wire.Message) **fragments {
	if m.Response() {
		return &s.responseParts
	}
	return &s.requestParts
}

// reassemble takes a fragment. The content is nil as long as more are missing;
// an error means that the fragment was dropped.
func (e *Engine) reassemble(s *ikeSA, m *wire.Message) (*wire.Content, error) {
	if !s.Fragmentation {
		return nil, errors.New("fragmentation was not negotiated")
	}
	parts := s.parts(m)
	f := *parts
	if f == nil || f.id != m.MessageID {
		f = &fragments{id: m.MessageID}
		f.set.MaxFragments, f.set.MaxOctets = maxFragments, maxReassembled
		if s.handshake != nil {
			f.set.MaxOctets = maxFromStranger
		}
	}
	complete, err := f.set.Add(m, s.keys.In)
	if errors.Is(err, wire.ErrFragmentLimit) && s.state == stateHalfOpen && int(m.SKF().Total) <= maxFragments {
		e.turnOut(s, refusedWeight) // authentic: an attack or a broken peer (RFC 7383 section 5)
	}
	if err != nil {
		return nil, err
	}
	f.octets += len(m.Raw)
	f.expires = e.now + partsLife
	e.markDirty(s)
	*parts = f // only now: a forged fragment replaces nothing
	if m.SKF().Number == 1 {
		f.tail, f.size = tailOf(m.Raw), len(m.Raw)
		f.critical, _ = wire.UnsupportedCritical(m.Payloads)
	}
	if !complete {
		return nil, nil
	}
	c := f.set.Content()
	return &c, nil
}

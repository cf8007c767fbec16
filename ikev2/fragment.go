package ikev2

import (
	"errors"

	"greseal/ikev2/wire"
)

// IKE message fragmentation (RFC 7383). A protected message that does not fit
// the path goes out as several datagrams, each sealed by itself; fragments of
// the peer are authenticated one by one before anything of them is kept.
const (
	// defaultPathMTU is what fits nearly everywhere: the minimum MTU of IPv6
	// (RFC 7383 section 2.5.1).
	defaultPathMTU = 1280
	leastPathMTU   = 576
	maxFragments   = 64
	maxReassembled = 32 << 10 // octets of one message
)

// fragments is the message of the peer's that is being put together: one an SA,
// since no more than one request and one response can be due.
type fragments struct {
	id       uint32
	response bool
	set      wire.Reassembly
	// Of fragment 1: by it alone a repeated request is known and answered
	// again (section 2.6.1).
	tail [16]byte
	size int

	octets int // of all fragments that were taken
}

// largest is the length of the longest IKE message that goes out in one piece.
func (s *ikeSA) largest() int {
	n := defaultPathMTU
	if s.peer != nil && s.peer.cfg.PathMTU != 0 {
		n = max(s.peer.cfg.PathMTU, leastPathMTU)
	}
	n -= 20 + 8 // IPv4 and UDP
	if s.remote.Addr().Is6() {
		n -= 20
	}
	return n - 4 // non-ESP marker
}

// seal encodes a protected message, as one datagram or in fragments.
func (e *Engine) seal(s *ikeSA, h wire.Header, inner []wire.Payload) ([][]byte, error) {
	plain, err := wire.AppendPayloads(nil, inner)
	if err != nil {
		return nil, err
	}
	first := wire.NoNext
	if len(inner) > 0 {
		first = inner[0].Type()
	}
	whole := wire.HeaderLen + 4 + len(plain) + s.keys.out.Overhead(len(plain))
	if !s.fragmentation || whole <= s.largest() {
		data, err := wire.AppendSealedBytes(nil, h, first, plain, s.keys.out)
		if err != nil {
			return nil, err
		}
		e.tell(data, h, sealedOnly, inner)
		e.record(s, recordSent, h, inner, len(data), 1, s.local, s.remote)
		return [][]byte{data}, nil
	}
	out, err := wire.SealFragments(h, first, plain, s.keys.out, s.largest(), maxFragments)
	octets := 0
	for i, data := range out {
		var said []wire.Payload
		if i == 0 {
			said = inner
		}
		e.tell(data, h, []wire.Payload{&wire.SKF{Number: uint16(i + 1), Total: uint16(len(out))}}, said)
		octets += len(data)
	}
	if err == nil {
		e.record(s, recordSent, h, inner, octets, len(out), s.local, s.remote)
	}
	return out, err
}

// reassemble takes a fragment. The content is nil as long as more are missing;
// an error means that the fragment was dropped.
func (s *ikeSA) reassemble(m *wire.Message) (*wire.Content, error) {
	if !s.fragmentation {
		return nil, errors.New("fragmentation was not negotiated")
	}
	f := s.parts
	if f == nil || f.id != m.MessageID || f.response != m.Response() {
		f = &fragments{id: m.MessageID, response: m.Response()}
		f.set.MaxFragments, f.set.MaxOctets = maxFragments, maxReassembled
	}
	complete, err := f.set.Add(m, s.keys.in)
	if err != nil {
		return nil, err
	}
	f.octets += len(m.Raw)
	s.parts = f // only now: a forged fragment replaces nothing
	if m.SKF().Number == 1 {
		f.tail, f.size = tailOf(m.Raw), len(m.Raw)
	}
	if !complete {
		return nil, nil
	}
	c := f.set.Content()
	return &c, nil
}

package ikev2

import (
	"errors"

	"greseal/ikev2/fragment"
	"greseal/ikev2/recorder"
	"greseal/ikev2/wire"
)

// What of package fragment depends on an IKE SA: how large its messages may be,
// and what is told and recorded of them.

// largest is the length of the longest IKE message that goes out in one piece.
func (s *ikeSA) largest() int {
	n := fragment.IPv6MinMTU
	if s.peer != nil && s.peer.cfg.PathMTU != 0 {
		n = s.peer.cfg.PathMTU
	}
	if s.threshold != 0 {
		n = min(n, s.threshold)
	}
	return fragment.Fitting(n, s.remote.Addr())
}

// least is the length of an IKE message that fits every path.
func (s *ikeSA) least() int { return fragment.Fitting(fragment.IPv4MinMTU, s.remote.Addr()) }

// seal encodes a protected message, as one datagram or in fragments.
func (e *Engine) seal(s *ikeSA, h wire.Header, inner []wire.Payload) (fragment.Message, error) {
	var limits fragment.Limits
	if s.Fragmentation {
		limits = fragment.Limits{Largest: s.largest(), Least: s.least()}
	}
	m, err := fragment.Seal(h, inner, s.keys.Out, limits)
	if err != nil {
		return m, err
	}
	if len(m.Data) == 1 {
		e.tell(m.Data[0], h, sealedOnly, inner)
	} else {
		e.tellFragments(h, m.Data, inner)
	}
	e.record(s, recorder.Sent, h, inner, m.Octets(), len(m.Data), s.local, s.remote)
	return m, nil
}

// tellFragments is tell for a message in fragments; inner goes with the first.
func (e *Engine) tellFragments(h wire.Header, pieces [][]byte, inner []wire.Payload) {
	for i, data := range pieces {
		e.tell(data, h, []wire.Payload{&wire.SKF{Number: uint16(i + 1), Total: uint16(len(pieces))}}, inner)
		inner = nil
	}
}

// refragment makes the fragments of a message that seems to get lost on its way
// for its size smaller, once: as small as everything lets through (RFC 7383
// section 2.5.2). What follows on this SA is as small. False: it stays as it is.
func (e *Engine) refragment(s *ikeSA, m *fragment.Message) bool {
	if !m.Splits() || s.largest() <= s.least() {
		return false
	}
	s.threshold = fragment.IPv4MinMTU
	smaller, err := m.Split(s.largest())
	if err != nil || len(smaller) <= len(m.Data) {
		return false
	}
	e.tellFragments(m.Header(), smaller, nil)
	m.Data = smaller
	return true
}

// fitTo takes the longest fragment of a request as what fits its answer too (RFC
// 7383 section 2.5.1).
func (s *ikeSA) fitTo(longest int) {
	s.threshold = max(longest+fragment.Outside(s.remote.Addr()), fragment.IPv4MinMTU)
}

// reassemble takes a fragment. The content is nil as long as more are missing;
// an error means that the fragment was dropped.
func (e *Engine) reassemble(s *ikeSA, m *wire.Message) (*wire.Content, error) {
	if !s.Fragmentation {
		return nil, errors.New("fragmentation was not negotiated")
	}
	limit := fragment.MostOctets
	if s.handshake != nil {
		limit = fragment.MostOfStrangers
	}
	c, err := s.parts.Add(e.now, m, s.keys.In, limit)
	if errors.Is(err, fragment.ErrTooLong) && s.state == stateHalfOpen {
		e.turnOut(s, refusedWeight) // authentic: an attack or a broken peer (RFC 7383 section 5)
	}
	if err == nil {
		e.markDirty(s)
	}
	return c, err
}

// sealedOnly is the outside of a protected message, for tell.
var sealedOnly = []wire.Payload{&wire.SK{}}

// tell reports what a message says before it is sent.
func (e *Engine) tell(data []byte, h wire.Header, outer, inner []wire.Payload) {
	if e.onMessage != nil {
		if inner == nil {
			inner = []wire.Payload{}
		}
		e.onMessage(data, h, outer, inner)
	}
}

func (s *ikeSA) header(x wire.ExchangeType, id uint32, response bool) wire.Header {
	h := wire.Header{SPIi: s.SPIi, SPIr: s.SPIr, Exchange: x, MessageID: id}
	if s.Initiator {
		h.Flags |= wire.FlagInitiator
	}
	if response {
		h.Flags |= wire.FlagResponse
	}
	return h
}

// pathSize is what is known of how large a message may be.
type pathSize struct {
	threshold int // the largest IP packet for IKE that there was reason for, 0: none
	// How what is too large gets through, since when that is so, and what it was
	// not concluded from yet.
	recovers   recovery
	recoversAt Time
	rehearsals rehearsalCount
}

// recovery is how a message gets to the peer that is too large for the path.
type recovery uint8

const (
	recoverUnknown recovery = iota // also: a probe's first form
	recoverFragments
	recoverSplit
	recoverNever // a rehearsal's last form: small and whole
)

// rehearsalCount is what the rehearsals so far came to.
type rehearsalCount struct {
	form           recovery
	alike, unclear int
}

package ikev2

import (
	"slices"

	"greseal/crypto/suite"
	"greseal/ikev2/wire"
)

// onInformational answers INFORMATIONAL: Deletes, notifies, and the empty one
// that asks whether we live.
func (e *Engine) onInformational(s *ikeSA, m *wire.Message, d *Datagram, c *wire.Contents) {
	for _, n := range c.Notifies {
		switch n.Kind {
		case wire.AuthenticationFailed, wire.InvalidSyntax, wire.UnsupportedCriticalPayload:
			// About a response of ours, that of IKE_AUTH mostly: it ends the IKE
			// SA without a Delete (RFC 7296 section 2.21.2).
			about := m.Exchange
			if m.MessageID <= 2 || n.Kind == wire.AuthenticationFailed {
				about = wire.IKEAuth
			}
			e.respond(s, m, d, nil)
			e.drop(s, s.refusedBy(n, about.String(), nil, nil), false)
			return
		case wire.AuthLifetime:
			e.authLifetime(s, c)
		case wire.InterfaceMTU:
			e.onPeerMTU(s, n)
		}
	}
	for _, del := range c.Deletes {
		if del.Protocol == suite.IKE {
			e.respond(s, m, d, nil)
			e.onDeleteIKE(s)
			return
		}
	}
	answer := e.onMobility(s, d, c)
	var gone []uint32
	for _, del := range c.Deletes {
		if del.Protocol != suite.ESP {
			continue
		}
		for _, spi := range del.SPIs {
			if in := e.onDeleteChild(s, spi); in != 0 {
				gone = append(gone, in)
			}
		}
	}
	if len(gone) > 0 {
		answer = append(answer, &wire.Delete{Protocol: suite.ESP, SPIs: gone})
	}
	e.respond(s, m, d, answer)
}

// onDeleteIKE ends an IKE SA at the peer's wish.
func (e *Engine) onDeleteIKE(s *ikeSA) {
	switch {
	case s.state == stateReplaced:
		e.drop(s, nil, true)
		if s.heir != nil {
			e.proved(s.heir)
			e.touch(s.heir)
		}
	case s.rival != nil && s.rival.state == stateEstablished:
		// The peer finished its rekeying without having noticed ours, which we
		// forget (RFC 7296 section 2.8.2).
		heir := s.rival
		s.rival = nil
		e.inherit(s, heir)
		e.drop(s, nil, true)
		e.proved(heir)
	case s.redundant || s.state == stateDeleting:
		e.drop(s, nil, true)
	default:
		f := s.failure(FailDeleted, "INFORMATIONAL", true)
		f.Remedy = "it was closed at the peer, by hand or because the peer goes down"
		other := func(o *ikeSA) bool { return o != s && o.state == stateEstablished }
		e.drop(s, f, slices.ContainsFunc(s.peer.sas, other))
	}
}

// onDeleteChild closes the pair whose inbound SPI at the peer is spi and returns
// our inbound SPI, 0 when the answer must not name it: there is none, or we have
// asked for its deletion ourselves (RFC 7296 section 1.4.1).
func (e *Engine) onDeleteChild(s *ikeSA, spi uint32) uint32 {
	c := s.childTo(spi)
	if c == nil {
		if r := s.req; r != nil && len(r.gone) < maxChildren {
			r.gone = append(r.gone, spi) // perhaps of the pair we are asking for
		}
		return 0
	}
	if c.state == childDoomed && c.deleteSent {
		return 0 // its inbound SA goes with the answer to our own request
	}
	in := c.pub.SPIIn
	owner := c.sa
	wanted := c.state == childLive && !c.replaced && !c.loser
	e.retire(c, true)
	if wanted && owner.childless() {
		f := s.failure(FailDeleted, "INFORMATIONAL", true)
		f.Detail = "the Child SA alone"
		f.Remedy = "a new one is made"
		e.note(s.peer, f)
	}
	if r := owner.req; r == nil || r.kind != askNewChild && r.kind != askRekeyChild {
		e.wantChild(owner, owner.recreatePause())
	}
	return in
}

// childTo finds a pair by our outbound SPI, on this IKE SA or on the one that
// inherited its pairs.
func (s *ikeSA) childTo(spi uint32) *child {
	for ; s != nil; s = s.heir {
		for _, c := range s.children {
			if c.pub.SPIOut == spi && (c.state == childLive || c.state == childDoomed) {
				return c
			}
		}
	}
	return nil
}

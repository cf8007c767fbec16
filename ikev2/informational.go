package ikev2

import (
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

package tunnel

import (
	"greseal/ikev2"
	"greseal/tunnel/status"
)

// handshakes are the latest handshakes of a tunnel, or of all, from the engine's
// flight recorder.
func (l *loop) handshakes(id ikev2.PeerID) []status.HandshakeStep {
	steps := l.engine.Handshakes(id)
	out := make([]status.HandshakeStep, len(steps))
	for i, s := range steps {
		at := l.wall(s.At)
		out[i] = status.HandshakeStep{
			Time: at.Unix(), Millis: at.Nanosecond() / 1e6, Tunnel: string(s.Peer), IKE: uint64(s.IKE),
			Local: addrPort(s.Local), Remote: addrPort(s.Remote),
			Exchange: s.Exchange, Response: s.Response, MessageID: s.MessageID,
			Octets: s.Octets, Fragments: s.Fragments, Payloads: s.Payloads, Text: s.Text,
		}
		switch {
		case s.Sent:
			out[i].Direction = status.StepSent
		case s.Received:
			out[i].Direction = status.StepReceived
		}
		switch {
		case s.IKE == 0:
		case s.Initiator:
			out[i].Role = "initiator"
		default:
			out[i].Role = "responder"
		}
	}
	return out
}

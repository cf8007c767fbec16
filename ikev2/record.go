package ikev2

import (
	"net/netip"

	"greseal/ikev2/recorder"
	"greseal/ikev2/wire"
)

// What the flight recorder keeps: every exchange except liveness checks, and its
// result. Repetitions are not kept, and those of strangers are limited.

// recordedEarly bounds the messages of one IKE SA before it is authenticated.
const recordedEarly = 24

// record records a message of an IKE SA.
func (e *Engine) record(s *ikeSA, kind recorder.Kind, h wire.Header, ps []wire.Payload, octets, parts int, local, remote netip.AddrPort) {
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
	r := recorder.Record{
		At: e.now, Kind: kind, IKE: uint64(s.ID), Initiator: s.Initiator,
		Local: local, Remote: remote, Octets: octets, Fragments: parts,
	}
	if s.peer != nil {
		r.Peer = string(s.peer.cfg.ID)
	}
	ring := &e.rec.Known
	if early && !s.Initiator {
		ring = &e.rec.Foreign
	}
	ring.Add(e.rec.Message(r, h, ps))
}

// liveness reports whether a message is nothing but a liveness check, or a probe.
func liveness(ps []wire.Payload) bool {
	if len(ps) != 1 {
		return len(ps) == 0
	}
	n, ok := ps[0].(*wire.Notify)
	return ok && n.Kind == wire.PathMTUProbe
}

// recordAuthenticated keeps what was recorded of an IKE SA that a stranger began.
func (e *Engine) recordAuthenticated(s *ikeSA) {
	if s.handshake.recorded != 0 {
		e.rec.Authenticated(uint64(s.ID), string(s.peer.cfg.ID))
	}
}

// recordAction records the result of a handshake.
func (e *Engine) recordAction(a Action) {
	r := recorder.Record{At: e.now}
	ring := &e.rec.Known
	var text string
	about := func(i *IKEInfo) {
		r.IKE, r.Peer, r.Initiator, r.Local, r.Remote = uint64(i.ID), string(i.Peer), i.Initiator, i.Local, i.Remote
	}
	failure := func(p PeerID, f *Failure) { r.IKE, r.Peer, text = uint64(f.ike), string(p), f.Error() }
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
		r.IKE, r.Peer, r.Local, r.Remote = uint64(c.IKE), string(c.Peer), c.Local, c.Remote
		text = "Child SA agreed: " + c.Suite.IANA() + ", " + mode + ", protocol 47 between " + c.GRELocal.String() + " and " + c.GRERemote.String()
	case IKEUp:
		about(&a.IKEInfo)
		text = "IKE SA up: " + a.Suite.IANA() + "; the peer is " + a.RemoteID.String()
		if a.NATLocal {
			text += "; we are behind a NAT"
		}
		switch {
		case a.PeerBehindNAT():
			text += "; the peer is behind a NAT"
		case a.EncapForcedByPeer:
			text += "; the peer forces UDP encapsulation"
		case a.EncapForced && !a.NATLocal:
			text += "; UDP encapsulation is forced by us"
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
			if !e.rec.Remarks.Take(e.now) {
				return
			}
			ring = &e.rec.Foreign
		}
	default:
		return
	}
	ring.Add(e.rec.Note(r, text))
}

// Step is a recorded message, or the result of those before it.
type Step struct {
	At            Time
	Peer          PeerID // empty: a stranger whose tunnel is not known
	IKE           SAID   // 0: no IKE SA came of it
	Initiator     bool   // our role in the IKE SA
	Local, Remote netip.AddrPort

	Sent, Received bool // neither: Text is the result
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
	out := []Step{}
	for _, r := range e.rec.Steps(string(id)) {
		s := Step{
			At: r.At, Peer: PeerID(r.Peer), IKE: SAID(r.IKE), Initiator: r.Initiator, Local: r.Local, Remote: r.Remote,
			Sent: r.Kind == recorder.Sent, Received: r.Kind == recorder.Received, Text: r.Text,
		}
		if r.Kind != recorder.Note {
			s.Exchange, s.Response, s.MessageID, s.Payloads = r.Exchange, r.Response, r.MessageID, r.Payloads
			s.Octets, s.Fragments = r.Octets, r.Fragments
		}
		out = append(out, s)
	}
	return out
}

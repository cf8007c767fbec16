package ikev2

import (
	"encoding/binary"

	"greseal/ikev2/wire"
)

// The two ends of a GRE tunnel may choose different MTUs for its interface, which OSPF
// does not tolerate (RFC 2328 section 10.6). Two sides of this program, which recognize
// each other by SAME_RUN in IKE_AUTH, send each other theirs: in a liveness check with
// a notify of a private status type, once on each IKE SA and whenever it changes. Every
// other peer would ignore it (RFC 7296 section 3.10.1), and does not get it. The caller
// decides what to do about it.

// PeerMTU reports the MTU that the peer would give its end's interface.
type PeerMTU struct {
	Peer PeerID
	IKE  SAID
	MTU  int
}

func (PeerMTU) isAction() {}

// TellMTU sends the peer the MTU, in bytes, that we would give our interface.
func (e *Engine) TellMTU(now Time, id PeerID, mtu int) []Action {
	return e.withPeer(now, id, func(p *peer) {
		if mtu > 0 && mtu <= 0xffff && p.innerMTU != uint16(mtu) {
			p.innerMTU = uint16(mtu)
			for _, s := range p.sas {
				e.markDirty(s)
			}
		}
	})
}

// sameProgram reports whether both sides have shown that they are this program.
func (e *Engine) sameProgram(s *ikeSA) bool { return s.run.told() && e.cfg.Run != 0 }

// tells reports whether our MTU is to be sent to the peer.
func (e *Engine) tells(s *ikeSA) bool {
	return s.announced && e.sameProgram(s) && s.peer.innerMTU != s.toldMTU
}

// mtuPayload is the notify that a liveness check carries.
func (e *Engine) mtuPayload(s *ikeSA) []wire.Payload {
	if !e.tells(s) {
		return nil
	}
	s.toldMTU = s.peer.innerMTU
	return []wire.Payload{wire.NewNotify(wire.InterfaceMTU, binary.BigEndian.AppendUint16(nil, s.toldMTU))}
}

// onPeerMTU handles the peer's.
func (e *Engine) onPeerMTU(s *ikeSA, n *wire.Notify) {
	if mtu, ok := n.Number(); ok && mtu != 0 && e.sameProgram(s) && s.announced {
		e.emit(PeerMTU{s.peer.cfg.ID, s.ID, int(mtu)})
	}
}

package ikev2

import (
	"net/netip"
)

// Engine is the IKEv2 machine of one daemon. It is not safe for concurrent use:
// one goroutine owns it (contract 6).
type Engine struct {
	cfg Config
	out []Action
}

// New returns an engine without peers.
func New(cfg Config) *Engine {
	return &Engine{cfg: cfg}
}

// SetPeer registers a peer or replaces its settings; SAs that stand are kept.
func (e *Engine) SetPeer(now Time, p Peer) []Action { return e.flush(now) }

// RemovePeer closes a peer's SAs and forgets it.
func (e *Engine) RemovePeer(now Time, id PeerID) []Action { return e.flush(now) }

// Initiate starts an IKE SA with a peer.
func (e *Engine) Initiate(now Time, id PeerID, local, remote netip.AddrPort) []Action {
	return e.flush(now)
}

// Close deletes all SAs of a peer and tells it, but keeps its settings.
func (e *Engine) Close(now Time, id PeerID) []Action { return e.flush(now) }

// Receive takes one datagram that came in.
func (e *Engine) Receive(now Time, d Datagram) []Action { return e.flush(now) }

// Tick does what is due.
func (e *Engine) Tick(now Time) []Action { return e.flush(now) }

// InstallFailed reports that an InstallIn or InstallOut of a pair failed.
func (e *Engine) InstallFailed(now Time, id ChildID, err error) []Action { return e.flush(now) }

// ChildUsed reports the first authenticated packet on a watched inbound SA.
func (e *Engine) ChildUsed(now Time, spiIn uint32) []Action { return e.flush(now) }

// RekeyChild rekeys a pair now.
func (e *Engine) RekeyChild(now Time, id ChildID) []Action { return e.flush(now) }

// RekeyIKE rekeys an IKE SA now.
func (e *Engine) RekeyIKE(now Time, id SAID) []Action { return e.flush(now) }

// ChildLost reports that the datapath lost the SA with this SPI, ours or the
// peer's.
func (e *Engine) ChildLost(now Time, spi uint32) []Action { return e.flush(now) }

// Check starts a liveness check of a peer's IKE SAs at once.
func (e *Engine) Check(now Time, id PeerID) []Action { return e.flush(now) }

// SAs describes the peer's IKE SAs.
func (e *Engine) SAs(id PeerID) []IKEInfo { return nil }

// Children returns the peer's Child SA pairs.
func (e *Engine) Children(id PeerID) []*Child { return nil }

// flush hands over the actions gathered by one call.
func (e *Engine) flush(Time) []Action {
	out := e.out
	e.out = nil
	return out
}

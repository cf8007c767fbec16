package ikev2

import (
	"bytes"
	"net/netip"
	"slices"
	"time"

	"greseal/ikev2/wire"
)

// natHashLen is the length of a SHA-1 hash, octets.
const natHashLen = 20

// natState is what we make of NAT detection.
type natState struct {
	natd     bool          // it took place
	natNever bool          // it is neither sent nor looked at
	pause    time.Duration // between NAT keepalives
}

// natPayloads are the NAT detection notifies of a message of ours.
func (s *ikeSA) natPayloads() []wire.Payload { return s.natPayloadsOf(s.local, s.remote) }

// natPayloadsOf are those of a message between two addresses.
func (s *ikeSA) natPayloadsOf(local, remote netip.AddrPort) []wire.Payload {
	if s.natNever {
		return nil
	}
	source := local
	if s.EncapForced {
		source = forcedSource(source)
	}
	src := wire.NATDetectionHash(s.SPIi, s.SPIr, source)
	dst := wire.NATDetectionHash(s.SPIi, s.SPIr, remote)
	return []wire.Payload{
		wire.NewNotify(wire.NATDetectionSourceIP, src[:]),
		wire.NewNotify(wire.NATDetectionDestinationIP, dst[:]),
	}
}

// forcedSource is the source in the notify that forces UDP encapsulation: by its unused
// port another greseal knows that there is no NAT.
func forcedSource(source netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(source.Addr(), 0) }

// natDetect compares the notifies of a message with where it came from and
// arrived (RFC 7296 section 2.23). spiR is that of the message's header.
func (s *ikeSA) natDetect(c *wire.Contents, d *Datagram, spiR uint64) {
	if s.natNever {
		return
	}
	says := func(kind wire.NotifyType, a netip.AddrPort) bool {
		hash := wire.NATDetectionHash(s.SPIi, spiR, a)
		return slices.ContainsFunc(c.Notifies, func(n *wire.Notify) bool { return n.Kind == kind && bytes.Equal(n.Data, hash[:]) })
	}
	s.natd = c.Notify(wire.NATDetectionSourceIP) != nil && c.Notify(wire.NATDetectionDestinationIP) != nil
	s.NATRemote = s.natd && !says(wire.NATDetectionSourceIP, d.Remote)
	s.EncapForcedByPeer = s.NATRemote && says(wire.NATDetectionSourceIP, forcedSource(d.Remote))
	s.NATLocal = s.natd && !says(wire.NATDetectionDestinationIP, d.Local)
}

// seenAs is the hash of the address that the sender of a message sees us at, nil
// when it does not say.
func seenAs(c *wire.Contents) []byte {
	if n := c.Notify(wire.NATDetectionDestinationIP); n != nil && len(n.Data) == natHashLen {
		return bytes.Clone(n.Data)
	}
	return nil
}

// setEncap applies a peer's wish to an SA.
func (s *ikeSA) setEncap(m EncapMode) {
	s.EncapForced = m == EncapForce
	s.natNever = m == EncapNever
}

// floatPorts moves an initiator to the NAT ports when ESP is to travel in UDP
// (RFC 7296 section 2.23), or a NAT may be met later (RFC 4555 section 3.3).
func (e *Engine) floatPorts(s *ikeSA) {
	if !s.encap() && !(s.natd && s.peer.mobile()) || s.local.Port() != e.cfg.PortIKE {
		return
	}
	s.local = netip.AddrPortFrom(s.local.Addr(), e.cfg.PortNAT)
	if s.remote.Port() == wire.PortIKE {
		s.remote = netip.AddrPortFrom(s.remote.Addr(), wire.PortNAT)
	}
}

// follow takes over the addresses of a new authentic message: the peer's NAT
// mapping changed, or it began to use the NAT port. A side that is itself behind a NAT
// does not follow (RFC 7296 section 2.23), and neither does one with MOBIKE, which
// requires an UPDATE_SA_ADDRESSES (RFC 4555 section 3.8). Repeated messages never get
// here, so old addresses do not come back. The Child SAs move along when the peer has
// answered there.
func (e *Engine) follow(s *ikeSA, d *Datagram) {
	if d.Remote == s.remote || s.NATLocal || s.mob != nil || s.state == stateAuthenticating {
		return
	}
	s.local, s.remote = d.Local, d.Remote
	if r := s.req; r != nil {
		r.spread = true
	}
	if s.stands() {
		e.settleWay(s)
	}
}

// Keepalives hold the mapping of the NAT in front of us, when no Child SA has sent
// anything (RFC 3948 section 4).

func (s *ikeSA) nextKeepalive() Time {
	if !s.NATLocal || !s.inUse() {
		return never
	}
	return s.sent + s.pause
}

func (e *Engine) keepalive(s *ikeSA) {
	if s.nextKeepalive() > e.now {
		return
	}
	s.sent = e.now
	e.emit(SendKeepalive{s.esp.local, s.esp.remote})
}

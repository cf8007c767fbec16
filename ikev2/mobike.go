package ikev2

import (
	"bytes"
	"crypto/hmac"
	"net/netip"
	"slices"
	"time"

	"greseal/ikev2/selector"
	"greseal/ikev2/wire"
)

// MOBIKE (RFC 4555) moves the outer addresses of an IKE SA and its Child SAs.
// "Initiator" is there the side that began the first of the IKE SAs that were
// rekeyed from each other: ikeSA.origin.ours.
//
// An address of ours changes (Move):
//
//	initiator: the IKE SA and, where only our own address is another, the Child
//	SAs take it at once; what is unanswered is repeated from there;
//	UPDATE_SA_ADDRESSES tells the peer.
//	responder: the same, but the peer is told by the list of our addresses, and
//	answers with an UPDATE_SA_ADDRESSES of its own.
//
// An UPDATE_SA_ADDRESSES of the peer's moves the IKE SA at once, and the Child
// SAs when the peer has shown that it receives there (section 3.7).
//
// MOBIKE leaves the traffic selectors alone. Where our GRE endpoint is our outer
// address, whoever moved makes a new Child SA with the new one and deletes the old.

// mobility is what MOBIKE adds to an IKE SA that both sides support it on.
type mobility struct {
	tell    bool         // the peer is to be told of new addresses
	renew   bool         // we moved: GRE endpoints derived from our address are to follow
	renewAt Time         // not before
	follows Time         // as responder: by then the peer has updated its side; never: nothing awaited
	overdue bool         // it has not, and a new IKE SA is being made
	strange int          // answers UNEXPECTED_NAT_DETECTED in a row
	test    Time         // by then the peer asks whether we receive at our new address; 0: it has
	seen    []byte       // NAT_DETECTION_DESTINATION_IP of the peer's last answer: how it sees us
	others  []netip.Addr // the peer's additional addresses
}

const (
	maxOthers    = 8                      // additional addresses of the peer that are kept
	cookie2Len   = 16                     // octets; 8 to 64 are allowed
	natTries     = 4                      // UPDATE_SA_ADDRESSES answered with UNEXPECTED_NAT_DETECTED
	followTime   = 5 * time.Second        // for the peer to follow its responder
	pathTestTime = 300 * time.Millisecond // for the peer to test the path to our new address
	overdueTime  = 30 * time.Second       // for a new IKE SA when it did not
	othersTries  = 3                      // then the peer's other addresses are tried as well
)

// mobile reports whether MOBIKE is for this peer: its Child SAs are in tunnel mode,
// the only one RFC 4555 is about, and NATs are looked for.
func (p *peer) mobile() bool { return !p.cfg.Transport && p.cfg.Encap != EncapNever }

// offerMobility are the notifies of the IKE_AUTH request.
func (s *ikeSA) offerMobility() []wire.Payload {
	if !s.peer.mobile() {
		return nil
	}
	ps := []wire.Payload{notify(wire.MOBIKESupported)}
	if !s.natd {
		ps = append(ps, s.noNATs()) // section 3.9
	}
	return ps
}

func (s *ikeSA) noNATs() *wire.Notify {
	return wire.NewNotify(wire.NoNATsAllowed, wire.NoNATs(s.local, s.remote))
}

// takeMobility reads the other side's MOBIKE_SUPPORTED of an IKE_AUTH message.
func (s *ikeSA) takeMobility(c *wire.Contents) {
	if s.peer.mobile() && c.Notify(wire.MOBIKESupported) != nil {
		s.mob = &mobility{follows: never, others: additional(c), seen: s.handshake.seen}
	}
}

// additional are the addresses of ADDITIONAL_IP4_ADDRESS and
// ADDITIONAL_IP6_ADDRESS.
func additional(c *wire.Contents) []netip.Addr {
	var out []netip.Addr
	for _, n := range c.Notifies {
		if a, ok := n.Address(); ok && selector.Usable(a) && len(out) < maxOthers {
			out = append(out, a)
		}
	}
	return out
}

// natsFound reports whether a message that allows no NATs came through one.
func natsFound(c *wire.Contents, d *Datagram) bool {
	n := c.Notify(wire.NoNATsAllowed)
	return n != nil && !bytes.Equal(n.Data, wire.NoNATs(d.Remote, d.Local))
}

// handOverMobility hands what is known and under way to the IKE SA that takes over.
func (s *ikeSA) handOverMobility(next *ikeSA) {
	if s.mob == nil || next.mob == nil {
		return
	}
	seen := next.mob.seen
	*next.mob = *s.mob
	next.mob.seen = seen
	next.local, next.remote = s.local, s.remote
	next.NATLocal, next.NATRemote, next.EncapForcedByPeer = s.NATLocal, s.NATRemote, s.EncapForcedByPeer
	if _, telling := asking[*addressUpdate](s); telling {
		next.mob.tell = true
	}
}

// testDue reports whether the peer, which knows our new address, is likely to test next
// whether we receive there. Until it knows, it makes no Child SA for it.
func (m *mobility) testDue(now Time) bool {
	if m == nil {
		return false
	}
	if m.test <= now {
		m.test = 0
	}
	return m.test != 0
}

// newCookie2 is an unpredictable COOKIE2, nil when there is no randomness.
func (e *Engine) newCookie2() []byte {
	c := make([]byte, cookie2Len)
	if !e.rnd.fill(c) {
		return nil
	}
	return c
}

// checkCookie2 compares the COOKIE2 of a response with that of the request.
// When it is another one the IKE SA is closed (section 3.7).
func (e *Engine) checkCookie2(s *ikeSA, sent []byte, c *wire.Contents) bool {
	if n := c.Notify(wire.Cookie2); n != nil && hmac.Equal(n.Data, sent) {
		return true
	}
	e.closeSA(s, s.failure(FailSyntax, "INFORMATIONAL",
		"the response does not bring our COOKIE2 back, so the peer may not be where it says",
		"a new IKE SA is made; if this repeats, the peer's software breaks RFC 4555 section 3.7"), false)
	return false
}

// renewable reports whether a Child SA's selectors hold an address of ours that is no
// longer the one they come from.
func (s *ikeSA) renewable(c *child) bool {
	if s.mob == nil || c == nil || s.peer.cfg.GRELocal.IsValid() {
		return false
	}
	old, now := c.pub.GRELocal, s.esp.local.Addr()
	return old != now && old.BitLen() == now.BitLen()
}

// renewed ends the Child SAs with the old endpoint when the new one carries the
// traffic.
func (e *Engine) renewed(s *ikeSA, fresh *child) {
	for _, c := range slices.Clone(s.children) {
		if c != fresh && c.state == childLive && c.ends() != fresh.ends() {
			e.deleteChild(c)
		}
	}
}

// resendNow repeats an unanswered request at once, to or from a new address: the
// answer no longer says which of them works.
func (e *Engine) resendNow(s *ikeSA) {
	if r := s.req; r != nil {
		r.spread, r.to = true, netip.AddrPort{}
		r.wait, r.next = firstPause, e.now
		e.retransmit(s)
	}
}

package ikev2

import (
	"net/netip"
	"time"

	"greseal/ikev2/wire"
)

// There are two flows between two peers, and a NAT in between keeps a mapping for each:
// IKE, and the packets of the Child SAs. Each has its own pair of addresses here, its
// way.
//
// IKE's way (ikeSA.local and remote) is where messages are sent, and follows authentic
// messages. It carries only the few packets of an exchange.
//
// The Child SAs' way (ikeSA.esp) carries all traffic of a tunnel, and the traffic
// selectors are made from it. It goes to an address only after the peer has shown that
// it receives there, whatever the source of a datagram claims (RFC 4555 section 3.7):
// ikeSA.verified, or the address of a Mapped packet, once tested. Child SAs are made
// from these addresses alone, so none can be made for an address that is not verified.

// way is a pair of addresses: ours and the peer's.
type way struct{ local, remote netip.AddrPort }

// espWay is where the packets of Child SAs go, and how.
type espWay struct {
	way
	encap bool // in UDP
}

// ways are those of an IKE SA and of its Child SAs.
type ways struct {
	local, remote netip.AddrPort // IKE's
	verified      netip.AddrPort // where the peer has shown to receive
	esp           espWay         // the Child SAs'
	told          way            // IKE's, as last reported
	mapped        netip.AddrPort // the peer's ESP came from there: to be tested
	espLeftBehind bool           // our address changed and the Child SAs could not go along
}

// begin gives an IKE SA that is being made the way of its first Child SA. An
// initiator sends to the address that it is configured for; a responder has heard
// by IKE_AUTH that its answer to IKE_SA_INIT was received at s.remote.
func (e *Engine) begin(s *ikeSA) {
	s.verified = s.remote
	s.esp = e.derive(s)
	s.told = way{s.local, s.remote}
}

// arriveAuth takes over the addresses of the IKE_AUTH request. It may come from
// another port than IKE_SA_INIT, but at another address the peer has not shown that it
// receives.
func (e *Engine) arriveAuth(s *ikeSA, d *Datagram) {
	was := s.remote
	s.local, s.remote = d.Local, d.Remote
	e.begin(s)
	if was.Addr() != d.Remote.Addr() {
		s.verified, s.esp = was, espWay{}
		s.esp = e.derive(s)
	}
}

// derive is the Child SAs' way as the verified address of IKE says it.
func (e *Engine) derive(s *ikeSA) espWay {
	w := espWay{way{s.local, s.verified}, s.encap()}
	if !w.encap || s.local.Port() != e.cfg.PortIKE && s.remote == s.verified {
		return w
	}
	// IKE on port 500, as with a peer that saw no NAT or that goes back to it,
	// says nothing about the port of ESP in UDP.
	w.local = netip.AddrPortFrom(s.local.Addr(), e.cfg.PortNAT)
	w.remote = netip.AddrPortFrom(s.verified.Addr(), wire.PortNAT)
	if s.esp.encap && s.esp.remote.Addr() == w.remote.Addr() {
		w.remote = s.esp.remote
	}
	return w
}

// sentBy notes that a message went out, which holds a NAT's mapping for the Child
// SAs only when it went their way.
func (s *ikeSA) sentBy(w way, now Time) {
	if w == s.esp.way {
		s.sent = now
	}
}

// fromHere is the Child SAs' way from our current address, which needs no proof: only
// the peer's does.
func (s *ikeSA) fromHere() espWay {
	to := s.esp
	to.local = netip.AddrPortFrom(s.local.Addr(), to.local.Port())
	return to
}

// unverified reports whether IKE goes to where the peer has not shown to receive.
func (s *ikeSA) unverified() bool { return s.remote != s.verified }

// settleWay has the Child SAs follow IKE to its addresses, as far as the peer has
// shown that it receives there.
func (e *Engine) settleWay(s *ikeSA) {
	if s.unverified() {
		e.markDirty(s) // it is asked
		return
	}
	e.goTo(s, e.derive(s), way{s.local, s.remote})
}

// arrived is called when the peer has shown that it receives where IKE goes.
func (e *Engine) arrived(s *ikeSA) {
	s.verified = s.remote
	e.settleWay(s)
}

// goTo moves the Child SAs to another way and reports it. shown are the addresses to
// report.
func (e *Engine) goTo(s *ikeSA, to espWay, shown way) {
	m := Moved{
		Peer: s.peer.cfg.ID, IKE: s.ID,
		OldLocal: s.told.local, Local: shown.local, OldRemote: s.told.remote, Remote: shown.remote,
	}
	same := to.way == s.esp.way
	s.esp, s.told = to, shown
	if !same || m.OldLocal != m.Local || m.OldRemote != m.Remote {
		if !same {
			m.Children = s.takeAlong()
		}
		if s.recovers != recoverFragments {
			s.recovers = recoverUnknown // another path
		}
		e.emit(m)
	}
	e.fitEncap(s)
}

// takeAlong writes the way into the Child SAs.
func (s *ikeSA) takeAlong() []*Child {
	var all []*Child
	for _, c := range s.children {
		if c.state == childGone || c.pub.SPIOut == 0 {
			continue
		}
		p := *c.pub
		p.Local, p.Remote = s.esp.local, s.esp.remote
		c.pub = &p
		all = append(all, c.pub)
	}
	return all
}

// fitEncap has Child SAs rekeyed whose encapsulation is not what the path needs: an SA
// keeps its own. Whoever has not moved leaves it to the other side first.
func (e *Engine) fitEncap(s *ikeSA) {
	at := e.now
	if !s.origin.ours {
		at += fitPause
	}
	for _, c := range s.children {
		if c.state == childLive && !c.replaced && c.pub.Encap != s.esp.encap {
			c.rekeyAt = min(c.rekeyAt, at)
			e.markDirty(s)
		}
	}
}

const fitPause = time.Second

// handOverWays hands the ways, and what is known of them, to the IKE SA that takes
// over.
func (s *ikeSA) handOverWays(next *ikeSA) {
	next.esp, next.verified, next.told, next.mapped = s.esp, s.verified, s.told, s.mapped
}

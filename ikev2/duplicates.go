package ikev2

import (
	"bytes"
	"slices"
	"time"
)

// Several IKE SAs with one peer arise when both sides start at once, when the
// peer was restarted, and when it authenticates anew. One of them is kept:
//
//   - of two whose handshakes overlapped, in whichever direction, the one whose
//     exchange holds the lowest nonce goes, by the hand of the side that began
//     it: the rule of RFC 7296 section 2.8.1, by which both sides choose alike;
//   - else the newer one stays. The peer deletes the older; where it does not,
//     we do after a while.

// duplicatePatience is how long the side that began a superfluous IKE SA has to
// delete it.
const duplicatePatience = 8 * time.Second

// lowest is the lower of two nonces, octet by octet; one that ends first is
// lower (RFC 7296 section 2.8.1).
func lowest(a, b []byte) []byte {
	if bytes.Compare(b, a) < 0 {
		a = b
	}
	return bytes.Clone(a)
}

// overlapped tells whether the later of two SAs was begun before the earlier one
// stood.
func overlapped(a, b *ikeSA) bool {
	return a.birth.began <= b.birth.stood && b.birth.began <= a.birth.stood
}

// birth is how a line of IKE SAs, each rekeyed from the one before, began.
type birth struct {
	began, stood Time // its IKE_SA_INIT request; its IKE_AUTH
	lowNonce     []byte
	ours         bool // we began it
}

// initialContact forgets the SAs of the peer's life before (RFC 7296 section
// 2.4). It never takes one whose handshake overlapped the new one's (contract
// 10), nor a later one.
func (e *Engine) initialContact(s *ikeSA, c *child) {
	for _, o := range slices.Clone(s.peer.sas) {
		if o == s || o.state != stateEstablished && o.state != stateReplaced || overlapped(o, s) {
			continue
		}
		e.carry(c)
		f := o.failure(FailDeleted, "IKE_AUTH", true)
		f.Detail = "the peer was restarted (INITIAL_CONTACT)"
		f.Remedy = "a new IKE SA is up"
		e.drop(o, f, false)
	}
}

// stopOthers ends our own attempts that are only at IKE_SA_INIT when an SA with
// the peer stands: nobody holds anything of them yet. One that has sent IKE_AUTH
// may stand at the peer already, and goes on.
func (e *Engine) stopOthers(s *ikeSA) {
	for _, o := range slices.Clone(s.peer.sas) {
		if o != s && o.state == stateInit {
			e.drop(o, nil, false)
		}
	}
}

// settleDuplicates decides which IKE SA stays when s, with its first pair, has
// come up, and has that pair carry the traffic unless it is s that goes.
func (e *Engine) settleDuplicates(s *ikeSA, c *child) {
	e.stopOthers(s)
	for _, o := range slices.Clone(s.peer.sas) {
		if o == s || o.state != stateEstablished || !o.announced || o.redundant {
			continue
		}
		if !overlapped(o, s) {
			// The newer stays. Ours to delete when we began the newer one.
			e.carry(c)
			e.supersede(o, s.birth.ours)
			continue
		}
		if bytes.Compare(o.birth.lowNonce, s.birth.lowNonce) < 0 {
			e.carry(c)
			e.supersede(o, o.birth.ours)
		} else {
			c.loser = true
			e.supersede(s, s.birth.ours)
		}
	}
	if !c.loser {
		e.carry(c)
	}
}

// supersede takes an IKE SA out of use. The side that has to delete it waits
// until the other one shows that the SA that stays is up on its side; else it
// waits for the other side's Delete.
func (e *Engine) supersede(s *ikeSA, ours bool) {
	s.redundant = true
	s.dropAt = e.now + duplicatePatience
	s.deleteWhenProved = ours
	for _, c := range s.children {
		c.loser = true
	}
	for _, o := range s.peer.sas {
		if o != s && o.state == stateEstablished && !o.redundant {
			o.check = true
			e.touch(o)
		}
	}
	e.touch(s)
}

// proveStays is called when an SA in use has heard its peer: what it superseded
// may go.
func (e *Engine) proveStays(s *ikeSA) {
	if s.redundant || s.state != stateEstablished {
		return
	}
	for _, o := range slices.Clone(s.peer.sas) {
		if o != s && o.redundant && o.deleteWhenProved && o.state == stateEstablished {
			e.closeSA(o, nil, true)
		}
	}
}

// supersededDue ends the patience with a peer that did not delete what it was to
// delete. As long as the SA that stays has not been heard, nothing goes.
func (e *Engine) supersededDue(s *ikeSA) {
	since := s.dropAt - duplicatePatience
	for _, o := range s.peer.sas {
		if o != s && o.state == stateEstablished && !o.redundant && o.heard > since {
			e.closeSA(s, nil, true)
			return
		}
	}
	s.dropAt = e.now + duplicatePatience
}

// revive puts a superseded SA into use again when none other is left.
func (e *Engine) revive(p *peer) {
	if p == nil || p.gone || len(p.established()) > 0 {
		return
	}
	for i := len(p.sas) - 1; i >= 0; i-- {
		s := p.sas[i]
		if s.state != stateEstablished || !s.redundant || !s.announced {
			continue
		}
		s.redundant, s.deleteWhenProved, s.dropAt = false, false, never
		s.check = true
		for _, c := range s.children {
			if c.closing() {
				continue
			}
			c.loser = false
			if c.spare != nil {
				e.carry(c)
			} else if p.current != c {
				c.rekeyAt = min(c.rekeyAt, e.now) // so that a pair carries the traffic again
			}
		}
		e.touch(s)
		return
	}
}

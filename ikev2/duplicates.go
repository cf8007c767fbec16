package ikev2

import (
	"bytes"
	"slices"
	"time"

	"greseal/ikev2/wire"
)

// Several IKE SAs with one peer arise when both sides start at once, when the
// peer was restarted, and when it authenticates again. One of them is kept:
//
//   - of two whose handshakes overlapped, in whichever direction, the one whose
//     exchange holds the lowest nonce is deleted by the side that began it: the
//     rule of RFC 7296 section 2.8.1, by which both sides choose alike;
//   - else the newer one stays. The peer deletes the older; where it does not,
//     we do after a while.

// duplicatePatience is how long the side that began a superfluous IKE SA has to
// delete it.
const duplicatePatience = 8 * time.Second

// duplicateLook is the pause between two looks at a superseded SA.
const duplicateLook = 4 * time.Second

// lowest is the lower of two nonces, octet by octet; one that ends first is
// lower (RFC 7296 section 2.8.1).
func lowest(a, b []byte) []byte {
	if bytes.Compare(b, a) < 0 {
		a = b
	}
	return bytes.Clone(a)
}

// initialContact forgets the SAs of the peer's life before, when the message of
// IKE_AUTH that authenticated it says that s is the only one between these two
// identities (RFC 7296 section 2.4). In any other message that means nothing. It
// never takes an SA whose handshake overlapped the new one's (contract 10), nor a
// later one.
func (e *Engine) initialContact(s *ikeSA, c *wire.Contents, first *child) {
	if c.Notify(wire.InitialContact) == nil {
		return
	}
	e.reserveElsewhere(s.peer, nil)
	for _, o := range slices.Clone(s.peer.sas) {
		if o == s || !o.stands() && o.state != stateReplaced || overlapped(o, s) ||
			!o.RemoteID.Equal(s.RemoteID) || !o.LocalID.Equal(s.LocalID) {
			continue
		}
		e.turnsOver(o, s)
		e.carryWhenConfirmed(first)
		e.drop(o, o.failure(FailDeleted, "IKE_AUTH", "the peer was restarted (INITIAL_CONTACT)", "a new IKE SA is up").byPeer(), false)
	}
}

// stopOthers ends our own attempts that are only at IKE_SA_INIT once there is an SA with
// the peer: neither side holds anything of them yet. One that has sent IKE_AUTH may be
// established at the peer already, and goes on.
func (e *Engine) stopOthers(s *ikeSA) {
	for _, o := range slices.Clone(s.peer.sas) {
		if o != s && o.state == stateInitiating {
			e.drop(o, nil, false)
		}
	}
}

// settleDuplicates decides which IKE SA stays when s, with its first Child SA, has
// come up, and has that Child SA carry the traffic unless it is s that goes.
func (e *Engine) settleDuplicates(s *ikeSA, c *child) {
	e.stopOthers(s)
	for _, o := range slices.Clone(s.peer.sas) {
		if o == s || !o.announced || !o.inUse() {
			continue
		}
		if !overlapped(o, s) || !namesakes(o, s) && !samePeer(o, s) {
			// The newer stays. Ours to delete when we began the newer one.
			e.turnsOver(o, s)
			e.carryWhenConfirmed(c)
			e.supersede(o, s, s.origin.ours)
			continue
		}
		if bytes.Compare(o.origin.lowNonce, s.origin.lowNonce) < 0 {
			e.carryWhenConfirmed(c)
			e.supersede(o, s, o.origin.ours)
		} else {
			c.loser = true
			e.supersede(s, o, s.origin.ours)
		}
	}
	if !c.loser {
		e.carryWhenConfirmed(c)
	}
}

// supersede takes an IKE SA out of use. The side that has to delete it waits
// until the other one shows that the SA that stays is up on its side; else it
// waits for the other side's Delete. by is the SA that stays; both are asked
// for a sign of life.
func (e *Engine) supersede(s, by *ikeSA, ours bool) {
	if s.state = stateRedundantTheirs; ours {
		s.state = stateRedundantOurs
	}
	s.superseded, s.dropAt = e.now, e.now+duplicateLook
	s.check, by.check = overlapped(by, s), true
	for _, c := range s.children {
		c.loser = true
	}
	e.markDirty(by)
	e.markDirty(s)
}

// deleteSuperseded is called when an SA in use has heard its peer: what it superseded
// may go.
func (e *Engine) deleteSuperseded(s *ikeSA) {
	if !s.inUse() {
		return
	}
	for _, o := range slices.Clone(s.peer.sas) {
		if o.state == stateRedundantOurs {
			e.closeSA(o, nil, true)
		}
	}
}

// supersededDue looks after a superseded SA now and then. It goes when the
// patience with the peer, who was to delete it, is over, and the SA that stays
// was heard. When the peer answers on this one and not on the other it has kept
// this one, because INITIAL_CONTACT or a rule of its own says so: we follow.
func (e *Engine) supersededDue(s *ikeSA) {
	s.dropAt = e.now + duplicateLook
	for _, o := range s.peer.established() {
		switch {
		case o.LastHeard > s.superseded:
			if s.superseded+duplicatePatience <= e.now && s.state != stateRedundantGone {
				e.closeSA(s, nil, true)
			}
			return
		case overlapped(o, s) && s.LastHeard > s.superseded && o.deaf(s.superseded, e.now):
			e.restore(s)
			e.supersede(o, s, false)
			o.state = stateRedundantGone
			return
		case overlapped(o, s):
			s.check = true
		}
	}
	e.markDirty(s)
}

// remembered is called when something was heard on an SA that seemed to be
// forgotten: only the path had lost it, and what both sides chose is valid again.
// Had it been deleted meanwhile, none could be left: the peer deletes the other.
func (e *Engine) remembered(s *ikeSA) {
	others := s.peer.established()
	e.restore(s)
	for _, o := range others {
		if overlapped(o, s) {
			e.supersede(o, s, o.origin.ours)
		}
	}
}

// deaf reports whether the peer has shown nothing of an SA since then, and seems
// to have forgotten it. One that the peer began may not be up there yet: as long
// as the peer repeats its IKE_AUTH request it has not forgotten it.
func (s *ikeSA) deaf(since, now Time) bool {
	wait := deletedOurs
	if !s.origin.ours {
		wait = deletedTheirs
	}
	return s.req != nil && s.asked <= since && since+wait <= now
}

const (
	deletedOurs   = 6 * time.Second
	deletedTheirs = 30 * time.Second
)

// revive puts a superseded SA into use again when none other is left.
func (e *Engine) revive(p *peer) {
	if p == nil || p.gone || len(p.established()) > 0 {
		return
	}
	for i := len(p.sas) - 1; i >= 0; i-- {
		s := p.sas[i]
		if !s.redundant() || !s.announced {
			continue
		}
		e.restore(s)
		return
	}
}

// restore puts a superseded SA into use again.
func (e *Engine) restore(s *ikeSA) {
	s.state, s.dropAt = stateEstablished, never
	s.check = true
	for _, c := range s.children {
		if c.closing() {
			continue
		}
		c.loser = false
		cur := s.peer.current()
		switch {
		case c.spare == nil && cur != c:
			c.rekeyAt = min(c.rekeyAt, e.now) // so that a Child SA carries the traffic again
		case c.spare == nil:
		case c.unconfirmed && cur != nil:
			// The peer may have the Child SA that it replaces only, or none yet.
			c.waits = c.pub.Replaces == 0
		default:
			e.carry(c)
		}
	}
	e.markDirty(s)
}

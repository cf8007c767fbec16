package ikev2

import (
	"encoding/binary"
	"slices"
	"time"

	"greseal/ikev2/wire"
)

// Reauthentication (RFC 7296 section 2.8.3): rekeying makes new keys, but only a
// new IKE SA shows again that the peer has the key of its identity and that its
// certificate is still valid. It is made before the old one is deleted
// (duplicates.go). The initiator of the old one begins, some time
// before the end; the responder asks it to with AUTH_LIFETIME (RFC 4478) and
// begins itself when that was in vain. An IKE SA for which reauthentication failed is
// closed at the end.

// reauthPause is the wait before another try.
const reauthPause = 30 * time.Second

// leastLifetime is the shortest AUTH_LIFETIME that is followed, so that no peer can
// have us authenticate all the time.
const leastLifetime = time.Minute

// planReauth sets the time of the next reauthentication as the peer's settings
// say.
func (s *ikeSA) planReauth(e *Engine) {
	whole := s.peer.cfg.Reauth
	if whole <= 0 {
		s.reauthAt, s.reauthEnd = never, never
		return
	}
	lo := whole * 80 / 100
	if !s.origin.ours {
		lo = whole * 90 / 100
	}
	s.reauthAt = max(e.now, s.origin.stood+lo+e.rnd.between(0, whole*5/100))
	// Settings that come late leave time to do it.
	s.reauthEnd = max(s.origin.stood+whole, e.now+whole/10)
	e.markDirty(s)
}

// lifetimeNotify tells an initiator by when it has to authenticate again, in whole
// seconds (RFC 4478 section 3); nil: never.
func (p *peer) lifetimeNotify() []wire.Payload {
	if p.cfg.Reauth < time.Second {
		return nil
	}
	seconds := min(p.cfg.Reauth/time.Second, 1<<32-1)
	return []wire.Payload{wire.NewNotify(wire.AuthLifetime, binary.BigEndian.AppendUint32(nil, uint32(seconds)))}
}

// authLifetime notes by when the responder wants a new authentication (RFC 4478
// section 3).
func (e *Engine) authLifetime(s *ikeSA, c *wire.Contents) {
	n := c.Notify(wire.AuthLifetime)
	if n == nil || len(n.Data) != 4 || !s.origin.ours {
		return
	}
	life := max(time.Duration(binary.BigEndian.Uint32(n.Data))*time.Second, leastLifetime)
	s.reauthAt = min(s.reauthAt, e.now+life*8/10)
	e.markDirty(s)
}

// reauthDue does what the age of the authentication asks for.
func (e *Engine) reauthDue(s *ikeSA) {
	if s.reauthEnd <= e.now {
		e.closeSA(s, s.failure(FailNotify, "IKE_AUTH",
			"the peers did not reauthenticate in time (reauth)",
			"a new IKE SA is made; the log says why the attempts before failed"), false)
		return
	}
	if s.reauthAt <= e.now {
		s.reauthAt = e.now + e.rnd.jitter(reauthPause)
		e.reauthenticate(s)
	}
}

// Reauthenticate makes a new IKE SA with the peer's present settings beside each one that
// is in use, which goes when the new one stands, and stays when it does not come about.
func (e *Engine) Reauthenticate(now Time, id PeerID) []Action {
	return e.withPeer(now, id, func(p *peer) {
		for _, s := range slices.Clone(p.sas) {
			if s.state == stateInitiating && !s.reachability() {
				e.drop(s, nil, false) // it was begun with other settings
			}
		}
		for _, s := range p.established() {
			e.reauthenticate(s)
		}
	})
}

// reauthenticate makes a new IKE SA beside the old one, unless one is under way,
// it is not settled yet which of several stays, or the peer may not know yet that
// this one stands.
func (e *Engine) reauthenticate(s *ikeSA) {
	unsettled := func(o *ikeSA) bool {
		return o != s && o.state != stateReplaced && o.state != stateGone && !o.reachability()
	}
	waits := !s.origin.ours && s.LastHeard <= s.Established && e.now < s.Established+attemptTime
	if waits || slices.ContainsFunc(s.peer.sas, unsettled) {
		return
	}
	local, remote := s.local, s.remote
	if !s.encap() {
		local, remote = e.ports(local, remote)
	}
	e.attempt(s.peer, local, remote)
}

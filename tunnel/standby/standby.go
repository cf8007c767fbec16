// Package standby decides when a standby IKE SA is made beside the one that carries
// a tunnel's traffic, and with which address: make before break. It sends nothing
// and has no clock. The engine deletes the old IKE SA when the new one stands.
//
//	             Replace
//	    +---------------------> MOVED       our address changed, and the peer has no MOBIKE
//	    |                         any address, the one in use first
//	NONE +--------------------> SUSPECT     the peer does not answer any more (failover)
//	  ^ |                         any address but the one in use
//	  | +---------------------> PREFERRED   a remote of higher preference answers (failback)
//	  |                           that address
//	  |                           |
//	  | +---------------------> SETTINGS    they were changed
//	  |                         |   the address in use, while it is one of them
//	  +---------------------------+
//	   Carries: another IKE SA does; Alive: SUSPECT; Failed: PREFERRED; Stop
//
// In each of these, Step says every five seconds whom to make it with; in SETTINGS, which
// may last until somebody changes the other side, every thirty.
//
// A peer that was restarted and waits for others to begin has forgotten the IKE
// SA. What it says of that is not authenticated and proves nothing (RFC 7296
// section 2.4), and until the dead threshold it could as well be the path that is
// gone. So in SUSPECT the address in use is probed as well, whether it answers
// IKE_SA_INIT: one that does so for restartTime, and not what is asked on the IKE SA
// meanwhile, is offered another IKE SA beside the old one. Where only the path was
// gone, its first answer on the old one ends the suspicion, and nothing is made.
package standby

import (
	"net/netip"
	"slices"
	"time"
)

const (
	// turn is how long one remote is tried before the next.
	turn         = 5 * time.Second
	settingsTurn = 30 * time.Second
	// restartTime is longer than the pause between repetitions of a request.
	restartTime = 12 * time.Second
)

// Why is why a standby IKE SA is wanted.
type Why uint8

// Reasons.
const (
	None Why = iota
	Moved
	Suspect
	Preferred
	Settings
)

// Standby is the making of a standby IKE SA. The zero value wants none.
type Standby struct {
	why   Why
	from  uint64        // the IKE SA that is to be replaced
	to    netip.Addr    // of Preferred
	at    time.Duration // of the next step, 0: none
	tries int

	probed  bool          // a suspect peer was, and has not answered yet
	answers time.Duration // it has answered each time since then, 0: it did not

	probeAt time.Duration         // of the next look at remotes of higher preference, 0: none
	health  map[netip.Addr]health // of those
}

// health is what is known of a remote that is not in use.
type health struct {
	probed, answered bool
	since            time.Duration // it has answered without a gap since then, 0: it did not
}

// Why is why one is wanted.
func (s *Standby) Why() Why { return s.why }

// Replace wants a standby for an IKE SA; to is the remote of Preferred. Step is to
// follow at once.
func (s *Standby) Replace(why Why, from uint64, to netip.Addr) {
	s.why, s.from, s.to = why, from, to
	s.tries, s.probed, s.answers = 0, false, 0
}

// Step is what to do now: whom to make an IKE SA with, unset for nobody, and
// whether to probe the address in use. here is that address, candidates are all.
func (s *Standby) Step(now time.Duration, here netip.Addr, candidates []netip.Addr) (to netip.Addr, probe bool) {
	s.at = 0
	if s.why == None {
		return to, false
	}
	s.at = now + turn // or when a name has another address
	if s.why == Settings {
		s.at = now + settingsTurn
	}
	if to = s.remote(here, candidates); to.IsValid() {
		s.tries++
	}
	if s.why != Suspect {
		return to, false
	}
	if s.probed {
		s.answers = 0 // the last one was in vain
	}
	s.probed = true
	return to, true
}

func (s *Standby) remote(here netip.Addr, candidates []netip.Addr) netip.Addr {
	n := len(candidates)
	switch s.why {
	case Preferred:
		return s.to
	case Settings:
		if n == 0 || slices.Contains(candidates, here) {
			return here
		}
		return candidates[s.tries%n]
	case Moved:
		if i := s.tries % (n + 1); i > 0 {
			return candidates[i-1]
		}
		return here
	}
	first := slices.Index(candidates, here) + 1
	for i := range n {
		if c := candidates[(first+s.tries+i)%n]; c != here {
			return c
		}
	}
	return netip.Addr{}
}

// Failed takes that an attempt came to nothing.
func (s *Standby) Failed() {
	if s.why == Preferred {
		// It is given the time of failback to become better.
		s.why, s.at = None, 0
		clear(s.health)
	}
}

// Alive takes that a suspect peer answers again.
func (s *Standby) Alive() {
	if s.why == Suspect {
		s.why, s.at = None, 0
	}
}

// Carries takes that a Child SA of an IKE SA carries the traffic now. pause is the time
// until remotes of higher preference are looked at, 0: there are none.
func (s *Standby) Carries(now time.Duration, ike uint64, pause time.Duration) {
	if s.why != None && ike != s.from {
		*s = Standby{}
	}
	if s.probeAt == 0 && pause != 0 {
		s.probeAt = now + pause
	}
}

// Resolved takes that the peer has other addresses.
func (s *Standby) Resolved(now time.Duration) {
	if s.why == Suspect || s.why == Settings {
		s.at = now
	}
	if s.probeAt == 0 {
		s.probeAt = now
	}
}

// Stop wants none any more: there is nothing to replace.
func (s *Standby) Stop() { *s = Standby{} }

// Wake is when to Step, ProbeAt when to Probe; 0: not by the clock.
func (s *Standby) Wake() time.Duration { return s.at }

// ProbeAt is when to Probe, 0: not by the clock.
func (s *Standby) ProbeAt() time.Duration { return s.probeAt }

// Probe takes that the remotes of higher preference are probed now, and will be
// again after pause.
func (s *Standby) Probe(now time.Duration, preferred []netip.Addr, pause time.Duration) {
	if s.probeAt = now + pause; len(preferred) == 0 {
		s.probeAt, s.health = 0, nil
		return
	}
	if s.health == nil {
		s.health = map[netip.Addr]health{}
	}
	for _, remote := range preferred {
		h := s.health[remote]
		if h.probed && !h.answered {
			h.since = 0
		}
		h.probed, h.answered = true, false
		s.health[remote] = h
	}
}

// ProbeAnswered takes that a remote has answered a probe, while here is in use. restarted:
// the suspect peer has forgotten its IKE SA, it seems. since is when a remote of
// higher preference began to answer, 0: it is none.
func (s *Standby) ProbeAnswered(now time.Duration, remote, here netip.Addr) (restarted bool, since time.Duration) {
	if s.why == Suspect && s.probed && remote == here {
		s.probed = false
		if s.answers == 0 {
			s.answers = now
		}
		if restarted = now-s.answers >= restartTime; restarted {
			s.answers = 0
		}
		return restarted, 0
	}
	h, probed := s.health[remote]
	if !probed {
		return false, 0
	}
	if h.answered = true; h.since == 0 {
		h.since = now
	}
	s.health[remote] = h
	return false, h.since
}

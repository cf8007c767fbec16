package mtu

import (
	"net/netip"
	"time"
)

// Path is a way to a peer, from its point of view a search's subject: another
// address at either end, another interface below or another MTU of it is another
// path.
type Path struct {
	Local, Remote netip.Addr
	Interface     string
	Max           int // MTU of the first interface or of the route
}

// PathSearch is a Search that follows its peer from path to path, and that rests
// where probes are of no use or too dear. It sends nothing and has no clock. The
// zero value has found nothing.
//
//	         Follow: another path
//	      +------------------------+
//	      v                        |
//	STOPPED --Follow--> SEARCHING (Search) --Hopeless, Died--> RESTING
//	  ^  ^                  |                                    |  |
//	  |  +------ Stop ------+                                    |  |
//	  +--------- Stop -------------------------------------------+  |
//	     Follow, when the rest is over: SEARCHING <-----------------+
//
// What was found on a path outlives the search, until the path is another one.
type PathSearch struct {
	search  Search
	path    Path
	found   int           // on that path, 0: nothing yet
	at      time.Duration // when Follow is to be called again, 0: not
	token   uint64        // of the present search's probes
	asked   int           // of the outstanding probe, 0: none
	deaths  int           // IKE SAs in a row that ended with a probe unanswered
	rests   time.Duration // not to be begun before
	carried uint64        // packets sent by the time of the last proof
}

const (
	// MaxDeaths is how many IKE SAs in a row may end with a probe unanswered. A peer
	// that dies by itself does so at other times, too.
	MaxDeaths = 2
	// deathsRest is how long that is believed.
	deathsRest = 24 * time.Hour
)

// State says how far the search is.
func (s *PathSearch) State() State { return s.search.State() }

// Path is the path that is searched, or was last.
func (s *PathSearch) Path() Path { return s.path }

// Found is the size that arrives on the present path, 0: none is known.
func (s *PathSearch) Found() int { return s.found }

// Size is the MTU of a path: what the search says of it, or found last time.
func (s *PathSearch) Size(p Path) (size int, searched bool) {
	if s.path != p {
		return p.Max, false
	}
	size = s.search.PLPMTU()
	if size == 0 {
		size = s.found
	}
	if size == 0 || size > p.Max {
		return p.Max, false
	}
	return size, size <= s.found
}

// Follow begins the search if none is under way or done on the path that is taken
// now. It tells whether one began.
func (s *PathSearch) Follow(now time.Duration, p Path) bool {
	s.at = 0
	switch {
	case s.path != p:
		*s = PathSearch{path: p, token: s.token}
	case s.rests > now:
		s.at = s.rests
		return false
	case s.State() != Disabled:
		return false
	}
	s.token++
	s.asked = 0
	s.search.Start(p.Max, p.Remote.Is6(), s.found)
	return true
}

// Later puts Follow off: others come first.
func (s *PathSearch) Later(at time.Duration) { s.at = at }

// Stop ends the search while nothing is carried; what was found stays.
func (s *PathSearch) Stop() {
	s.search.Stop()
	s.at, s.asked = 0, 0
	s.token++
}

// Hint takes what an ICMP message, or the kernel, says that the path carries.
func (s *PathSearch) Hint(size int) { s.search.Hint(size) }

// Next is the probe to send now, with the token that Result is to have; 0: none.
func (s *PathSearch) Next(now time.Duration) (size int, token uint64) {
	if size = s.search.Next(now); size != 0 {
		s.asked = size
	}
	return size, s.token
}

// Awaits tells whether the result of a probe is still of interest.
func (s *PathSearch) Awaits(token uint64) bool { return token == s.token && s.asked != 0 }

// Result takes how the probe went and returns the state until then. size is what
// was really sent.
func (s *PathSearch) Result(now time.Duration, size int, arrived bool) State {
	before, asked := s.State(), s.asked
	s.asked = 0
	s.search.Result(now, size, arrived)
	s.found, s.rests = s.search.Found(), 0
	if asked > BasePLPMTU {
		s.deaths = 0
	}
	return before
}

// Hopeless takes that probes say nothing on this path. It tells whether that is
// news.
func (s *PathSearch) Hopeless(now time.Duration) bool {
	again := s.rests != 0
	s.Stop()
	s.rests = now + RaiseTime
	s.at = s.rests
	return !again
}

// Died takes that an IKE SA died. The probe that was unanswered then may be why,
// where a path drops large packets as well as the fragments of IP, and the peer puts
// no IKE fragments together. That is not risked for ever: size and rest tell that
// the search is given up for so long, and what is used meanwhile; 0: it is not.
func (s *PathSearch) Died(now time.Duration) (size int, rest time.Duration) {
	if s.asked <= BasePLPMTU {
		return 0, 0
	}
	if s.deaths++; s.deaths < MaxDeaths {
		return 0, 0
	}
	s.found, s.deaths = BasePLPMTU, 0
	s.rests = now + deathsRest
	return s.found, deathsRest
}

// Wake is when something is due, 0: nothing by the clock.
func (s *PathSearch) Wake() time.Duration {
	if s.at != 0 {
		return s.at
	}
	due := s.search.Wake()
	if at := s.search.CheckAt(); at != 0 && s.asked == 0 && (due == 0 || at < due) {
		due = at
	}
	return due
}

// Begins tells whether what is due is to Follow.
func (s *PathSearch) Begins() bool { return s.at != 0 }

// ProofDue tells whether the size in use should be proved again, if it was used
// since: by Prove.
func (s *PathSearch) ProofDue(now time.Duration) bool {
	at := s.search.CheckAt()
	return at != 0 && at <= now
}

// Prove has the size in use proved again if packets were sent since the last proof,
// of which carried is the number until now, and the peer is there. It tells whether.
func (s *PathSearch) Prove(now time.Duration, carried uint64, there bool) bool {
	if carried == s.carried || !there {
		s.search.Unused(now)
		return false
	}
	s.carried = carried
	s.search.Check()
	return true
}

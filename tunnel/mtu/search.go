package mtu

import (
	"slices"
	"time"
)

// Search finds the largest IP packet that reaches the peer, by probes of which it
// learns whether they arrived (RFC 8899, DPLPMTUD). It sends nothing and has no
// clock: Next says what to probe, Result takes how that went, PLPMTU is the size
// to use meanwhile, and Wake says when to look again. The zero value is disabled.
//
//	          Start           base arrives             nothing left to try
//	DISABLED ------> BASE ------------------> SEARCHING ------------------> COMPLETE
//	   ^             |  ^                       ^    ^                       |    |
//	   | Stop   base |  | the size in use       |    |   time to raise it    |    |
//	  (any)     lost |  | is lost: a black hole |    +-----------------------+    |
//	                 v  +-----------------------|---------------------------------+
//	               ERROR -----------------------+
//	                      the least arrives
//
// In SEARCHING everything up to low arrives and high, if not 0, is lost:
//
//	least .... base .... low ........ next ........ high .... max
//
// The largest size is tried first, which on most paths is the right one. Then the
// middle between low and high, or a size near to it that real paths have; when one
// of these arrives, the one right above it, which ends the search when it is lost.
// A size counts as lost after maxProbes probes. Where these cannot be made in every
// size, one of low bytes is what came of asking for from.
//
// An ICMP message proves nothing, neither that a size is lost nor that another one
// arrives. It only says what to probe next (RFC 8899 section 4.6.2).
type Search struct {
	max, base, least int
	state            State
	low, from, high  int
	assumed          int  // used as long as nothing was lost
	hint             int  // to be tried soon, 0: none
	tight            bool // the size right above low is next
	check            bool // the size in use is next
	asked            int  // outstanding probe, 0: none
	losses           int  // of it, in a row
	checkAt, raiseAt time.Duration
}

// State is the state of a Search, in the words of RFC 8899 section 5.2.
type State uint8

// States.
const (
	Disabled State = iota
	Base
	Searching
	Complete
	Error
)

func (s State) String() string {
	return [...]string{"disabled", "base", "searching", "complete", "error"}[s]
}

const (
	// maxProbes is how many probes are lost before their size counts as lost. Each
	// is sent twice, so that this is RFC 8899's MAX_PROBES of 3 packets and one.
	maxProbes = 2

	// step is the difference that matters: ESP pads its content to 4 bytes.
	step = 4

	// IPv6MinMTU is what every IPv6 link carries (RFC 8200 section 5), IPv4MinMTU what
	// every IPv4 host takes (RFC 791); a path of less is not worth a tunnel.
	IPv6MinMTU = 1280
	IPv4MinMTU = 576

	// BasePLPMTU fits nearly everywhere.
	BasePLPMTU = IPv6MinMTU

	// RaiseTime is RFC 8899's PMTU_RAISE_TIMER: how long a size below the largest
	// is used before more is tried.
	RaiseTime = 10 * time.Minute
	// CheckTime is its CONFIRMATION_TIMER: how often the size in use is proved
	// while packets are carried, so that a black hole is found.
	CheckTime = time.Minute
)

// common are sizes of real paths: PPPoE; 6in4 and IPIP; GRE; 1472 of PPPoE in
// another tunnel; DS-Lite; DSL's L2TP; WireGuard; mobile networks; IPsec.
var common = []int{1492, 1480, 1476, 1472, 1460, 1452, 1440, 1428, 1420, 1400, 1280, 1200, 1024}

// Start begins the search of a path whose first interface takes packets of max
// bytes. before is what was found on it earlier, 0 for nothing: it is used, or else
// max, until the first probe is lost.
func (s *Search) Start(max int, v6 bool, before int) {
	*s = Search{max: max, base: min(BasePLPMTU, max), least: min(IPv4MinMTU, max), state: Base, assumed: max}
	if v6 {
		s.least = min(IPv6MinMTU, max)
	}
	if before >= s.least && before < max {
		s.assumed, s.hint = before, before
	}
}

// Stop ends the search: there is no path, or nobody to answer.
func (s *Search) Stop() { *s = Search{} }

// State says how far the search is.
func (s *Search) State() State { return s.state }

// PLPMTU is the size to use now, 0 while disabled.
func (s *Search) PLPMTU() int {
	switch {
	case s.high == 0 && s.losses == 0 || s.low == 0 && s.high == 0:
		return max(s.low, s.assumed)
	case s.low != 0:
		return s.low
	case s.high > s.base:
		return s.base
	}
	return s.least
}

// Found is the size that is known to arrive, 0 before any is.
func (s *Search) Found() int { return s.low }

// Next is the size to probe now, 0 for none. Result is to follow before Next says
// anything again.
func (s *Search) Next(now time.Duration) int {
	if s.asked != 0 {
		return 0
	}
	s.asked = s.next(now)
	return s.asked
}

func (s *Search) next(now time.Duration) int {
	switch s.state {
	case Disabled:
		return 0
	case Base:
		return s.base
	case Complete, Error:
		if s.check {
			return s.low
		}
		if s.state == Error && s.raiseAt == 0 {
			return s.least
		}
		if s.raiseAt == 0 || s.raiseAt > now {
			return 0
		}
		s.raiseAt, s.high = 0, 0
		if s.state == Error {
			s.state = Base
			return s.base
		}
		s.state, s.tight = Searching, true
	}
	if s.hint > s.from && s.hint < s.max && (s.high == 0 || s.hint < s.high) {
		return s.hint
	}
	switch s.hint = 0; {
	case s.high == 0:
		return s.max
	case s.tight:
		return s.from + step
	}
	middle := s.from + max((s.high-s.from)/2/step*step, step)
	best, far := middle, (s.high-s.from)/4
	for _, c := range common {
		if d := max(c-middle, middle-c); d < far {
			best, far = c, d
		}
	}
	return best
}

// Result takes how the probe that Next asked for went. size is what was really
// sent, which may be less where probes cannot be made in every size.
func (s *Search) Result(now time.Duration, size int, arrived bool) {
	asked := s.asked
	if asked == 0 {
		return
	}
	s.asked = 0
	if !arrived {
		if s.losses++; s.losses == maxProbes {
			s.losses = 0
			s.lost(now, size)
		}
		return
	}
	s.losses = 0
	if s.check {
		s.check = false
		s.checkAt = now + CheckTime
		return
	}
	s.tight = s.state == Searching && (asked == s.hint || slices.Contains(common, asked))
	s.state = Searching
	if asked == s.hint {
		s.hint = 0
	}
	s.low, s.from = max(s.low, size), max(s.from, asked)
	s.finish(now)
}

// lost notes that a size does not arrive.
func (s *Search) lost(now time.Duration, size int) {
	s.high = size
	if s.hint >= size {
		s.hint = 0
	}
	switch s.state {
	case Complete: // a black hole
		s.low, s.from, s.check, s.tight = 0, 0, false, false
		s.state = Base
		if s.base >= size {
			s.state = Error
		}
		s.raiseAt = 0
	case Base:
		s.state = Error
		s.raiseAt = 0
	case Error:
		// Nothing arrives, whatever its size: probes say nothing here.
		s.high = 0
		s.raiseAt = now + RaiseTime
	default:
		s.finish(now)
	}
}

// finish ends the search when nothing above low is worth a probe any more.
func (s *Search) finish(now time.Duration) {
	if s.from < s.max && (s.high == 0 || s.high-s.from > step) {
		return
	}
	s.state, s.assumed = Complete, s.low
	s.hint, s.tight = 0, false
	s.checkAt, s.raiseAt = now+CheckTime, 0
	if s.from < s.max {
		s.raiseAt = now + RaiseTime
	}
}

// Check has the size in use proved again.
func (s *Search) Check() {
	if s.state == Complete {
		s.check = true
	}
}

// Hint takes what an ICMP message, or the kernel, says that the path carries.
func (s *Search) Hint(size int) {
	if size < s.least || size >= s.max {
		return
	}
	switch s.state {
	case Complete:
		if size < s.low {
			s.hint = size
			s.Check()
		}
	case Base, Searching:
		s.hint = size
	}
}

// CheckAt is when the size in use should be proved again, if it was used since: by
// Check, or by Unused where nothing was carried. 0: not at all.
func (s *Search) CheckAt() time.Duration {
	if s.state != Complete || s.check {
		return 0
	}
	return s.checkAt
}

// Unused puts the next proof off.
func (s *Search) Unused(now time.Duration) { s.checkAt = now + CheckTime }

// Wake is when Next has something to say again without Result, Check or Hint; 0:
// never.
func (s *Search) Wake() time.Duration {
	if s.asked != 0 || s.state != Complete && s.state != Error {
		return 0
	}
	return s.raiseAt
}

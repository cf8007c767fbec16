// Package attempt decides when a peer is tried, and at which of its addresses. It
// resolves no name, looks up no route and has no clock: it is told how an attempt
// went, and says which address has its turn and when to look again.
//
//	            Begin                     Up
//	+-> IDLE -----------> UNDER WAY -----------------> UP
//	|    ^ ^                |   | |                     |
//	|    | | its turn is    |   | | Failed              | Down
//	|    | | over: the next |   | v                     v
//	|    | +----------------+   | PAUSING <-------------+
//	|    |                      |  |   |
//	|    +-------------------------+   | EndPause, other candidates
//	|      the pause is over    |      |
//	+---------------------------+------+
//	  Stop, Reset
//
// The candidates are all addresses of a peer, in order of preference. Each has its
// turn: one attempt, which lasts for turn where there is another to go to, else for
// as long as the handshake takes. A pause grows with each failure, but as long as
// some of them have not had their turn, the next has it soon.
package attempt

import (
	"net/netip"
	"slices"
	"time"
)

const (
	// turn is how long one of several candidates is tried before the next.
	turn = 10 * time.Second
	// limit is beyond any attempt that the engine makes.
	limit = 5 * time.Minute
	// settled is how long a peer is up before that counts as a success: one may
	// complete the handshake and find only then that it cannot have the tunnel.
	settled = 10 * time.Second
)

// State is what an Attempt is at.
type State uint8

// States.
const (
	Idle     State = iota // the next attempt may begin
	Pausing               // not before Wake
	UnderWay              // a handshake goes on
	Up                    // none is needed
)

// Attempt is the trying of one peer. The zero value is idle and has no candidate.
type Attempt struct {
	state      State
	candidates []netip.Addr
	ranks      []int // of candidates: the place in the configuration of the name they belong to
	at         int   // the one whose turn it is, modulo their number

	begun    time.Duration // UnderWay: when
	until    time.Duration // UnderWay, Pausing: then it is over
	failures int           // in a row

	cameUp time.Duration
	before int // failures before that
}

// State is what it is at.
func (a *Attempt) State() State { return a.state }

// Failures counts the attempts in a row that failed.
func (a *Attempt) Failures() int { return a.failures }

// Candidates are the addresses to try. They belong to a.
func (a *Attempt) Candidates() []netip.Addr { return a.candidates }

// Rank is the place in the configuration of the name that a candidate belongs to.
func (a *Attempt) Rank(addr netip.Addr) (rank int, ok bool) {
	i := slices.Index(a.candidates, addr)
	if i < 0 {
		return 0, false
	}
	return a.ranks[i], true
}

// Best is the rank of the candidate of highest preference.
func (a *Attempt) Best() (rank int, ok bool) {
	if len(a.ranks) == 0 {
		return 0, false
	}
	return a.ranks[0], true
}

// Remote is the candidate whose turn it is, unset without any.
func (a *Attempt) Remote() netip.Addr {
	if len(a.candidates) == 0 {
		return netip.Addr{}
	}
	return a.candidates[a.at%len(a.candidates)]
}

// SetCandidates takes the addresses of a peer with their ranks and tells whether
// they are other ones. An attempt under way goes on; one to an address that is no
// longer there has the time of a turn.
func (a *Attempt) SetCandidates(now time.Duration, addrs []netip.Addr, ranks []int) (changed bool) {
	if slices.Equal(a.candidates, addrs) {
		return false
	}
	here := a.Remote()
	a.candidates, a.ranks, a.at = addrs, ranks, 0
	a.Goto(here)
	switch {
	case a.state == Pausing:
		a.state = Idle // an address that was not tried yet
	case a.state != UnderWay:
	case !slices.Contains(addrs, here):
		a.until = a.begun + turn
	case len(addrs) > 1 && a.until == a.begun+limit:
		a.until = max(a.begun+turn, now)
	}
	return true
}

// Goto gives a candidate the turn, if it is one.
func (a *Attempt) Goto(addr netip.Addr) {
	if i := slices.Index(a.candidates, addr); i >= 0 {
		a.at = i
	}
}

// Next gives the next candidate the turn; First the one of highest preference.
func (a *Attempt) Next() { a.at++ }

// First gives the candidate of highest preference the turn.
func (a *Attempt) First() { a.at = 0 }

// Begin takes that a handshake with Remote begins.
func (a *Attempt) Begin(now time.Duration) {
	a.state, a.begun, a.until = UnderWay, now, now+limit
	if len(a.candidates) > 1 {
		a.until = now + turn
	}
}

// Failed takes that there is no handshake under way any more, nor anything that
// came of it. way tells whether there is a route to a candidate; random is uniform
// in [0, 1).
func (a *Attempt) Failed(now time.Duration, random float64, way func(netip.Addr) bool) {
	if a.state == UnderWay {
		a.failures++ // else it was up
	}
	wait := Backoff(a.failures, random)
	if !a.pass(way) {
		wait = Backoff(1, random) // another address has not been tried yet
	}
	a.state, a.until = Pausing, now+wait
}

// pass takes the turn from the present candidate to the next that there is a way
// to, and tells whether all have had theirs.
func (a *Attempt) pass(way func(netip.Addr) bool) (round bool) {
	for {
		a.at++
		if n := len(a.candidates); n == 0 || a.at%n == 0 {
			return true
		}
		if way(a.Remote()) {
			return false
		}
	}
}

// Up takes that the peer is up.
func (a *Attempt) Up(now time.Duration) {
	if a.state != Up {
		a.cameUp, a.before = now, a.failures
	}
	a.state, a.failures = Up, 0
}

// Down takes that it is not any more.
func (a *Attempt) Down(now time.Duration, random float64) {
	wait := Backoff(1, random) / 4
	if now-a.cameUp < settled {
		a.failures = a.before + 1
		wait = Backoff(a.failures, random)
	}
	a.state, a.until = Pausing, now+wait
}

// EndPause ends a pause: something has changed that the next attempt may profit by.
func (a *Attempt) EndPause() {
	if a.state == Pausing {
		a.state = Idle
	}
}

// Stop gives up what is under way.
func (a *Attempt) Stop() { a.state = Idle }

// Reset gives up what is under way and forgets the failures.
func (a *Attempt) Reset() { a.state, a.failures = Idle, 0 }

// Wake is when to Tick again, 0: not by the clock.
func (a *Attempt) Wake() time.Duration {
	if a.state == Pausing || a.state == UnderWay {
		return a.until
	}
	return 0
}

// Tick does what is due, and tells whether anything was.
func (a *Attempt) Tick(now time.Duration) bool {
	if at := a.Wake(); at == 0 || at > now {
		return false
	}
	if a.state == UnderWay {
		a.Next()
	}
	a.state = Idle
	return true
}

// Backoff is how long to wait after so many failures in a row: 1 s doubling to
// 60 s, spread by a quarter either way so that many tunnels, and both ends of
// one, do not march in step. random is uniform in [0, 1).
func Backoff(failures int, random float64) time.Duration {
	d := time.Minute
	if failures < 6 {
		d = time.Second << max(failures-1, 0)
	}
	return time.Duration(float64(d) * (0.75 + random/2))
}

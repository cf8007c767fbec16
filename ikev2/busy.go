package ikev2

import "time"

// The wait after TEMPORARY_FAILURE (RFC 7296 section 2.25): the peer is busy with
// something that our request gets in the way of, and is to finish it first. The
// wait grows, up to a bound, by half of the time that the peer has been busy for,
// and is spread so that two sides that refused each other do not collide again:
//
//	hi = 3 s + busy/2, at most 15 s and at most a quarter of what is left of the SA
//	wait in [hi/6, hi)
//
// When the peer has been busy for minutes, the two sides do not agree on what
// exists, and the IKE SA is closed.
const (
	busyPause = 3 * time.Second
	busyMost  = 15 * time.Second
	busyLeast = 600 * time.Millisecond // of hi, however little is left
	busyTime  = 3 * time.Minute
)

// busy handles the peer's TEMPORARY_FAILURE about something that ends at expire:
// it returns when to try again, or ends the IKE SA.
func (e *Engine) busy(s *ikeSA, f *Failure, expire Time) (again Time, ok bool) {
	if s.stalled == 0 {
		s.stalled = e.now
	}
	if e.now-s.stalled > busyTime {
		f.Detail = "the peer has said so for " + busyTime.String()
		f.Remedy = "the two sides no longer agree on what exists; a new IKE SA is made"
		e.closeSA(s, f, false)
		return never, false
	}
	s.doubtMapping()
	e.markDirty(s)
	return e.afterBusy(s, expire), true
}

// afterBusy is the time of the next try.
func (e *Engine) afterBusy(s *ikeSA, expire Time) Time {
	hi := busyPause
	if s.stalled != 0 {
		hi = min(hi+(e.now-s.stalled)/2, busyMost)
	}
	if expire != never {
		hi = min(hi, max((expire-e.now)/4, busyLeast))
	}
	return e.now + e.rnd.between(hi/6, hi)
}

// doubtMapping has the address looked at that the peer sees of us, between two
// tries that it turns away: it may be busy with a request of its own that goes to
// where the NAT in front of us no longer lets anything in (RFC 4555 section 3.8).
func (s *ikeSA) doubtMapping() {
	if s.NATLocal && s.mob != nil {
		s.check = true
	}
}

// retryPause is the wait after a refusal of another kind.
const retryPause = 30 * time.Second

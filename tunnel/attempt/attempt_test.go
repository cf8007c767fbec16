package attempt

import (
	"net/netip"
	"testing"
	"time"
)

var (
	one   = netip.MustParseAddr("192.0.2.1")
	two   = netip.MustParseAddr("192.0.2.2")
	three = netip.MustParseAddr("192.0.2.3")
)

func TestBackoffDoublesToAMinuteAndIsSpread(t *testing.T) {
	for failures, want := range map[int]time.Duration{
		1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 5: 16 * time.Second,
		6: time.Minute, 7: time.Minute, 1000: time.Minute,
	} {
		least, most := Backoff(failures, 0), Backoff(failures, 0.999999)
		if least != want*3/4 {
			t.Errorf("after %d failures at least %v, want %v", failures, least, want*3/4)
		}
		if most < want*124/100 || most > want*5/4 {
			t.Errorf("after %d failures at most %v, want just under %v", failures, most, want*5/4)
		}
	}
}

// Each step happens at a second; then it is in a state, has a turn, wakes.
func TestAttemptsFollowEachOther(t *testing.T) {
	anyWay := func(netip.Addr) bool { return true }
	begin := func(a *Attempt, now time.Duration) { a.Begin(now) }
	failed := func(a *Attempt, now time.Duration) { a.Failed(now, 0.5, anyWay) } // 0.5: no spread
	tick := func(a *Attempt, now time.Duration) { a.Tick(now) }
	comesUp := func(a *Attempt, now time.Duration) { a.Up(now) }
	goes := func(a *Attempt, now time.Duration) { a.Down(now, 0.5) }
	now := func(list ...netip.Addr) func(*Attempt, time.Duration) {
		return func(a *Attempt, now time.Duration) { a.SetCandidates(now, list, make([]int, len(list))) }
	}
	type step struct {
		at     float64 // seconds
		do     func(*Attempt, time.Duration)
		state  State
		remote netip.Addr
		wake   float64 // 0: not
	}
	for name, c := range map[string]struct {
		candidates []netip.Addr
		steps      []step
	}{
		"one that refuses": {[]netip.Addr{one}, []step{
			{0, begin, UnderWay, one, 300},
			{1, failed, Pausing, one, 2},
			{1.5, tick, Pausing, one, 2},
			{2, tick, Idle, one, 0},
			{2, begin, UnderWay, one, 302},
			{3, failed, Pausing, one, 5},
			{5, tick, Idle, one, 0},
			{5, begin, UnderWay, one, 305},
			{6, failed, Pausing, one, 10},
		}},
		"one that is silent": {[]netip.Addr{one}, []step{
			{0, begin, UnderWay, one, 300},
			{300, tick, Idle, one, 0},
		}},
		"each of several has its turn": {[]netip.Addr{one, two}, []step{
			{0, begin, UnderWay, one, 10},
			{10, tick, Idle, two, 0},
			{10, begin, UnderWay, two, 20},
			{20, tick, Idle, one, 0},
		}},
		"the pause does not grow before the last": {[]netip.Addr{one, two, three}, []step{
			{0, begin, UnderWay, one, 10},
			{1, failed, Pausing, two, 2},
			{2, begin, UnderWay, two, 12},
			{3, failed, Pausing, three, 4},
			{4, begin, UnderWay, three, 14},
			{5, failed, Pausing, one, 9}, // the third failure
		}},
		"it comes up and stays": {[]netip.Addr{one}, []step{
			{0, begin, UnderWay, one, 300},
			{1, comesUp, Up, one, 0},
			{11, goes, Pausing, one, 11.25},
		}},
		"it comes up for a moment, again and again": {[]netip.Addr{one}, []step{
			{0, begin, UnderWay, one, 300},
			{1, comesUp, Up, one, 0},
			{2, comesUp, Up, one, 0}, // another Child SA
			{3, goes, Pausing, one, 4},
			{4, begin, UnderWay, one, 304},
			{5, comesUp, Up, one, 0},
			{6, goes, Pausing, one, 8},
			{8, begin, UnderWay, one, 308},
			{9, comesUp, Up, one, 0},
			{10, goes, Pausing, one, 14},
		}},
		"what was up is no failed attempt": {[]netip.Addr{one}, []step{
			{0, comesUp, Up, one, 0},
			{20, failed, Pausing, one, 21},
		}},
		"another address ends a pause": {[]netip.Addr{one}, []step{
			{0, begin, UnderWay, one, 300},
			{1, failed, Pausing, one, 2},
			{1.5, now(one), Pausing, one, 2},
			{1.5, now(two, one), Idle, one, 0},
		}},
		"another address gives the one that is tried a turn": {[]netip.Addr{one}, []step{
			{0, begin, UnderWay, one, 300},
			{3, now(one, two), UnderWay, one, 10},
			{4, now(two, one), UnderWay, one, 10},
			{5, now(two), UnderWay, two, 10},
		}},
		"and ends one that had it": {[]netip.Addr{one}, []step{
			{0, begin, UnderWay, one, 300},
			{30, now(one, two), UnderWay, one, 30},
			{30, tick, Idle, two, 0},
		}},
		"another address is nothing to one that is up": {[]netip.Addr{one}, []step{
			{0, comesUp, Up, one, 0},
			{1, now(two), Up, two, 0},
		}},
	} {
		var a Attempt
		a.SetCandidates(0, c.candidates, make([]int, len(c.candidates)))
		for i, s := range c.steps {
			second := func(f float64) time.Duration { return time.Hour + time.Duration(f*float64(time.Second)) }
			s.do(&a, second(s.at))
			wake := time.Duration(0)
			if s.wake != 0 {
				wake = second(s.wake)
			}
			if a.State() != s.state || a.Remote() != s.remote || a.Wake() != wake {
				t.Errorf("%s, step %d: state %d, %v has its turn, woken at %v; want %d, %v, %v", name, i, a.State(), a.Remote(), a.Wake()-time.Hour, s.state, s.remote, wake-time.Hour)
			}
		}
	}
}

// Candidates without a way to them are passed over, and a round ends all the same.
func TestCandidatesWithoutAWayArePassedOver(t *testing.T) {
	var a Attempt
	a.SetCandidates(0, []netip.Addr{one, two, three}, []int{0, 0, 1})
	onlyThree := func(addr netip.Addr) bool { return addr == three }
	a.Begin(time.Second)
	a.Failed(time.Second, 0.5, onlyThree)
	if a.Remote() != three || a.Wake() != 2*time.Second {
		t.Errorf("%v, at %v", a.Remote(), a.Wake())
	}
	a.Begin(2 * time.Second)
	a.Failed(2*time.Second, 0.5, onlyThree)
	if a.Remote() != one || a.Wake() != 4*time.Second {
		t.Errorf("a round is over: %v, at %v", a.Remote(), a.Wake())
	}
	if a.Failures() != 2 {
		t.Errorf("%d failures", a.Failures())
	}
	if rank, ok := a.Rank(three); rank != 1 || !ok {
		t.Errorf("rank %d, %v", rank, ok)
	}
	if _, ok := a.Rank(netip.Addr{}); ok {
		t.Error("a rank of nobody")
	}
	a.EndPause()
	if a.State() != Idle || a.Failures() != 2 {
		t.Errorf("hurried: %v, %d failures", a.State(), a.Failures())
	}
	a.Reset()
	if a.Failures() != 0 {
		t.Error("failures outlive a reset")
	}
	a.SetCandidates(0, nil, nil)
	if a.Failed(0, 0.5, onlyThree); a.Remote().IsValid() {
		t.Error("a turn without candidates")
	}
}

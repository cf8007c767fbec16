package ikev2

import "math"

// alarm is an IKE SA's place among the timers.
type alarm struct {
	slot   int  // in Engine.timers
	wake   Time // while in there
	marked bool // in Engine.dirty
}

// timers is a binary heap of IKE SAs by the time they next have something to
// do. An SA knows its own place in it (ikeSA.slot, -1: not in it).
type timers []*ikeSA

// set moves an SA to its new time, or takes it out for never.
func (t *timers) set(s *ikeSA, at Time) {
	switch {
	case at == never:
		t.remove(s)
		return
	case s.slot < 0:
		s.slot = len(*t)
		*t = append(*t, s)
	}
	s.wake = at
	t.down(t.up(s.slot))
}

func (t *timers) remove(s *ikeSA) {
	i := s.slot
	if i < 0 {
		return
	}
	last := len(*t) - 1
	t.swap(i, last)
	(*t)[last] = nil
	*t = (*t)[:last]
	s.slot = -1
	if i < last {
		t.down(t.up(i))
	}
}

// first is the SA with the earliest time, nil when none waits.
func (t timers) first() *ikeSA {
	if len(t) == 0 {
		return nil
	}
	return t[0]
}

// less orders by time, and by age where times are equal, so that the order of
// actions does not depend on the heap's history.
func (t timers) less(i, j int) bool {
	if t[i].wake != t[j].wake {
		return t[i].wake < t[j].wake
	}
	return t[i].ID < t[j].ID
}

func (t timers) swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].slot, t[j].slot = i, j
}

func (t timers) up(i int) int {
	for i > 0 {
		p := (i - 1) / 2
		if !t.less(i, p) {
			break
		}
		t.swap(i, p)
		i = p
	}
	return i
}

func (t timers) down(i int) {
	for {
		c := 2*i + 1
		if c >= len(t) {
			return
		}
		if c+1 < len(t) && t.less(c+1, c) {
			c++
		}
		if !t.less(c, i) {
			return
		}
		t.swap(i, c)
		i = c
	}
}

// never is a time that does not come.
const never Time = math.MaxInt64

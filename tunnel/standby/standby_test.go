package standby

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

var (
	one   = netip.MustParseAddr("192.0.2.1")
	two   = netip.MustParseAddr("192.0.2.2")
	three = netip.MustParseAddr("192.0.2.3")
	none  netip.Addr
)

// Whom a standby is made with, one step after the other.
func TestAStandbyGoesThroughTheAddresses(t *testing.T) {
	for _, c := range []struct {
		why        Why
		candidates []netip.Addr
		here       netip.Addr
		want       []netip.Addr
		probes     bool // the address in use
	}{
		{None, []netip.Addr{one, two}, one, []netip.Addr{none}, false},
		{Moved, []netip.Addr{one}, one, []netip.Addr{one, one, one}, false},
		{Moved, []netip.Addr{one, two}, two, []netip.Addr{two, one, two, two, one}, false},
		{Moved, nil, one, []netip.Addr{one, one}, false},
		{Suspect, []netip.Addr{one}, one, []netip.Addr{none, none}, true},
		{Suspect, nil, one, []netip.Addr{none}, true},
		{Suspect, []netip.Addr{one, two, three}, one, []netip.Addr{two, three, two, two, three}, true},
		{Suspect, []netip.Addr{one, two, three}, two, []netip.Addr{three, one, three, three}, true},
		{Suspect, []netip.Addr{two}, one, []netip.Addr{two, two}, true}, // its name has another address
		{Preferred, []netip.Addr{one, two}, two, []netip.Addr{one, one}, false},
	} {
		var s Standby
		now := time.Hour
		if c.why != None {
			s.Replace(c.why, 7, one)
		}
		var got []netip.Addr
		for range c.want {
			to, probe := s.Step(now, c.here, c.candidates)
			got = append(got, to)
			if probe != c.probes {
				t.Errorf("%+v: probed: %v", c, probe)
			}
			if wake := s.Wake(); wake != 0 && wake != now+turn || (wake == 0) != (c.why == None) {
				t.Errorf("%+v: the next step at %v", c, wake)
			}
			now += turn
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: made with %v", c, got)
		}
	}
}

func TestAStandbyEndsWithWhatItWasFor(t *testing.T) {
	end := map[string]func(*Standby){
		"failed":      (*Standby).Failed,
		"alive":       (*Standby).Alive,
		"stop":        (*Standby).Stop,
		"the same SA": func(s *Standby) { s.Carries(time.Hour, 7, 0) },
		"another SA":  func(s *Standby) { s.Carries(time.Hour, 8, 0) },
	}
	for _, c := range []struct {
		why  Why
		ends []string
	}{
		{Moved, []string{"another SA", "stop"}},
		{Suspect, []string{"alive", "another SA", "stop"}},
		{Preferred, []string{"another SA", "failed", "stop"}},
	} {
		for name, do := range end {
			var s Standby
			s.Replace(c.why, 7, one)
			s.Step(time.Hour, two, []netip.Addr{one, two})
			do(&s)
			if ended := s.Why() == None && s.Wake() == 0; ended != slices.Contains(c.ends, name) {
				t.Errorf("%d after %s: %d, woken at %v", c.why, name, s.Why(), s.Wake())
			}
		}
	}
}

// A suspect peer that answers handshakes for a while, and nothing else, was restarted.
func TestASuspectPeerThatAnswersProbesWasRestarted(t *testing.T) {
	for _, c := range []struct {
		answers []bool // to the probe of each step
		want    int    // the step whose answer tells, -1: none
	}{
		{[]bool{true, true, true, true}, 3}, // 15 s
		{[]bool{true, true, false, true, true, true, true}, 6},
		{[]bool{false, true, false, true, false, true}, -1},
		{[]bool{true, true, true, true, true, true, true, true}, 3},
	} {
		var s Standby
		s.Replace(Suspect, 7, none)
		got, now := -1, time.Hour
		for i, answers := range c.answers {
			s.Step(now, one, []netip.Addr{one})
			if answers {
				restarted, since := s.ProbeAnswered(now, one, one)
				if restarted && got < 0 {
					got = i
				}
				if again, _ := s.ProbeAnswered(now, one, one); again || since != 0 {
					t.Errorf("%v: a second answer to one probe counts", c.answers)
				}
			}
			now += turn
		}
		if got != c.want {
			t.Errorf("%v: told by answer %d, want %d", c.answers, got, c.want)
		}
	}
}

// A preferred remote is well since the first of its answers without a gap.
func TestAPreferredRemoteIsWellSinceItAnswersWithoutAGap(t *testing.T) {
	var s Standby
	s.Carries(time.Hour, 7, 15*time.Second)
	if s.ProbeAt() != time.Hour+15*time.Second {
		t.Errorf("first looked at at %v", s.ProbeAt())
	}
	if _, since := s.ProbeAnswered(time.Hour, one, two); since != 0 {
		t.Error("an answer that nobody asked for")
	}
	var begun []int
	for i, answers := range []bool{true, true, false, true, true} {
		now := time.Hour + time.Duration(i)*time.Minute
		s.Probe(now, []netip.Addr{one}, time.Minute)
		if s.ProbeAt() != now+time.Minute {
			t.Errorf("looked at next at %v", s.ProbeAt())
		}
		if answers {
			_, since := s.ProbeAnswered(now, one, two)
			begun = append(begun, int((since-time.Hour)/time.Minute))
		}
	}
	if !slices.Equal(begun, []int{0, 0, 3, 3}) {
		t.Errorf("well since minutes %v", begun)
	}
	if s.Probe(2*time.Hour, nil, time.Minute); s.ProbeAt() != 0 {
		t.Error("without preferred remotes there is nothing to look at")
	}
	if s.Resolved(3 * time.Hour); s.ProbeAt() != 3*time.Hour || s.Wake() != 0 {
		t.Error("other addresses are not looked at")
	}
	if s.Replace(Suspect, 7, none); s.Why() != Suspect {
		t.Error("not suspect")
	}
	if s.Resolved(4 * time.Hour); s.Wake() != 4*time.Hour {
		t.Error("another address of a suspect peer waits")
	}
}

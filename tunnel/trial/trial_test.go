package trial

import (
	"slices"
	"testing"
	"time"
)

// A trial ends by its time, or by a fault that lasts.
func TestATrialEndsByItsTimeOrByAFaultThatLasts(t *testing.T) {
	const begun = time.Hour
	type seen struct {
		at   int // seconds after the beginning
		name string
		what string
	}
	for _, c := range []struct {
		name   string
		lasts  int
		seen   []seen
		extend int // when, 0: never
		force  bool
		over   int // when
		why    string
	}{
		{name: "nothing happens", lasts: 60, over: 60, why: "it was not confirmed in time"},
		{name: "a tunnel stays down", lasts: 120, seen: []seen{{5, "hq", "hq is down"}}, over: 35, why: "hq is down, for 30s"},
		{name: "the grace is half of a short trial", lasts: 20, seen: []seen{{5, "hq", "hq is down"}}, over: 15, why: "hq is down, for 10s"},
		{name: "it is up again in time", lasts: 120, seen: []seen{{5, "hq", "hq is down"}, {30, "hq", ""}}, over: 120, why: "it was not confirmed in time"},
		{name: "a break begins anew", lasts: 120, seen: []seen{{5, "hq", "hq is down"}, {30, "hq", ""}, {31, "hq", "hq is down"}}, over: 61, why: "hq is down, for 30s"},
		{name: "what is wrong changes", lasts: 120, seen: []seen{{5, "hq", "hq is down"}, {30, "hq", "hq is connecting"}}, over: 35, why: "hq is connecting, for 30s"},
		{name: "the oldest is named", lasts: 120, seen: []seen{{5, "hq", "hq is down"}, {6, "session", "no way back"}}, over: 35, why: "hq is down, for 30s"},
		{name: "a client asks for time", lasts: 60, extend: 58, over: 73, why: "it was not confirmed in time"},
		{name: "a client asks early", lasts: 60, extend: 10, over: 60, why: "it was not confirmed in time"},
		{name: "faults no longer matter", lasts: 120, seen: []seen{{5, "hq", "hq is down"}, {21, "hq", "hq is down"}}, extend: 20, force: true, over: 120, why: "it was not confirmed in time"},
	} {
		tr := New(begun, time.Duration(c.lasts)*time.Second)
		for s := range c.lasts + 100 {
			now := begun + time.Duration(s)*time.Second
			for _, x := range c.seen {
				if x.at == s {
					tr.Observe(now, x.name, x.what)
				}
			}
			if s == c.extend && s != 0 {
				tr.Extend(now, c.force)
			}
			if w := tr.Wake(now); w > now+poll || w <= now && tr.Left(now) > 0 {
				t.Errorf("%s: at %d s woken at %v", c.name, s, w-begun)
			}
			why := tr.Over(now)
			if why != "" || s > c.over {
				if s != c.over || why != c.why {
					t.Errorf("%s: over after %d s because %q, want %d s, %q", c.name, s, why, c.over, c.why)
				}
				break
			}
		}
	}
}

func TestFaultsAreListedWithThePatienceThatIsLeft(t *testing.T) {
	tr := New(0, time.Minute)
	if what, _ := tr.Faults(); len(what) != 0 || tr.Patience(time.Second) != 0 {
		t.Errorf("without a fault: %v, %v", what, tr.Patience(time.Second))
	}
	tr.Observe(10*time.Second, "b", "b is down")
	tr.Observe(20*time.Second, "a", "a is down")
	what, since := tr.Faults()
	if !slices.Equal(what, []string{"a is down", "b is down"}) || since != 10*time.Second {
		t.Errorf("%v since %v", what, since)
	}
	if p := tr.Patience(25 * time.Second); p != 15*time.Second {
		t.Errorf("patience %v", p)
	}
	if l := tr.Left(25 * time.Second); l != 35*time.Second {
		t.Errorf("left %v", l)
	}
	tr.Extend(26*time.Second, true)
	if what, _ := tr.Faults(); len(what) != 0 || !tr.Forced() {
		t.Errorf("forced, and still wrong: %v", what)
	}
}

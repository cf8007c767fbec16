// Package trial judges a config that runs until it is confirmed. It reads no file,
// looks at no tunnel and has no clock: it is told what is seen, and says when the
// config of before has to come back.
//
//	     New
//	      |          Observe: a fault lasts as long as the grace
//	      v          or the time is over
//	+-> RUNNING ----------------------------------> taken back
//	|     |
//	+-----+--------- the file is what runs -------> kept
//	Extend
//
// What the caller does at the two ends is its own: only it knows the config file,
// whose replacement is the moment from which on a trial counts as confirmed.
package trial

import (
	"fmt"
	"sort"
	"time"
)

const (
	// maxGrace is how long a tunnel that was up before the change may be down.
	maxGrace = 30 * time.Second
	// extension is what a client gets to replace the config file.
	extension = 15 * time.Second
	// poll is how often what is watched is looked at.
	poll = time.Second
)

// Trial is a config on trial.
type Trial struct {
	until  time.Duration
	grace  time.Duration
	faults map[string]fault
	forced bool // faults no longer matter
}

// fault is something that was well before the change and is not now.
type fault struct {
	since time.Duration
	what  string
}

// New begins a trial that lasts for d.
func New(now, d time.Duration) *Trial {
	return &Trial{until: now + d, grace: min(maxGrace, d/2), faults: map[string]fault{}}
}

// Observe takes how something that is watched fares: what is wrong with it, "" for
// nothing. A fault counts from when it was seen first without a break.
func (t *Trial) Observe(now time.Duration, name, what string) {
	old, known := t.faults[name]
	switch {
	case what == "" || t.forced:
		delete(t.faults, name)
	case known:
		t.faults[name] = fault{old.since, what}
	default:
		t.faults[name] = fault{now, what}
	}
}

// Over says why the config of before has to come back, "" while the trial goes on.
func (t *Trial) Over(now time.Duration) string {
	if what, since := t.Faults(); len(what) > 0 && now-since >= t.grace {
		return fmt.Sprintf("%s, for %v", t.oldest(), t.grace)
	}
	if now >= t.until {
		return "it was not confirmed in time"
	}
	return ""
}

// oldest is the fault seen first; of several, the first by its words.
func (t *Trial) oldest() string {
	var o fault
	for _, f := range t.faults {
		if o.what == "" || f.since < o.since || f.since == o.since && f.what < o.what {
			o = f
		}
	}
	return o.what
}

// Faults lists what is wrong, and since when the oldest of it.
func (t *Trial) Faults() (what []string, since time.Duration) {
	for _, f := range t.faults {
		if len(what) == 0 || f.since < since {
			since = f.since
		}
		what = append(what, f.what)
	}
	sort.Strings(what)
	return what, since
}

// Extend gives a client the time to replace the config file. With force no fault
// ends the trial any more.
func (t *Trial) Extend(now time.Duration, force bool) {
	t.until = max(t.until, now+extension)
	if t.forced = t.forced || force; t.forced {
		clear(t.faults)
	}
}

// Forced tells whether faults no longer matter.
func (t *Trial) Forced() bool { return t.forced }

// Left is how long it is until the trial is over for want of a confirmation.
func (t *Trial) Left(now time.Duration) time.Duration { return max(t.until-now, 0) }

// Patience is how long it is until the oldest fault ends the trial, 0 without one.
func (t *Trial) Patience(now time.Duration) time.Duration {
	what, since := t.Faults()
	if len(what) == 0 {
		return 0
	}
	return max(since+t.grace-now, 0)
}

// Wake is when to Observe everything and to ask Over again.
func (t *Trial) Wake(now time.Duration) time.Duration { return min(t.until, now+poll) }

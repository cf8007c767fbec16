package tunnel

import (
	"fmt"
	"os"
	"time"
)

// clock is the wall time by which certificates are judged. Many routers have no
// battery-backed clock: until NTP has set it, it says 1970 or the like, and no
// certificate would be valid. So time is taken to be at least the later of two moments
// that are certainly past: when this binary was built, and when the configuration was
// last changed.
type clock struct {
	floor time.Time
	from  string // what the floor comes from
}

// newClock reads the two moments. built is in Unix seconds, 0: not known.
func newClock(built int64, config string) clock {
	var c clock
	if built > 0 {
		c = clock{time.Unix(built, 0), "this greseal was built"}
	}
	if st, err := os.Stat(config); err == nil && st.ModTime().After(c.floor) {
		c = clock{st.ModTime(), "the configuration was changed"}
	}
	return c
}

// now is the time to judge by, and whether the clock, which says wall, was never set.
func (c clock) now(wall time.Time) (t time.Time, unset bool) {
	if wall.Before(c.floor) {
		return c.floor, true
	}
	return wall, false
}

// note says that the clock was never set, or nothing.
func (c clock) note(wall time.Time) string {
	if _, unset := c.now(wall); !unset {
		return ""
	}
	return fmt.Sprintf("the clock has never been set (it says %s): certificates are checked as of %s, when %s; let NTP set the clock",
		wall.UTC().Format("2006-01-02 15:04"), c.floor.UTC().Format("2006-01-02 15:04"), c.from)
}

// tellTime gives the engine the wall time (contract 7).
func (l *loop) tellTime() {
	t, unset := l.clock.now(time.Now())
	if unset != l.clockUnset {
		l.clockUnset = unset
		if unset {
			l.log.Warn(l.clock.note(time.Now()))
		} else {
			l.log.Info("the clock has been set")
		}
	}
	l.engine.SetWall(l.now(), t)
}

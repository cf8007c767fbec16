package tunnel

import (
	"fmt"
	"log/slog"
	"time"

	"greseal/ikev2"
)

// Anybody who can send a datagram can make the engine remark on it. What such
// remarks say is kept as the tunnel's reason; how many lines they write is
// limited, a tunnel at a time, so that a stranger can neither fill a router's log
// nor push other events out of it.
const (
	strangerBurst = 8                // lines at once
	strangerEvery = 10 * time.Second // one more
)

// bucket is a token bucket. The zero value is full.
type bucket struct {
	used  int        // tokens taken and not come back
	since ikev2.Time // when the count of used was last right
	muted uint64     // refused since the last one taken
}

// take takes a token, and tells how many times there was none before.
func (b *bucket) take(now ikev2.Time) (ok bool, muted uint64) {
	back := int((now - b.since) / strangerEvery)
	if b.used -= back; b.used <= 0 {
		b.used, b.since = 0, now
	} else {
		b.since += time.Duration(back) * strangerEvery
	}
	if b.used >= strangerBurst {
		b.muted++
		return false, 0
	}
	b.used++
	muted, b.muted = b.muted, 0
	return true, muted
}

// strangerEvent is event for what unauthenticated input can cause.
func (l *loop) strangerEvent(t *state, level slog.Level, kind, text string) {
	ok, muted := t.strangers.take(l.now())
	if !ok {
		l.ike.Unlogged++
		return
	}
	if muted > 0 {
		text = fmt.Sprintf("%s (%d more were not logged before this one)", text, muted)
	}
	l.event(t, level, kind, text)
}

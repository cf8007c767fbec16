// Package rate limits and counts what happens in time. Times are the caller's, such as
// ikev2.Time; nothing here reads a clock.
package rate

import "time"

// Bucket is a token bucket: it limits what unauthenticated input can cause (RFC 7296
// section 2.21.4). It starts full.
type Bucket struct {
	Burst int           // tokens that it holds
	Each  time.Duration // in which one comes back

	spent int
	at    time.Duration
}

// Take takes one, if there is one.
func (b *Bucket) Take(now time.Duration) bool {
	if b.spent == 0 || (now-b.at)/b.Each >= time.Duration(b.spent) {
		b.spent, b.at = 0, now
	} else {
		back := (now - b.at) / b.Each
		b.spent -= int(back)
		b.at += back * b.Each
	}
	if b.spent == b.Burst {
		return false
	}
	b.spent++
	return true
}

// Meter counts what happened lately: it goes down by one in each time of so long.
type Meter struct {
	Most float64       // no more is counted
	Each time.Duration // in which one is forgotten

	n  float64
	at time.Duration
}

// Level is how many are counted now.
func (m *Meter) Level(now time.Duration) float64 {
	if m.n == 0 {
		return 0
	}
	return max(0, m.n-float64(now-m.at)/float64(m.Each))
}

// Add counts n more.
func (m *Meter) Add(now time.Duration, n float64) {
	m.n, m.at = min(m.Most, m.Level(now)+n), now
}

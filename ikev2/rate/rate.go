// Package rate limits and counts what happens in time. Times are those of the
// caller's clock, as in ikev2; nothing here has one of its own.
package rate

import "time"

// Bucket limits how often something is done on unauthenticated input (RFC 7296
// section 2.21.4).
type Bucket struct {
	Rate   float64 // a second
	Burst  float64
	tokens float64
	at     time.Duration
	filled bool
}

// Take takes one, if there is one.
func (b *Bucket) Take(now time.Duration) bool {
	if !b.filled {
		b.tokens, b.filled = b.Burst, true
	}
	b.tokens = min(b.Burst, b.tokens+(now-b.at).Seconds()*b.Rate)
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
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

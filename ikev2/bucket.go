package ikev2

// bucket limits how often something is done on unauthenticated input (RFC 7296
// section 2.21.4).
type bucket struct {
	rate   float64 // a second
	burst  float64
	tokens float64
	at     Time
	filled bool
}

func (b *bucket) take(now Time) bool {
	if !b.filled {
		b.tokens, b.filled = b.burst, true
	}
	b.tokens = min(b.burst, b.tokens+(now-b.at).Seconds()*b.rate)
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

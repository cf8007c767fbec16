package esp

import (
	"errors"
	"math"
	"sync/atomic"
)

// ErrExhausted says that an SA has no sequence number left: no more packets may be
// sent on it (RFC 4303 section 3.3.3). Rekey it.
var ErrExhausted = errors.New("the sequence numbers of this SA are used up; rekey it")

// Sequence allocates the sequence numbers of one outbound SA, from 1. It is safe for
// concurrent use.
type Sequence struct {
	sent atomic.Uint64
	last uint64
}

func newSequence(esn bool) *Sequence {
	if esn {
		return &Sequence{last: math.MaxUint64}
	}
	return &Sequence{last: math.MaxUint32}
}

// Reserve takes n numbers in a row and returns the first. When fewer are left
// none is taken for use, and every later call fails too.
func (s *Sequence) Reserve(n int) (first uint64, err error) {
	if n <= 0 {
		return 0, errors.New("reserving no sequence number")
	}
	end := s.sent.Add(uint64(n))
	first = end - uint64(n) + 1
	if end > s.last || end < uint64(n) {
		return 0, ErrExhausted
	}
	return first, nil
}

// Sent is the last number allocated.
func (s *Sequence) Sent() uint64 { return min(s.sent.Load(), s.last) }

// Left is how many numbers remain.
func (s *Sequence) Left() uint64 { return s.last - s.Sent() }

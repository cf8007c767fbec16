package ikev2

import (
	"encoding/binary"
	"errors"
	"io"
	"time"
)

// errRandom is what every exchange that needs randomness ends with when the
// injected reader fails: nothing is ever sent with predictable values.
var errRandom = errors.New("the source of randomness failed; check getrandom(2) on this machine")

// random draws from Config.Rand.
type random struct{ r io.Reader }

func (r random) fill(b []byte) bool {
	_, err := io.ReadFull(r.r, b)
	return err == nil
}

// uint64 draws a number; ok is false when the reader fails.
func (r random) uint64() (n uint64, ok bool) {
	var b [8]byte
	ok = r.fill(b[:])
	return binary.BigEndian.Uint64(b[:]), ok
}

// between draws a duration from [lo, hi). It is for jitter only: when the
// reader fails it is the middle.
func (r random) between(lo, hi time.Duration) time.Duration {
	if hi <= lo {
		return lo
	}
	n, ok := r.uint64()
	if !ok {
		return lo + (hi-lo)/2
	}
	return lo + time.Duration(n%uint64(hi-lo))
}

// jitter draws a duration around d: from 7/8 to 9/8 of it.
func (r random) jitter(d time.Duration) time.Duration { return d - d/8 + r.between(0, d/4) }

// drawn draws what an exchange needs, one thing after another, until the first
// error: then nothing more is drawn.
func drawn[T any](err *error, draw func() (T, error)) (v T) {
	if *err == nil {
		v, *err = draw()
	}
	return v
}

// nonceLen is the length of our nonces: at least half the key size of every PRF
// (RFC 7296 section 2.10), of which HMAC-SHA2-512's 64 octets is the largest.
const nonceLen = 32

func (r random) nonce() ([]byte, error) {
	n := make([]byte, nonceLen)
	if !r.fill(n) {
		return nil, errRandom
	}
	return n, nil
}

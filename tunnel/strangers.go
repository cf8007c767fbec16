package tunnel

import (
	crand "crypto/rand"
	"encoding/binary"
	"runtime/debug"
	"time"

	"greseal/crypto/kex"
	"greseal/crypto/rate"
	"greseal/crypto/suite"
	"greseal/ikev2"
)

// The share of one processor, and of a small GOMEMLIMIT, that unauthenticated peers may
// use.
const (
	strangersComputing = 0.25
	strangersMemory    = 24 // one part of so many
	strangersLeast     = 512 << 10
	strangersMost      = 1536 << 10
)

// newEngine makes the engine with a budget for unauthenticated peers that suits the machine.
func newEngine() *ikev2.Engine {
	memory := debug.SetMemoryLimit(-1) / strangersMemory
	return ikev2.New(ikev2.Config{
		Rand: crand.Reader, Run: run(), Computing: strangersComputing / exchangeTime().Seconds(),
		StrangersOctets: int(max(strangersLeast, min(memory, strangersMost))),
	})
}

// run identifies this run of the daemon to peers.
func run() uint64 {
	var b [8]byte
	_, _ = crand.Read(b[:]) // never fails
	return binary.NativeEndian.Uint64(b[:]) | 1
}

// exchangeTime is what one key exchange of Curve25519 takes here: the shortest of a
// few, as other programs may be running.
func exchangeTime() time.Duration {
	least := time.Second
	for range 5 {
		begun := time.Now()
		x, err := kex.New(suite.KE_CURVE25519, crand.Reader)
		if err == nil {
			_, err = x.Shared(x.Public())
		}
		if err == nil {
			least = min(least, time.Since(begun))
		}
	}
	return max(least, time.Microsecond)
}

// Anyone who can send a datagram can cause a remark of the engine. The remark is kept
// as the tunnel's reason; how many of them are logged is limited for each tunnel, so
// that a stranger can neither fill a router's log nor push other events out of it.
const (
	strangerBurst = 8                // lines at once
	strangerEvery = 10 * time.Second // one more
)

// lineLimit limits log lines, and counts those that it suppresses.
type lineLimit struct {
	rate.Bucket
	muted uint64 // suppressed since the last one
}

func newLineLimit() lineLimit {
	return lineLimit{Bucket: rate.Bucket{Burst: strangerBurst, Each: strangerEvery}}
}

// take reports whether a line may be written now, and how many were suppressed before
// it.
func (b *lineLimit) take(now ikev2.Time) (ok bool, muted uint64) {
	if !b.Take(now) {
		b.muted++
		return false, 0
	}
	muted, b.muted = b.muted, 0
	return true, muted
}

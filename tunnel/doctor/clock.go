package doctor

import (
	"time"
)

// sane is a moment before which no clock that is right can be.
var sane = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// checkClock: routers without a battery start in the past, where certificates
// are not valid yet. Nothing else of a tunnel needs the wall clock.
func checkClock(x *exam) Step { return judgeClock(time.Now(), x.Tunnel.Cert != "" && !x.now.up()) }

func judgeClock(now time.Time, matters bool) Step {
	says := "it is " + now.UTC().Format("2006-01-02 15:04:05") + " UTC"
	if !now.Before(sane) {
		return fine(says)
	}
	remedy := "set the clock, and let NTP reach a server outside the tunnel"
	if matters {
		return fault(remedy, says, "certificates are not valid yet at that time")
	}
	return warn(remedy, says)
}

package doctor

// checkClock: routers without a battery start in the past. Nothing but certificates
// needs the wall clock, and these are judged by a time of the daemon's that is never
// earlier than its own making; where that is not enough, their step says so.
func checkClock(x *exam) Step {
	says := "it is " + x.now.Wall.UTC().Format("2006-01-02 15:04:05") + " UTC"
	if x.now.ClockNote != "" {
		return warn("let NTP reach a server outside the tunnel", x.now.ClockNote)
	}
	return fine(says)
}

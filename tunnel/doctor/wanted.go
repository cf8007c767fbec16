package doctor

// checkWanted: a tunnel that was taken down, or is not enabled, is not tried.
func checkWanted(x *exam) Step {
	if x.wanted() {
		return fine()
	}
	why := x.now.Tunnel.Reason
	if why == "" {
		why = "it was taken down"
	}
	if !x.now.Tunnel.Enabled {
		return fault("set enabled = true in its [[tunnel]] and apply it, or bring it up until the next start of the daemon", why).
			with("greseal up " + x.name())
	}
	return fault("bring it up", why).with("greseal up " + x.name())
}

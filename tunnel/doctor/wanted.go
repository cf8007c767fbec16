package doctor

// checkWanted: a tunnel that was taken down, or is not enabled, is not tried.
func checkWanted(x *exam) Step {
	if x.wanted() {
		return fine()
	}
	why := x.now.Tunnel.Reason
	if why == "" {
		why = "it was taken down by request"
	}
	if !x.now.Tunnel.Enabled {
		return fault("set enabled = true in its [[tunnel]] and apply that, or bring it up until the daemon next starts", why).
			with("greseal up " + x.name())
	}
	return fault("bring it up", why).with("greseal up " + x.name())
}

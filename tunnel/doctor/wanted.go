package doctor

// checkWanted: a tunnel that was taken down, or is not enabled, is not tried.
func checkWanted(x *exam) Step {
	if x.wanted() {
		return fine()
	}
	why, how := x.now.Tunnel.Reason, x.Tunnel.UpCommand()
	if why == "" {
		why = "it was taken down by request"
	}
	switch {
	case x.now.Tunnel.Enabled:
		return fault("bring it up", why).with(how)
	case x.Tunnel.Netifd:
		return fault("enable it in Network, Interfaces (option disabled and option auto), then bring it up", why).with(how)
	}
	return fault("set enabled = true in its [[tunnel]] and apply that, or bring it up until the daemon next starts", why).with(how)
}

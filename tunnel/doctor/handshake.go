package doctor

import "fmt"

// checkHandshake takes the daemon's word where no step before found why the
// tunnel is not up.
func checkHandshake(x *exam) Step {
	if x.attempt() == established {
		if s := x.now.Tunnel.UpCount; s > 1 {
			return fine(fmt.Sprintf("for %d s; it came up %d times since the daemon was started", x.now.since(x.now.Tunnel.Since), s))
		}
		return fine(fmt.Sprintf("for %d s", x.now.since(x.now.Tunnel.Since)))
	}
	t := &x.now.Tunnel
	if !x.wanted() {
		return skip("the tunnel is taken down by request or not enabled")
	}
	if f := x.now.Failure; f != nil {
		return fault(f.Remedy, f.What())
	}
	if x.Tunnel.RemoteAny {
		return fault("start the other side; if it is running, see its own log and doctor", t.State+": "+t.Reason)
	}
	return fault(t.Remedy, t.State+": "+t.Reason)
}

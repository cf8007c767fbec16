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
	if !x.wanted() {
		return skip("the tunnel is taken down by request or not enabled")
	}
	return x.told()
}

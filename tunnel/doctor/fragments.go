package doctor

import (
	"fmt"
	"time"
)

// checkFragments sends an IKE_SA_INIT request that is larger than the path, as
// requests with certificates are: a path that loses IP fragments loses those,
// and nothing smaller.
func checkFragments(x *exam) Step {
	switch {
	case x.now.up():
		return skip("not needed: the tunnel is up")
	case !x.remote.IsValid():
		return skip("the peer connects to us")
	case x.probeIKE().kind != ikev2Reply:
		return skip("nothing to compare with")
	}
	a := x.ask(x.port(), 2200, []time.Duration{600 * time.Millisecond, 900 * time.Millisecond, 1200 * time.Millisecond})
	if a.kind == ikev2Reply {
		return fine(fmt.Sprintf("a request of %d bytes was answered", a.size))
	}
	if x.ask(x.port(), 0, nil).kind != ikev2Reply {
		return skip("small requests now get no answer either, so this says nothing about large ones")
	}
	says := []string{
		fmt.Sprintf("requests of %d bytes, in IP fragments, got no answer in %d tries, while small ones are answered", a.size, a.tries),
	}
	remedy := "turn on IKE fragmentation (RFC 7383) at the peer, or let IP fragments pass on the way and in its firewall"
	switch {
	case x.Tunnel.Cert == "":
		return warn(remedy, append(says, "a pre-shared key keeps the requests small, so this tunnel works without")...)
	case x.attempt() == unanswered:
		return fault(remedy+"; a pre-shared key keeps the requests small", says...)
	}
	return warn(remedy, append(says, "the peer answers all the same, by IKE fragmentation or since the certificates are small")...)
}

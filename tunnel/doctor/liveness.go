package doctor

import (
	"fmt"
	"time"
)

// checkLiveness has the peer asked on its IKE SA and waits for the authentic
// answer.
func checkLiveness(x *exam) Step {
	began := time.Now()
	heard, err := x.Daemon.CheckLiveness(x.ctx)
	if err != nil {
		return skip(err.Error())
	}
	if heard {
		return fine(fmt.Sprintf("an authenticated answer after %.1f ms", time.Since(began).Seconds()*1000))
	}
	if err := x.refresh(); err != nil {
		return skip(err.Error())
	}
	if !x.now.up() {
		return fault("run doctor again: it went down meanwhile", x.now.Tunnel.Reason)
	}
	s := fault("check the path to the peer and whether it is still running; the tunnel continues by itself when it answers",
		fmt.Sprintf("no answer to a liveness check; the peer was last heard %.0f s ago", x.now.Silence.Seconds()))
	if f := x.now.Failure; f != nil && !f.Kind.Silent() {
		s.Remedy = f.Remedy
		return s.and("it refuses a new IKE SA: " + f.What())
	}
	// Is the machine there at all, or only its IKE daemon gone?
	if a := x.ask(x.port(), 0, nil); a.kind == ikev2Reply {
		s.Remedy = "the peer's IKE daemon was restarted and lost this tunnel; restart it here, or wait until the peer is found dead"
		s = s.and("but it answers a new IKE_SA_INIT request").with("greseal restart " + x.name())
	} else if a.kind != silent {
		u := x.unreached(a)
		s.Remedy = u.Remedy
		s = s.and(u.Evidence...)
	}
	return s
}

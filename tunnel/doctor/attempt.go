package doctor

import (
	"cmp"
	"fmt"
	"time"

	"greseal/ikev2"
	"greseal/tunnel/cause"
	"greseal/tunnel/status"
)

// outcome is what an attempt of the daemon's came to.
type outcome uint8

const (
	established outcome = iota
	failed              // now.Failure says why
	unanswered          // a request was repeated and not answered
	undecided
)

// attempt makes the daemon try at once and waits for what comes of it: once an
// examination, and not at all while the tunnel is up.
func (x *exam) attempt() outcome {
	if !x.hurried {
		x.hurried = true
		fresh := x.now.Tunnel.State == "connecting" && x.now.Failure != nil
		if !fresh && x.wanted() && !x.now.up() {
			since := time.Now()
			if x.Tunnel.RemoteAny {
				x.wait(time.Second, func() bool { return x.now.up() })
			} else if x.Daemon.Retry(x.ctx) == nil {
				x.wait(6*time.Second, func() bool {
					f := x.now.Failure
					return x.now.up() || f != nil && x.now.Age < time.Since(since)
				})
			}
		}
	}
	switch f := x.now.Failure; {
	case x.now.up():
		return established
	case f == nil:
		return undecided
	case f.Kind.Silent():
		return unanswered
	}
	return failed
}

// failure is why the attempt failed, nil when it did not or is not known.
func (x *exam) failure() *ikev2.Failure {
	if x.attempt() == established {
		return nil
	}
	return x.now.Failure
}

// told is the fault as the daemon knows it, in its words and with its age.
func (x *exam) told() Step {
	c := x.now.Cause
	if f := x.now.Failure; f != nil {
		c = cause.Of(f)
	}
	s := fault(cmp.Or(c.Remedy, "wait until what is under way has ended, then run doctor again"), c.Text).with(c.Commands...).and(c.Evidence...)
	if age := int64(x.now.Age / time.Second); x.now.Failure != nil && age > 60 {
		s = s.and(fmt.Sprintf("last met %s ago, at %s", status.Span(age), time.Unix(x.now.Time-age, 0).UTC().Format("2006-01-02 15:04:05 UTC")))
	}
	return s
}

// isAuth reports whether a failure belongs to IKE_AUTH: IKE_SA_INIT and so the
// proposals of the IKE SA were agreed on.
func isAuth(f *ikev2.Failure) bool { return f != nil && f.Exchange == "IKE_AUTH" }

package tunnel

import (
	"time"

	"greseal/ikev2"
	"greseal/tunnel/cause"
	"greseal/tunnel/status"
)

// wait is what a tunnel that is not up waits for, and why. Every turn of advance
// ends in one (step returns nothing else), and each has a time or an event that is
// bound to come: so no tunnel stays down for lack of a wake-up.
type wait struct {
	phase phase
	why   cause.Cause
	word  string     // in phaseWaiting, one of the Wait words of status
	until ikev2.Time // then the tunnel is advanced again, whatever comes; 0: only with event
	event event      // what advances it sooner
}

const (
	routeRetry = 5 * time.Second  // without a route; a change of routes comes sooner
	linkRetry  = 30 * time.Second // after the interface could not be made
)

// appears is the remedy for an outgoing route that does not exist yet.
const appears = "the tunnel continues by itself when the address or route appears"

// tried is the remedy for a fault of this machine that has none of its own.
const tried = "mend what is named; it is tried again by itself"

// event is what ends a wait early.
type event uint8

const (
	eventNone      event = iota
	eventPeer            // the first word of a peer that begins
	eventHandshake       // the end of the attempt under way, which the engine bounds
	eventName            // an answer about a name, or the end of the resolver's patience
)

// What a tunnel in phaseWaiting waits for.
const (
	waitName    = status.WaitName
	waitRoute   = status.WaitRoute
	waitAddress = status.WaitAddress
	waitLink    = status.WaitInterface
)

// still is a wait that keeps the reason given before.
func (p *peer) still(until ikev2.Time, e event) wait {
	return wait{phase: p.phase, why: *p.cause.Known(), word: p.wait.word, until: until, event: e}
}

// stays makes w what p waits for.
func (p *peer) stays(w wait, now ikev2.Time) {
	if w.until == 0 && w.event == eventNone {
		w.until = now + routeRetry
	}
	p.wait = w
	p.set(w.phase, w.why)
}

// retryNow ends a pause: a change may help the next attempt.
func (l *loop) retryNow(p *peer) {
	p.attempt.EndPause()
	l.ask(p.tunnel, time.Second)
	l.markDirty(p)
}

package tunnel

import (
	"time"

	"greseal/ikev2"
	"greseal/tunnel/cause"
	"greseal/tunnel/status"
)

// wait is what a tunnel that is not up waits for, and why. Every turn of advance
// ends in one (step returns nothing else), and each has a moment or an event that
// is bound to come: so nothing stays down because nobody looks at it again.
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

// appears is what to do about a way out that is not there yet.
const appears = "the tunnel continues by itself when the address or route appears"

// tried is what to do about something of this machine that says nothing better.
const tried = "mend what is named; it is tried again by itself"

// event is what comes by itself.
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

// still is a wait that has nothing better to say than what is said already.
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

// retryNow ends a pause: something has changed that the next attempt may profit by.
func (l *loop) retryNow(p *peer) {
	p.attempt.EndPause()
	l.ask(p.tunnel, time.Second)
	l.markDirty(p)
}

package status

import (
	"fmt"
	"time"
)

// EventLog keeps the latest events, as many as it was made for. The zero value
// keeps none.
type EventLog struct {
	ring []Event
	next int
	full bool
}

// NewEventLog returns a log of the latest n events.
func NewEventLog(n int) EventLog { return EventLog{ring: make([]Event, n)} }

// Add appends e and forgets the oldest when the log is full.
func (l *EventLog) Add(e Event) {
	if len(l.ring) == 0 {
		return
	}
	l.ring[l.next] = e
	l.next++
	if l.next == len(l.ring) {
		l.next, l.full = 0, true
	}
}

// Last returns a copy of the latest n events of a tunnel, oldest first; an empty
// name means those of all tunnels and of the daemon.
func (l *EventLog) Last(n int, tunnel string) []Event {
	var all []Event
	if l.full {
		all = append(all, l.ring[l.next:]...)
	}
	all = append(all, l.ring[:l.next]...)
	out := all[:0]
	for _, e := range all {
		if tunnel == "" || e.Tunnel == tunnel {
			out = append(out, e)
		}
	}
	if len(out) > n {
		out = out[len(out)-n:]
	}
	return out
}

// NewEvent returns an event of this moment.
func NewEvent(wall time.Time, tunnel, level, kind, text string) Event {
	return Event{Time: wall.Unix(), Millis: wall.Nanosecond() / 1e6, Tunnel: tunnel, Level: level, Kind: kind, Text: text}
}

const (
	logLength      = 256 // events the server remembers
	publishBacklog = 256 // events on their way to the hub
	followBacklog  = 128 // events on their way to one client
)

// subscription is a client that wants the events to come.
type subscription struct {
	tunnel string
	last   int
	past   chan []Event // receives the past once
	events chan Event
	lost   int // touched by the hub alone
}

// hub hands the published events to the subscribers and remembers the latest. It
// is the only owner of both, and never waits for a subscriber: one that is slow
// learns how many events it missed.
func (s *Server) hub(done <-chan struct{}) {
	defer close(s.hubDone)
	subs := map[*subscription]bool{}
	log := NewEventLog(logLength)
	take := func(e Event) {
		log.Add(e)
		for sub := range subs {
			if sub.tunnel == "" || sub.tunnel == e.Tunnel {
				sub.offer(e)
			}
		}
	}
	for {
		select {
		case <-done:
			return
		case e := <-s.published:
			take(e)
		case sub := <-s.subscribe:
			for n := len(s.published); n > 0; n-- { // what happened before the question
				take(<-s.published)
			}
			sub.past <- log.Last(sub.last, sub.tunnel)
			if sub.events != nil {
				subs[sub] = true
			}
		case sub := <-s.unsubscribe:
			delete(subs, sub)
		}
	}
}

func (sub *subscription) offer(e Event) {
	if sub.lost > 0 {
		text := fmt.Sprintf("%d events were not shown: this client reads too slowly", sub.lost)
		select {
		case sub.events <- (Event{Time: e.Time, Millis: e.Millis, Level: LevelWarn, Kind: "lost", Text: text}):
			sub.lost = 0
		default:
		}
	}
	select {
	case sub.events <- e:
	default:
		sub.lost++
	}
}

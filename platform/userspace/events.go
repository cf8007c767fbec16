package userspace

import (
	"sync"

	"greseal/platform"
)

// eventQueue carries events from the workers to the loop. A worker never waits:
// post puts the event into a list, and one goroutine hands the list on. An
// event that waits already is not posted twice, and the list is bounded.
type eventQueue struct {
	out chan platform.Event

	mu      sync.Mutex
	waiting []platform.Event
	signal  chan struct{}
	stop    chan struct{}
	done    chan struct{}
}

const maxEvents = 4096

func newEventQueue() *eventQueue {
	q := &eventQueue{
		out:    make(chan platform.Event, 64),
		signal: make(chan struct{}, 1),
		stop:   make(chan struct{}),
		done:   make(chan struct{}),
	}
	go q.run()
	return q
}

func (q *eventQueue) post(e platform.Event) {
	q.mu.Lock()
	for _, w := range q.waiting {
		if w == e {
			q.mu.Unlock()
			return
		}
	}
	if len(q.waiting) < maxEvents {
		q.waiting = append(q.waiting, e)
	}
	q.mu.Unlock()
	select {
	case q.signal <- struct{}{}:
	default:
	}
}

func (q *eventQueue) run() {
	defer close(q.done)
	for {
		select {
		case <-q.signal:
		case <-q.stop:
			return
		}
		for {
			q.mu.Lock()
			if len(q.waiting) == 0 {
				q.mu.Unlock()
				break
			}
			e := q.waiting[0]
			q.waiting = append(q.waiting[:0], q.waiting[1:]...)
			q.mu.Unlock()
			select {
			case q.out <- e:
			case <-q.stop:
				return
			}
		}
	}
}

func (q *eventQueue) close() {
	close(q.stop)
	<-q.done
}

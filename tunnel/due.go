package tunnel

import (
	"time"

	"greseal/ikev2"
)

// What is due by the clock. A hub of a thousand tunnels does not look at all of
// them with every message: loop.dueAt is a time before which nothing is due.
// Messages move it forward by the peers that they reschedule; it becomes later again
// when it is reached and all are looked at.

// reschedule has the times of a peer looked at again before the loop waits.
func (l *loop) reschedule(t *peer) {
	if l.dueAt != 0 {
		l.rescheduled = append(l.rescheduled, t)
	}
}

// due is when something of a peer's, or of its tunnel's, is due, an hour from now at the latest.
func (l *loop) due(t *peer, now ikev2.Time) ikev2.Time {
	due := now + time.Hour
	earlier := func(at ikev2.Time) {
		if at != 0 && at < due {
			due = at
		}
	}
	if t.wanted && !t.established() {
		earlier(t.wait.until)
	}
	earlier(t.attempt.Wake())
	earlier(t.standby.Wake())
	earlier(t.standby.ProbeAt())
	earlier(t.keepaliveDue(now))
	earlier(t.search.Wake())
	earlier(t.agreed.at)
	earlier(t.addresses.again)
	earlier(t.routes.again)
	if len(t.cfg.CRL) > 0 {
		earlier(max(l.listsAt, 1))
	}
	earlier(l.askDue(t.tunnel))
	earlier(t.esp.Wake())
	return due
}

// untilDue is how long nothing is due.
func (l *loop) untilDue() time.Duration {
	now := l.now()
	if l.dueAt == 0 {
		l.dueAt = now + time.Hour
		for _, t := range l.peers {
			l.dueAt = min(l.dueAt, l.due(t, now))
		}
	}
	for _, t := range l.rescheduled {
		l.dueAt = min(l.dueAt, l.due(t, now))
	}
	clear(l.rescheduled)
	l.rescheduled = l.rescheduled[:0]
	if len(l.dirty) > 0 {
		return 0
	}
	due := l.dueAt
	if l.wake != 0 {
		due = min(due, l.wake)
	}
	if l.trial != nil {
		due = min(due, l.trial.Wake(now))
	}
	return max(due-now, 0)
}

// tick does what is due.
func (l *loop) tick() {
	now := l.now()
	if l.wake != 0 && l.wake <= now {
		l.wake = 0
		l.tellTime()
		l.do(l.engine.Tick(now))
	}
	if l.dueAt <= now {
		l.dueAt = 0
		l.tickAll(now)
	}
	l.checkTrial(now)
}

// tickAll looks at all tunnels.
func (l *loop) tickAll(now ikev2.Time) {
	for _, t := range l.peers {
		if t.wait.until != 0 && t.wait.until <= now {
			t.wait.until = 0
			l.markDirty(t)
		}
		if t.attempt.Tick(now) {
			l.markDirty(t)
		}
		if at := t.standby.Wake(); at != 0 && at <= now {
			l.makeStandby(t)
		}
		if at := t.standby.ProbeAt(); at != 0 && at <= now {
			l.probePreferred(t)
		}
		if at := l.askDue(t.tunnel); at != 0 && at <= now {
			l.ask(t.tunnel, t.askPause())
		}
		l.layAgain(t.tunnel, now)
		l.searchTick(t, now)
		l.agree(t, now)
	}
	l.keepalives(now)
	l.lookAtESP(now)
	l.followLists(now)
}

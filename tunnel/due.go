package tunnel

import (
	"time"

	"greseal/ikev2"
)

// What is due by the clock. A hub of a thousand tunnels does not look at all of
// them with every message: nothing is due before loop.dueAt. Peers that a message
// reschedules make it earlier; it becomes later again when it is reached and all are
// looked at.

// due is when something of a peer's, or of its tunnel's, is due, an hour from now at the latest.
func (l *loop) due(p *peer, now ikev2.Time) ikev2.Time {
	due := now + time.Hour
	earlier := func(at ikev2.Time) {
		if at != 0 && at < due {
			due = at
		}
	}
	if p.tunnel.wanted && !p.settled() {
		earlier(p.wait.until)
	}
	earlier(p.attempt.Wake())
	earlier(p.standby.Wake())
	earlier(p.standby.ProbeAt())
	earlier(p.tunnel.keepaliveDue(now))
	earlier(p.search.Wake())
	earlier(p.agreed.at)
	if len(p.cfg.CRL) > 0 {
		earlier(max(l.listsAt, 1))
	}
	earlier(l.askDue(p.tunnel))
	earlier(p.esp.Wake())
	earlier(p.inherited.at)
	earlier(p.changeover.until)
	return due
}

// untilDue is how long nothing is due.
func (l *loop) untilDue() time.Duration {
	now := l.now()
	if l.dueAt == 0 {
		l.dueAt = now + time.Hour
		for _, p := range l.peers {
			l.dueAt = min(l.dueAt, l.due(p, now))
		}
	}
	for _, p := range l.rescheduled {
		l.dueAt = min(l.dueAt, l.due(p, now))
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
	if l.audits.next != 0 {
		due = min(due, l.audits.next)
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
	if at := l.audits.next; at != 0 && at <= now {
		l.audit()
	}
	l.checkTrial(now)
}

// tickAll looks at all tunnels.
func (l *loop) tickAll(now ikev2.Time) {
	for _, p := range l.peers {
		if p.wait.until != 0 && p.wait.until <= now {
			p.wait.until = 0
			l.markDirty(p)
		}
		if p.attempt.Tick(now) {
			l.markDirty(p)
		}
		if at := p.standby.Wake(); at != 0 && at <= now {
			l.makeStandby(p)
		}
		if at := p.standby.ProbeAt(); at != 0 && at <= now {
			l.probePreferred(p)
		}
		if at := l.askDue(p.tunnel); at != 0 && at <= now {
			l.ask(p.tunnel, p.tunnel.askPause())
		}
		if at := p.inherited.at; at != 0 && at <= now {
			l.lookAtInherited(p, now)
		}
		l.forgetEarlier(p, now)
		l.searchTick(p, now)
		l.agree(p, now)
	}
	l.keepalives(now)
	l.lookAtESP(now)
	l.followLists(now)
}

// turn is how long tunnels are advanced before the loop looks for messages again: a
// client of the status socket does not wait until hundreds of tunnels have come up.
const (
	turn     = 20 * time.Millisecond
	entirely = time.Hour
)

// settle advances the dirty peers, in the order of the file, for as long as given;
// the others stay dirty.
func (l *loop) settle(most time.Duration) {
	end := l.now() + most
	for len(l.dirty) > 0 {
		for _, name := range l.order {
			for _, p := range l.tunnels[name].peers {
				if l.dirty[p.id] {
					if l.now() > end {
						return
					}
					delete(l.dirty, p.id)
					l.reschedule(p)
					l.advance(p)
				}
			}
		}
		for id := range l.dirty {
			if l.peers[id] == nil {
				delete(l.dirty, id)
			}
		}
	}
}

package tunnel

import (
	"log/slog"
	"slices"
	"time"

	"greseal/ikev2"
	"greseal/platform"
)

const (
	auditEvery = 30 * time.Second       // at the latest
	auditAfter = 250 * time.Millisecond // after changes by this or another program
	auditAgain = time.Second            // after a deviation that may be temporary
	auditWrong = 5 * time.Second        // while one lasts: whoever mends it tells nobody
	auditShare = 20                     // audits take at most 1/20 of the time
)

// audits schedules when the machine is read back.
type audits struct {
	next ikev2.Time // 0: not begun
	at   ikev2.Time // when the last one was made
	free ikev2.Time // no audit before, as the last one took long
}

// Soon schedules an audit within d.
func (a *audits) Soon(now ikev2.Time, within time.Duration) {
	if at := max(now+within, a.free); a.next == 0 || at < a.next {
		a.next = at
	}
}

// Done notes an audit that has just ended, and how long it took.
func (a *audits) Done(now ikev2.Time, took time.Duration) {
	a.next, a.at, a.free = now+auditEvery, now, now+took*auditShare
}

// Stale reports that the last audit is too old to be shown.
func (a *audits) Stale(now ikev2.Time) bool {
	return a.next != 0 && now >= max(a.free, min(a.next, a.at+auditAgain))
}

// laid schedules an audit after a change of our own, at once where it failed. The audit says what
// the kernel refuses, and tries again; everything else goes on without it.
func (l *loop) laid(err error) {
	within := auditAfter
	if err != nil {
		l.log.Debug("laying", "error", err)
		within = 0
	}
	l.audits.Soon(l.now(), within)
}

// audit reads back what is installed on the machine, and reports what has changed.
func (l *loop) audit() {
	begun := l.now()
	found := map[string][]platform.Deviation{}
	there, all := l.deviations()
	for _, d := range all {
		switch t := l.tunnels[d.Link]; {
		case t == nil:
			d.Link = ""
		case t.cfg.Netifd && d.Object == platform.ObjectLink && !d.Fixed:
			if !t.netifdHeard() {
				continue
			}
			d.Remedy = "ifup " + t.name
		}
		found[d.Link] = append(found[d.Link], d)
	}
	l.notePeers()
	l.audits.Done(l.now(), l.now()-begun)
	l.learn(nil, &l.standing, found[""])
	for _, name := range l.order {
		t := l.tunnels[name]
		l.learn(t, &t.standing, found[name])
		if there != nil {
			in, out := there.Octets(t.index)
			t.history.Add(octets{begun, in, out})
		}
	}
}

// deviations has everything read back, with one dump of the interfaces unless some of
// them are put right in between. there is nil when they cannot be read.
func (l *loop) deviations() (there *platform.Interfaces, found []platform.Deviation) {
	there, err := l.net.Interfaces()
	found = l.dp.Audit(there)
	if slices.ContainsFunc(found, func(d platform.Deviation) bool { return d.Object == platform.ObjectLink }) {
		there, err = l.net.Interfaces()
	}
	if err != nil {
		found = append(found, platform.Deviation{Object: platform.ObjectLink, Text: "the interfaces cannot be read back: " + err.Error()})
	}
	return there, append(found, l.net.Audit(there)...)
}

// netifdHeard reports whether netifd has had time to set the interface up, as it does
// when the tunnel comes up.
func (t *tunnel) netifdHeard() bool {
	p := t.shown()
	return p.established() && time.Since(p.since) > 10*time.Second
}

// learn takes what an audit found about a tunnel, or (nil) about all together.
func (l *loop) learn(t *tunnel, s *standing, found []platform.Deviation) {
	say, gone, again := s.Audited(found)
	for _, d := range say {
		level, text := slog.LevelError, d.String()
		switch {
		case d.Fixed:
			level, text = slog.LevelWarn, text+"; put right"
		case d.Object == platform.ObjectGuard:
			text = "NOT CLOSED: " + text
		}
		if d.Remedy != "" && !d.Fixed {
			text += "; " + d.Remedy
		}
		l.event(t, level, "machine", text)
	}
	for _, d := range gone {
		l.event(t, slog.LevelInfo, "machine", d.What()+": as wanted again")
	}
	switch {
	case again:
		l.audits.Soon(l.now(), auditAgain)
	case len(s.differs) > 0:
		l.audits.Soon(l.now(), auditWrong)
	}
}

// notClosed names the tunnels for which the last audit found a guard missing.
func (l *loop) notClosed() (names []string) {
	for _, name := range l.order {
		if d, any := l.tunnels[name].standing.Hindrance(); any && d.Object == platform.ObjectGuard {
			names = append(names, name)
		}
	}
	return names
}

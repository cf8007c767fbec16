package tunnel

import (
	"testing"
	"time"

	"greseal/ikev2"
	"greseal/tunnel/config"
)

// Of a tunnel that is rescheduled the loop knows what is due; that of all others is
// found out again when something is, or when anything may have changed.
func TestDueIsFoundWithThePeersThatAreRescheduled(t *testing.T) {
	l := &loop{origin: time.Now().Add(-time.Second), tunnels: map[string]*tunnel{}, peers: map[ikev2.PeerID]*peer{}}
	for _, name := range []string{"a", "b", "c"} {
		l.add(&config.Tunnel{Name: name, Enabled: true})
	}
	within := func(what string, lo, hi time.Duration) {
		t.Helper()
		if d := l.untilDue(); d < lo || d > hi {
			t.Errorf("%s: due in %v, want %v to %v", what, d, lo, hi)
		}
	}
	set := func(id ikev2.PeerID, at ikev2.Time) {
		p := l.peers[id]
		l.reschedule(p)
		p.agreed.at = at
	}
	within("nothing", 59*time.Minute, time.Hour)
	now := l.now()
	set("b", now+20*time.Minute)
	within("b", 19*time.Minute, 20*time.Minute)
	set("c", now+10*time.Minute)
	set("b", 0)
	within("c", 9*time.Minute, 10*time.Minute)
	set("c", 0)
	within("c, though it no longer is", 9*time.Minute, 10*time.Minute)
	l.peers["a"].standby.Resolved(now + 5*time.Minute)
	l.dueAt = 0 // as after a reload
	within("a", 4*time.Minute, 5*time.Minute)
	l.wake = now + time.Minute
	within("the engine", 59*time.Second, time.Minute)
}

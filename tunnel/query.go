package tunnel

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"greseal/ikev2"
	"greseal/tunnel/status"
)

// query answers a client's request.
func (l *loop) query(q *status.Query) {
	switch q.Op {
	case status.OpStatus:
		q.Answer(status.Reply{OK: true, Snapshot: l.snapshot()})
		return
	case status.OpReload:
		q.Answer(l.reload())
		return
	}
	if l.trialQuery(q) || l.jobQuery(q) {
		return
	}
	names := l.order
	if q.Tunnel != "" {
		id := ikev2.PeerID(q.Tunnel)
		if l.tunnels[id] == nil {
			q.Answer(status.NoTunnel(q.Tunnel, l.tunnelNames()))
			return
		}
		names = []ikev2.PeerID{id}
	}
	if q.Op == status.OpHandshakes {
		q.Answer(status.Reply{OK: true, Handshakes: l.handshakes(ikev2.PeerID(q.Tunnel))})
		return
	}
	var lines []string
	for _, id := range names {
		t := l.tunnels[id]
		if t.wrong() && q.Op != status.OpDown {
			if q.Tunnel != "" {
				q.Answer(refuseWrong(t))
				return
			}
			lines = append(lines, fmt.Sprintf("%s: %s", id, t.reason))
			continue
		}
		switch q.Op {
		case status.OpUp:
			l.up(t)
		case status.OpDown:
			l.down(t, q.Open)
		case status.OpRestart:
			if !t.wanted && q.Tunnel != "" {
				q.Answer(status.Fail("greseal up "+q.Tunnel, "%s is taken down, there is nothing to restart", id))
				return
			}
			if !t.wanted {
				continue
			}
			l.event(t, slog.LevelInfo, "request", "restarted by request")
			l.restart(t, "restarted by request")
		}
		l.settle(entirely)
		lines = append(lines, fmt.Sprintf("%s: %s", id, t.phase))
	}
	q.Answer(status.Done(lines...))
}

// up wants a tunnel up, whatever the file says about enabled.
func (l *loop) up(t *state) {
	if t.wanted {
		if !t.established() && !t.trying {
			l.hurry(t) // now rather than after the backoff
		}
		return
	}
	l.event(t, slog.LevelInfo, "request", "taken up by request")
	t.wanted, t.attempts = true, 0
	t.forgetESP()
	t.set(phaseWaiting, reason{text: "starting"})
	l.close(t)
	l.register(t)
	l.hurry(t)
}

// down deletes a tunnel's SAs and interface. Its guards and unreachable routes
// stay, unless open.
func (l *loop) down(t *state, open bool) {
	if t.wanted {
		l.event(t, slog.LevelInfo, "request", "taken down by request")
	}
	t.wanted, t.trying, t.retryAt, t.nextAt, t.aside, t.wait = false, false, 0, 0, aside{}, wait{}
	if !t.wrong() {
		t.set(phaseClosed, reason{
			text:   "taken down by request",
			remedy: "greseal up " + string(t.id),
		})
	}
	l.do(l.engine.RemovePeer(l.now(), t.id))
	l.dismantle(t)
	if open {
		l.open(t)
		l.event(t, slog.LevelWarn, "open", "guards removed by request: its networks may use other routes in clear")
	}
}

// event writes the log line and publishes the event that says the same.
func (l *loop) event(t *state, level slog.Level, kind, text string) {
	name := ""
	if t != nil {
		name = string(t.id)
		l.log.Log(context.Background(), level, text, "tunnel", name)
	} else {
		l.log.Log(context.Background(), level, text)
	}
	e := status.NewEvent(time.Now(), name, levelWord(level), kind, text)
	if t != nil {
		t.events.Add(e)
	}
	l.server.Publish(e)
}

func levelWord(level slog.Level) string {
	switch {
	case level >= slog.LevelError:
		return status.LevelError
	case level >= slog.LevelWarn:
		return status.LevelWarn
	case level >= slog.LevelInfo:
		return status.LevelInfo
	}
	return status.LevelDebug
}

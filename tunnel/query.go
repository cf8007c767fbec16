package tunnel

import (
	"fmt"
	"log/slog"

	"greseal/ikev2"
	"greseal/tunnel/attempt"
	"greseal/tunnel/status"
)

// query answers a client's request.
func (l *loop) query(q *status.Query) {
	if q.Op == status.OpReload {
		q.Answer(l.reload())
		return
	}
	if l.trialQuery(q) || l.jobQuery(q) {
		return
	}
	names := l.order
	if q.Tunnel != "" {
		if l.tunnels[q.Tunnel] == nil {
			q.Answer(status.NoTunnel(q.Tunnel, l.order))
			return
		}
		names = []string{q.Tunnel}
	}
	switch q.Op {
	case status.OpStatus:
		q.Answer(status.Reply{OK: true, Snapshot: l.snapshot(names)})
		return
	case status.OpHandshakes:
		q.Answer(status.Reply{OK: true, Handshakes: l.handshakes(ikev2.PeerID(q.Tunnel))})
		return
	}
	var lines []string
	for _, name := range names {
		t := l.tunnels[name]
		if t.wrong() && q.Op != status.OpDown {
			if q.Tunnel != "" {
				q.Answer(refuseWrong(t))
				return
			}
			lines = append(lines, fmt.Sprintf("%s: %s", name, t.shown().reason))
			continue
		}
		switch q.Op {
		case status.OpUp:
			l.up(t, byRequest)
		case status.OpDown:
			l.down(t, q.Open, byRequest)
		case status.OpRestart:
			if !t.wanted && q.Tunnel != "" {
				q.Answer(status.Fail("greseal up "+q.Tunnel, "%s is down by request; there is nothing to restart", name))
				return
			}
			if !t.wanted {
				continue
			}
			l.event(t, slog.LevelInfo, "request", "restarted by request")
			for _, p := range t.peers {
				l.restart(p, "restarted by request")
			}
		}
		l.settle(entirely)
		lines = append(lines, fmt.Sprintf("%s: %s", name, t.shown().phase))
	}
	q.Answer(status.Done(lines...))
}

// Whose will it is that a tunnel is up or down.
const (
	byRequest = "by request"
	byConfig  = "by the configuration"
	asBefore  = "as before the trial"
)

// up wants a tunnel up, whatever the file says about enabled.
func (l *loop) up(t *tunnel, by string) {
	if t.wanted {
		for _, p := range t.peers {
			if !p.established() && p.attempt.State() != attempt.UnderWay {
				l.retryNow(p) // now rather than after the backoff
			}
		}
		return
	}
	l.event(t, slog.LevelInfo, "request", "brought up "+by)
	t.wanted = true
	l.close(t)
	for _, p := range t.peers {
		p.attempt.Reset()
		p.esp.Forget()
		p.set(phaseWaiting, reason{text: "starting"})
		l.register(p)
		l.retryNow(p)
	}
}

// down deletes a tunnel's SAs and interface. Its guards and unreachable routes
// stay, unless open.
func (l *loop) down(t *tunnel, open bool, by string) {
	if t.wanted {
		l.event(t, slog.LevelInfo, "request", "taken down "+by)
	}
	t.wanted = false
	for _, p := range t.peers {
		p.attempt.Stop()
		p.standby.Stop()
		p.wait = wait{}
		if !t.wrong() {
			p.set(phaseClosed, reason{
				text:   "taken down by request",
				remedy: "greseal up " + t.name,
			})
		}
		l.do(l.engine.RemovePeer(l.now(), p.id))
	}
	l.dismantle(t)
	if open {
		l.open(t)
		l.event(t, slog.LevelWarn, "open", "guards removed by request: its networks may use other routes in clear")
	}
}

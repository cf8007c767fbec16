package tunnel

import (
	"log/slog"

	"greseal/ikev2"
	"greseal/tunnel/attempt"
	"greseal/tunnel/cause"
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
		if l.audits.Stale(l.now()) {
			l.audit()
		}
		s := l.snapshot(names)
		if q.History {
			for i := range s.Tunnels {
				s.Tunnels[i].History = l.describeHistory(l.tunnels[names[i]])
			}
		}
		q.Answer(status.Reply{OK: true, Snapshot: s})
		return
	case status.OpHandshakes:
		q.Answer(status.Reply{OK: true, Handshakes: l.handshakes(ikev2.PeerID(q.Tunnel))})
		return
	}
	var lines []string
	for _, name := range names {
		line, refused := l.request(l.tunnels[name], q)
		if refused != nil && q.Tunnel != "" {
			q.Answer(*refused)
			return
		}
		if line != "" {
			lines = append(lines, name+": "+line)
		}
	}
	q.Answer(status.Done(lines...))
}

// request carries out a request for one tunnel, and returns its result; refused is why
// it could not.
func (l *loop) request(t *tunnel, q *status.Query) (line string, refused *status.Reply) {
	if t.wrong() && q.Op != status.OpDown {
		r := refuseWrong(t)
		return t.shown().cause.Is().String(), &r
	}
	if r := netifdsOwn(t, q); r != nil {
		return r.Error, r
	}
	switch {
	case q.Op == status.OpUp:
		l.up(t, byRequest)
	case q.Op == status.OpDown:
		l.down(t, q.Open, byRequest)
	case q.Op == status.OpRestart && !t.wanted:
		r := status.Fail(t.shown().cfg.UpCommand(), "%s is down by request; there is nothing to restart", t.name)
		return "", &r
	case q.Op == status.OpRestart:
		l.event(t, slog.LevelInfo, "request", "restarted by request")
		for _, p := range t.peers {
			p.changeover.forget() // anew, with the present settings alone
			l.restart(p, "restarted by request")
		}
	}
	l.settle(entirely)
	return t.shown().word(), nil
}

// netifdsOwn refuses to bring an interface of netifd up, or to take it down, without
// netifd, which would lay no addresses and routes, or leave them. Not nil: nothing is
// to be done.
func netifdsOwn(t *tunnel, q *status.Query) *status.Reply {
	if c := t.shown().cfg; !c.Netifd || q.Netifd || t.wanted != (q.Op == status.OpDown) || q.Open || q.Op == status.OpRestart {
		return nil
	} else if q.Op == status.OpUp && !c.Enabled {
		r := status.Fail("enable it in Network, Interfaces, then run: ifup "+t.name, "%s is an interface of netifd and not enabled there", t.name)
		return &r
	}
	r := status.Fail("if"+q.Op+" "+t.name, "%s is an interface of netifd, which goes %s with its addresses and routes by netifd alone", t.name, q.Op)
	return &r
}

// Who wants a tunnel up or down.
const (
	byRequest = "by request"
	byConfig  = "by the configuration"
	asBefore  = "as before the trial"
)

// up wants a tunnel up, whatever the file says about enabled.
func (l *loop) up(t *tunnel, by string) {
	if t.wanted {
		for _, p := range t.peers {
			if !p.settled() && p.attempt.State() != attempt.UnderWay {
				l.retryNow(p) // without waiting for the backoff
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
		p.set(phaseWaiting, cause.Progress("starting"))
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
		p.changeover.forget()
		p.wait = wait{}
		if !t.wrong() {
			p.set(phaseClosed, cause.Cause{Text: "taken down by request", Remedy: "bring it up", Commands: []string{p.cfg.UpCommand()}})
		}
		l.do(l.engine.RemovePeer(l.now(), p.id))
	}
	l.dismantle(t)
	if open {
		l.open(t)
		l.event(t, slog.LevelWarn, "open", "guards removed by request: its networks may use other routes in the clear")
	}
}

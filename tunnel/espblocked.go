package tunnel

import (
	"log/slog"
	"net/netip"

	"greseal/ikev2"
	"greseal/tunnel/doctor"
	"greseal/tunnel/esppath"
)

// Whether ESP passes to a peer, and in which form: tunnel/esppath decides by the
// counters that are read and the echo requests that are sent here.

// lookAtESP does what is due.
func (l *loop) lookAtESP(now ikev2.Time) {
	for _, p := range l.peers {
		if at := p.esp.Wake(); at == 0 || at > now {
			continue
		}
		c := p.current()
		if c == nil {
			p.esp.Rest()
			continue
		}
		l.conclude(p, p.esp.Check(now, l.espChild(c), p.phase == phaseUp))
	}
}

// espChild is a Child SA with its counters as they are now.
func (l *loop) espChild(c *childSA) esppath.ChildSA {
	l.count(c)
	return esppath.ChildSA{
		ID: uint64(c.ID), Form: esppath.FormOf(c.Encap),
		In: c.in.count.Packets, Out: c.out.count.Packets,
	}
}

// conclude carries out a verdict.
func (l *loop) conclude(p *peer, v esppath.Verdict) {
	if v.Echo {
		l.askESP(p)
	}
	if v.Text != "" {
		level, kind := slog.LevelInfo, "encap"
		if v.Warn {
			level = slog.LevelWarn
		}
		if v.Peer {
			kind = "peer"
		}
		if v.Doctor {
			v.Text += "; find out more: greseal doctor " + p.tunnel.name
		}
		l.event(p.tunnel, level, kind, v.Text)
	}
	if v.Register {
		l.register(p)
	}
	if v.Restart != "" {
		l.restart(p, v.Restart)
	}
}

// askESP tests whether the tunnel carries echo requests.
func (l *loop) askESP(p *peer) {
	target := doctor.Inside(p.cfg.Address)
	if !target.IsValid() || l.jobs.ctx.Err() != nil {
		return
	}
	p.esp.Asking()
	id, c := p.id, p.current().Child
	l.jobs.running.Go(func() {
		refusals, err := l.inside.GREErrors(c.GRELocal, c.GRERemote)
		if err != nil {
			l.log.Debug("listening for ICMP errors", "tunnel", id, "error", err)
		}
		defer refusals.Close()
		e, err := l.echo(id, target)
		e.Refused = refusals.Came() > 0
		_, _ = onLoop(l, l.jobs.ctx, func() struct{} {
			l.echoed(id, c.ID, e, err)
			return struct{}{}
		})
	})
}

// echo sends echo requests through the tunnel one by one. They count as lost if
// the peer answered on the IKE SA before and after each of them: a path that is
// down for a moment loses both.
func (l *loop) echo(id ikev2.PeerID, target netip.Addr) (e esppath.Echo, err error) {
	ike := &watchedTunnel{l, id}
	for range 4 {
		if heard, err := ike.CheckLiveness(l.jobs.ctx); !heard {
			return e, err
		}
		e.Answered, err = l.inside.Echo(string(id), target)
		if e.Answered || err != nil {
			return e, err
		}
	}
	e.Lost, err = ike.CheckLiveness(l.jobs.ctx)
	return e, err
}

// echoed passes on the result of echo requests.
func (l *loop) echoed(id ikev2.PeerID, child ikev2.ChildID, e esppath.Echo, err error) {
	p := l.peers[id]
	if p == nil {
		return
	}
	c := p.current()
	if c == nil || c.ID != child {
		p.esp.Unasked() // another SA meanwhile: asked again at the next look
		return
	}
	if err != nil {
		l.log.Debug("echo requests through the tunnel", "tunnel", id, "error", err)
		if !e.Answered {
			e = esppath.Echo{}
		}
	}
	now := l.espChild(c)
	l.conclude(p, p.esp.Echoed(l.now(), now, e, p.remedy(now.Form, p.ike[c.IKE].NAT)))
}

package tunnel

import (
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"greseal/ikev2"
	"greseal/tunnel/config"
	"greseal/tunnel/doctor"
)

// Some networks drop ESP (IP protocol 50) and let IKE pass: the tunnel comes up
// and carries nothing. Counters only raise the suspicion, since traffic may well
// go one way. What proves it is that echo requests to the other end of the
// tunnel are not answered, nothing else comes out of it meanwhile, and the peer
// does answer on the IKE SA. Then the tunnel is made anew in UDP, which is kept
// when packets come back through it and given up when not.

const (
	espFirst   = 3 * time.Second // after a pair stands: the peer has installed it too
	espLook    = 10 * time.Second
	espLookMax = 5 * time.Minute // while echo requests are answered
	espForce   = time.Hour       // between two attempts with UDP
)

// espPath is what a tunnel knows of how its ESP packets fare.
type espPath struct {
	at      ikev2.Time // the next look, 0: none
	pause   time.Duration
	asking  bool
	fresh   bool // nothing has come in since the tunnel came up
	child   ikev2.ChildID
	in, out uint64 // packets of the child at the last look

	forced  bool       // UDP is asked for because bare ESP did not pass
	triedAt ikev2.Time // when UDP was asked for last, 0: never
	useless bool       // that helped nothing, and no packet has come in since
}

// espUp is called when a tunnel has come up.
func (l *loop) espUp(t *state, c *ikev2.Child) {
	t.esp.at, t.esp.pause, t.esp.fresh, t.esp.child = 0, espLook, true, 0
	if c.Encap && !t.esp.forced {
		return // IKE and ESP are one flow
	}
	wait := espFirst
	if i, ok := t.currentIKE(); ok && !i.Initiator {
		wait *= 4 // the initiator goes first
	}
	t.esp.at = l.now() + wait
}

// lookAtESP does what is due.
func (l *loop) lookAtESP(now ikev2.Time) {
	for _, t := range l.tunnels {
		if t.esp.at == 0 || t.esp.at > now || t.esp.asking {
			continue
		}
		p := t.current()
		if p == nil {
			t.esp.at = 0 // until it comes up again
			continue
		}
		t.esp.at = now + t.esp.pause
		if t.esp.child != p.ID {
			t.esp.child, t.esp.in, t.esp.out = p.ID, 0, 0
		}
		l.count(t, p)
		in, out := p.countIn.Packets, p.countOut.Packets
		comes, leaves := in > t.esp.in, out > t.esp.out
		t.esp.in, t.esp.out = in, out
		switch {
		case comes:
			l.espPasses(t)
			t.esp.pause = espLook
		case (leaves || t.esp.fresh) && t.phase == phaseUp:
			l.askESP(t, p.ID)
		}
	}
}

// askESP finds out whether the tunnel carries echo requests.
func (l *loop) askESP(t *state, child ikev2.ChildID) {
	target := doctor.Inside(t.cfg.Address)
	if !target.IsValid() || l.jobs.ctx.Err() != nil {
		return
	}
	t.esp.asking = true
	id := t.id
	l.jobs.running.Go(func() {
		answered, lost, err := l.echo(id, target)
		_, _ = onLoop(l, l.jobs.ctx, func() struct{} {
			l.espAsked(id, child, answered, lost, err)
			return struct{}{}
		})
	})
}

// echo sends echo requests through the tunnel one by one. They count as lost if
// the peer answered on the IKE SA before and after each of them: a path that is
// down for a moment loses both.
func (l *loop) echo(id ikev2.PeerID, target netip.Addr) (answered, lost bool, err error) {
	ike := &watched{l, id}
	for range 4 {
		if heard, err := ike.Hear(l.jobs.ctx); !heard {
			return false, false, err
		}
		answered, err = doctor.Echo(string(id), target)
		if answered || err != nil {
			return answered, false, err
		}
	}
	lost, err = ike.Hear(l.jobs.ctx)
	return false, lost, err
}

// espAsked concludes.
func (l *loop) espAsked(id ikev2.PeerID, child ikev2.ChildID, answered, lost bool, err error) {
	t := l.tunnels[id]
	if t == nil {
		return
	}
	t.esp.asking = false
	p := t.current()
	if p == nil || p.ID != child {
		return // another SA meanwhile: asked again at the next look
	}
	l.count(t, p)
	switch {
	case answered || p.countIn.Packets > t.esp.in:
		l.espPasses(t)
		t.esp.pause = min(t.esp.pause*2, espLookMax)
	case err != nil:
		l.log.Debug("echo requests through the tunnel", "tunnel", id, "error", err)
	case lost:
		l.espBlocked(t, p)
	}
	// Otherwise the peer is silent altogether: liveness deals with it.
}

// espPasses notes that something came out of the tunnel.
func (l *loop) espPasses(t *state) {
	if t.esp.fresh && t.esp.forced {
		l.event(t, slog.LevelInfo, "encap", "packets come back in UDP: it is kept")
	}
	t.esp.fresh, t.esp.useless = false, false
}

// espBlocked is the conclusion that packets are lost on the way.
func (l *loop) espBlocked(t *state, p *pair) {
	const seen = "echo requests through the tunnel get no answer while the peer answers on the IKE SA"
	now := l.now()
	switch {
	case t.esp.forced:
		t.esp.forced, t.esp.useless = false, true
		l.register(t) // from the next handshake on
		l.event(t, slog.LevelWarn, "encap", seen+", in UDP as without; find out more: greseal doctor "+string(t.id))
	case p.Encap || t.esp.useless || t.esp.triedAt != 0 && now-t.esp.triedAt < espForce:
	case t.cfg.Encap != config.EncapAuto || t.cfg.RemoteAny:
		t.esp.triedAt, t.esp.useless = now, true
		remedy := `set encap = "always"`
		if t.cfg.RemoteAny {
			remedy += " on the side that initiates"
		}
		l.event(t, slog.LevelWarn, "encap", fmt.Sprintf("%s: ESP (IP protocol 50) seems to be dropped on the way; %s", seen, remedy))
	default:
		t.esp.forced, t.esp.triedAt = true, now
		l.event(t, slog.LevelWarn, "encap", seen+": ESP (IP protocol 50) seems to be dropped on the way; trying it in UDP")
		l.register(t)
		l.restart(t, "trying ESP in UDP")
	}
}

// forgetESP begins anew: the configuration or the operator did.
func (t *state) forgetESP() { t.esp = espPath{asking: t.esp.asking} }

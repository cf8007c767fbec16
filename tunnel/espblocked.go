package tunnel

import (
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"greseal/ikev2"
	"greseal/tunnel/doctor"
)

// Some networks drop ESP (IP protocol 50) and let IKE pass: the tunnel comes up
// and carries nothing. Others, and peers without UDP encapsulation, do so with ESP
// in UDP and no NAT in sight. Counters only raise the suspicion, since traffic may well
// go one way. What speaks for it is that echo requests to the other end of the
// tunnel are not answered for espPatience, nothing else comes out of it meanwhile,
// and the peer does answer on the IKE SA. It may still be the peer that has no GRE
// interface yet. Then its kernel answers what came out of ESP with ICMP errors, and
// nothing is concluded; else the tunnel is made anew in the other form, which is
// given up when no packets come back through it. When they do, it was perhaps only the
// time that helped: so the usual form is tried once more when the tunnel is made anew
// for another reason, and only when that fails as well the other is kept for good.

const (
	espFirst   = 3 * time.Second // after a pair stands: the peer has installed it too
	espLook    = 10 * time.Second
	espLookMax = 5 * time.Minute // while echo requests are answered
	espForce   = time.Hour       // between two attempts with the other form

	espPatience = 20 * time.Second // with a peer whose GRE interface comes after the SAs
	espAgain    = 4 * time.Second  // between two rounds of echo requests meanwhile
)

// espPath is what a tunnel knows of how its ESP packets fare.
type espPath struct {
	at      ikev2.Time // the next look, 0: none
	pause   time.Duration
	asking  bool
	fresh   bool // nothing has come in since the tunnel came up
	child   ikev2.ChildID
	in, out uint64 // packets of the child at the last look

	form    espForm    // the tunnel came up in
	asked   espForm    // of the peer, because the usual one did not pass
	triedAt ikev2.Time // when it was asked for last, 0: never
	since   ikev2.Time // when the tunnel came up
	lostAt  ikev2.Time // the first round of echo requests without an answer, of those in a row
	helps   int        // times that packets came back in the other form, and not in the usual one before
	retried bool       // the usual form was tried once more since
	refused bool       // the log has said that the peer has no GRE interface
	useless bool       // the other form helped nothing, and no packet has come in since
}

// espUp is called when a tunnel has come up.
func (l *loop) espUp(t *peer, c *ikev2.Child) {
	form := formOf(c.Encap)
	if e := &t.esp; e.fresh && e.form != form && e.asked == formUsual {
		e.useless = true // the peer goes over to this one, as nothing came in the other
	}
	t.esp.at, t.esp.pause, t.esp.fresh, t.esp.child = 0, espLook, true, 0
	t.esp.since, t.esp.lostAt, t.esp.form = l.now(), 0, form
	wait := espFirst
	if i, ok := t.currentIKE(); ok && !i.Initiator {
		wait *= 4 // the initiator goes first
	}
	t.esp.at = l.now() + wait
}

// lookAtESP does what is due.
func (l *loop) lookAtESP(now ikev2.Time) {
	for _, t := range l.peers {
		if t.esp.at == 0 || t.esp.at > now || t.esp.asking {
			continue
		}
		p := t.current()
		if p == nil || p.Encap && !t.esp.fresh && t.esp.asked == formUsual {
			t.esp.at = 0 // until it comes up again: what has come in UDP goes on as IKE does, in one flow
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
			l.espPasses(t, p)
			t.esp.pause = espLook
		case (leaves || t.esp.fresh) && t.phase == phaseUp:
			l.askESP(t, p.ID)
		}
	}
}

// askESP finds out whether the tunnel carries echo requests.
func (l *loop) askESP(t *peer, child ikev2.ChildID) {
	target := doctor.Inside(t.cfg.Address)
	if !target.IsValid() || l.jobs.ctx.Err() != nil {
		return
	}
	t.esp.asking = true
	id := t.id
	c := t.pairs[child].Child
	l.jobs.running.Go(func() {
		refusals, err := l.inside.GREErrors(c.GRELocal, c.GRERemote)
		if err != nil {
			l.log.Debug("listening for ICMP errors", "tunnel", id, "error", err)
		}
		defer refusals.Close()
		answered, lost, err := l.echo(id, target)
		refused := refusals.Came() > 0
		_, _ = onLoop(l, l.jobs.ctx, func() struct{} {
			l.espAsked(id, child, answered, lost, refused, err)
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
		answered, err = l.inside.Echo(string(id), target)
		if answered || err != nil {
			return answered, false, err
		}
	}
	lost, err = ike.Hear(l.jobs.ctx)
	return false, lost, err
}

// espAsked concludes.
func (l *loop) espAsked(id ikev2.PeerID, child ikev2.ChildID, answered, lost, refused bool, err error) {
	t := l.peers[id]
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
		l.espPasses(t, p)
		t.esp.pause = min(t.esp.pause*2, espLookMax)
	case err != nil:
		l.log.Debug("echo requests through the tunnel", "tunnel", id, "error", err)
	case refused:
		l.espRefused(t)
	case lost && l.now()-t.esp.lostSince(l.now()) < espPatience:
		t.esp.at = l.now() + espAgain
	case lost:
		l.espBlocked(t, p)
	}
	// Otherwise the peer is silent altogether: liveness deals with it.
}

// lostSince is since when nothing comes back.
func (e *espPath) lostSince(now ikev2.Time) ikev2.Time {
	if e.lostAt == 0 {
		e.lostAt = now
	}
	if e.fresh {
		return e.since
	}
	return e.lostAt
}

// espPasses notes that something came out of the tunnel.
func (l *loop) espPasses(t *peer, p *pair) {
	form := formOf(p.Encap)
	switch e := &t.esp; {
	case !e.fresh:
	case e.asked == form:
		e.helps++
		text := fmt.Sprintf("packets come back in %s: it is kept", form)
		if !e.retried {
			text += fmt.Sprintf(" until the tunnel is made anew; then %s is tried once more, for what took its packets may be over", short(form.other()))
		}
		l.event(t.tunnel, slog.LevelInfo, "encap", text)
	case e.retried:
		l.event(t.tunnel, slog.LevelInfo, "encap", fmt.Sprintf("packets come back in %s, too: it was not dropped on the way, or is no longer", form))
		e.helps, e.retried = 0, false
	}
	t.esp.fresh, t.esp.useless, t.esp.refused, t.esp.lostAt = false, false, false, 0
}

// espOnceMore has a tunnel that is made anew try its usual form again, once.
func (l *loop) espOnceMore(t *peer) {
	if e := &t.esp; e.asked != formUsual && e.helps > 0 && !e.retried {
		e.asked, e.retried = formUsual, true
		l.register(t)
	}
}

// espRefused notes that the peer answers what comes out of ESP with ICMP errors.
func (l *loop) espRefused(t *peer) {
	t.esp.at = l.now() + espAgain
	if !t.esp.refused && l.now()-t.esp.since >= espPatience {
		t.esp.refused = true
		l.event(t.tunnel, slog.LevelWarn, "peer", "ESP passes, but the peer has no GRE interface for what comes out of it (its ICMP errors say so); make it there, with the same gre.key and endpoints as here")
	}
}

// espBlocked is the conclusion that packets are lost on the way.
func (l *loop) espBlocked(t *peer, p *pair) {
	const seen = "echo requests through the tunnel get no answer while the peer answers on the IKE SA"
	now, form := l.now(), formOf(p.Encap)
	remedy := t.remedy(form, t.ike[p.IKE])
	switch {
	case t.esp.asked != formUsual:
		l.espInVain(t, form, seen)
	case t.esp.useless || t.esp.triedAt != 0 && now-t.esp.triedAt < espForce && !t.esp.retried:
	case remedy != "":
		t.esp.triedAt, t.esp.useless = now, true
		l.event(t.tunnel, slog.LevelWarn, "encap", fmt.Sprintf("%s: %s; %s", seen, form.dropped(), remedy))
	default:
		t.esp.asked, t.esp.triedAt = form.other(), now
		how := "in UDP"
		if form == formUDP {
			how = "without UDP (IP protocol 50)"
		}
		l.event(t.tunnel, slog.LevelWarn, "encap", fmt.Sprintf("%s: %s; trying it %s", seen, form.dropped(), how))
		l.register(t)
		l.restart(t, "trying ESP "+how)
	}
}

// espInVain returns to the usual form when the other does not help either.
func (l *loop) espInVain(t *peer, form espForm, seen string) {
	asked := t.esp.asked
	t.esp.asked, t.esp.useless = formUsual, true
	l.register(t) // from the next handshake on
	how := "in UDP as without"
	switch {
	case form != asked:
		how = "and the peer takes no part in NAT detection, which UDP needs"
	case asked == formBare:
		how = "without UDP as in it; going back to UDP"
	}
	l.event(t.tunnel, slog.LevelWarn, "encap", fmt.Sprintf("%s, %s; find out more: greseal doctor %s", seen, how, t.id))
	if asked == formBare {
		l.restart(t, "going back to ESP in UDP") // it passes more networks, and is faster in userspace
	}
}

// forgetESP begins anew: the configuration or the operator did.
func (t *peer) forgetESP() { t.esp = espPath{asking: t.esp.asking} }

package tunnel

import (
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"greseal/ikev2"
	"greseal/tunnel/attempt"
	"greseal/tunnel/cause"
	"greseal/tunnel/esppath"
	"greseal/tunnel/resolve"
	"greseal/tunnel/standby"
	"greseal/tunnel/status"
)

// The life of a peer, from its first IKE SA to its last Child SA.

func (l *loop) ikeUp(p *peer, i ikev2.IKEInfo) {
	if was, ok := p.ike[i.Replaces]; ok {
		i.Local, i.Remote = was.Local, was.Remote
	}
	p.ike[i.ID] = i
	p.initiated = i.Replaces == 0 && i.Initiator || i.Replaces != 0 && p.initiated
	if i.Replaces != 0 {
		for _, sas := range p.children { // it has inherited them
			if sas.IKE == i.Replaces {
				c := *sas.Child
				c.IKE = i.ID
				sas.Child = &c
			}
		}
		p.ikeRekeys++
		l.event(p.tunnel, slog.LevelInfo, "rekey", "IKE SA rekeyed with "+i.Suite.String())
		return
	}
	l.event(p.tunnel, slog.LevelInfo, "ike", fmt.Sprintf("IKE SA with %s established with %s as %s", i.Remote, i.Suite, role(i.Initiator)))
	l.changedOver(p, i)
}

func (l *loop) ikeDown(p *peer, a ikev2.IKEDown) {
	delete(p.ike, a.ID)
	l.probesCost(p, a)
	if a.Reason != nil {
		why := cause.Of(a.Reason)
		l.event(p.tunnel, slog.LevelWarn, "ike", why.String())
		if !p.settled() {
			l.lost(p, why)
		}
	}
	l.markDirty(p)
}

// noted logs a remark of the engine, and keeps it while an attempt is under way: an
// answer, even an unauthenticated one, says more than the silence after it.
func (l *loop) noted(p *peer, f *ikev2.Failure) {
	level, kind, why := slog.LevelInfo, "note", cause.Of(f)
	switch {
	case p.settled():
		if f.Kind == ikev2.FailTimeout || f.Kind == ikev2.FailInstall {
			return // failed or notInstalled reports it
		}
		level = slog.LevelWarn
		if f.Kind == ikev2.FailModeChanged {
			kind = "mode"
		}
	case (f.Kind == ikev2.FailTimeout || f.Kind == ikev2.FailUnfinished) && p.said != "":
		return
	case p.tunnel.wanted:
		p.cause.Set(time.Now(), why)
	}
	if text := why.String(); p.said != text {
		p.said = text
		l.strangerEvent(p, level, kind, text)
	}
}

// failed notes the end of an attempt; a tunnel that still carries packets (a second SA
// was refused, say) is not disturbed.
func (l *loop) failed(p *peer, f *ikev2.Failure) {
	why := cause.Of(f)
	l.strangerEvent(p, slog.LevelWarn, "failed", why.String())
	if p.settled() {
		if p.standby.Why() == standby.Settings {
			p.cause.Set(time.Now(), notTaken(why))
		}
		p.standby.Failed()
		if p.phase == phaseSuspect && why.Code != status.CodeNoAnswer {
			p.cause.Set(time.Now(), why) // that a new IKE SA is refused says more than the silence on the old one
			l.markDirty(p)
		}
		return
	}
	l.lost(p, why)
}

// lost sets a tunnel without SAs down and schedules the next attempt.
func (l *loop) lost(p *peer, why cause.Cause) {
	p.standby.Stop()
	if !p.tunnel.wanted || p.cfg.RemoteAny {
		p.attempt.Stop()
	}
	if !p.tunnel.wanted {
		return
	}
	p.set(phaseDown, why)
	if p.cfg.RemoteAny {
		return
	}
	if len(p.cfg.CRL) > 0 {
		l.listsAt = min(l.listsAt, l.now()+listPauseDown)
	}
	p.attempt.Failed(l.now(), l.random(), func(a netip.Addr) bool {
		_, err := l.routeFor(p, a)
		return err == nil
	})
	l.markDirty(p)
}

func (l *loop) liveness(p *peer, a ikev2.Liveness) {
	if !p.established() || p.current().IKE != a.IKE {
		return
	}
	switch a.State {
	case ikev2.Suspect:
		p.set(phaseSuspect, l.silence(p))
		l.event(p.tunnel, slog.LevelWarn, "suspect", p.cause.Is().Text)
		l.setRunning(p.tunnel, false)
		l.ask(p.tunnel, resolve.Down) // its name may have another address now
		l.replace(p, standby.Suspect, netip.Addr{})
	case ikev2.Alive:
		if p.phase == phaseSuspect {
			p.set(phaseUp, cause.Cause{})
			p.standby.Alive()
			l.changeOver(p)
			l.event(p.tunnel, slog.LevelInfo, "alive", "the peer answers again")
			l.setRunning(p.tunnel, true)
		}
	}
}

// carries is called when another Child SA begins to carry the traffic.
func (l *loop) carries(p *peer) {
	l.replaceInherited(p)
	c := p.current()
	p.attempt.Up(l.now())
	p.said, p.passed = "", nil
	pause := time.Duration(0)
	if len(p.preferred()) > 0 {
		pause = p.probePause()
	}
	p.standby.Carries(l.now(), uint64(c.IKE), pause)
	if i, ok := p.ike[c.IKE]; ok {
		p.agreed.newPeer(i)
	}
	if p.phase == phaseUp {
		if c.Replaces == 0 {
			l.event(p.tunnel, slog.LevelInfo, "up", fmt.Sprintf("another Child SA now carries the traffic: %s, %s", c.Remote, c.Suite))
			l.settleIn(p)
			p.lookAtESP(l.now(), c)
			l.changeOver(p)
			return
		}
		p.childRekeys++
		l.event(p.tunnel, slog.LevelInfo, "rekey", fmt.Sprintf("Child SA rekeyed with %s", c.Suite))
		return
	}
	p.ups++
	p.ikeRekeys, p.childRekeys = 0, 0
	p.set(phaseUp, cause.Cause{})
	how := "ESP"
	if c.Encap {
		how = "ESP in UDP"
	}
	l.event(p.tunnel, slog.LevelInfo, "up", fmt.Sprintf("up: %s with %s, %s, %s mode, MTU %d", how, c.Remote.Addr(), c.Suite, mode(c.Transport), p.tunnel.link.MTU))
	p.arrive()
	l.setRunning(p.tunnel, true)
	p.lookAtESP(l.now(), c)
	l.searchPath(p)
	l.upAt = l.now()
	l.changeOver(p)
}

// lookAtESP has it looked whether ESP passes in the form in which c carries it.
func (p *peer) lookAtESP(now ikev2.Time, c *childSA) {
	i, known := p.currentIKE()
	p.esp.Up(now, esppath.FormOf(c.Encap), !known || i.Initiator)
}

// carriesNot is called when the last outbound SA is gone.
func (l *loop) carriesNot(p *peer) {
	p.said = ""
	p.standby.Stop()
	p.search.Stop()
	l.setRunning(p.tunnel, false)
	if p.esp.Down() {
		l.register(p)
	}
	switch {
	case p.attempt.State() != attempt.Up: // inherited SAs are gone while others are made
	case p.tunnel.wanted && !p.cfg.RemoteAny:
		p.attempt.Down(l.now(), l.random())
	default:
		p.attempt.Stop()
	}
	if !p.tunnel.wanted {
		return
	}
	p.set(phaseDown, cause.Progress("the Child SA is gone; making a new one"))
	l.event(p.tunnel, slog.LevelWarn, "down", "there is no Child SA left to carry packets")
	l.markDirty(p)
}

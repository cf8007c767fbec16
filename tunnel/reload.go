package tunnel

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"greseal/tunnel/attempt"
	"greseal/tunnel/cause"
	"greseal/tunnel/config"
	"greseal/tunnel/status"
)

// add registers a tunnel of the configuration, and does nothing else yet.
func (l *loop) add(c *config.Tunnel) *tunnel {
	t := newTunnel(c)
	l.tunnels[t.name] = t
	l.order = append(l.order, t.name)
	for _, p := range t.peers {
		l.peers[p.id] = p
	}
	l.names.users = nil
	return t
}

// reload reads the file again and touches only the tunnels whose settings
// changed. A file with a mistake changes nothing.
func (l *loop) reload() status.Reply {
	if l.trial != nil {
		l.event(nil, slog.LevelWarn, "reload", "the configuration is not loaded again: "+errTrial)
		return status.Fail(trialRemedy, errTrial)
	}
	next, err := l.opt.Load(l.opt.ConfigPath, nil)
	if err != nil {
		r := refuse(err)
		l.refused = refusal{time.Now(), r.Lines}
		l.event(nil, slog.LevelError, "reload", "configuration refused, the running one stays: "+r.Lines[0])
		return r
	}
	l.refused = refusal{}
	return status.Done(l.take(next)...)
}

// take applies the difference between the running configuration and next, and returns
// it by tunnel.
func (l *loop) take(next *config.Config) []string {
	l.loadedAt = time.Now()
	diff := config.Diff(l.cfg, next)
	l.warn(next)
	lines := outline(diff)
	l.cfg = next
	l.clock = newClock(l.opt.Built, l.opt.ConfigPath)
	l.listsAt = 0
	l.setLevel()

	// Unchanged tunnels get the secrets and pointers of the new configuration;
	// engine and datapath need not know.
	configs := map[string]*config.Tunnel{}
	for i := range next.Tunnels {
		c := &next.Tunnels[i]
		configs[c.Name] = c
		if t := l.tunnels[c.Name]; t != nil {
			t.configure(c)
		}
	}
	l.net.Batch()
	for _, ch := range diff.Tunnels {
		switch t := l.tunnels[ch.Name]; ch.Kind {
		case config.Removed:
			l.event(t, slog.LevelInfo, "reload", "removed from the configuration")
			t.wanted = false
			for _, p := range t.peers {
				l.do(l.engine.RemovePeer(l.now(), p.id))
			}
			l.dismantle(t)
			l.open(t)
			delete(l.tunnels, t.name)
			for _, p := range t.peers {
				delete(l.peers, p.id)
			}
		case config.Added:
			t = l.add(configs[ch.Name])
			l.event(t, slog.LevelInfo, "reload", "added to the configuration")
			l.close(t)
			for _, p := range t.peers {
				l.markDirty(p)
			}
		case config.Changed:
			l.changed(t, ch)
		}
	}
	if err := l.net.Commit(); err != nil {
		l.event(nil, slog.LevelError, "machine", "routes: "+err.Error())
	}
	l.order = l.order[:0]
	for i := range next.Tunnels {
		l.order = append(l.order, next.Tunnels[i].Name)
	}
	l.forgetNames()
	l.settle(entirely)
	l.event(nil, slog.LevelInfo, "reload", "configuration loaded: "+strings.Join(lines, ", "))
	return lines
}

// changed applies a change of one tunnel's settings, at no higher cost than its class.
func (l *loop) changed(t *tunnel, ch config.Change) {
	t.edits++
	for _, p := range t.peers {
		p.cause.Find(time.Now(), cause.Cause{})
	}
	if t.wrong() || len(t.was.Mistakes) > 0 {
		l.event(t, slog.LevelInfo, "reload", "settings changed")
		l.mended(t)
		return
	}
	l.event(t, slog.LevelInfo, "reload", fmt.Sprintf("settings changed (%s): %s", strings.Join(ch.Keys, ", "), ch.Class))
	for _, k := range ch.Keys {
		if k == "enabled" {
			if t.cfg.Enabled {
				l.up(t, byConfig)
			} else {
				l.down(t, false, byConfig)
				t.shown().set(phaseDisabled, disabled)
			}
		}
	}
	if !t.wanted && ch.Class == config.Reestablish {
		for _, p := range t.peers {
			p.attempt.SetCandidates(l.now(), nil, nil) // they were of the old remote
		}
	}
	l.close(t)
	if !t.wanted {
		return
	}
	if ch.Class == config.Reestablish {
		for _, p := range t.peers {
			l.do(l.engine.RemovePeer(l.now(), p.id))
		}
		if t.was.GRE.Ethernet != t.cfg.GRE.Ethernet {
			l.dismantle(t) // another kind of interface
		}
	}
	for _, p := range t.peers {
		if ch.Class > config.Hitless || slices.Contains(ch.Keys, "crl") {
			p.forget()
		}
		l.changedFor(p, ch)
	}
}

// changedFor applies a change of settings to one peer.
func (l *loop) changedFor(p *peer, ch config.Change) {
	switch ch.Class {
	case config.Beside:
		l.changeBeside(p, p.tunnel.was, ch.Keys)
	case config.Reestablish:
		p.attempt.SetCandidates(l.now(), nil, nil)
		p.esp.Forget()
		l.restart(p, "settings changed")
	case config.Rekey:
		l.register(p)
		if sas := p.current(); sas != nil {
			l.do(l.engine.RekeyIKE(l.now(), sas.IKE))
			l.do(l.engine.RekeyChild(l.now(), sas.ID))
		}
		fallthrough
	default:
		if slices.Contains(ch.Keys, "psk_old") {
			p.changeover.taken = false
		}
		l.register(p)
		if p.tunnel.index != 0 {
			l.report(p.tunnel, "machine", l.refresh(p))
		}
		l.retryChanged(p)
	}
}

// retryChanged tries a peer at once that has no SAs of this life: a change may have
// mended what kept it.
func (l *loop) retryChanged(p *peer) {
	if !p.settled() && p.attempt.State() != attempt.UnderWay {
		p.attempt.Reset()
		l.retryNow(p)
	}
}

// warn logs what the configuration says that should be looked at.
func (l *loop) warn(c *config.Config) {
	for _, p := range c.Warnings {
		l.log.Warn(p.String())
	}
}

func (l *loop) setLevel() {
	if l.opt.Level == nil {
		return
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.cfg.Daemon.LogLevel)); err == nil {
		l.opt.Level.Set(level)
	}
}

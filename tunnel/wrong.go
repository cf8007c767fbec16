package tunnel

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"greseal/platform"
	"greseal/tunnel/config"
	"greseal/tunnel/resolve"
	"greseal/tunnel/status"
)

// A daemon that starts while the config file has a mistake does not leave the
// tunnels' networks to the default route: it uses what there is instead (see
// Options.Instead). Tunnels with a mistake are closed, and nothing else is done
// with them until a file without mistakes is loaded.

// begin loads what the daemon starts with; refused is what is wrong with the file if
// that is something else.
func begin(opt Options) (cfg *config.Config, refused, err error) {
	cfg, err = opt.Load(opt.ConfigPath, nil)
	switch {
	case err == nil && opt.Keep != nil:
		opt.Keep(opt.ConfigPath)
	case err != nil && opt.Instead != nil:
		if cfg, failed := opt.Instead(opt.ConfigPath); failed == nil {
			return cfg, err, nil
		}
	}
	return cfg, nil, err
}

// refusedAtStart says what is wrong with the file, and what runs instead.
func (l *loop) refusedAtStart(err error) {
	l.refused = refusal{l.started, refuse(err).Lines}
	for _, line := range l.refused.problems {
		l.event(nil, slog.LevelError, "start", line)
	}
	l.event(nil, slog.LevelError, "start", "the config file was refused; "+l.cfg.Instead)
}

// mended starts a tunnel whose mistakes are gone, or stops one that has them again
// because a trial was rolled back.
func (l *loop) mended(t *tunnel) {
	for _, p := range t.peers {
		l.do(l.engine.RemovePeer(l.now(), p.id))
	}
	l.dismantle(t)
	for _, p := range t.peers {
		p.attempt.SetCandidates(l.now(), nil, nil)
	}
	t.wanted = false
	l.close(t)
	switch {
	case t.wrong():
		t.stop()
	case t.cfg.Enabled:
		l.up(t, byConfig)
	default:
		t.shown().set(phaseDisabled, disabled)
	}
}

// refuseWrong answers a request that such a tunnel cannot satisfy.
func refuseWrong(t *tunnel) status.Reply {
	c := mistaken(t.cfg)
	return status.Fail(c.What(), "%s cannot be used: %s", t.name, c.Text)
}

// leaveClosed installs the unreachable routes of a daemon that cannot start, so that
// the tunnels' traffic does not leave in the clear. Without interfaces no GRE can.
func leaveClosed(opt Options, cfg *config.Config, why error) error {
	net, err := platform.OpenNetwork(opt.Logger)
	if err != nil {
		return errors.Join(why, err)
	}
	defer net.Close()
	net.Batch()
	var errs []error
	for i := range cfg.Tunnels {
		c := &cfg.Tunnels[i]
		_ = net.SetAddresses(c.Name, c.Address) // there is no interface; this notes the unreachable routes
		peers, _ := resolve.Literals(c.Remotes)
		errs = append(errs, net.SetRoutes(c.Name, routeSet(c, peers), false))
	}
	errs = append(errs, net.Commit())
	if err := errors.Join(errs...); err != nil {
		return errors.Join(why, fmt.Errorf("closing the tunnels' networks: %w", err))
	}
	opt.Logger.Error("greseal cannot run; the networks behind its tunnels are closed until it does", "tunnels", len(cfg.Tunnels), "error", strings.ReplaceAll(why.Error(), "\n", "; "))
	return why
}

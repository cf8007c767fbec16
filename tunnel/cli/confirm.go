package cli

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"

	"greseal/tunnel/status"
)

// Confirm keeps the config on trial.
var Confirm = Command{
	Name: "confirm", Group: groupChange,
	Short: "keep the config on trial: it replaces the config file",
	Setup: func(fs *flag.FlagSet) func(*Env, []string) error {
		var p place
		p.flags(fs)
		force := fs.Bool("force", false, "even while a tunnel that was up before is down")
		return func(env *Env, _ []string) error {
			return p.confirm(env, *force)
		}
	},
}

// confirm replaces the config file between the daemon's hold and its confirm. A
// crash before the replacement is a rollback, one after it a confirmation: the
// daemon looks at the file when the time is over.
func (p *place) confirm(env *Env, force bool) error {
	snap, err := p.snapshot()
	if err != nil {
		return err
	}
	file, err := daemonFile(snap)
	if err != nil {
		return err
	}
	held, err := p.call(status.Request{Op: status.OpHold, Force: force})
	if err != nil {
		return err
	}
	cand, err := lockCandidate(p.path())
	if err != nil {
		return err
	}
	defer cand.file.Close()
	text, err := cand.read(held.Digest)
	if err != nil {
		return err
	}
	old, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := replaceConfig(file, text); err != nil {
		return fmt.Errorf("%w; the change is still on trial: make room and run greseal confirm again, or it comes back by itself", err)
	}
	if _, err := p.call(status.Request{Op: status.OpConfirm, Digest: held.Digest}); err != nil {
		// The trial was over before the file was in its place.
		if old != nil {
			err = errors.Join(err, replaceConfig(file, old))
		} else {
			err = errors.Join(err, os.Remove(file))
		}
		return err
	}
	remember(env, file, old, text)
	fmt.Fprintf(env.Stdout, "confirmed: %s is the config now\n", file)
	return nil
}

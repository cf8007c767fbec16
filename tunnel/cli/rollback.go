package cli

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"greseal/tunnel/status"
)

// Rollback takes a change back.
var Rollback = Command{
	Name: "rollback", Group: groupChange,
	Instead: "an earlier config is named with --to",
	Short:   "take back the config on trial, or try an earlier one",
	Setup: func(fs *flag.FlagSet) func(*Env, []string) error {
		var p place
		p.flags(fs)
		list := fs.Bool("list", false, "list the configs that are kept")
		to := fs.Int("to", 0, "run the kept config `NUMBER` on trial")
		seconds := trialFlag(fs)
		return func(env *Env, _ []string) error {
			switch {
			case *list && *to != 0:
				return usagef("use either --list or --to")
			case *to < 0:
				return usagef("--to takes a number that --list shows")
			}
			if err := checkTrialFlag(*seconds); err != nil {
				return err
			}
			snap, err := p.snapshot()
			if err != nil {
				return err
			}
			file, err := daemonFile(snap)
			if err != nil {
				return err
			}
			if *list {
				return listKept(env, file)
			}
			if snap.Daemon.Pending != nil {
				return p.takeBack(env)
			}
			if ago := time.Now().Unix() - snap.Daemon.RolledAt; *to == 0 && snap.Daemon.RolledBack != "" && ago < 600 {
				return fmt.Errorf("nothing is on trial: the change was taken back %s ago, because %s; to go back further: greseal rollback --list",
					status.Span(ago), snap.Daemon.RolledBack)
			}
			return p.goBack(env, file, *to, *seconds)
		}
	},
}

func (p *place) takeBack(env *Env) error {
	r, err := p.call(status.Request{Op: status.OpRollback})
	if err != nil {
		return err
	}
	printLines(env.Stdout, r.Lines)
	fmt.Fprintln(env.Stdout, "taken back: the config file was not touched")
	return nil
}

// goBack runs an earlier config on trial.
func (p *place) goBack(env *Env, file string, number, seconds int) error {
	h := historyOf(file)
	current, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	k, text, err := h.before(current)
	if number != 0 {
		k, text, err = h.numbered(number)
	}
	if errors.Is(err, errNoneBefore) {
		// What was asked for is so already, as a script may well find it.
		fmt.Fprintf(env.Stdout, "nothing to take back: no change is on trial, and no earlier config is kept in %s\n", h.dir)
		return nil
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(env.Stdout, "config %d of %s\n", k.number, k.when.Format(time.DateTime))
	if c, err := Load(file, text); err != nil {
		fmt.Fprintln(env.Stderr, err)
		return refusedConfig{"this version no longer accepts that config; nothing was changed"}
	} else {
		c.Wipe()
	}
	cand, err := lockCandidate(p.path())
	if err != nil {
		return err
	}
	defer cand.file.Close()
	if snap, err := p.snapshot(); err != nil {
		return err
	} else if snap.Daemon.Pending != nil {
		return fmt.Errorf("another change is on trial; greseal confirm keeps it, greseal rollback takes it back")
	}
	if err := cand.write(text); err != nil {
		return err
	}
	r, err := p.call(status.Request{Op: status.OpPlanCandidate, Client: sshClient()})
	if err != nil {
		return refusal(env, err)
	}
	printLines(env.Stdout, r.Lines)
	return p.startTrial(env, seconds)
}

func (h history) numbered(n int) (kept, []byte, error) {
	all, err := h.list()
	if err != nil {
		return kept{}, nil, err
	}
	for _, k := range all {
		if k.number == n {
			data, err := os.ReadFile(k.path)
			return k, data, err
		}
	}
	return kept{}, nil, fmt.Errorf("no config %d is kept in %s; see: greseal rollback --list", n, h.dir)
}

func listKept(env *Env, file string) error {
	h := historyOf(file)
	all, err := h.list()
	if err != nil {
		return err
	}
	if len(all) == 0 {
		fmt.Fprintf(env.Stdout, "no config has been kept in %s yet\n", h.dir)
		return nil
	}
	current, _ := os.ReadFile(file)
	for _, k := range all {
		mark := ""
		if data, err := os.ReadFile(k.path); err == nil && status.Digest(data) == status.Digest(current) {
			mark = "  the current one"
		}
		fmt.Fprintf(env.Stdout, "%6d  %s  %6d bytes%s\n", k.number, k.when.Format(time.DateTime), k.size, mark)
	}
	return nil
}

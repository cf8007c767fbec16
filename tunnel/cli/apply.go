package cli

import (
	"flag"
	"os"

	"greseal/tunnel/status"
)

// Apply makes the daemon take over the config file.
var Apply = Command{
	Name: "apply", Group: groupChange,
	Instead: "the file is the one the daemon was started with",
	Short:   "load the config file; touches only the tunnels that changed",
	Setup: func(fs *flag.FlagSet) func(*Env, []string) error {
		var p place
		p.flags(fs)
		dry := fs.Bool("dry-run", false, "only say what it would do to each tunnel")
		return func(env *Env, _ []string) error {
			req := status.Request{Op: status.OpReload}
			if *dry {
				req = status.Request{Op: status.OpPlan, Client: sshClient()}
			}
			r, err := p.call(req)
			if err != nil {
				return refusal(env, err)
			}
			printLines(env.Stdout, r.Lines)
			if !*dry {
				p.rememberApplied(env)
			}
			return nil
		}
	},
}

// rememberApplied keeps the config file that the daemon has just taken over.
func (p *place) rememberApplied(env *Env) {
	snap, err := p.snapshot()
	if err != nil {
		return
	}
	if file, err := daemonFile(snap); err == nil {
		if data, err := os.ReadFile(file); err == nil {
			remember(env, file, data)
		}
	}
}

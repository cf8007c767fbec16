package cli

import (
	"errors"
	"flag"
	"fmt"

	"greseal/tunnel/status"
)

// Apply makes the daemon take over the config file.
var Apply = Command{
	Name: "apply", Group: groupChange,
	Short: "take over the config file; only tunnels that changed are touched",
	Setup: func(fs *flag.FlagSet) func(*Env, []string) error {
		var p place
		p.flags(fs)
		return func(env *Env, args []string) error {
			if len(args) > 0 {
				return usagef("takes no arguments; the file is the one the daemon was started with")
			}
			r, err := p.call(status.Request{Op: status.OpReload})
			var refused *status.RequestError
			if errors.As(err, &refused) && len(refused.Lines) > 0 {
				for _, l := range refused.Lines {
					fmt.Fprintln(env.Stderr, l)
				}
				return refusedConfig{refused.Error()}
			}
			if err != nil {
				return err
			}
			for _, l := range r.Lines {
				fmt.Fprintln(env.Stdout, l)
			}
			return nil
		}
	},
}

package cli

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"

	"greseal/tunnel"
	"greseal/tunnel/status"
)

// Up, Down and Restart ask the daemon to change a tunnel.
var (
	Up = change(status.OpUp, "bring a tunnel up, even one that is not enabled", nil)

	Down = change(status.OpDown, "take a tunnel down; its traffic stays blocked", func(fs *flag.FlagSet, r *status.Request) {
		fs.BoolVar(&r.Open, "open", false, "also let its GRE and the traffic for its routes pass in the clear")
	})

	Restart = change(status.OpRestart, "delete a tunnel's SAs and negotiate new ones", nil)
)

func change(op, short string, more func(*flag.FlagSet, *status.Request)) Command {
	return Command{
		Name: op, Args: "NAME...", Group: groupChange, Short: short,
		Setup: func(fs *flag.FlagSet) func(*Env, []string) error {
			var p place
			p.flags(fs)
			all := fs.Bool("all", false, "every tunnel")
			r := status.Request{Op: op}
			if more != nil {
				more(fs, &r)
			}
			return func(env *Env, names []string) error {
				switch {
				case *all && len(names) > 0:
					return usagef("either names or --all")
				case *all:
					names = []string{""}
				case len(names) == 0:
					return usagef("which tunnel? Give its name, or --all")
				}
				c, err := p.dial()
				if *all && r.Open && errors.Is(err, status.ErrNoDaemon) {
					// As when the package is removed after the daemon.
					if err := tunnel.RemoveLeftovers(slog.New(slog.NewTextHandler(env.Stderr, nil))); err != nil {
						return err
					}
					fmt.Fprintln(env.Stdout, "no daemon is running; removing what one left behind")
					return nil
				}
				if err != nil {
					return err
				}
				defer c.Close()
				for _, n := range names {
					r.Tunnel = n
					reply, err := c.Call(r)
					if err != nil {
						return err
					}
					printLines(env.Stdout, reply.Lines)
				}
				return nil
			}
		},
	}
}

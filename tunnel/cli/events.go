package cli

import (
	"flag"

	"greseal/tunnel/status"
)

// Events prints what happened.
var Events = Command{
	Name: "events", Args: "[NAME]", Group: groupLook,
	Short: "show recent events, and with -f new ones as they happen",
	Setup: func(fs *flag.FlagSet) func(*Env, []string) error {
		var p place
		p.flags(fs)
		last := fs.Int("n", 20, "`COUNT` of past events")
		follow := fs.Bool("f", false, "keep printing new events as they happen")
		asJSON := fs.Bool("json", false, "one JSON event per line")
		return func(env *Env, args []string) error {
			name := first(args)
			if *last < 0 || *last > 1000 {
				return usagef("-n takes 0 to 1000 events")
			}
			c, err := p.dial()
			if err != nil {
				return err
			}
			defer c.Close()
			interrupted := func() bool { return false }
			if *follow {
				interrupted = closeOnSignal(c)
			}
			if err := c.Send(status.Request{Op: status.OpEvents, Tunnel: name, Last: *last, Follow: *follow}); err != nil {
				return err
			}
			for {
				r, err := c.Next()
				if err != nil {
					if interrupted() {
						return nil
					}
					return err
				}
				for i := range r.Events {
					if *asJSON {
						err = status.EventJSON(env.Stdout, &r.Events[i])
					} else {
						err = status.HumanEvent(env.Stdout, r.Events[i], env.Style)
					}
					if err != nil {
						return err
					}
				}
				if !*follow {
					return nil
				}
			}
		}
	},
}

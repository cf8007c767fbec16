package cli

import (
	"flag"

	"greseal/tunnel/status"
)

// Status prints one snapshot.
var Status = Command{
	Name: "status", Args: "[NAME]", Group: groupLook,
	Short: "show how the tunnels are and why one is down; with NAME, in detail",
	Setup: func(fs *flag.FlagSet) func(*Env, []string) error {
		var p place
		p.flags(fs)
		all := fs.Bool("all", false, "every detail of every tunnel")
		asJSON := fs.Bool("json", false, "as JSON")
		handshakes := fs.Bool("handshakes", false, "show the latest handshakes instead, message by message")
		prometheus := fs.Bool("prometheus", false, "as metrics in Prometheus text format")
		textfile := fs.String("textfile", "", "with --prometheus: replace this `FILE`, for node_exporter")
		return func(env *Env, args []string) error {
			name := first(args)
			if *prometheus || *textfile != "" {
				if *asJSON || *all || *handshakes || name != "" {
					return usagef("--prometheus takes neither a tunnel's name nor --json nor --all nor --handshakes")
				}
				return p.metrics(env, *textfile)
			}
			c, err := p.dial()
			if err != nil {
				return err
			}
			defer c.Close()
			if *handshakes {
				raw, r, err := c.CallRaw(status.Request{Op: status.OpHandshakes, Tunnel: name})
				if err != nil {
					return err
				}
				if *asJSON {
					return status.JSON(env.Stdout, raw, "handshakes")
				}
				return status.HumanHandshakes(env.Stdout, r.Handshakes, env.Style)
			}
			raw, r, err := c.CallRaw(status.Request{Op: status.OpStatus, Tunnel: name, History: *asJSON && name != ""})
			if err != nil {
				return err
			}
			if *asJSON {
				return status.JSON(env.Stdout, raw, "snapshot")
			}
			if d := &r.Snapshot.Daemon; d.Version != Version {
				d.Notes = append(d.Notes, "this is greseal "+Version+", and the daemon still runs "+d.Version+": restart the service to run the new one")
			}
			return status.Human(env.Stdout, r.Snapshot, *all || name != "", env.Style)
		}
	},
}

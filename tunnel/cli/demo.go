package cli

import (
	"context"
	"flag"
	"os/signal"
	"syscall"

	"greseal/tunnel/config"
	"greseal/tunnel/demo"
)

// Demo shows a tunnel between two namespaces of this machine.
var Demo = Command{
	Name: "demo", Group: groupTools,
	Short: "show a tunnel between two namespaces, and that nothing leaks",
	Setup: func(fs *flag.FlagSet) func(*Env, []string) error {
		datapath := fs.String("datapath", config.DatapathAuto, "`KIND`: auto, kernel or userspace")
		return func(env *Env, _ []string) error {
			switch *datapath {
			case config.DatapathAuto, config.DatapathKernel, config.DatapathUserspace:
			default:
				return usagef("--datapath takes auto, kernel or userspace")
			}
			// SIGPIPE too: "greseal demo | head" has to clean up as well.
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
			defer stop()
			return demo.Run(ctx, demo.Options{Out: env.Stdout, Style: env.Style, Datapath: *datapath})
		}
	},
}

package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"greseal/tunnel"
	"greseal/tunnel/config"
)

// Run is the daemon.
var Run = Command{
	Name: "run", Group: groupDaemon,
	Instead: "name the config file with -c",
	Short:   "bring the tunnels up and keep them up, in the foreground",
	Setup: func(fs *flag.FlagSet) func(*Env, []string) error {
		file := fs.String("c", config.DefaultFile, "the config `FILE`")
		socket := fs.String("socket", "", "`PATH` of the status socket (default: from the config)")
		return func(env *Env, _ []string) error {
			level := new(slog.LevelVar)
			err := daemon(tunnel.Options{
				ConfigPath: *file,
				Socket:     *socket,
				Version:    Version,
				Built:      Built,
				Logger:     newLogger(env.Stderr, level),
				Level:      level,
				Load:       LoadWhole,
				Instead:    Instead,
				Keep:       Keep,
				Companion:  Companion,
			})
			var ps config.Problems
			if errors.As(err, &ps) {
				// Nobody knows which networks the tunnels have.
				fmt.Fprintln(env.Stderr, "greseal run: nothing in the config can be used and no earlier one is kept, so the networks behind its tunnels could not be closed: traffic to them follows the other routes")
			}
			return err
		}
	},
}

// daemon runs until SIGTERM or SIGINT and reloads at SIGHUP. A second signal
// ends it at once: what stays behind is closed and is adopted at the next start.
func daemon(opt tunnel.Options) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	reload := make(chan struct{}, 1)
	opt.Reload = reload
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-hup:
				select {
				case reload <- struct{}{}:
				default: // one is pending already
				}
			}
		}
	}()
	return tunnel.Run(ctx, opt)
}

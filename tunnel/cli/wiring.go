package cli

import (
	"context"
	"log/slog"

	"greseal/tunnel/config"
)

// What main may put in: where else than in the config file tunnels are written,
// and what runs beside the daemon (see tunnel.Options).
var (
	Load = func(path string, candidate []byte) (*config.Config, error) {
		if candidate != nil {
			return config.Parse(path, candidate, 0)
		}
		return config.Load(path)
	}
	LoadUsable = func(path string, candidate []byte) (*config.Config, config.Problems) {
		if candidate != nil {
			return config.Usable(config.Read(path, candidate))
		}
		return config.LoadUsable(path)
	}
	// Around warns of what this machine lacks for a config, beside what every machine has.
	Around    = func(*config.Config) config.Problems { return nil }
	Companion func(ctx context.Context, socket string, log *slog.Logger)
)

// GroupRouter is the heading of the commands for OpenWrt.
const GroupRouter = "OpenWrt"

// Usagef is the error of a wrong call.
func Usagef(format string, args ...any) error { return usagef(format, args...) }

// Exec runs one command with its flags and returns its exit code.
func Exec(env *Env, c Command, args ...string) int { return c.run(env, args) }

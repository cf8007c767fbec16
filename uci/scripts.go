package uci

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"greseal/tunnel/cli"
	"greseal/tunnel/config"
	"greseal/uci/netifd"
)

// netifdCommand is what the protocol handler and the hotplug script call. On
// failure of setup the error's code stands on standard output, its text on
// standard error.
func netifdCommand(env *cli.Env, file, socket string, args []string) error {
	what, name := "", ""
	if len(args) > 0 {
		what = args[0]
	}
	if len(args) > 1 {
		name = args[1]
	}
	socket = Socket(file, socket)
	switch {
	case what == "changed" && len(args) == 1:
		return netifd.Changed(socket)
	case len(args) != 2 || name == "":
	case what == "setup":
		text, err := netifd.Setup(socket, name)
		var code netifd.Code
		if errors.As(err, &code) {
			fmt.Fprintln(env.Stdout, code)
			return errors.New(text)
		}
		if text != "" {
			fmt.Fprintln(env.Stderr, "the configuration has a mistake; the running one stays:", text)
		}
		return err
	case what == "teardown":
		return netifd.Teardown(socket, name)
	}
	return cli.Usagef("netifd setup INTERFACE, netifd teardown INTERFACE, or netifd changed")
}

// Socket is the status socket to ask: the given one, else the configuration's,
// else the usual one.
func Socket(file, given string) string {
	if given != "" {
		return given
	}
	f, _ := read(folderFor(file), file, nil) // whatever else is wrong with it
	return cli.SocketOf(&f)
}

// handles asks netifd.
var handles = func() (bool, error) { return netifd.Handles(netifd.BusSocket, Proto) }

// Around warns of interfaces that netifd does not bring up, because it was started
// before greseal was installed; see cli.Around.
func Around(c *config.Config) config.Problems {
	i := slices.IndexFunc(c.Tunnels, func(t config.Tunnel) bool { return t.Netifd })
	if i < 0 {
		return nil
	}
	if known, err := handles(); known || err != nil {
		return nil
	}
	return config.Problems{{Position: c.Tunnels[i].Source, Tunnel: c.Tunnels[i].Name, Warning: true,
		What:   "netifd does not know the protocol " + Proto + " yet, and brings no interface up that has it",
		Remedy: "run once: /etc/init.d/network restart, which interrupts every interface for a moment"}}
}

// Companion keeps netifd informed, where there is one; see tunnel.Options.Companion.
func Companion(ctx context.Context, socket string, log *slog.Logger) {
	folder := os.Getenv("UCI_CONFIG_DIR")
	if folder == "" {
		folder = Folder
	}
	if _, err := os.Stat(filepath.Join(folder, "network")); err != nil {
		return
	}
	netifd.Follow(ctx, socket, folder, log)
}

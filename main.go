// Command greseal keeps GRE tunnels over IPsec (IKEv2 and ESP): one process, one
// config file, one interface a tunnel. This file is the table of its commands.
package main

import (
	"cmp"
	"os"
	"path/filepath"
	"strconv"

	"greseal/tunnel/cli"
	"greseal/tunnel/config"
	"greseal/uci"
	"greseal/uci/netifd"
	"greseal/uci/rpcd"
)

// version is set by the build: -ldflags "-X main.version=1.2.3".
var version = "devel"

// built is when the source was last changed, in Unix seconds, set likewise; a
// router whose clock was never set knows that it is later than that.
var built = ""

var commands = []cli.Command{
	cli.Run,
	cli.Status,
	cli.Watch,
	cli.Events,
	cli.Doctor,
	cli.Up,
	cli.Down,
	cli.Restart,
	cli.Edit,
	cli.Apply,
	cli.Confirm,
	cli.Rollback,
	cli.Check,
	cli.GenPSK,
	cli.GenKey,
	cli.PeerConfig,
	cli.MTU,
	cli.Probe,
	cli.Demo,
	uci.Command,
	cli.Completion,
	cli.PrintVersion,
}

func main() {
	cli.Version = version
	cli.Built, _ = strconv.ParseInt(built, 10, 64)
	cli.Load, cli.LoadUsable, cli.Companion = uci.Load, uci.LoadUsable, uci.Companion
	cli.Around = uci.Around
	if filepath.Base(os.Args[0]) == rpcd.Name {
		file := cmp.Or(os.Getenv("GRESEAL_CONFIG"), config.DefaultFile)
		p := rpcd.Plugin{Socket: uci.Socket(file, os.Getenv("GRESEAL_SOCKET")), Config: file, Bus: netifd.BusSocket, Network: "/etc/init.d/network"}
		os.Exit(p.Main(os.Args[1:], os.Stdin, os.Stdout))
	}
	os.Exit(cli.Main(os.Args[1:], commands))
}

// Command greseal keeps GRE tunnels over IPsec (IKEv2 and ESP): one process, one
// config file, one interface a tunnel. This file is the table of its commands.
package main

import (
	"os"

	"greseal/tunnel/cli"
)

// version is set by the build: -ldflags "-X main.version=1.2.3".
var version = "devel"

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
	cli.MTU,
	cli.Probe,
	cli.Demo,
	cli.PrintVersion,
}

func main() {
	cli.Version = version
	os.Exit(cli.Main(os.Args[1:], commands))
}

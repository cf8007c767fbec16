package cli

import (
	"cmp"
	"flag"

	"greseal/tunnel/config"
	"greseal/tunnel/status"
)

// place says which daemon a command talks to.
type place struct {
	config, socket string
}

func (p *place) flags(fs *flag.FlagSet) {
	fs.StringVar(&p.config, "c", config.DefaultFile, "the config `FILE`")
	fs.StringVar(&p.socket, "socket", "", "`PATH` of the status socket (default: from the config)")
}

// path is the socket to ask: the flag's, else the config's, else the usual one.
// A config that cannot be read or is wrong does not keep a command from asking
// the daemon that runs with an earlier one.
func (p *place) path() string {
	if p.socket != "" {
		return p.socket
	}
	f, _ := config.ReadFile(p.config)
	return SocketOf(&f)
}

// SocketOf is the status socket that a config names, else the usual one.
func SocketOf(f *config.File) string {
	return cmp.Or(f.Daemon.Text("status_socket"), status.DefaultSocket)
}

func (p *place) dial() (*status.Client, error) { return status.Dial(p.path()) }

// call asks one question and closes the connection.
func (p *place) call(r status.Request) (*status.Reply, error) {
	c, err := p.dial()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Call(r)
}

// first is the argument of a command that takes at most one, "" without it.
func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

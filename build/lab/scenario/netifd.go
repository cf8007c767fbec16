package scenario

import (
	"path/filepath"
	"strings"
	"time"

	"greseal/build/lab/labnet"
)

// A tunnel that is an interface of /etc/config/network, whose addresses and routes
// netifd lays; what plays netifd here comes late. Seen: the tunnel is up without
// them, greseal lays none, and pings go once they are there.
func init() {
	addOnce(Scenario{Name: "an interface of netifd", Peer: Greseal, Paths: userspace, Run: ofNetifd})
}

func ofNetifd(l *labnet.Lab) {
	net := l.NewPair()
	net.B.Greseal(side("any", innerB))
	network := l.File("uci/network", "config interface 't0'\n\toption proto 'greseal'\n\toption remote '"+labnet.AddrB+
		"'\n\toption psk '"+psk+"'\n\tlist address '"+innerA+"/30'\n")
	config, socket := l.File("daemon.toml", "[daemon]\ndatapath = \"userspace\"\n"), filepath.Join(l.Dir, "netifd.sock")
	daemon := net.A.Start("greseal-a", "env", "UCI_CONFIG_DIR="+filepath.Dir(network), l.Binary, "run", "-c", config, "--socket", socket)
	a := net.A.Attach(daemon, config, socket)
	l.Wait(60*time.Second, "greseal answers", a.Answers)
	t := a.WaitUp("t0", 20*time.Second)
	l.Check(t.Netifd && t.Source == network+":1", "the tunnel is of netifd: %t, and comes from %s", t.Netifd, t.Source)
	l.Check(!strings.Contains(net.A.MustRun("ip", "addr", "show", "t0"), innerA), "greseal laid the address, which is netifd's to lay")
	net.A.Addr("t0", innerA+"/30")
	net.A.WaitPing(innerB, 10*time.Second)
	net.A.MustPing(innerB, 5)
	net.Wire.MustBeSealed()
}

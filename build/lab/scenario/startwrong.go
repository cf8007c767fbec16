package scenario

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"greseal/build/lab/labnet"
)

// A router that starts with a mistake in the config file opens nothing. The last
// good config runs, or without one every tunnel that has no mistake; the networks
// of the others are closed, and status, log and the commands say why. Seen: states
// and routes, with the file mended in between; where nothing can be run at all, the
// networks are closed all the same.
func init() {
	addOnce(
		Scenario{Name: "start with a mistake: its tunnel alone is closed", Peer: Greseal, Paths: both, Run: startWithAMistake},
		Scenario{Name: "start with a mistake: the last good config runs", Peer: Greseal, Paths: both, Run: startWithTheLastGood},
		Scenario{Name: "start that fails: the networks are closed", Peer: Greseal, Paths: both, Run: startThatFails},
	)
}

// newBranch is a tunnel whose key file is not there.
func newBranch(routes string) string {
	return labnet.Tunnel("new", `remote = "198.51.100.200"`, `psk_file = "new.psk"`, `address = ["10.253.0.1/30"]`, `routes = ["`+routes+`"]`)
}

// mustBeClosed checks that nothing leaves for an address.
func mustBeClosed(l *labnet.Lab, n *labnet.NS, to string) {
	r := n.Run("ip", "route", "get", to)
	l.Check(r.Code != 0 && contains(r.Out(), "No route to host"), "what goes to %s is not closed: %s", to, r.Out())
}

// reboot ends a daemon and all that it laid, as a power cut does.
func reboot(n *labnet.NS, g *labnet.Greseal) {
	g.Kill()
	for _, family := range []string{"-4", "-6"} {
		n.Run("ip", family, "route", "flush", "proto", "147")
	}
	n.Run("ip", "link", "del", "t0")
	n.Run("ip", "xfrm", "state", "flush")
	n.Run("ip", "xfrm", "policy", "flush")
}

// forget removes the configs that are kept.
func forget(l *labnet.Lab, g *labnet.Greseal) {
	l.Must(os.RemoveAll(filepath.Join(filepath.Dir(g.Config), "history")), "remove the history")
}

func startWithAMistake(l *labnet.Lab) {
	net, a, file := editPair(l)
	reboot(net.A, a)
	forget(l, a)
	l.File(filepath.Base(a.Config), file+newBranch("10.66.0.0/16"))
	a.Start()
	mustBeClosed(l, net.A, "10.66.0.1")
	mustBeClosed(l, net.A, "10.253.0.2")
	a.WaitUp("t0", 20*time.Second)
	net.A.WaitPing(innerB, 10*time.Second)

	t := a.Tunnel("new")
	l.Check(t.State == "down" && t.Desired == "up" && t.Code == "CONFIG_INVALID", "the other tunnel is %s, wanted %s, %s", t.State, t.Desired, t.Code)
	l.Check(contains(t.Reason, "new.psk does not exist") && slices.Contains(t.Commands, "greseal apply"), "reason %q, remedy %q, commands %q", t.Reason, t.Remedy, t.Commands)
	d := a.Status().Daemon
	l.Check(len(d.ConfigProblems) == 1 && contains(d.ConfigInstead, "1 of the file's tunnels run") && contains(d.ConfigInstead, "1 with mistakes"), "the daemon says %q, %q", d.ConfigProblems, d.ConfigInstead)
	l.Check(contains(a.Must("status"), "refused when the daemon started"), "status does not say that the file was refused")
	for _, words := range [][]string{{"up", "new"}, {"restart", "new"}} {
		r := a.Do(words[0], words[1:]...)
		l.Check(r.Code == 1 && contains(r.Out(), "new.psk does not exist"), "%v: exit code %d: %s", words, r.Code, r.Out())
	}
	r := a.Do("doctor", "new")
	l.Check(contains(r.Out(), "new.psk does not exist"), "doctor: %s", r.Out())
	a.Must("restart", "--all")
	a.WaitUp("t0", 20*time.Second)

	// Mended, the tunnel is one like any other.
	key := l.File("new.psk", psk+"\n")
	l.Must(os.Chmod(key, 0o600), "chmod")
	a.Must("apply")
	l.Check(a.Tunnel("new").Desired == "up" && a.Tunnel("new").Code != "CONFIG_INVALID", "the mended tunnel is %+v", a.Tunnel("new"))
	l.Check(a.Status().Daemon.ConfigInstead == "" && len(a.Status().Daemon.ConfigProblems) == 0, "the daemon still speaks of the mistake")
	l.Check(a.Tunnel("t0").UpCount == 2, "the other tunnel came up %d times", a.Tunnel("t0").UpCount)
	mustBeClosed(l, net.A, "10.66.0.1")

	// Nothing in the file can be run.
	reboot(net.A, a)
	forget(l, a)
	l.Must(os.Remove(key), "remove the key")
	l.File(filepath.Base(a.Config), strings.Replace(file, "psk =", "psc =", 1)+newBranch("10.66.0.0/16"))
	a.Start()
	mustBeClosed(l, net.A, "10.66.0.1")
	mustBeClosed(l, net.A, "10.9.0.1")
	net.Wire.MustHideGRE()
}

func startWithTheLastGood(l *labnet.Lab) {
	net, a, file := editPair(l)
	reboot(net.A, a)
	l.File(filepath.Base(a.Config), strings.Replace(file, "10.9.0.0/24", "10.8.0.0/24", 1)+newBranch("10.66.0.0/16"))
	a.Start()
	a.WaitUp("t0", 20*time.Second)
	l.Check(contains(a.Status().Daemon.ConfigInstead, "last good one"), "the daemon says %q", a.Status().Daemon.ConfigInstead)
	l.Check(contains(net.A.MustRun("ip", "route"), "10.9.0.0/24 dev t0"), "the last good config does not run")
	mustBeClosed(l, net.A, "10.66.0.1")

	reboot(net.A, a)
	l.File(filepath.Base(a.Config), "") // as a full disk leaves it
	a.Start()
	a.WaitUp("t0", 20*time.Second)
	l.Check(contains(strings.Join(a.Status().Daemon.ConfigProblems, "\n"), "is empty"), "the daemon says %q", a.Status().Daemon.ConfigProblems)

	reboot(net.A, a)
	l.File(filepath.Base(a.Config), file+"[[tunnel\n")
	a.Start()
	a.WaitUp("t0", 20*time.Second)
	net.A.WaitPing(innerB, 10*time.Second)
	l.Check(contains(net.A.MustRun("ip", "route"), "10.9.0.0/24 dev t0"), "the last good config does not run")

	l.File(filepath.Base(a.Config), file)
	a.Must("apply")
	l.Check(a.Status().Daemon.ConfigInstead == "", "the daemon still speaks of the mistake")
	l.Check(a.Tunnel("t0").UpCount == 1, "the mended file took the tunnel down")

	// Nothing is known of the file, and nothing is kept.
	reboot(net.A, a)
	forget(l, a)
	l.File(filepath.Base(a.Config), file+"[[tunnel\n")
	a.Start()
	a.WaitUp("t0", 20*time.Second) // the line that can't be read stands in another table
	reboot(net.A, a)
	forget(l, a)
	l.File(filepath.Base(a.Config), strings.Replace(file, "routes = ", "gre.ttl = \"6\nroutes = ", 1))
	a.Start()
	mustBeClosed(l, net.A, "10.9.0.1")
	reboot(net.A, a)
	forget(l, a)
	l.File(filepath.Base(a.Config), "routes = [[")
	r := net.A.Run(l.Binary, "run", "-c", a.Config, "--socket", a.Socket)
	l.Check(r.Code == 2 && contains(r.Out(), "could not be closed"), "exit code %d: %s", r.Code, r.Out())
	net.Wire.MustHideGRE()
}

func startThatFails(l *labnet.Lab) {
	net, a, file := editPair(l)
	reboot(net.A, a)
	r := net.A.Run(l.Binary, "run", "-c", a.Config, "--socket", "/proc/nowhere/greseal.sock")
	l.Check(r.Code == 1 && contains(r.Out(), "are closed"), "exit code %d: %s", r.Code, r.Out())
	mustBeClosed(l, net.A, "10.9.0.1")

	// A second one beside it touches nothing.
	a.Start()
	a.WaitUp("t0", 20*time.Second)
	r = net.A.Run(l.Binary, "run", "-c", a.Config, "--socket", a.Socket)
	l.Check(r.Code == 1 && contains(r.Out(), "another greseal answers"), "exit code %d: %s", r.Code, r.Out())
	net.A.WaitPing(innerB, 10*time.Second)
	reboot(net.A, a)

	// Who may look is no reason to stay down.
	l.File(filepath.Base(a.Config), strings.Replace(file, "[daemon]\n", "[daemon]\nstatus_group = \"nobody-has-this\"\n", 1))
	a.Start()
	a.WaitUp("t0", 20*time.Second)
	net.Wire.MustHideGRE()
}

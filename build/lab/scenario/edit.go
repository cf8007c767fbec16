package scenario

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"greseal/build/lab/labnet"
	"greseal/tunnel/status"
)

// Editing over SSH without fear: a change that costs a tunnel that was up, or
// the way back of the editor's SSH session, is taken back by itself, a good one
// stays when it is confirmed, and until then the file on flash is the old one,
// whatever happens to the daemon. Seen: states, routes and the file's bytes.
func init() {
	addOnce(
		Scenario{Name: "edit: a wrong endpoint is taken back by itself", Peer: Greseal, Paths: both, Run: editWrongEndpoint},
		Scenario{Name: "edit: a good change is confirmed and kept", Peer: Greseal, Paths: both, Run: editConfirmed},
		Scenario{Name: "edit: without a confirmation the old config is back", Peer: Greseal, Paths: both, Run: editForgotten},
		Scenario{Name: "edit: the SSH session's own way must stay", Peer: Greseal, Paths: both, Run: editSession},
		Scenario{Name: "edit: killed in the middle", Peer: Greseal, Paths: both, Run: editKilled},
		Scenario{Name: "edit: a large file, and one that is a mount of its own", Peer: Greseal, Paths: userspace, Run: editMounted},
	)
}

// editPair is two tunnels' ends with the tunnel t0 up; a is the one that is
// edited.
func editPair(l *labnet.Lab) (net *labnet.Pair, a *labnet.Greseal, file string) {
	net = l.NewPair()
	a = net.A.Greseal(side(labnet.AddrB, innerA, `routes = ["10.9.0.0/24"]`))
	net.B.Greseal(side("any", innerB))
	a.WaitUp("t0", 20*time.Second)
	net.A.WaitPing(innerB, 10*time.Second)
	return net, a, content(l, a.Config)
}

func content(l *labnet.Lab, path string) string {
	data, err := os.ReadFile(path)
	l.Must(err, "read "+path)
	return string(data)
}

// edit runs greseal edit with sed as the editor.
func edit(n *labnet.NS, l *labnet.Lab, a *labnet.Greseal, script string, more ...string) labnet.Result {
	return editFor(10, n, l, a, script, more...)
}

// editFor is edit with so many seconds for the trial.
func editFor(seconds int, n *labnet.NS, l *labnet.Lab, a *labnet.Greseal, script string, more ...string) labnet.Result {
	argv := append([]string{"env", "EDITOR=sed -i " + script, "VISUAL="}, more...)
	return n.Run(append(argv, l.Binary, "edit", "--yes", "--seconds", strconv.Itoa(seconds), "--socket", a.Socket)...)
}

func editWrongEndpoint(l *labnet.Lab) {
	net, a, file := editPair(l)
	r := edit(net.A, l, a, `'s/^psk.*/psk = "lab-xxxx-Pq8Lm2VtRz"\ngre_remote = "203.0.113.7"/'`)
	l.Check(r.Code == 0, "edit: exit code %d: %s", r.Code, r.Out())
	l.Check(contains(r.Stdout, "t0: re-establish (psk, gre_remote)") && contains(r.Stdout, "greseal confirm"), "edit does not say what it does: %s", r.Stdout)
	l.Check(!contains(r.Out(), "lab-xxxx"), "edit shows the key: %s", r.Out())
	l.Wait(5*time.Second, "the tunnel is down", func() bool { return a.Tunnel("t0").State != "up" })
	l.Wait(3*time.Second, "what the trial waits for", func() bool {
		p := a.Status().Daemon.Pending
		return p != nil && len(p.Waiting) == 1 && contains(p.Waiting[0], "t0") && p.Patient > 0
	})

	r = a.Do("confirm")
	l.Check(r.Code == 1 && contains(r.Stderr, "t0 was up before"), "confirm with a tunnel down: exit code %d: %s", r.Code, r.Out())

	took := l.Wait(9*time.Second, "the rollback", func() bool { return contains(a.Log(), "is taken back: tunnel t0 was up before") })
	a.WaitUp("t0", 20*time.Second)
	net.A.WaitPing(innerB, 10*time.Second)
	l.Check(content(l, a.Config) == file, "the file was changed")
	l.Check(contains(a.Must("status", "--json"), `"rolled_back": "tunnel t0 was up before`), "status does not say that the change was taken back")
	r = a.Do("confirm")
	l.Check(r.Code == 1 && contains(r.Stderr, "taken back"), "confirm after the rollback: exit code %d: %s", r.Code, r.Out())
	net.Wire.MustBeSealed()
	l.Fact("taken back %.1f s after the check began", took.Seconds())
}

func editConfirmed(l *labnet.Lab) {
	net, a, file := editPair(l)
	before := a.Tunnel("t0")
	r := edit(net.A, l, a, "s,10.9.0.0/24,10.8.0.0/24,")
	l.Check(r.Code == 0 && contains(r.Stdout, "t0: hitless (routes)"), "edit: exit code %d: %s", r.Code, r.Out())
	l.Check(contains(net.A.MustRun("ip", "route"), "10.8.0.0/24"), "the new route is not there")
	l.Check(content(l, a.Config) == file, "the file was changed before the confirmation")
	edited := strings.Replace(file, "10.9.0.0/24", "10.8.0.0/24", 1)
	held, err := a.Ask(status.Request{Op: status.OpHold})
	l.Check(err == nil && held.Digest == status.Digest([]byte(edited)), "the daemon holds another file than the edited one: %+v, %v", held, err)
	a.Must("confirm")
	changed := content(l, a.Config)
	l.Check(changed == edited, "the file is not the edited one:\n%s", changed)
	time.Sleep(11 * time.Second)
	l.Check(contains(net.A.MustRun("ip", "route"), "10.8.0.0/24"), "the route went after the confirmation")
	l.Check(a.Tunnel("t0").Child.SPIIn == before.Child.SPIIn, "a hitless change made a new Child SA")
	l.Check(contains(a.Must("apply", "--dry-run"), "nothing changed"), "apply would change something")

	// And back again, from the kept ones.
	kept := a.Must("rollback", "--list")
	l.Check(strings.Count(kept, "\n") == 2 && contains(kept, "the current one"), "kept: %s", kept)
	a.Must("rollback")
	a.Must("confirm")
	l.Check(content(l, a.Config) == file, "the first file is not back")
	l.Check(contains(net.A.MustRun("ip", "route"), "10.9.0.0/24"), "the first route is not back")

	// Mistakes, and a comment that touches nothing.
	r = edit(net.A, l, a, "s/^remote/remoat/")
	l.Check(r.Code == 2 && contains(r.Stderr, "did you mean remote?") && contains(r.Stderr, "kept in"), "a mistake: exit code %d: %s", r.Code, r.Out())
	r = edit(net.A, l, a, `'1s/^/# head office\n/'`)
	l.Check(r.Code == 0 && contains(r.Stdout, "no tunnel is touched"), "a comment: exit code %d: %s", r.Code, r.Out())
	l.Check(content(l, a.Config) == "# head office\n"+file, "the comment is not there")
	net.Wire.MustBeSealed()
}

func editForgotten(l *labnet.Lab) {
	net, a, file := editPair(l)
	r := edit(net.A, l, a, "s,10.9.0.0/24,10.8.0.0/24,")
	l.Check(r.Code == 0, "edit: exit code %d: %s", r.Code, r.Out())
	l.Wait(12*time.Second, "the old route is back", func() bool { return contains(net.A.MustRun("ip", "route"), "10.9.0.0/24 dev t0") })
	l.Check(contains(a.Log(), "not confirmed in time") && content(l, a.Config) == file, "not taken back for the right reason")

	// Removed, taken back by request: up again. Until then nothing else is tried.
	r = editFor(120, net.A, l, a, "/enabled/d\\;'$a enabled=false'")
	l.Check(r.Code == 0 && contains(r.Stdout, "t0: re-establish (enabled)"), "edit: exit code %d: %s", r.Code, r.Out())
	a.WaitState("t0", "disabled", 5*time.Second)
	r = edit(net.A, l, a, "s/lab-Tq4n/lab-yyyy/")
	l.Check(r.Code == 1 && contains(r.Stderr, "on trial"), "a second edit: exit code %d: %s", r.Code, r.Out())
	r = a.Do("apply")
	l.Check(r.Code == 1 && contains(r.Stderr, "on trial"), "apply during a trial: exit code %d: %s", r.Code, r.Out())
	a.Must("rollback")
	a.WaitUp("t0", 20*time.Second)
	net.A.WaitPing(innerB, 10*time.Second)
	net.Wire.MustBeSealed()
}

func editSession(l *labnet.Lab) {
	net, a, _ := editPair(l)
	// The session comes through the tunnel, and the change takes its way back.
	r := edit(net.A, l, a, "s,10.255.0.2/30,10.254.0.2/30,", "SSH_CONNECTION="+innerB+" 50000 "+innerA+" 22")
	l.Check(r.Code == 0 && contains(r.Stdout, "this SSH session comes through t0"), "edit: exit code %d: %s", r.Code, r.Out())
	l.Wait(9*time.Second, "the rollback", func() bool { return contains(a.Log(), "is taken back: the SSH session from "+innerB) })
	net.A.WaitPing(innerB, 10*time.Second)
	// The session comes from outside, and a new route would swallow it.
	r = edit(net.A, l, a, "s,10.9.0.0/24,203.0.113.0/24,", "SSH_CONNECTION=203.0.113.9 50000 "+labnet.AddrA+" 22")
	l.Check(r.Code == 0, "edit: exit code %d: %s", r.Code, r.Out())
	l.Wait(9*time.Second, "the rollback", func() bool { return contains(a.Log(), "its way back is t0") })
	l.Check(contains(net.A.MustRun("ip", "route"), "10.9.0.0/24"), "the old route is not back")
}

func editKilled(l *labnet.Lab) {
	net, a, file := editPair(l)
	r := edit(net.A, l, a, `'s/^psk.*/psk = "lab-xxxx-Pq8Lm2VtRz"\ngre_remote = "203.0.113.7"/'`)
	l.Check(r.Code == 0, "edit: exit code %d: %s", r.Code, r.Out())
	a.Kill()
	a.Start()
	a.WaitUp("t0", 20*time.Second)
	net.A.WaitPing(innerB, 10*time.Second)
	l.Check(content(l, a.Config) == file, "the file was changed")
	r = a.Do("confirm")
	l.Check(r.Code == 1 && contains(r.Stderr, "nothing is on trial"), "confirm after the restart: exit code %d: %s", r.Code, r.Out())

	// The client dies between replacing the file and telling the daemon: the
	// replacement counts.
	r = edit(net.A, l, a, "s,10.9.0.0/24,10.8.0.0/24,")
	l.Check(r.Code == 0, "edit: exit code %d: %s", r.Code, r.Out())
	l.Must(os.WriteFile(a.Config, []byte(strings.Replace(file, "10.9.0.0/24", "10.8.0.0/24", 1)), 0o600), "write")
	l.Wait(14*time.Second, "the confirmation by the file", func() bool { return contains(a.Log(), "trial was confirmed") })
	l.Check(contains(net.A.MustRun("ip", "route"), "10.8.0.0/24"), "the new route went")
	net.Wire.MustBeSealed()
}

// editMounted confirms a config of 3 MB, and then with the file mounted by itself,
// as into a container, where no other can be renamed to its place.
func editMounted(l *labnet.Lab) {
	net, a, file := editPair(l)
	file += strings.Repeat("# a comment of a program that writes this file\n", 65_000)
	l.File(filepath.Base(a.Config), file)
	a.Must("apply")
	change := func(from, to string, confirm func()) {
		r := edit(net.A, l, a, "s,"+from+","+to+",")
		l.Check(r.Code == 0 && contains(r.Stdout, "t0: hitless (routes)"), "edit: exit code %d: %s", r.Code, r.Out())
		confirm()
		file = strings.Replace(file, from, to, 1)
		l.Check(content(l, a.Config) == file, "the file is not the edited one")
		l.Check(contains(net.A.MustRun("ip", "route"), to), "the new route is not there")
	}
	change("10.9.0.0/24", "10.8.0.0/24", func() { a.Must("confirm") })
	mounted := func() {
		net.A.MustRun("unshare", "-m", "sh", "-ec", `mount --bind "$2" "$2"; ! mv "$2" "$2.moved"; exec "$1" confirm --socket "$3"`,
			"sh", l.Binary, a.Config, a.Socket)
	}
	change("10.8.0.0/24", "10.7.0.0/24", mounted)
	kept := a.Must("rollback", "--list")
	l.Check(strings.Count(kept, "the current one") == 1, "kept: %s", kept)
	a.Must("rollback")
	mounted()
	l.Check(contains(content(l, a.Config), "10.8.0.0/24"), "the file of before is not back")
	net.Wire.MustBeSealed()
}

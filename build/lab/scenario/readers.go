package scenario

import (
	"fmt"
	"os"
	"strings"
	"time"

	"greseal/build/lab/labnet"
)

// A user of status_group, who may only look, opens as many connections as it likes,
// and root is still answered: status, rollback, down and up. The user is told why
// no more of them are taken, and asks and follows again once they are closed.
func init() {
	addOnce(Scenario{Name: "readers of the status leave root its places", Peer: Greseal, Paths: userspace, Run: readers})
}

func readers(l *labnet.Lab) {
	net := l.NewPair()
	config := "[daemon]\ndatapath = \"userspace\"\nstatus_group = \"nogroup\"\n\n" + side(labnet.AddrB, innerA)
	a := net.A.Greseal(config)
	net.B.Greseal(side("any", innerB))
	a.WaitUp("t0", 20*time.Second)
	l.Must(os.Chmod(l.Dir, 0o755), "let others into the folder")

	asUser := []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", l.Binary}
	var procs []*labnet.Proc
	for i := range 40 {
		procs = append(procs, net.A.Start(fmt.Sprintf("reader-%d", i), append(asUser, "events", "-f", "--socket", a.Socket)...))
	}
	l.Wait(10*time.Second, "that some readers are turned away", func() bool {
		for _, p := range procs {
			if !p.Running() && strings.Contains(p.Output(), "which is the maximum") {
				return true
			}
		}
		return false
	})
	for _, words := range []string{"status", "rollback", "down t0", "up t0"} {
		f := strings.Fields(words)
		r := a.Do(f[0], f[1:]...)
		l.Check(r.Code == 0, "root's %s: exit code %d: %s", words, r.Code, r.Out())
	}
	r := net.A.Run(append(asUser, "status", "--socket", a.Socket)...)
	l.Check(r.Code == 0, "the same user's status: exit code %d: %s", r.Code, r.Out())
	r = net.A.Run(append(asUser, "down", "t0", "--socket", a.Socket)...)
	l.Check(r.Code == 1 && strings.Contains(r.Out(), "only root"), "the user's down: exit code %d: %s", r.Code, r.Out())
	for _, p := range procs {
		p.Kill()
	}
	a.WaitUp("t0", 20*time.Second)
}

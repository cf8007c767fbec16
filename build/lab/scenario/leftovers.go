package scenario

import (
	"strings"
	"time"

	"greseal/build/lab/labnet"
)

// A daemon is killed and does not come back, as when its package is removed.
// greseal down --all --open takes away what it left. Seen: the command refuses
// while a daemon with another status socket runs; afterwards interface, routes,
// SAs and policies are gone.
func init() {
	addOnce(Scenario{Name: "what a killed daemon left is removed", Peer: Greseal, Paths: both, Run: removeLeftovers})
}

func removeLeftovers(l *labnet.Lab) {
	net := l.NewPair()
	a := net.A.Greseal(side(labnet.AddrB, innerA, `routes = ["10.9.0.0/16"]`))
	b := net.B.Greseal(side("any", innerB))
	a.WaitUp("t0", 20*time.Second)
	net.A.WaitPing(innerB, 10*time.Second)
	open := func() labnet.Result {
		return net.A.Run(l.Binary, "down", "--all", "--open", "--socket", l.Dir+"/none.sock")
	}
	r := open()
	l.Check(r.Code != 0 && strings.Contains(r.Stderr, "an IKE daemon is running"), "with a daemon: %d, %s", r.Code, r.Out())
	a.Kill()
	left := func() string {
		s := net.A.Run("ip", "-o", "route", "show", "10.9.0.0/16").Stdout + net.A.Run("ip", "-o", "link", "show", "type", "gre").Stdout +
			net.A.Run("ip", "-o", "link", "show", "type", "tun").Stdout
		if l.Datapath == "kernel" {
			s += net.A.Run("ip", "xfrm", "state").Stdout + net.A.Run("ip", "xfrm", "policy").Stdout
		}
		return strings.TrimSpace(strings.ReplaceAll(s, "gre0@", ""))
	}
	l.Check(strings.Contains(left(), "10.9.0.0/16"), "a killed daemon left nothing: %s", left())
	r = open()
	l.Check(r.Code == 0, "without a daemon: %d, %s", r.Code, r.Out())
	l.Check(!strings.Contains(left(), "10.9.0.0/16") && !strings.Contains(left(), "t0") && !strings.Contains(left(), "src "), "still there: %s", left())
	b.Stop()
	net.Wire.MustBeSealed()
}

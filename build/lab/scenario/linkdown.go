package scenario

import (
	"strings"
	"time"

	"greseal/build/lab/labnet"
)

// What becomes of a tunnel's routes when its peer falls silent: with link_down =
// "withdraw" they go, with "metric" they stay with a metric so bad that another
// way, here one by the router that its owner laid, is taken. Seen: what the
// kernel says of its routes; that the link is not running; and everything back
// with the peer.
func init() {
	addOnce(Scenario{Name: "routes of a peer that is dead", Peer: Greseal, Paths: both, Run: linkDown})
}

func linkDown(l *labnet.Lab) {
	net := l.NewPair()
	lines := []string{`dpd = "1s"`, `dpd_suspect = "3s"`, `dpd_dead = "120s"`}
	config := func(how string) string {
		return side(labnet.AddrB, innerA, append(lines, `routes = ["10.77.0.0/16"]`, `link_down = "`+how+`"`)...)
	}
	a := net.A.Greseal(config("withdraw"))
	net.B.Greseal(side("any", innerB, lines...))
	routes := func() string { return net.A.MustRun("ip", "route", "show", "10.77.0.0/16") }
	way := func() string { return net.A.Run("ip", "route", "get", "10.77.0.1").Out() }
	net.A.MustRun("ip", "route", "add", "10.77.0.0/16", "via", labnet.RouterA, "metric", "900")
	for _, how := range []string{"withdraw", "metric"} {
		a.Write(config(how))
		a.Reload()
		a.WaitUp("t0", 30*time.Second)
		l.Wait(20*time.Second, "the way through the tunnel", func() bool { return strings.Contains(way(), "dev t0") })
		net.Router.LinkDown("to-b")
		a.WaitState("t0", "suspect", 20*time.Second)
		l.Wait(10*time.Second, "the other way", func() bool { return strings.Contains(way(), "dev wan") })
		text := routes()
		kept := strings.Contains(text, "dev t0")
		l.Check(kept == (how == "metric"), "link_down = %s, and the routes are:\n%s", how, text)
		l.Check(strings.Contains(text, "unreachable"), "no unreachable route lies beneath:\n%s", text)
		link := net.A.MustRun("ip", "link", "show", "t0")
		l.Check(strings.Contains(link, "NO-CARRIER") || strings.Contains(link, "state DORMANT") || strings.Contains(link, "state DOWN"), "the link shows nothing of it: %s", link)
		net.Router.LinkUp("to-b")
	}
	a.WaitUp("t0", 30*time.Second)
	l.Wait(20*time.Second, "the way through the tunnel", func() bool { return strings.Contains(way(), "dev t0") })
	net.Wire.MustBeSealed()
}

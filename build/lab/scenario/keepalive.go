package scenario

import (
	"time"

	"greseal/build/lab/labnet"
)

// GRE keepalives in Cisco's form. The other side is a plain router with a GRE
// interface over strongSwan: one of the kernel that forwards what comes from
// its own addresses, or the lab's own. Seen: greseal's keepalives come back,
// the router's are answered although accept_local is off, all inside ESP, and
// none disturbs the traffic. Between two greseals over IPv6, MikroTik's form.
func init() {
	addOnce(
		Scenario{Name: "GRE keepalives with a plain router", Peer: StrongSwan, Paths: both, Run: keepalives},
		Scenario{Name: "GRE keepalives over IPv6", Peer: Greseal, Paths: both, Run: keepalives6},
	)
}

func keepalives(l *labnet.Lab) {
	w := newWorld(l, func(w *world) { w.lines = []string{`gre.keepalive = "1s"`} })
	if labnet.KernelESP() {
		w.net.B.Sysctl("net.ipv4.ip_forward", "1")
		w.net.B.Sysctl("net.ipv4.conf.all.accept_local", "1")
		w.net.B.Sysctl("net.ipv4.conf.all.rp_filter", "0")
		w.net.B.Sysctl("net.ipv4.conf.default.accept_local", "1")
		w.net.B.Sysctl("net.ipv4.conf.default.rp_filter", "0")
	}
	w.up()
	w.pings()
	l.Wait(20*time.Second, "two of greseal's keepalives back", func() bool { return w.greseal.Tunnel("t0").Keepalives.Returned >= 2 })
	before := w.greseal.Tunnel("t0").Keepalives
	l.Check(before.Answered == 0, "it counts answers to keepalives that were never sent: %+v", before)
	for sent := uint64(1); sent <= 5; sent++ {
		w.net.B.Keepalive("gre1", labnet.AddrB, labnet.AddrA)
		l.Wait(10*time.Second, "an answer to a keepalive", func() bool { return w.greseal.Tunnel("t0").Keepalives.Answered == sent })
		if w.swan.end != nil {
			l.Wait(10*time.Second, "the answer there", func() bool { return uint64(w.swan.end.Bad()[labnet.Returned]) == sent })
		}
	}
	w.pings()
	drops := w.greseal.Tunnel("t0").Drops
	l.Check(drops.NoSA == 0 && drops.Selector == 0 && drops.Malformed == 0, "packets were dropped: %+v", drops)
	w.net.Wire.MustBeSealed()
}

func keepalives6(l *labnet.Lab) {
	net := l.NewPair()
	a := net.A.Greseal(side(labnet.AddrB6, innerA, `gre.keepalive = "1s"`))
	b := net.B.Greseal(side("any", innerB))
	a.WaitUp("t0", 20*time.Second)
	l.Wait(20*time.Second, "two keepalives back", func() bool { return a.Tunnel("t0").Keepalives.Returned >= 2 })
	l.Check(b.Tunnel("t0").Keepalives.Answered >= 2, "the other side counts %+v", b.Tunnel("t0").Keepalives)
	net.A.MustPing(innerB, 5)
	net.Wire.MustBeSealed()
}

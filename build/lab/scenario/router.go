package scenario

import (
	"time"

	"greseal/build/lab/labnet"
)

// A MIPS router with 64 MB: two daemons, each in its own namespace, bring a
// tunnel up on the kernel datapath. Seen: pings both ways; wire sealed; each
// daemon holds at most 14 MB of memory.
func init() {
	add(Scenario{Name: "a router with 64 MB", Peer: Greseal, Paths: kernel, Where: Router, Run: smallRouter})
}

func smallRouter(l *labnet.Lab) {
	net := l.NewPair()
	a := net.A.Greseal(side(labnet.AddrB, innerA))
	b := net.B.Greseal(side("any", innerB))
	a.WaitUp("t0", 60*time.Second)
	net.A.WaitPing(innerB, 10*time.Second)
	net.A.MustPing(innerB, 20)
	net.B.MustPing(innerA, 20)
	time.Sleep(3 * time.Second) // idle, as it is most of its life
	l.Check(a.Status().Daemon.Datapath == "kernel", "the datapath is %s: %s", a.Status().Daemon.Datapath, a.Status().Daemon.DatapathWhy)
	rss := []int{a.RSS(), b.RSS()}
	took, _ := net.Wire.IKETime()
	l.Fact("RSS %d and %d kB, IKE %.0f ms on this emulated 24Kc", rss[0], rss[1], took.Seconds()*1000)
	l.Check(max(rss[0], rss[1]) <= 14*1024, "RSS is above 14 MB: %d and %d kB", rss[0], rss[1])
	a.Stop()
	b.Stop()
	net.Wire.MustBeSealed()
}

package scenario

import (
	"strings"
	"syscall"
	"time"

	"greseal/build/lab/labnet"
)

// A routing daemon sees the peer's liveness as link state. FRR speaks OSPF over
// the tunnel on both sides. Seen: the adjacency comes up by multicast through
// GRE; it stands without a break while both SAs are replaced several times; when
// the peer falls silent it goes as soon as greseal suspects the peer, long before
// OSPF's own 40 s, and the routes with it; it comes back with the peer. And it
// stands while greseal's own address becomes another, and with it the GRE endpoint.
func init() {
	addOnce(
		Scenario{Name: "OSPF over the tunnel", Peer: Greseal, Paths: both, Run: ospf},
		Scenario{Name: "OSPF through a change of address", Peer: Greseal, Paths: both, Run: ospfMoves},
	)
}

func ospf(l *labnet.Lab) {
	net := l.NewPair()
	lines := []string{`dpd = "1s"`, `dpd_suspect = "3s"`, `dpd_dead = "120s"`}
	config := func(esp string) string { return side(labnet.AddrB, innerA, append(lines, `esp = "`+esp+`"`)...) }
	a := net.A.Greseal(config("aes128gcm16"))
	b := net.B.Greseal(side("any", innerB, lines...))
	net.B.Addr("lo", "10.77.0.1/32")
	fa := net.A.OSPF("t0", "10.255.0.2")
	net.B.OSPF("t0", "10.255.0.1")
	a.WaitUp("t0", 20*time.Second)
	first := fa.WaitFull(60 * time.Second)
	routed := func() bool { return ospfRoute(net) }
	l.Wait(30*time.Second, "the route learned by OSPF", routed)

	for round := range 3 {
		spi := a.Tunnel("t0").Child.SPIIn
		a.Write(config([]string{"aes256gcm16", "aes128gcm16"}[round%2]))
		a.Reload()
		l.Wait(20*time.Second, "new SAs", func() bool { t := a.Tunnel("t0"); return t.Child != nil && t.Child.SPIIn != spi })
	}
	now := fa.Neighbor()
	l.Check(now.Full() && now.Changes == first.Changes, "rekeying touched the adjacency: %+v became %+v", first, now)
	l.Check(a.Tunnel("t0").UpCount == 1 && b.Tunnel("t0").UpCount == 1, "the tunnel came up more than once")

	b.Signal(syscall.SIGSTOP)
	net.Router.LinkDown("to-b")
	begin := time.Now()
	a.WaitState("t0", "suspect", 20*time.Second)
	l.Wait(10*time.Second, "the adjacency gone", func() bool { return !fa.Neighbor().Full() })
	l.Wait(10*time.Second, "the route gone", func() bool { return !routed() })
	gone := time.Since(begin)

	net.Router.LinkUp("to-b")
	net.Router.Addr("to-b", labnet.RouterB6+"/64")
	b.Signal(syscall.SIGCONT)
	a.WaitUp("t0", 40*time.Second)
	fa.WaitFull(60 * time.Second)
	l.Wait(30*time.Second, "the route back", routed)
	net.Wire.MustBeSealed()
	l.Fact("adjacency gone %.1f s after the last packet", gone.Seconds())
}

func ospfMoves(l *labnet.Lab) {
	net := l.NewPair()
	a := net.A.Greseal(side(labnet.AddrB, innerA))
	b := net.B.Greseal(side("any", innerB))
	net.B.Addr("lo", "10.77.0.1/32")
	fa := net.A.OSPF("t0", "10.255.0.2")
	net.B.OSPF("t0", "10.255.0.1")
	before := a.WaitUp("t0", 20*time.Second)
	first := fa.WaitFull(60 * time.Second)
	l.Wait(30*time.Second, "the route learned by OSPF", func() bool { return ospfRoute(net) })
	net.A.Readdress("wan", labnet.AddrA+"/24", movedA+"/24", labnet.RouterA)
	l.Wait(30*time.Second, "both sides at the new address", func() bool {
		ta, tb := a.Tunnel("t0"), b.Tunnel("t0")
		return ta.State == "up" && tb.State == "up" && ta.Outside.GRELocal == movedA && tb.Outside.GRERemote == movedA
	})
	net.A.WaitPing(innerB, 10*time.Second)
	l.Check(ospfRoute(net), "the route learned by OSPF is gone")
	net.A.MustPing("10.77.0.1", 10)
	now := fa.Neighbor()
	l.Check(now.Full() && now.Changes == first.Changes, "the change of address touched the adjacency: %+v became %+v", first, now)
	after := a.Tunnel("t0")
	l.Check(after.UpCount == 1 && b.Tunnel("t0").UpCount == 1 && after.Interface.Index == before.Interface.Index, "the tunnel was made anew")
	net.Wire.MustBeSealed()
}

// ospfRoute tells whether A has the route to what B announces.
func ospfRoute(net *labnet.Pair) bool {
	return strings.Contains(net.A.MustRun("ip", "route", "show", "10.77.0.1"), "t0")
}

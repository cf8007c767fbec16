package scenario

import (
	"time"

	"greseal/build/lab/labnet"
	"greseal/tunnel/status"
)

// No boot order, no giving up. greseal starts before its interface, its address and
// its route are there, says what it waits for, and comes up when they appear. An outage
// of the path makes the tunnel suspect and takes its link down, and when the
// path is back the same SAs go on without a handshake. And the inner side is
// closed too: what belongs into a tunnel that is down, or whose daemon was
// killed, never follows the default route into the clear.
func init() {
	addOnce(
		Scenario{Name: "started before address and route are there", Peer: Greseal, Paths: both, Run: waits},
		Scenario{Name: "outage of the path", Peer: Greseal, Paths: both, Run: outage},
		Scenario{Name: "routes of a tunnel that is down", Peer: Greseal, Paths: both, Run: closedInside},
	)
}

func waits(l *labnet.Lab) {
	net := l.NewPair()
	net.A.DelAddr("wan", labnet.AddrA+"/24")
	net.B.Greseal(side("any", innerB))
	a := net.A.Greseal(side(labnet.AddrB, innerA, `local = "lte"`))
	waitsFor := func(what string) {
		l.Wait(10*time.Second, "that it waits for the "+what, func() bool {
			t := a.Tunnel("t0")
			return t.State == status.StateWaiting && t.WaitingFor == what && t.Reason != ""
		})
	}
	waitsFor(status.WaitInterface)
	a.Write(side(labnet.AddrB, innerA, `local = "wan"`))
	a.Reload()
	waitsFor(status.WaitAddress)
	a.Write(side(labnet.AddrB, innerA))
	a.Reload()
	waitsFor(status.WaitRoute)
	net.A.MustNotPing(innerB, 3)
	net.A.Addr("wan", labnet.AddrA+"/24")
	time.Sleep(200 * time.Millisecond)
	net.A.Route("", labnet.RouterA, "wan")
	l.Fact("up %.1f s after the route", seconds(func() { a.WaitUp("t0", 20*time.Second) }))
	net.A.WaitPing(innerB, 5*time.Second)
	net.A.MustPing(innerB, 10)
	net.Wire.MustBeSealed()
}

func seconds(f func()) float64 {
	begin := time.Now()
	f()
	return time.Since(begin).Seconds()
}

func outage(l *labnet.Lab) {
	lines := []string{`dpd = "1s"`, `dpd_suspect = "3s"`, `routes = ["10.77.0.0/16"]`}
	net := l.NewPair()
	b := net.B.Greseal(side("any", innerB, `dpd = "1s"`, `dpd_suspect = "3s"`))
	a := net.A.Greseal(side(labnet.AddrB, innerA, lines...))
	before := a.WaitUp("t0", 20*time.Second)
	net.A.WaitPing(innerB, 5*time.Second)
	ping := net.A.StartPing(innerB, 50*time.Millisecond)
	net.Router.LinkDown("to-b")
	a.WaitState("t0", "suspect", 15*time.Second)
	b.WaitState("t0", "suspect", 15*time.Second)
	l.Check(!a.Tunnel("t0").Interface.Running, "the link is still shown as running")
	time.Sleep(10 * time.Second)
	net.Router.LinkUp("to-b")
	net.Router.Addr("to-b", labnet.RouterB6+"/64") // the kernel drops IPv6 addresses with the link
	l.Fact("up %.1f s after the path", seconds(func() { a.WaitUp("t0", 30*time.Second) }))
	b.WaitUp("t0", 30*time.Second)
	after := a.Tunnel("t0")
	l.Check(after.IKE.SPIi == before.IKE.SPIi && after.Child.SPIIn == before.Child.SPIIn, "the SAs were made anew after a short outage")
	ping.Quit()
	net.A.WaitPing(innerB, 5*time.Second)
	net.A.MustPing(innerB, 10)
	net.Wire.MustBeSealed()
}

func closedInside(l *labnet.Lab) {
	const inside = "10.77.0.1"
	net := l.NewPair()
	b := net.B.Greseal(side("any", innerB))
	net.B.Addr("lo", inside+"/32")
	// Who is there in the clear would answer.
	net.Router.Addr("lo", inside+"/32")
	a := net.A.Greseal(side(labnet.AddrB, innerA, `routes = ["10.77.0.0/16"]`))
	a.WaitUp("t0", 20*time.Second)
	net.A.WaitPing(inside, 5*time.Second)
	net.A.MustPing(inside, 10)
	a.Must("down", "t0")
	net.A.MustNotPing(inside, 5)
	net.Wire.MustBeSealed()
	a.Must("up", "t0")
	net.A.WaitPing(inside, 10*time.Second)
	b.Stop()
	net.A.MustNotPing(inside, 5)
	l.Wait(60*time.Second, "that nobody answers", func() bool { return a.Tunnel("t0").Code == status.CodeNoAnswer })
	b.Start()
	a.WaitUp("t0", 60*time.Second)
	net.A.WaitPing(inside, 10*time.Second)
	b.Kill()
	a.Kill()
	if got := net.A.Ping(inside, 5); l.Datapath == "userspace" { // the kernel carries on without a daemon, sealed
		l.Check(got.Received == 0, "a ping went through without a daemon: %v", got)
	}
	a.Start()
	a.Stop()
	net.A.MustNotPing(inside, 5)
	net.Wire.MustBeSealed()
}

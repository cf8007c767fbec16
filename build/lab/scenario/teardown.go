package scenario

import (
	"time"

	"greseal/build/lab/labnet"
)

// SAs end. When the peer deletes the Child SA or the whole IKE SA, greseal
// brings the tunnel up again by itself. When greseal's owner takes the tunnel
// down, the peer is told and forgets it, and `up` brings it back. Seen: pings
// stop and start accordingly, and at no time does protocol 47 leave in the clear,
// although pings into the tunnel go on throughout.
func init() {
	addOnce(
		Scenario{Name: "delete of the Child SA by the peer", Peer: StrongSwan, Paths: both, Run: func(l *labnet.Lab) { deleteByPeer(l, false) }},
		Scenario{Name: "delete of the IKE SA by the peer", Peer: StrongSwan, Paths: both, Run: func(l *labnet.Lab) { deleteByPeer(l, true) }},
		Scenario{Name: "down, up and restart", Peer: StrongSwan, Paths: both, Run: downAndUp},
		Scenario{Name: "delete seen by a responder", Peer: StrongSwan, Paths: both, Run: deleteAtResponder},
	)
}

func deleteByPeer(l *labnet.Lab, ike bool) {
	w := newWorld(l, nil)
	before := w.up()
	w.pings()
	ping := w.net.A.StartPing(innerB, 20*time.Millisecond)
	if ike {
		w.swan.TerminateIKE()
	} else {
		w.swan.TerminateChild()
	}
	w.Wait(20*time.Second, "the tunnel up again with a new Child SA", func() bool {
		t := w.greseal.Tunnel("t0")
		return t.State == "up" && t.Child != nil && t.Child.SPIIn != before.Child.SPIIn
	})
	w.net.A.WaitPing(innerB, 10*time.Second)
	ping.Stop()
	w.pings()
	w.oneSA()
	w.net.Wire.MustBeSealed()
}

func downAndUp(l *labnet.Lab) {
	w := newWorld(l, nil)
	w.up()
	w.pings()
	ping := w.net.A.StartPing(innerB, 20*time.Millisecond)
	w.greseal.Must("down", "t0")
	w.swan.WaitGone(waitGone)
	t := w.greseal.Tunnel("t0")
	l.Check(t.State == "disabled", "the state is %s after down", t.State)
	w.net.A.MustNotPing(innerB, 5)
	w.greseal.Must("up", "t0")
	w.greseal.WaitUp("t0", 20*time.Second)
	w.pings()
	spi := w.greseal.Tunnel("t0").IKE.SPIi
	w.greseal.Must("restart", "t0")
	w.Wait(20*time.Second, "a new IKE SA after restart", func() bool {
		t := w.greseal.Tunnel("t0")
		return t.State == "up" && t.IKE.SPIi != spi
	})
	w.pings()
	ping.Stop()
	w.oneSA()
	w.greseal.Stop()
	w.swan.WaitGone(waitGone)
	w.net.A.MustNotPing(innerB, 5)
	w.net.Wire.MustBeSealed()
}

func deleteAtResponder(l *labnet.Lab) {
	w := newWorld(l, func(w *world) { w.responder = true })
	w.up()
	w.pings()
	ping := w.net.A.StartPing(innerB, 20*time.Millisecond)
	w.swan.TerminateIKE()
	w.Wait(10*time.Second, "greseal without a Child SA", func() bool { t := w.greseal.Tunnel("t0"); return t.State != "up" && t.Child == nil })
	w.net.A.MustNotPing(innerB, 5)
	w.swan.Initiate()
	w.greseal.WaitUp("t0", 10*time.Second)
	w.pings()
	ping.Stop()
	w.oneSA()
	w.net.Wire.MustBeSealed()
}

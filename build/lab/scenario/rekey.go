package scenario

import (
	"fmt"
	"time"

	"greseal/build/lab/labnet"
)

const waitGone = 10 * time.Second

// Rekeying loses nothing. A ping every 10 ms runs while first strongSwan, then
// greseal replaces the Child SA and the IKE SA, and after an IKE SA's
// replacement its Child SA again. Seen: every ping is answered; SPIs change;
// the interface keeps its index; in the end one IKE SA with one Child SA stands
// on both sides; the wire stays sealed.
func init() {
	for _, role := range []string{"initiator", "responder"} {
		add(
			Scenario{Name: "rekey of both SAs by the peer, " + role, Peer: StrongSwan, Paths: both, Run: func(l *labnet.Lab) { rekeyByPeer(l, role) }},
			Scenario{Name: "rekey of both SAs by greseal, " + role, Peer: StrongSwan, Paths: both, Run: func(l *labnet.Lab) { rekeyByGreseal(l, role) }},
		)
	}
}

func rekeyByPeer(l *labnet.Lab, role string) {
	w := newWorld(l, func(w *world) { w.responder = role == "responder" })
	before := w.up()
	w.pings()
	ping := w.net.A.StartPing(innerB, 10*time.Millisecond)
	for _, rekey := range []func(){w.swan.RekeyChild, w.swan.RekeyIKE, w.swan.RekeyChild} {
		spi := w.swan.List()
		rekey()
		w.Wait(10*time.Second, "the new SA", func() bool {
			now := w.swan.List()
			return now.IKE == 1 && now.Children == 1 && (now.IKESPIs[0] != spi.IKESPIs[0] || now.ESPSPIs[0] != spi.ESPSPIs[0])
		})
		w.oneSA()
	}
	got := ping.Stop()
	l.Check(got.Received == got.Sent, "rekeying lost pings: %v", got)
	after := w.greseal.Tunnel("t0")
	l.Check(after.Child.Rekeys >= 2 && after.IKE.Rekeys >= 1, "the status counts %d and %d rekeys", after.Child.Rekeys, after.IKE.Rekeys)
	l.Check(after.UpCount == 1, "the tunnel came up %d times", after.UpCount)
	l.Check(after.Interface.Index == before.Interface.Index, "the interface's index changed")
	w.counters()
	w.net.Wire.MustBeSealed()
	l.Fact("%d pings, none lost", got.Sent)
}

func rekeyByGreseal(l *labnet.Lab, role string) {
	w := newWorld(l, func(w *world) {
		w.responder = role == "responder"
		child := l.Stretch(4 * time.Second) // leaves room for an exchange
		w.lines = []string{fmt.Sprintf("child_lifetime = %q", child), fmt.Sprintf("ike_lifetime = %q", child*7/4)}
	})
	before := w.up()
	w.net.A.WaitPing(innerB, 10*time.Second)
	ping := w.net.A.StartPing(innerB, 10*time.Millisecond)
	w.Wait(l.Stretch(20*time.Second), "two rekeys of the Child SA and one of the IKE SA", func() bool {
		t := w.greseal.Tunnel("t0")
		return t.State == "up" && t.Child != nil && t.IKE != nil && t.Child.Rekeys >= 2 && t.IKE.Rekeys >= 1
	})
	got := ping.Stop()
	l.Check(got.Received == got.Sent, "rekeying lost pings: %v", got)
	after := w.greseal.Tunnel("t0")
	l.Check(after.UpCount == 1, "the tunnel came up %d times", after.UpCount)
	l.Check(after.IKE.SPIi != before.IKE.SPIi && after.Child.SPIIn != before.Child.SPIIn, "the SPIs did not change")
	l.Check(after.Interface.Index == before.Interface.Index, "the interface's index changed")
	l.Check(w.net.Wire.Exchanges(36, labnet.AddrA) >= 3, "greseal began %d CREATE_CHILD_SA exchanges", w.net.Wire.Exchanges(36, labnet.AddrA))
	l.Check(w.net.Wire.Exchanges(34, labnet.AddrA)+w.net.Wire.Exchanges(34, labnet.AddrB) == 1, "it was a new IKE SA instead of a rekeyed one")
	w.net.Wire.MustBeSealed()
	l.Fact("%d pings, none lost", got.Sent)
}

package scenario

import (
	"slices"
	"strings"
	"time"

	"greseal/build/lab/labnet"
	"greseal/tunnel/status"
)

// Addresses that change under a tunnel that is pinged. The own address becomes
// another, as initiator and as responder, with MOBIKE and without; the peer's
// becomes another; a NAT in between forgets its mapping. Seen: the same IKE SA
// goes on where MOBIKE is spoken; the interface keeps its index; the outer
// addresses, and where they came from them the GRE endpoints, are the new ones;
// the wire stays sealed; events and status agree on where the peer is.
func init() {
	add(
		Scenario{Name: "own address changes, both roles", Peer: Greseal, Paths: both, Run: pairMoves},
		Scenario{Name: "own address changes", Peer: StrongSwan, Paths: both, Run: func(l *labnet.Lab) { swanMoves(l, true, false) }},
		Scenario{Name: "own address changes, responder", Peer: StrongSwan, Paths: userspace, Run: func(l *labnet.Lab) { swanMoves(l, true, true) }},
	)
	addOnce(
		Scenario{Name: "own address changes, no MOBIKE", Peer: StrongSwan, Paths: both, Run: func(l *labnet.Lab) { swanMoves(l, false, false) }},
		Scenario{Name: "own address changes, transport mode", Peer: Greseal, Paths: both, Run: transportMoves},
		Scenario{Name: "the peer's address changes", Peer: StrongSwan, Paths: both, Run: peerMoves},
		Scenario{Name: "NAT mapping changes", Peer: Greseal, Paths: both, Run: natRebinds},
	)
}

const (
	movedA = "192.0.2.9"
	movedB = "198.51.100.9"

	// GRE endpoints that have nothing to do with the outer addresses.
	endA = "10.9.0.1"
	endB = "10.9.0.2"
)

// moveA gives A another address under a ping and waits until it goes through
// from there. It returns the state of the tunnel and the gap.
func moveA(l *labnet.Lab, net *labnet.Pair, g *labnet.Greseal) (status.Tunnel, time.Duration) {
	before := g.Tunnel("t0")
	ping := net.A.StartPing(innerB, 10*time.Millisecond)
	time.Sleep(300 * time.Millisecond)
	net.A.Readdress("wan", labnet.AddrA+"/24", movedA+"/24", labnet.RouterA)
	var after status.Tunnel
	l.Wait(20*time.Second, "the tunnel at the new address", func() bool {
		after = g.Tunnel("t0")
		return after.State == "up" && strings.HasPrefix(after.Peer.LocalAddr, movedA) && after.Outside.GRELocal == movedA
	})
	count := ping.Count().Received
	l.Wait(20*time.Second, "pings over it", func() bool { return ping.Count().Received >= count+30 })
	ping.Stop()
	gap := ping.LongestGap()
	l.Check(after.Interface.Index == before.Interface.Index, "the interface's index changed from %d to %d", before.Interface.Index, after.Interface.Index)
	l.Check(gap < l.Stretch(4*time.Second), "no ping was answered for %v", gap)
	return after, gap
}

// toldWhere checks that the latest event of a move names the address that the status has.
func toldWhere(l *labnet.Lab, g *labnet.Greseal) {
	t, told := g.Tunnel("t0"), ""
	for _, e := range t.Events {
		if e.Kind == "moved" && strings.HasPrefix(e.Text, "the peer moved") {
			told = e.Text
		}
	}
	l.Check(strings.HasSuffix(told, " to "+t.Peer.Address), "the status has the peer at %s, the last event was %q", t.Peer.Address, told)
}

func pairMoves(l *labnet.Lab) {
	net := l.NewPair()
	a := net.A.Greseal(side(labnet.AddrB, innerA))
	b := net.B.Greseal(side("any", innerB))
	before, beforeB := a.WaitUp("t0", 20*time.Second), b.WaitUp("t0", 20*time.Second)
	net.A.WaitPing(innerB, 10*time.Second)
	after, gap := moveA(l, net, a)
	l.Check(after.IKE.SPIi == before.IKE.SPIi && after.UpCount == 1, "the IKE SA was made anew")
	l.Check(b.Tunnel("t0").Interface.Index == beforeB.Interface.Index, "the responder's interface was made anew")

	// Now the responder: it tells the initiator, who follows.
	ping := net.A.StartPing(innerB, 10*time.Millisecond)
	time.Sleep(300 * time.Millisecond)
	net.B.Readdress("wan", labnet.AddrB+"/24", movedB+"/24", labnet.RouterB)
	l.Wait(20*time.Second, "both at the new addresses", func() bool {
		ta, tb := a.Tunnel("t0"), b.Tunnel("t0")
		return ta.State == "up" && tb.State == "up" && tb.Outside.GRELocal == movedB && strings.HasPrefix(ta.Peer.Address, movedB) && ta.Outside.GRERemote == movedB
	})
	net.A.WaitPing(innerB, 10*time.Second)
	ping.Stop()
	samePair(l, a, b)
	net.A.MustPing(innerB, 20)
	net.B.MustPing(innerA, 20)
	toldWhere(l, a)
	toldWhere(l, b)
	ta, tb := a.Tunnel("t0"), b.Tunnel("t0")
	l.Wait(15*time.Second, "the guard of the address that the initiator left to go", func() bool {
		return !slices.ContainsFunc(b.Tunnel("t0").Guards, func(g status.Guard) bool { return g.Target == labnet.AddrA })
	})
	if l.Datapath == "kernel" {
		text := net.B.MustRun("ip", "xfrm", "policy")
		l.Check(!strings.Contains(text, labnet.AddrA+"/32") && strings.Contains(text, movedA+"/32"), "the policies are\n%s", text)
	}
	l.Check(ta.IKE.SPIi == before.IKE.SPIi && ta.UpCount == 1 && tb.UpCount == 1, "the IKE SA was made anew")
	l.Check(ta.Interface.Index == before.Interface.Index && tb.Interface.Index == beforeB.Interface.Index, "an interface was made anew")
	net.Wire.MustBeSealed()
	l.Fact("gaps %v as initiator, %v as responder", gap.Round(time.Millisecond), ping.LongestGap().Round(time.Millisecond))
}

func swanMoves(l *labnet.Lab, mobike, responder bool) {
	w := newWorld(l, func(w *world) {
		w.responder = responder
		w.anyLocal = true
		w.swanConfig.MOBIKE = mobike
		w.swanConfig.RemoteTS = "dynamic[47]"
		if !mobike {
			w.swanConfig.RemoteID = "fqdn:a.example"
			w.lines = []string{`local_id = "a.example"`}
			w.swanConfig.Remote = "%any"
			w.swanConfig.RemoteTS = "dynamic[47]"
		}
	})
	if !mobike {
		w.swanConfig.Conn = "unique = never"
	}
	w.start()
	before := w.greseal.WaitUp("t0", 20*time.Second)
	w.swan.WaitUp(5 * time.Second)
	w.swan.greLocal, w.swan.greRemote = labnet.AddrB, labnet.AddrA
	w.swan.raiseGRE()
	w.net.A.WaitPing(innerB, 10*time.Second)
	ping := w.net.A.StartPing(innerB, 10*time.Millisecond)
	w.net.A.Readdress("wan", labnet.AddrA+"/24", movedA+"/24", labnet.RouterA)
	var after status.Tunnel
	w.Wait(30*time.Second, "the tunnel at the new address", func() bool {
		after = w.greseal.Tunnel("t0")
		return after.State == "up" && after.Outside.GRELocal == movedA
	})
	// Nobody moves strongSwan's GRE endpoint but its owner.
	w.swan.moveGRE(labnet.AddrB, movedA)
	w.pings()
	ping.Stop()
	l.Check(after.Interface.Index == before.Interface.Index, "the interface's index changed")
	l.Check((after.IKE.SPIi == before.IKE.SPIi) == mobike, "MOBIKE is %t, and the IKE SA's SPI %s became %s", mobike, before.IKE.SPIi, after.IKE.SPIi)
	w.oneSA()
	w.counters()
	if w.swan.end == nil {
		// The kernel below strongSwan says in the clear that nobody takes GRE for the
		// new endpoint, with some of it, until its owner has moved the interface.
		l.Check(w.net.Wire.Count(labnet.GRE) == 0, "protocol 47 in the clear: %s", w.net.Wire.Summary())
		return
	}
	w.net.Wire.MustBeSealed()
}

func transportMoves(l *labnet.Lab) {
	net := l.NewPair()
	lines := []string{`mode = "transport"`}
	a := net.A.Greseal(side(labnet.AddrB, innerA, lines...))
	b := net.B.Greseal(side("any", innerB, lines...))
	before, beforeB := a.WaitUp("t0", 20*time.Second), b.WaitUp("t0", 20*time.Second)
	net.A.WaitPing(innerB, 10*time.Second)
	after, gap := moveA(l, net, a)
	l.Check(after.IKE.SPIi != before.IKE.SPIi && after.Outside.Mode == "transport", "the IKE SA is the old one, or the mode is %s", after.Outside.Mode)
	l.Check(b.Tunnel("t0").Interface.Index == beforeB.Interface.Index, "the responder's interface was made anew")
	samePair(l, a, b)
	net.A.MustPing(innerB, 20)
	net.Wire.MustBeSealed()
	l.Fact("gap %v", gap.Round(time.Millisecond))
}

// peerMoves has strongSwan, as initiator, change its address. GRE has endpoints
// of its own, so only the outer addresses move.
func peerMoves(l *labnet.Lab) {
	w := newWorld(l, func(w *world) {
		w.responder = true
		w.swanConfig.MOBIKE = true
		w.swanConfig.LocalTS, w.swanConfig.RemoteTS = endB+"/32[47]", endA+"/32[47]"
		w.lines = []string{`gre_local = "` + endA + `"`, `gre_remote = "` + endB + `"`}
	})
	w.net.A.Addr("lo", endA+"/32")
	w.net.B.Addr("lo", endB+"/32")
	w.start()
	before := w.greseal.WaitUp("t0", 20*time.Second)
	w.swan.greLocal, w.swan.greRemote = endB, endA
	w.swan.raiseGRE()
	w.pings()
	ping := w.net.A.StartPing(innerB, 10*time.Millisecond)
	w.net.B.Readdress("wan", labnet.AddrB+"/24", movedB+"/24", labnet.RouterB)
	w.Wait(30*time.Second, "greseal sends to the new address", func() bool {
		t := w.greseal.Tunnel("t0")
		return t.State == "up" && strings.HasPrefix(t.Peer.Address, movedB)
	})
	w.pings()
	ping.Stop()
	toldWhere(l, w.greseal)
	after := w.greseal.Tunnel("t0")
	l.Check(after.IKE.SPIi == before.IKE.SPIi && after.UpCount == 1, "the IKE SA was made anew")
	l.Check(after.Interface.Index == before.Interface.Index, "the interface's index changed")
	w.net.Wire.MustBeSealed()
	l.Fact("gap %v", ping.LongestGap().Round(time.Millisecond))
}

// natRebinds has the router translate A's port, and then to another one.
func natRebinds(l *labnet.Lab) {
	if !labnet.Have("nft") {
		l.Skipf("nft is not installed; run build/lab/setup")
	}
	net := l.NewPair()
	// Without memory, so that a new mapping is the only one at once. The checksum
	// goes, since the kernel's ESP in UDP has none that could be adjusted.
	translate := func(port string) {
		net.Router.MustRun("nft", "-f", l.File("nat-"+port+".nft", `
table ip nat
delete table ip nat
table ip nat {
 chain in {
  type filter hook prerouting priority -300
  iifname to-b udp dport `+port+` udp dport set 4500 ip daddr set `+labnet.AddrA+` udp checksum set 0
  iifname to-b udp dport 10500 udp dport set 500 ip daddr set `+labnet.AddrA+` udp checksum set 0
 }
 chain out {
  type filter hook postrouting priority 300
  oifname to-b udp sport 4500 udp sport set `+port+` ip saddr set `+labnet.RouterB+` udp checksum set 0
  oifname to-b udp sport 500 udp sport set 10500 ip saddr set `+labnet.RouterB+` udp checksum set 0
 }
}
`))
	}
	translate("20000")
	a := net.A.Greseal(side(labnet.AddrB, innerA, `dpd = "1s"`, `dpd_suspect = "3s"`))
	b := net.B.Greseal(side("any", innerB))
	before := a.WaitUp("t0", 20*time.Second)
	b.WaitUp("t0", 20*time.Second)
	net.A.WaitPing(innerB, 10*time.Second)
	l.Check(strings.HasSuffix(b.Tunnel("t0").Peer.Address, ":20000"), "there is no NAT: %s", b.Tunnel("t0").Peer.Address)
	ping := net.A.StartPing(innerB, 10*time.Millisecond)
	time.Sleep(300 * time.Millisecond)
	translate("30000")
	l.Wait(20*time.Second, "the responder follows the new mapping", func() bool {
		t := b.Tunnel("t0")
		return t.State == "up" && strings.HasSuffix(t.Peer.Address, ":30000")
	})
	net.A.WaitPing(innerB, 10*time.Second)
	ping.Stop()
	toldWhere(l, b)
	after := a.Tunnel("t0")
	l.Check(after.IKE.SPIi == before.IKE.SPIi && after.Child.SPIIn == before.Child.SPIIn, "SAs were made anew")
	net.Wire.MustBeSealed()
	l.Fact("gap %v", ping.LongestGap().Round(time.Millisecond))
}

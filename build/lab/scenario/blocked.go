package scenario

import (
	"strings"
	"time"

	"greseal/build/lab/labnet"
)

// A network on the way drops ESP (IP protocol 50) and lets IKE pass. With encap
// = "auto" the kernel datapath comes up with bare ESP, finds out by itself that
// nothing passes, goes over to UDP and stays there; in userspace it is in UDP
// from the beginning. With encap = "never" it says what to change and leaves the
// tunnel alone. Where UDP does not help either it is tried once and no more. A
// path that is down while echo requests are sent is not taken for that, nor is a peer
// whose GRE interface comes late.
func init() {
	addOnce(
		Scenario{Name: "ESP is dropped on the way", Peer: Greseal, Paths: both, Run: espDropped},
		Scenario{Name: "ESP is dropped on the way, encap never", Peer: Greseal, Paths: both, Run: espDroppedNever},
		Scenario{Name: "the path is down while ESP is looked at", Peer: Greseal, Paths: both, Run: espInterrupted},
		Scenario{Name: "ESP is dropped on the way, in UDP as well", Peer: Greseal, Paths: kernel, Where: VM, Run: espDroppedAll},
		Scenario{Name: "the peer's GRE interface comes late", Peer: StrongSwan, Paths: kernel, Where: VM, Run: peerGRELate},
		Scenario{Name: "the peer's GRE interface comes late and its kernel is silent", Peer: StrongSwan, Paths: kernel, Where: VM, Run: peerGRELateSilent},
	)
}

// dropOnWay has the router between the two drop what matches.
func dropOnWay(net *labnet.Pair, match string) {
	net.Router.MustRun("nft", "add table ip fault; add chain ip fault forward { type filter hook forward priority 0; }; add rule ip fault forward "+match+" drop")
}

func espDropped(l *labnet.Lab) {
	net := l.NewPair()
	dropOnWay(net, "meta l4proto esp")
	a := net.A.Greseal(side(labnet.AddrB, innerA))
	net.B.Greseal(side("any", innerB))
	first := a.WaitUp("t0", 20*time.Second)
	l.Check((first.Outside.Encap == "esp") == (l.Datapath == "kernel"), "it begins with %s", first.Outside.Encap)
	took := l.Wait(40*time.Second, "the tunnel in UDP", func() bool {
		t := a.Tunnel("t0")
		return t.State == "up" && t.Outside.Encap == "udp"
	})
	net.A.WaitPing(innerB, 10*time.Second)
	if l.Datapath == "kernel" {
		l.Wait(30*time.Second, "the word that UDP is kept", func() bool { return strings.Contains(a.Log(), "keeping it") })
		t := a.Tunnel("t0")
		l.Check(t.UpCount == 2 && strings.Contains(t.Outside.EncapWhy, "bare ESP does not pass"), "up %d times; in UDP because: %s", t.UpCount, t.Outside.EncapWhy)
		l.Fact("in UDP after %.0f s", took.Seconds())
	}
	net.A.MustPing(innerB, 20)
	net.B.MustPing(innerA, 20)
	net.Wire.MustBeSealed()
}

func espDroppedNever(l *labnet.Lab) {
	net := l.NewPair()
	dropOnWay(net, "meta l4proto esp")
	a := net.A.Greseal(side(labnet.AddrB, innerA, `encap = "never"`))
	net.B.Greseal(side("any", innerB))
	a.WaitUp("t0", 20*time.Second)
	l.Wait(40*time.Second, "the remedy", func() bool { return strings.Contains(a.Log(), "set encap =") })
	t := a.Tunnel("t0")
	l.Check(t.State == "up" && t.UpCount == 1 && t.Outside.Encap == "esp", "it is %s, up %d times, with %s", t.State, t.UpCount, t.Outside.Encap)
	net.Wire.MustBeSealed()
}

func espInterrupted(l *labnet.Lab) {
	net := l.NewPair()
	dropOnWay(net, "meta l4proto esp")
	a := net.A.Greseal(side(labnet.AddrB, innerA, `encap = "never"`, `dpd_suspect = "30s"`, `dpd_dead = "120s"`))
	net.B.Greseal(side("any", innerB))
	a.WaitUp("t0", 20*time.Second)
	sent := func() string { // OutEchos
		return net.A.MustRun("awk", "/^Icmp: [0-9]/ { print $(NF-5) }", "/proc/net/snmp")
	}
	before := sent()
	l.Wait(20*time.Second, "the first echo request", func() bool { return sent() != before })
	net.Router.LinkDown("to-b")
	net.Router.MustRun("nft", "delete table ip fault")
	time.Sleep(4 * time.Second) // the rest of the echo requests would take 3
	net.Router.LinkUp("to-b")
	net.A.WaitPing(innerB, 20*time.Second)
	t := a.Tunnel("t0")
	l.Check(t.State == "up" && t.UpCount == 1 && !strings.Contains(a.Log(), "echo requests"), "it is %s, up %d times, and says:\n%s", t.State, t.UpCount, a.Log())
	net.Wire.MustBeSealed()
}

func espDroppedAll(l *labnet.Lab) {
	net := l.NewPair()
	dropOnWay(net, "meta l4proto esp")
	net.Router.MustRun("nft", "add rule ip fault forward udp dport 4500 @th,64,32 != 0 drop")
	a := net.A.Greseal(side(labnet.AddrB, innerA))
	net.B.Greseal(side("any", innerB))
	a.WaitUp("t0", 20*time.Second)
	l.Wait(60*time.Second, "the word that UDP does not help", func() bool { return strings.Contains(a.Log(), "with or without UDP") })
	ping := net.A.StartPing(innerB, 100*time.Millisecond) // goes on leaving and never comes back
	time.Sleep(15 * time.Second)                          // the next look at the counters is after 10 s
	ping.Quit()
	t := a.Tunnel("t0")
	l.Check(t.UpCount == 2, "it came up %d times", t.UpCount)
	net.Wire.MustBeSealed()
}

// peerGRELate: the peer's GRE interface is made some time after the SAs, by a script.
// What came out of ESP before was answered by its kernel, which shows that it passes.
func peerGRELate(l *labnet.Lab) {
	w := newWorld(l, nil)
	w.start()
	// The lab's peers are kept from saying in the clear what they have decrypted; others do.
	w.net.B.MustRun("ip", "xfrm", "policy", "delete", "dir", "out", "src", "0.0.0.0/0", "dst", "0.0.0.0/0", "proto", "icmp", "type", "3")
	w.greseal.WaitUp("t0", 20*time.Second)
	time.Sleep(30 * time.Second) // the look at ESP would conclude after 20
	l.Check(strings.Contains(w.greseal.Log(), "the peer has no GRE interface"), "it does not say what the peer lacks:\n%s", w.greseal.Log())
	doctor := strings.Join(strings.Fields(w.greseal.Do("doctor", "t0").Out()), " ")
	l.Check(contains(doctor, "ESP passes, but the peer has no GRE interface"), "doctor says:\n%s", doctor)
	w.swan.raiseGRE()
	w.net.A.WaitPing(innerB, 20*time.Second)
	t := w.greseal.Tunnel("t0")
	l.Check(t.State == "up" && t.UpCount == 1 && t.Outside.Encap == "esp", "it is %s, up %d times, with %s", t.State, t.UpCount, t.Outside.Encap)
}

// peerGRELateSilent: the same, and the peer's kernel says nothing. Only the time helped,
// and not UDP: when the tunnel is recreated, ESP is tried once more.
func peerGRELateSilent(l *labnet.Lab) {
	w := newWorld(l, nil)
	w.start()
	w.greseal.WaitUp("t0", 20*time.Second)
	l.Wait(60*time.Second, "the tunnel in UDP", func() bool {
		t := w.greseal.Tunnel("t0")
		return t.State == "up" && t.Outside.Encap == "udp"
	})
	w.swan.raiseGRE()
	l.Wait(60*time.Second, "the word that packets come back in UDP", func() bool { return strings.Contains(w.greseal.Log(), "then ESP is tried again") })
	w.swan.TerminateIKE()
	l.Wait(60*time.Second, "the tunnel in ESP", func() bool {
		t := w.greseal.Tunnel("t0")
		return t.State == "up" && t.Outside.Encap == "esp"
	})
	w.net.A.WaitPing(innerB, 20*time.Second)
	l.Wait(30*time.Second, "the word that ESP passes", func() bool { return strings.Contains(w.greseal.Log(), "not dropped on the way") })
}

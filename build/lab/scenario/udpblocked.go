package scenario

import (
	"strings"
	"time"

	"greseal/build/lab/labnet"
)

// ESP in UDP carries nothing, as with a filter that lets IKE through on port 4500
// and nothing else, or a peer whose kernel has no UDP encapsulation over IPv6. UDP
// is in use only because the userspace datapath feigns a NAT, this side's or the
// peer's: so with encap = "auto" the tunnel goes over to bare ESP by itself, tries
// UDP once more when it is recreated, and then stays with ESP. With encap = "always"
// it says what to change, and behind a NAT that bare ESP does not pass one. Where ESP
// does not help either it is tried once and UDP is used again.
func init() {
	addOnce(
		Scenario{Name: "ESP in UDP carries nothing", Peer: Greseal, Paths: both, Run: udpDropped(labnet.AddrB, "")},
		Scenario{Name: "ESP in UDP carries nothing over IPv6, a pair", Peer: Greseal, Paths: both, Run: udpDropped(labnet.AddrB6, labnet.AddrA6)},
		Scenario{Name: "ESP in UDP carries nothing, encap always", Peer: Greseal, Paths: both, Run: udpDroppedAlways},
		Scenario{Name: "ESP in UDP carries nothing behind a NAT", Peer: Greseal, Paths: both, Run: udpDroppedNAT},
		Scenario{Name: "ESP in UDP carries nothing, nor does bare ESP", Peer: Greseal, Paths: userspace, Run: udpAndBareDropped},
	)
}

// dropESPInUDP has the router drop it in both directions, of both families, and
// what else matches.
func dropESPInUDP(net *labnet.Pair, others ...string) {
	rules := "add table inet fault; add chain inet fault forward { type filter hook forward priority 0; }"
	for _, match := range append([]string{"udp dport 4500 @th,64,32 != 0", "udp sport 4500 @th,64,32 != 0"}, others...) {
		rules += "; add rule inet fault forward " + match + " drop"
	}
	net.Router.MustRun("nft", rules)
}

// inUserspace is the peer's configuration: it feigns a NAT whatever the side under
// test runs on.
func inUserspace(config string) string {
	return "[daemon]\ndatapath = \"userspace\"\n\n" + config
}

func udpDropped(addrB, addrA string) func(*labnet.Lab) {
	if addrA == "" {
		addrA = "any"
	}
	return func(l *labnet.Lab) {
		net := l.NewPair()
		dropESPInUDP(net)
		a := net.A.Greseal(side(addrB, innerA))
		b := net.B.Greseal(inUserspace(side(addrA, innerB)))
		first := a.WaitUp("t0", 20*time.Second)
		l.Check(first.Outside.Encap == "udp" && !first.IKE.NATRemote && !first.IKE.NATLocal, "it begins with %s (%s), a NAT here %v, there %v",
			first.Outside.Encap, first.Outside.EncapWhy, first.IKE.NATLocal, first.IKE.NATRemote)
		inESP := func() bool {
			t := a.Tunnel("t0")
			return t.State == "up" && t.Outside.Encap == "esp"
		}
		took := l.Wait(60*time.Second, "the tunnel in ESP", inESP)
		l.Fact("in ESP after %.0f s", took.Seconds())
		net.A.WaitPing(innerB, 10*time.Second)
		finder := a // the side that initiated looks first
		if !strings.Contains(a.Log(), "trying it without UDP") {
			finder = b
		}
		l.Check(addrA != "any" || finder == a, "the side that only answers has made the tunnel anew")
		says := func(words string) func() bool {
			return func() bool { return strings.Contains(finder.Log(), words) }
		}
		l.Wait(30*time.Second, "the word that UDP is tried once more", says("then UDP is tried again"))
		t := finder.Tunnel("t0")
		l.Check(t.UpCount == 2 && strings.Contains(t.Outside.EncapWhy, "ESP in UDP does not pass"), "up %d times; in ESP because: %s", t.UpCount, t.Outside.EncapWhy)
		doctor := strings.Join(strings.Fields(finder.Do("doctor", "--all", "t0").Out()), " ")
		l.Check(contains(doctor, "answers echo requests") && contains(doctor, "ESP in UDP does not pass"), "doctor says:\n%s", doctor)
		net.A.MustPing(innerB, 20)
		net.B.MustPing(innerA, 20)
		finder.Do("restart", "t0")
		l.Wait(20*time.Second, "UDP once more", func() bool { return finder.Tunnel("t0").Outside.Encap == "udp" })
		l.Wait(60*time.Second, "the tunnel in ESP for good", inESP)
		net.A.WaitPing(innerB, 10*time.Second)
		l.Wait(30*time.Second, "the reason", func() bool {
			return strings.Contains(finder.Tunnel("t0").Outside.EncapWhy, "twice")
		})
		net.Wire.MustBeSealed()
	}
}

func udpDroppedAlways(l *labnet.Lab) {
	net := l.NewPair()
	dropESPInUDP(net)
	a := net.A.Greseal(side(labnet.AddrB, innerA, `encap = "always"`))
	net.B.Greseal(side("any", innerB))
	stays(l, a, "which tries bare ESP")
	net.Wire.MustBeSealed()
}

func udpDroppedNAT(l *labnet.Lab) {
	net := l.NewPair()
	dropESPInUDP(net)
	net.Router.MustRun("nft", "add table ip nat; add chain ip nat post { type nat hook postrouting priority srcnat; }; add rule ip nat post oifname to-b masquerade")
	a := net.A.Greseal(side(labnet.AddrB, innerA))
	net.B.Greseal(side("any", innerB))
	stays(l, a, "bare ESP does not pass the NAT that was found")
	net.Wire.MustBeSealed()
}

// stays waits for the remedy that both the log and doctor name; the tunnel is left
// in UDP.
func stays(l *labnet.Lab, a *labnet.Greseal, remedy string) {
	a.WaitUp("t0", 20*time.Second)
	l.Wait(60*time.Second, "the remedy", func() bool { return strings.Contains(a.Log(), remedy) })
	doctor := strings.Join(strings.Fields(a.Do("doctor", "t0").Out()), " ")
	l.Check(contains(doctor, remedy), "doctor says:\n%s", doctor)
	t := a.Tunnel("t0")
	l.Check(t.State == "up" && t.UpCount == 1 && t.Outside.Encap == "udp", "it is %s, up %d times, with %s", t.State, t.UpCount, t.Outside.Encap)
}

func udpAndBareDropped(l *labnet.Lab) {
	net := l.NewPair()
	dropESPInUDP(net, "meta l4proto esp")
	a := net.A.Greseal(side(labnet.AddrB, innerA))
	b := net.B.Greseal(side(labnet.AddrA, innerB))
	a.WaitUp("t0", 20*time.Second)
	back := func(g *labnet.Greseal) bool { return strings.Contains(g.Log(), "going back to UDP") }
	l.Wait(90*time.Second, "the word that ESP does not help", func() bool { return back(a) || back(b) })
	l.Wait(20*time.Second, "the tunnel in UDP", func() bool {
		t := a.Tunnel("t0")
		return t.State == "up" && t.Outside.Encap == "udp"
	})
	ups := a.Tunnel("t0").UpCount
	time.Sleep(45 * time.Second) // the other side would have tried it by then
	t := a.Tunnel("t0")
	l.Check(t.UpCount == ups && t.Outside.Encap == "udp", "it came up %d times, then %d; it is in %s", ups, t.UpCount, t.Outside.Encap)
	net.Wire.MustBeSealed()
}

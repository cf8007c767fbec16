package scenario

import (
	"fmt"
	"strings"
	"time"

	"greseal/build/lab/labnet"
)

// One hub, peers of several tunnels, and addresses that more than one of them
// could have. Seen: whoever asks for what is another's gets nothing, is told
// what to do instead, and the other does not lose a packet; who may have the same
// address by rights, behind a NAT each, is told apart by gre.key, and none takes
// what is for the other.
func init() {
	addOnce(
		Scenario{Name: "a peer asks for the endpoint of another tunnel", Peer: Greseal, Paths: both, Run: takeEndpoint},
		Scenario{Name: "two branches behind NATs with the same inside address", Peer: Greseal, Paths: both, Run: sameInside},
		Scenario{Name: "a peer asks for the far end of somebody else's GRE", Peer: Greseal, Paths: both, Where: VM, Run: takeForeign},
	)
}

const (
	starHub = "198.51.100.1"
	starA   = "198.51.100.2"
	starB   = "198.51.100.3"
)

// star is a hub and two machines in one network.
type star struct {
	hub, a, b *labnet.NS
	wire      *labnet.Wire
}

func newStar(l *labnet.Lab) *star {
	s := &star{hub: l.NewNS("hub"), a: l.NewNS("a"), b: l.NewNS("b")}
	sw := l.NewNS("switch")
	sw.MustRun("ip", "link", "add", "name", "sw", "type", "bridge")
	sw.LinkUp("sw")
	for n, at := range map[*labnet.NS]string{s.hub: starHub, s.a: starA, s.b: starB} {
		l.Veth(n, "wan", sw, "to-"+n.Name)
		sw.MustRun("ip", "link", "set", "to-"+n.Name, "master", "sw")
		n.Addr("wan", at+"/24")
	}
	s.a.WaitPing(starHub, 10*time.Second)
	s.b.WaitPing(starHub, 10*time.Second)
	s.wire = sw.Capture("wire", "to-hub")
	return s
}

// hubTunnel is one of several tunnels of the hub, whose peer comes from anywhere.
func hubTunnel(n int, lines ...string) string {
	return labnet.Tunnel(fmt.Sprintf("br%d", n), append([]string{`remote = "any"`, fmt.Sprintf("psk = %q", branchPSK(n)),
		`local_id = "hub.example.test"`, fmt.Sprintf("remote_id = \"branch%d.example.test\"", n), fmt.Sprintf("address = [\"10.255.%d.1/30\"]", n)}, lines...)...)
}

// branch is the one tunnel of a branch.
func branch(n, inner int, lines ...string) string {
	return labnet.Tunnel("hub", append([]string{fmt.Sprintf("remote = %q", starHub), fmt.Sprintf("psk = %q", branchPSK(n)),
		`remote_id = "hub.example.test"`, fmt.Sprintf("local_id = \"branch%d.example.test\"", n), fmt.Sprintf("address = [\"10.255.%d.2/30\"]", inner)}, lines...)...)
}

func branchPSK(n int) string { return fmt.Sprintf("%s of branch %d", psk, n) }

// refused waits until the hub has said that a tunnel's peer gets no endpoint, and
// what to do.
func refused(l *labnet.Lab, hub *labnet.Greseal, words ...string) {
	l.Wait(30*time.Second, "the hub's refusal", func() bool {
		for line := range strings.Lines(hub.Log()) {
			all := strings.Contains(line, "the peer asks for the GRE endpoint")
			for _, w := range words {
				all = all && strings.Contains(line, w)
			}
			if all {
				return true
			}
		}
		return false
	})
}

func takeEndpoint(l *labnet.Lab) {
	s := newStar(l)
	hub := s.hub.Greseal(hubTunnel(1, "gre.key = 1") + hubTunnel(2, "gre.key = 2"))
	s.b.Greseal(branch(2, 2, "gre.key = 2"))
	hub.WaitUp("br2", 30*time.Second)
	s.b.WaitPing("10.255.2.1", 10*time.Second)
	there, back := s.b.StartPing("10.255.2.1", 20*time.Millisecond), s.hub.StartPing("10.255.2.2", 20*time.Millisecond)
	// A has the credentials of the first tunnel, and the address and the key of
	// the second.
	a := s.a.Greseal(branch(1, 2, "gre.key = 2", fmt.Sprintf("gre_local = %q", starB)))
	refused(l, hub, "br2", starB, "gre_local")
	s.a.MustNotPing("10.255.2.1", 5)
	// By its own address it gets in, and its packets with the other's key nowhere.
	a.Write(branch(1, 2, "gre.key = 2"))
	a.Reload()
	hub.WaitUp("br1", 30*time.Second)
	s.a.MustNotPing("10.255.2.1", 5)
	for what, p := range map[string]*labnet.Pinger{"B's": there, "the hub's": back} {
		got := p.Stop()
		l.Check(got.Received == got.Sent, "%s pings through the other tunnel: %v", what, got)
	}
	l.Check(hub.Tunnel("br2").UpCount == 1, "the other tunnel came up anew")
	s.wire.MustBeSealed()
}

// sameInside has both branches on 192.168.1.2, behind a NAT each.
func sameInside(l *labnet.Lab) {
	s := newStar(l)
	s.hub.Route("", starA, "wan") // the kernel wants one for the address inside, though nothing goes there
	inside := map[int]*labnet.NS{}
	for n, router := range map[int]*labnet.NS{1: s.a, 2: s.b} {
		in := l.NewNS(fmt.Sprintf("inside%d", n))
		l.Veth(in, "wan", router, "lan")
		router.Addr("lan", "192.168.1.1/24")
		router.Sysctl("net.ipv4.ip_forward", "1")
		router.MustRun("nft", "add table ip nat; add chain ip nat post { type nat hook postrouting priority 100; }; add rule ip nat post oifname wan masquerade")
		in.Addr("wan", "192.168.1.2/24")
		in.Route("", "192.168.1.1", "wan")
		inside[n] = in
	}
	// Without keys the second is refused, and the first does not notice.
	hub := s.hub.Greseal(hubTunnel(1) + hubTunnel(2))
	first := inside[1].Greseal(branch(1, 1))
	hub.WaitUp("br1", 30*time.Second)
	inside[1].WaitPing("10.255.1.1", 10*time.Second)
	ping := inside[1].StartPing("10.255.1.1", 20*time.Millisecond)
	second := inside[2].Greseal(branch(2, 2))
	refused(l, hub, "br1", "192.168.1.2", "gre.key")
	got := ping.Stop()
	l.Check(got.Received == got.Sent, "the first branch's pings: %v", got)

	// What the refusal advised helps.
	hub.Write(hubTunnel(1, "gre.key = 65536") + hubTunnel(2, "gre.key = 2"))
	hub.Reload()
	first.Write(branch(1, 1, "gre.key = 65536"))
	first.Reload()
	second.Write(branch(2, 2, "gre.key = 2"))
	second.Reload()
	for n := 1; n <= 2; n++ {
		hub.WaitUp(fmt.Sprintf("br%d", n), 90*time.Second)
	}
	for round := range 2 {
		var pings []*labnet.Pinger
		for n := 1; n <= 2; n++ {
			ours, theirs := fmt.Sprintf("10.255.%d.1", n), fmt.Sprintf("10.255.%d.2", n)
			inside[n].WaitPing(ours, 20*time.Second)
			pings = append(pings, inside[n].StartPing(ours, 20*time.Millisecond), s.hub.StartPing(theirs, 20*time.Millisecond))
		}
		time.Sleep(l.Stretch(2 * time.Second))
		for _, p := range pings {
			got := p.Stop()
			l.Check(got.Received == got.Sent, "pings while both branches are up: %v", got)
		}
		if round == 0 { // now the first has the newer SAs
			before := hub.Tunnel("br1").UpCount
			first.Must("restart", "hub")
			l.Wait(30*time.Second, "the first branch again", func() bool { return hub.Tunnel("br1").UpCount > before && hub.Tunnel("br1").State == "up" })
		}
	}
	s.wire.MustBeSealed()
}

// takeForeign has a plain GRE tunnel beside greseal's, without ESP and nobody's
// business.
func takeForeign(l *labnet.Lab) {
	s := newStar(l)
	for n, ends := range map[*labnet.NS][3]string{s.hub: {starHub, starB, "10.9.9.1/30"}, s.b: {starB, starHub, "10.9.9.2/30"}} {
		n.MustRun("ip", "link", "add", "plain", "type", "gre", "local", ends[0], "remote", ends[1], "key", "9")
		n.LinkUp("plain")
		n.Addr("plain", ends[2])
	}
	s.b.WaitPing("10.9.9.1", 10*time.Second)
	ping := s.b.StartPing("10.9.9.1", 20*time.Millisecond)
	hub := s.hub.Greseal(hubTunnel(1))
	a := s.a.Greseal(branch(1, 1, fmt.Sprintf("gre_local = %q", starB)))
	refused(l, hub, "plain", "gre_local")
	// By its own address it gets in.
	a.Write(branch(1, 1))
	a.Reload()
	hub.WaitUp("br1", 30*time.Second)
	s.a.WaitPing("10.255.1.1", 10*time.Second)
	got := ping.Stop()
	l.Check(got.Received == got.Sent, "pings through the plain tunnel: %v", got)
}

package scenario

import (
	"strings"
	"time"

	"greseal/build/lab/labnet"
)

// More than one way to the other side. The first of two remotes dies and comes
// back; a name gets another address; the first of two WANs goes away. Seen: the
// ping goes on after at most the suspect threshold and a second; back at the
// preferred remote nothing is lost for longer than a moment; the interface keeps
// its index; with all traffic routed into the tunnel its peers are still reached
// outside; the wire stays sealed.
func init() {
	addOnce(
		Scenario{Name: "failover and failback", Peer: Greseal, Paths: both, Run: failover},
		Scenario{Name: "the peer's name gets another address", Peer: Greseal, Paths: both, Run: renamed},
		Scenario{Name: "local names the second WAN", Peer: Greseal, Paths: both, Run: namedWAN},
		Scenario{Name: "second WAN", Peer: Greseal, Paths: both, Run: secondWAN},
		Scenario{Name: "two tunnels to one peer by two WANs", Peer: Greseal, Paths: both, Run: byTwoWANs},
	)
}

// addrC is the second hub's.
const (
	addrC   = "203.0.113.1"
	routerC = "203.0.113.254"
)

func failover(l *labnet.Lab) {
	net := l.NewPair()
	c := l.NewNS("c")
	l.Veth(c, "wan", net.Router, "to-c")
	net.Router.Addr("to-c", routerC+"/24")
	c.Addr("wan", addrC+"/24")
	c.Route("", routerC, "wan")
	b := net.B.Greseal(side("any", innerB))
	c.Greseal(side("any", innerB))
	suspect := l.Stretch(2 * time.Second)
	a := net.A.Greseal(labnet.Tunnel("t0", `remote = ["`+labnet.AddrB+`", "`+addrC+`"]`, `psk = "`+psk+`"`, `address = ["`+innerA+`/30"]`,
		`routes = ["0.0.0.0/0"]`, `dpd = "`+(suspect/2).String()+`"`, `dpd_suspect = "`+suspect.String()+`"`, `failback = "2s"`))
	before := a.WaitUp("t0", 20*time.Second)
	l.Check(strings.HasPrefix(before.Peer.Address, labnet.AddrB), "the first remote is %s", before.Peer.Address)
	net.A.WaitPing(innerB, 10*time.Second)

	ping := net.A.StartPing(innerB, 10*time.Millisecond)
	time.Sleep(500 * time.Millisecond)
	b.Kill()
	net.B.LinkDown("wan")
	l.Wait(3*suspect+10*time.Second, "the tunnel at the second remote", func() bool {
		t := a.Tunnel("t0")
		return t.State == "up" && strings.HasPrefix(t.Peer.Address, addrC)
	})
	net.A.WaitPing(innerB, 10*time.Second)
	ping.Stop()
	gap := ping.LongestGap()
	l.Check(gap <= suspect+l.Stretch(time.Second), "no ping was answered for %v; suspect after %v", gap, suspect)

	ping = net.A.StartPing(innerB, 10*time.Millisecond)
	net.B.LinkUp("wan")
	net.B.Route("", labnet.RouterB, "wan")
	b.Start()
	l.Wait(40*time.Second, "the tunnel back at the first remote", func() bool {
		t := a.Tunnel("t0")
		return t.State == "up" && strings.HasPrefix(t.Peer.Address, labnet.AddrB)
	})
	net.A.WaitPing(innerB, 10*time.Second)
	ping.Stop()
	back := ping.LongestGap()
	after := a.Tunnel("t0")
	l.Check(back < l.Stretch(time.Second), "going back, no ping was answered for %v", back)
	l.Check(after.Interface.Index == before.Interface.Index, "the interface's index changed")
	l.Check(after.State == "up" && !strings.Contains(a.Log(), "no Child SA left to carry packets"), "the tunnel was down for a moment")
	net.A.MustPing(innerB, 20)
	net.Wire.MustBeSealed()
	l.Fact("gap %v at failover (suspect after %v), %v going back", gap.Round(time.Millisecond), suspect, back.Round(time.Millisecond))
}

// renamed has the peer start again at another address, which its name then has.
func renamed(l *labnet.Lab) {
	net := l.NewPair()
	net.A.NameServer("127.0.0.1") // nobody answers there
	b := net.B.Greseal(side("any", innerB))
	a := net.A.Greseal(side("hub.example", innerA, `dpd = "1s"`, `dpd_suspect = "2s"`))
	l.Wait(20*time.Second, "the wait for the name", func() bool {
		t := a.Tunnel("t0")
		return t.State == "waiting" && t.WaitingFor == "name" && contains(t.Reason, "hub.example")
	})
	net.A.Hosts("hub.example", labnet.AddrB)
	before := a.WaitUp("t0", 40*time.Second)
	net.A.WaitPing(innerB, 10*time.Second)
	b.Kill()
	net.B.Readdress("wan", labnet.AddrB+"/24", movedB+"/24", labnet.RouterB)
	b.Start()
	net.A.Hosts("hub.example", movedB)
	l.Wait(40*time.Second, "the tunnel at the name's new address", func() bool {
		t := a.Tunnel("t0")
		return t.State == "up" && strings.HasPrefix(t.Peer.Address, movedB)
	})
	net.A.WaitPing(innerB, 10*time.Second)
	net.A.MustPing(innerB, 20)
	l.Check(a.Tunnel("t0").Interface.Index == before.Interface.Index, "the interface's index changed")
	net.Wire.MustBeSealed()
}

// twoWANs gives A a second way to the router, by a default route of a worse
// metric, and captures on it.
func twoWANs(l *labnet.Lab) (net *labnet.Pair, wire2 *labnet.Wire) {
	net = l.NewPair()
	l.Veth(net.A, "wan2", net.Router, "to-a2")
	net.Router.Addr("to-a2", "192.168.7.254/24")
	net.A.Addr("wan2", "192.168.7.1/24")
	defaultByWAN2(net.A)
	wire2 = net.Router.Capture("wire2", "to-a2")
	return net, wire2
}

func defaultByWAN2(a *labnet.NS) {
	a.MustRun("ip", "route", "add", "default", "via", "192.168.7.254", "dev", "wan2", "metric", "100")
}

// protected counts what came from one address and belongs to tunnels.
func protected(w *labnet.Wire, from string) int {
	return w.Count(labnet.ESP, from) + w.Count(labnet.ESPinUDP, from) + w.Count(labnet.IKE, from)
}

// secondWAN takes the default route of A's first WAN away, and brings it back.
func secondWAN(l *labnet.Lab) {
	net, wire2 := twoWANs(l)
	net.B.Greseal(side("any", innerB))
	a := net.A.Greseal(side(labnet.AddrB, innerA, `routes = ["0.0.0.0/0"]`))
	before := a.WaitUp("t0", 20*time.Second)
	net.A.WaitPing(innerB, 10*time.Second)
	l.Check(strings.HasPrefix(before.Peer.LocalAddr, labnet.AddrA), "it comes from %s", before.Peer.LocalAddr)
	var gaps []time.Duration
	for _, step := range []struct {
		to string
		do func()
	}{
		{"192.168.7.1", func() { net.A.LinkDown("wan") }},
		{labnet.AddrA, func() { net.A.LinkUp("wan"); net.A.Route("", labnet.RouterA, "wan") }},
	} {
		ping := net.A.StartPing(innerB, 10*time.Millisecond)
		time.Sleep(300 * time.Millisecond)
		step.do()
		l.Wait(20*time.Second, "the tunnel from "+step.to, func() bool {
			t := a.Tunnel("t0")
			return t.State == "up" && strings.HasPrefix(t.Peer.LocalAddr, step.to) && t.Outside.GRELocal == step.to
		})
		net.A.WaitPing(innerB, 10*time.Second)
		ping.Stop()
		gaps = append(gaps, ping.LongestGap().Round(time.Millisecond))
	}
	after := a.Tunnel("t0")
	l.Check(after.IKE.SPIi == before.IKE.SPIi && after.UpCount == 1, "the IKE SA was made anew")
	l.Check(after.Interface.Index == before.Interface.Index, "the interface's index changed")
	net.A.MustPing(innerB, 20)
	net.Wire.MustBeSealed()
	wire2.MustBeSealed()
	l.Fact("gaps %v and %v", gaps[0], gaps[1])
}

// namedWAN has local name an interface that the default route does not lead to,
// and that goes away for a moment while a ping runs: the routes go with it, and
// the way by the first WAN stays open all the time.
func namedWAN(l *labnet.Lab) {
	net, wire2 := twoWANs(l)
	net.B.Greseal(side("any", innerB))
	a := net.A.Greseal(side(labnet.AddrB, innerA, `local = "wan2"`))
	a.WaitUp("t0", 20*time.Second)
	net.A.WaitPing(innerB, 10*time.Second)
	net.A.MustPing(innerB, 10)
	ping := net.A.StartPing(innerB, 10*time.Millisecond)
	for range 3 {
		time.Sleep(300 * time.Millisecond)
		net.A.LinkDown("wan2")
		time.Sleep(300 * time.Millisecond)
		net.A.LinkUp("wan2")
		time.Sleep(300 * time.Millisecond) // the address is there, the route not yet
		defaultByWAN2(net.A)
		net.A.WaitPing(innerB, 10*time.Second)
	}
	ping.Stop()
	net.A.MustPing(innerB, 10)
	wire2.MustBeSealed()
	out := protected(net.Wire, "192.168.7.1")
	l.Check(out == 0, "%d packets from the second WAN's address left by the first", out)
	a.Stop()
}

// byTwoWANs has two tunnels to one hub, each by a WAN of its own, both up at
// once. One WAN goes away for a while: its tunnel waits for it, the other goes on.
func byTwoWANs(l *labnet.Lab) {
	const inner1A, inner1B = "10.11.0.1", "10.11.0.2"
	net, wire2 := twoWANs(l)
	tunnel := func(name, remote, wan, own, peer, address string) string {
		lines := []string{`remote = "` + remote + `"`, `psk = "` + psk + `"`, `local_id = "` + own + `"`, `remote_id = "` + peer + `"`,
			`address = ["` + address + `/30"]`, `dpd = "1s"`, `dpd_suspect = "2s"`}
		if wan != "" {
			lines = append(lines, `local = "`+wan+`"`)
		}
		return labnet.Tunnel(name, lines...)
	}
	net.B.Greseal(tunnel("t0", "any", "", "hub0.example", "site0.example", innerB) + tunnel("t1", "any", "", "hub1.example", "site1.example", inner1B))
	a := net.A.Greseal(tunnel("t0", labnet.AddrB, "wan", "site0.example", "hub0.example", innerA) + tunnel("t1", labnet.AddrB, "wan2", "site1.example", "hub1.example", inner1A))
	a.WaitUp("t0", 20*time.Second)
	a.WaitUp("t1", 20*time.Second)
	both := func() {
		net.A.WaitPing(innerB, 10*time.Second)
		net.A.WaitPing(inner1B, 10*time.Second)
		net.A.MustPing(innerB, 10)
		net.A.MustPing(inner1B, 10)
		a.Must("doctor", "t0")
		a.Must("doctor", "t1")
	}
	both()
	ping := net.A.StartPing(innerB, 10*time.Millisecond)
	net.A.LinkDown("wan2")
	l.Wait(20*time.Second, "the second WAN's tunnel down", func() bool { return a.Tunnel("t1").State != "up" })
	time.Sleep(500 * time.Millisecond)
	net.A.LinkUp("wan2")
	defaultByWAN2(net.A)
	a.WaitUp("t1", 20*time.Second)
	ping.Stop()
	l.Check(ping.LongestGap() < l.Stretch(time.Second), "the first WAN's tunnel answered no ping for %v", ping.LongestGap())
	both()
	net.A.MustRun("ip", "rule", "del", "to", labnet.AddrB) // one of the two
	l.Wait(10*time.Second, "the rule laid again", func() bool {
		return strings.Count(net.A.MustRun("ip", "rule"), labnet.AddrB) == 2
	})
	for wire, address := range map[*labnet.Wire]string{net.Wire: "192.168.7.1", wire2: labnet.AddrA} {
		n := protected(wire, address)
		l.Check(n == 0, "%d packets from %s left by the other WAN", n, address)
		wire.MustBeSealed()
	}
	a.Stop()
	net.A.MustRun(l.Binary, "down", "--all", "--open", "--socket", l.Dir+"/none.sock")
	rules := net.A.MustRun("ip", "rule")
	l.Check(!strings.Contains(rules, labnet.AddrB), "left when everything is opened:\n%s", rules)
}

package scenario

import (
	"fmt"
	"strings"
	"time"

	"greseal/build/lab/labnet"
)

// The WAN's interface goes away and is made again, as a modem or a PPPoE session
// does it: with the same name and another index. Its address is the one it had,
// or another one that comes a while after the interface, when the peer has been
// silent for long enough to be suspect. All traffic is routed into the tunnel.
// Seen: nothing takes another way meanwhile; the tunnel is up again by the same
// IKE SA; its interface keeps its index; routes, the peer's host route among
// them, are back; the wire stays sealed. So is it where local names the interface
// and the default route leads to another WAN, by which nothing goes once the
// tunnel is up again.
func init() {
	addOnce(
		Scenario{Name: "the WAN is made again", Peer: Greseal, Paths: both, Run: func(l *labnet.Lab) { remade(l, false) }},
		Scenario{Name: "the WAN that local names is made again", Peer: Greseal, Paths: both, Run: func(l *labnet.Lab) { remade(l, true) }},
	)
}

func remade(l *labnet.Lab, named bool) {
	var net *labnet.Pair
	var wires []*labnet.Wire
	wan, gateway, subnet, addresses := "wan", labnet.RouterA, "/24", []string{labnet.AddrA, movedA}
	lines := []string{`routes = ["0.0.0.0/0"]`}
	if named {
		var wire2 *labnet.Wire
		net, wire2 = twoWANs(l)
		wires = append(wires, wire2)
		wan, gateway, addresses = "wan2", "192.168.7.254", []string{"192.168.7.1", "192.168.7.9"}
		lines = append(lines, `local = "wan2"`)
	} else {
		net = l.NewPair()
		wires = append(wires, net.Wire)
	}
	suspect := l.Stretch(2 * time.Second)
	lines = append(lines, `dpd = "1s"`, fmt.Sprintf("dpd_suspect = %q", suspect))
	net.B.Greseal(side("any", innerB))
	a := net.A.Greseal(side(labnet.AddrB, innerA, lines...))
	before := a.WaitUp("t0", 20*time.Second)
	net.A.WaitPing(innerB, 10*time.Second)
	l.Check(strings.HasPrefix(before.Peer.LocalAddr, addresses[0]+":"), "it comes from %s", before.Peer.LocalAddr)
	way := func(to ...string) string { return net.A.Run(append([]string{"ip", "route", "get"}, to...)...).Out() }

	var gaps []time.Duration
	for i, address := range addresses {
		ping := net.A.StartPing(innerB, 10*time.Millisecond)
		time.Sleep(300 * time.Millisecond)
		index := net.A.LinkIndex(wan)
		net.A.DeleteLink(wan)
		if i == 0 {
			time.Sleep(300 * time.Millisecond)
		} else {
			a.WaitState("t0", "suspect", suspect+20*time.Second)
		}
		l.Check(!strings.Contains(way("10.77.0.1"), "dev wan"), "with the interface gone, traffic for inside goes\n%s", way("10.77.0.1"))
		router := fmt.Sprintf("to-a%d", 3+i)
		l.Veth(net.A, wan, net.Router, router)
		wires = append(wires, net.Router.Capture(router, router))
		net.Router.Addr(router, gateway+subnet)
		if i > 0 {
			time.Sleep(l.Stretch(time.Second)) // the session is negotiated
		}
		net.A.Addr(wan, address+subnet)
		if named {
			net.A.MustRun("ip", "route", "add", "default", "via", gateway, "dev", wan, "metric", "100")
		} else {
			net.A.Route("", gateway, wan)
		}
		l.Check(net.A.LinkIndex(wan) != index, "the new %s has the index of the old one", wan)
		l.Wait(20*time.Second, "the tunnel from "+address, func() bool {
			t := a.Tunnel("t0")
			return t.State == "up" && strings.HasPrefix(t.Peer.LocalAddr, address+":") && t.Outside.GRELocal == address
		})
		net.A.WaitPing(innerB, 10*time.Second)
		ping.Stop()
		gaps = append(gaps, ping.LongestGap().Round(time.Millisecond))
		strays := func() (n int) {
			for _, from := range addresses {
				n += protected(net.Wire, from)
			}
			return n
		}
		before := strays()
		net.A.MustPing(innerB, 20)
		net.B.MustPing(innerA, 20)
		l.Check(!named || strays() == before, "packets from the second WAN's addresses leave by the first")
		l.Check(strings.Contains(way("10.77.0.1"), "dev t0"), "traffic for inside goes\n%s", way("10.77.0.1"))
		l.Check(strings.Contains(way(labnet.AddrB, "from", address), "dev "+wan+" "), "the peer is reached by\n%s", way(labnet.AddrB, "from", address))
	}
	after := a.Tunnel("t0")
	l.Check(after.IKE.SPIi == before.IKE.SPIi && after.UpCount == 1, "the IKE SA was made anew")
	l.Check(after.Interface.Index == before.Interface.Index, "the interface's index changed from %d to %d", before.Interface.Index, after.Interface.Index)
	net.Wire.MustHideGRE()
	for _, w := range wires {
		w.MustBeSealed()
	}
	l.Fact("gaps %v with the same address, %v with another one after the peer was suspect", gaps[0], gaps[1])
}

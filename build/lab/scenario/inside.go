package scenario

import (
	"fmt"
	"strings"
	"time"

	"greseal/build/lab/labnet"
	"greseal/tunnel/status"
)

// What comes out of ESP and what becomes of it. GRE endpoints of their own, to
// which no route leads, and one of which is an address of nobody's: the tunnel
// carries packets all the same, also after its daemon was killed, and nothing of
// it is left at the end; it is refused, with the reason, while the other one is an
// address of the machine itself. A GRE key, or Ethernet, on one side only: nothing
// passes, nothing is said of it in the clear, and the status says that something was held
// back. GRE keepalives in transport mode through a NAT come back.
func init() {
	add(
		Scenario{Name: "GRE endpoints without a route", Peer: Greseal, Paths: both, Run: endpointsWithoutRoute},
		Scenario{Name: "GRE keepalives in transport mode through a NAT", Peer: Greseal, Paths: both, Run: keepalivesThroughNAT},
	)
	for _, o := range []struct{ name, line, a, b string }{
		{"GRE key on one side only", "gre.key = 7", labnet.AddrA, labnet.AddrB},
		{"GRE key on one side only, IPv6 outside", "gre.key = 7", labnet.AddrA6, labnet.AddrB6},
		{"Ethernet on one side only", `gre.type = "ethernet"`, labnet.AddrA, labnet.AddrB},
	} {
		for _, mode := range []string{"tunnel", "transport"} {
			add(Scenario{Name: o.name + ", " + mode + " mode", Peer: Greseal, Paths: both, Run: func(l *labnet.Lab) {
				oneSided(l, o.line, mode, o.a, o.b)
			}})
		}
	}
}

func endpointsWithoutRoute(l *labnet.Lab) {
	const endA, endB = "10.91.0.1", "10.91.0.2"
	net := l.NewPair()
	for _, n := range []struct {
		ns      *labnet.NS
		gw, far string
	}{{net.A, labnet.RouterA, labnet.AddrB}, {net.B, labnet.RouterB, labnet.AddrA}} {
		n.ns.MustRun("ip", "route", "add", n.far+"/32", "via", n.gw)
		n.ns.MustRun("ip", "route", "del", "default")
	}
	net.A.MustRun("ip", "route", "add", "unreachable", "10.0.0.0/8")
	net.B.Addr("lo", endB+"/32")
	config := side(labnet.AddrB, innerA, `gre_local = "`+endA+`"`, `gre_remote = "`+endB+`"`)
	a := net.A.Greseal(config)
	net.B.Greseal(side(labnet.AddrA, innerB, `gre_local = "`+endB+`"`, `gre_remote = "`+endA+`"`))
	a.WaitUp("t0", 20*time.Second)
	net.A.WaitPing(innerB, 10*time.Second)
	net.A.MustPing(innerB, 5)
	net.B.MustPing(innerA, 5)
	way := func() string { return net.A.MustRun("ip", "route", "show", endB) }
	l.Check(l.Datapath != "kernel" || strings.Contains(way(), "via "+labnet.RouterA), "the route to the GRE endpoint: %q", way())

	a.Must("down", "t0")
	net.A.Addr("lo", endB+"/32")
	a.Must("up", "t0")
	l.Wait(20*time.Second, "the refusal of an endpoint that is this machine's", func() bool {
		t := a.Tunnel("t0")
		return t.Code == status.CodeUnavailable && contains(t.Reason, endB+", which is an address of this machine")
	})
	net.A.DelAddr("lo", endB+"/32")
	a.WaitUp("t0", 60*time.Second)
	a.Kill()
	a.Start()
	a.WaitUp("t0", 40*time.Second)
	net.A.WaitPing(innerB, 10*time.Second)
	net.A.MustPing(innerB, 5)
	a.Must("down", "--open", "t0")
	l.Wait(10*time.Second, "the route to the GRE endpoint gone", func() bool { return way() == "" })
	net.Wire.MustBeSealed()
}

func oneSided(l *labnet.Lab, line, mode, addrA, addrB string) {
	net := l.NewPair()
	a := net.A.Greseal(side(addrB, innerA, line, fmt.Sprintf("mode = %q", mode)))
	b := net.B.Greseal(side("any", innerB, fmt.Sprintf("mode = %q", mode)))
	a.WaitUp("t0", 20*time.Second)
	b.WaitUp("t0", 20*time.Second)
	net.A.MustNotPing(innerB, 20)
	net.B.MustNotPing(innerA, 20)
	net.Wire.MustBeSealed()
	for _, g := range []*labnet.Greseal{a, b} {
		text := g.Must("status")
		l.Check(l.Datapath != "kernel" || strings.Contains(text, "kept from leaving in the clear: XfrmOutPolBlock"), "the status does not say that something was held back:\n%s", text)
	}
}

func keepalivesThroughNAT(l *labnet.Lab) {
	net := l.NewPair()
	net.Router.MustRun("nft", "add table ip nat; add chain ip nat post { type nat hook postrouting priority 100; }; add rule ip nat post oifname to-b masquerade")
	lines := []string{`mode = "transport"`, `gre.keepalive = "1s"`}
	a := net.A.Greseal(side(labnet.AddrB, innerA, lines...))
	b := net.B.Greseal(side("any", innerB, lines...))
	t := a.WaitUp("t0", 20*time.Second)
	b.WaitUp("t0", 20*time.Second)
	l.Check(t.IKE.NATLocal && t.Outside.Mode == "transport", "behind a NAT: %t, mode %s", t.IKE.NATLocal, t.Outside.Mode)
	for _, g := range []*labnet.Greseal{a, b} {
		l.Wait(20*time.Second, "keepalives back, and the peer's answered", func() bool {
			k := g.Tunnel("t0").Keepalives
			return k.Returned >= 2 && k.Answered >= 2
		})
	}
	net.A.MustPing(innerB, 5)
	net.Wire.MustBeSealed()
}

package scenario

import (
	"fmt"
	"time"

	"greseal/build/lab/labnet"
	"greseal/tunnel/status"
)

// The path is narrower than both ends' interfaces, and nobody says so: a router in
// between takes 1400 bytes and every ICMP message of its is dropped. Seen: a TCP
// transfer begun at the first moment completes all the same; greseal finds 1400 by
// probes, which strongSwan answers; transfers then fill it to the last byte, and
// not one IP fragment is on the wire. When the path narrows further, and when it
// grows again, that is found too. And the MTU follows what else it depends on.
func init() {
	addOnce(
		Scenario{Name: "hidden hop of 1400 bytes", Peer: Greseal, Paths: both, Run: func(l *labnet.Lab) { hiddenHop(l, labnet.AddrA, labnet.AddrB) }},
		Scenario{Name: "hidden hop of 1400 bytes, IPv6 outside", Peer: Greseal, Paths: userspace, Run: func(l *labnet.Lab) { hiddenHop(l, labnet.AddrA6, labnet.AddrB6) }},
		Scenario{Name: "hidden hop of 1400 bytes", Peer: StrongSwan, Paths: both, Run: hiddenHopSwan},
		Scenario{Name: "hidden hop of 1300 bytes, IPv6 inside", Peer: Greseal, Paths: userspace, Run: func(l *labnet.Lab) { hiddenHopIPv6(l, labnet.AddrA, labnet.AddrB) }},
		Scenario{Name: "hidden hop of 1300 bytes, IPv6 inside and outside", Peer: Greseal, Paths: userspace, Run: func(l *labnet.Lab) { hiddenHopIPv6(l, labnet.AddrA6, labnet.AddrB6) }},
		Scenario{Name: "MTU follows what it depends on", Peer: Greseal, Paths: both, Run: mtuFollows},
	)
}

// narrowed builds a pair with a second router; between the two there is a link of
// size bytes, of which neither end ever hears: what the routers say is dropped.
// Interfaces send what they would over a real wire, so that no large packet of
// the kernel's slips through.
//
//	A ── Router ── size ── hop ── B
func narrowed(l *labnet.Lab, size int) *labnet.Pair {
	p := &labnet.Pair{A: l.NewNS("a"), Router: l.NewNS("router"), B: l.NewNS("b")}
	hop := l.NewNS("hop")
	l.Veth(p.A, "wan", p.Router, "to-a")
	l.Veth(p.Router, "narrow", hop, "narrow")
	l.Veth(p.B, "wan", hop, "to-b")
	for _, r := range []*labnet.NS{p.Router, hop} {
		r.Sysctl("net.ipv4.ip_forward", "1")
		r.Sysctl("net.ipv6.conf.all.forwarding", "1")
	}
	for _, a := range []struct {
		ns         *labnet.NS
		name, cidr string
	}{
		{p.A, "wan", labnet.AddrA + "/24"}, {p.A, "wan", labnet.AddrA6 + "/64"},
		{p.Router, "to-a", labnet.RouterA + "/24"}, {p.Router, "to-a", labnet.RouterA6 + "/64"},
		{p.Router, "narrow", "203.0.113.1/24"}, {p.Router, "narrow", "2001:db8:ff::1/64"},
		{hop, "narrow", "203.0.113.2/24"}, {hop, "narrow", "2001:db8:ff::2/64"},
		{hop, "to-b", labnet.RouterB + "/24"}, {hop, "to-b", labnet.RouterB6 + "/64"},
		{p.B, "wan", labnet.AddrB + "/24"}, {p.B, "wan", labnet.AddrB6 + "/64"},
	} {
		a.ns.Addr(a.name, a.cidr)
	}
	for _, r := range []struct {
		ns      *labnet.NS
		name    string
		v4, via string
	}{
		{p.A, "wan", labnet.RouterA, labnet.RouterA6}, {p.B, "wan", labnet.RouterB, labnet.RouterB6},
		{p.Router, "narrow", "203.0.113.2", "2001:db8:ff::2"}, {hop, "narrow", "203.0.113.1", "2001:db8:ff::1"},
	} {
		r.ns.Route("", r.v4, r.name)
		r.ns.Route("", r.via, r.name)
	}
	p.A.MustPing(labnet.AddrB, 1)
	p.A.MustPing(labnet.AddrB6, 1)
	for _, r := range []*labnet.NS{p.Router, hop} {
		r.MTU("narrow", size)
		r.MustRun("nft", "add table inet hole; add chain inet hole out { type filter hook output priority 0; };"+
			"add rule inet hole out meta l4proto icmp drop; add rule inet hole out icmpv6 type packet-too-big drop")
		r.NoSegmentation("narrow")
	}
	p.A.NoSegmentation("wan")
	p.B.NoSegmentation("wan")
	p.Router.NoSegmentation("to-a")
	hop.NoSegmentation("to-b")
	p.Wire = p.Router.Capture("wire", "narrow")
	return p
}

// found waits until a side has searched the path.
func found(l *labnet.Lab, g *labnet.Greseal, size int) status.Tunnel {
	var t status.Tunnel
	l.Wait(60*time.Second, fmt.Sprintf("%d found", size), func() bool {
		t = g.Tunnel("t0")
		return t.MTU.How == "searched" && t.MTU.OuterMTU == size && t.MTU.Search == "complete"
	})
	return t
}

// full checks what the narrow link shows since a time: no fragment, and packets as
// large as it takes, from each of the sides.
func full(l *labnet.Lab, net *labnet.Pair, since time.Time, size int, from ...string) {
	largest := map[string]int{}
	for _, p := range net.Wire.Packets() {
		if p.Fragment() && p.At.After(since) {
			l.Failf("an IP fragment of %d bytes from %s is on the wire", p.Size(), p.Src)
		}
		if (p.Kind == labnet.ESP || p.Kind == labnet.ESPinUDP) && p.At.After(since) {
			largest[p.Src.String()] = max(largest[p.Src.String()], p.Size())
		}
	}
	for _, a := range from {
		l.Check(largest[a] <= size && largest[a] > size-4, "the largest packet of %s has %d bytes; the path takes %d", a, largest[a], size)
	}
	l.Fact("largest packets %v", largest)
}

func hiddenHop(l *labnet.Lab, addrA, addrB string) {
	net := narrowed(l, 1400)
	a := net.A.Greseal(side(addrB, innerA))
	b := net.B.Greseal(side("any", innerB))
	a.WaitUp("t0", 20*time.Second)
	b.WaitUp("t0", 20*time.Second)
	begin := time.Now()
	net.A.WaitPing(innerB, 10*time.Second)
	l.Must(net.A.Transfer(net.B, innerB, 1<<20, 60*time.Second), "the transfer begun before anything was found")
	took := time.Since(begin)
	ta := found(l, a, 1400)
	found(l, b, 1400)
	l.Fact("found after %.1f s", time.Since(begin).Seconds())
	l.Check(contains(a.Must("status"), "searched: 1400 outer (wan takes 1500)"), "the status does not say so:\n%s", a.Must("status"))
	sum := a.Must("mtu", "t0")
	l.Check(contains(sum, "  1400  path MTU") && contains(sum, fmt.Sprintf("%6d  MTU of the interface (searched: 1400 outer", ta.MTU.Bytes)), "greseal mtu says:\n%s", sum)

	since := time.Now()
	l.Must(net.A.Transfer(net.B, innerB, 1<<20, 60*time.Second), "the transfer to B")
	l.Must(net.B.Transfer(net.A, innerA, 1<<20, 60*time.Second), "the transfer to A")
	full(l, net, since, 1400, addrA, addrB)
	l.Fact("first transfer took %.1f s", took.Seconds())
	net.Wire.MustBeSealed()
}

func hiddenHopSwan(l *labnet.Lab) {
	w := newWorld(l, func(w *world) { w.net = narrowed(l, 1400) })
	w.up()
	w.net.A.WaitPing(innerB, 10*time.Second)
	t := found(l, w.greseal, 1400)
	l.Check(t.UpCount == 1 && t.State == "up", "the tunnel came up %d times and is %s", t.UpCount, t.State)
	w.swan.ns.MTU("gre1", t.MTU.Bytes)
	since := time.Now()
	l.Must(w.net.A.Transfer(w.net.B, innerB, 1<<20, 60*time.Second), "the transfer")
	full(l, w.net, since, 1400, labnet.AddrA)
	w.oneSA()
	w.net.Wire.MustBeSealed()
}

// hiddenHopIPv6: less than 1280 is left inside, which an interface with IPv6 must
// take: those few packets leave in outer fragments, and no others.
func hiddenHopIPv6(l *labnet.Lab, addrA, addrB string) {
	net := narrowed(l, 1300)
	a := net.A.Greseal(side(addrB, innerA, `routes = ["2001:db8:bb::/64"]`))
	b := net.B.Greseal(side("any", innerB, `routes = ["2001:db8:aa::/64"]`))
	a.WaitUp("t0", 20*time.Second)
	b.WaitUp("t0", 20*time.Second)
	net.A.Addr("lo", "2001:db8:aa::1/128")
	net.B.Addr("lo", "2001:db8:bb::1/128")
	t := found(l, a, 1300)
	found(l, b, 1300)
	l.Check(t.MTU.Bytes == 1280, "the MTU is %d, too small for IPv6: %s", t.MTU.Bytes, t.MTU.Why)
	net.A.WaitPing("2001:db8:bb::1", 10*time.Second)
	since := time.Now()
	l.Must(net.A.Transfer(net.B, innerB, 1<<20, 60*time.Second), "the transfer over IPv4")
	full(l, net, since, 1300, addrA)
	r := net.A.Run("ping", "-6", "-n", "-c", "2", "-i", "0.1", "-W", "5", "-M", "do", "-s", "1232", "-I", "2001:db8:aa::1", "2001:db8:bb::1")
	l.Check(r.Code == 0, "IPv6 packets of 1280 bytes do not pass: %s", r.Out())
	l.Must(net.A.Transfer(net.B, "2001:db8:bb::1", 1<<18, 60*time.Second), "the transfer over IPv6")
	net.Wire.MustBeSealed()
}

// mtuFollows changes the own interface, the encapsulation and the suite.
func mtuFollows(l *labnet.Lab) {
	net := l.NewPair()
	a := net.A.Greseal(side(labnet.AddrB, innerA, `encap = "always"`))
	net.B.Greseal(side("any", innerB))
	a.WaitUp("t0", 20*time.Second)
	is := func(what string, outer, inner int) {
		l.Wait(30*time.Second, what, func() bool {
			t := a.Tunnel("t0")
			return t.State == "up" && t.MTU.OuterMTU == outer && t.MTU.Bytes == inner && t.MTU.How == "searched" &&
				t.MTU.MSS4 == inner-40 && t.MTU.MSS6 == inner-60 && t.Interface.Index != 0
		})
		if l.Datapath == "kernel" {
			l.Wait(10*time.Second, "the clamp of "+what, func() bool {
				return contains(net.A.MustRun("nft", "list", "ruleset"), fmt.Sprintf("maxseg size set %d", inner-40))
			})
		}
		net.A.MustPing(innerB, 1)
	}
	is("Ethernet and UDP", 1500, 1414)
	net.A.MTU("wan", 1492)
	is("PPPoE", 1492, 1406)
	net.A.MTU("wan", 1500)
	is("Ethernet again", 1500, 1414)
	a.Write(side(labnet.AddrB, innerA, `encap = "always"`, `esp = "aes256-sha256"`))
	a.Reload()
	is("CBC", 1500, 1398)
	a.Write(side(labnet.AddrB, innerA, `encap = "always"`, `mode = "transport"`))
	a.Reload()
	l.Wait(30*time.Second, "an interface without an inner header, or the old one", func() bool {
		t := a.Tunnel("t0")
		return t.State == "up" && t.Outside.Mode == "tunnel" && t.MTU.Bytes == 1414 || t.Outside.Mode == "transport" && t.MTU.Bytes == 1434
	})
	a.Write(side(labnet.AddrB, innerA, `encap = "always"`, `mtu = 1380`, `mss_clamp = false`))
	a.Reload()
	l.Wait(30*time.Second, "the configured MTU", func() bool {
		t := a.Tunnel("t0")
		return t.State == "up" && t.MTU.Bytes == 1380 && t.MTU.How == "configured" && t.MTU.MSS4 == 0 && t.MTU.Unclamped != ""
	})
	net.Wire.MustBeSealed()
}

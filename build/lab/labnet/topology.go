package labnet

// Pair is the usual network: two machines with a router between them, on whose
// interface towards A everything is captured.
//
//	A 192.0.2.1 ── .254 Router .254 ── 198.51.100.1 B
//	A 2001:db8:a::1 ── ::fe Router ::fe ── 2001:db8:b::1 B
//
// Neighbours are resolved before Pair returns, so that timing is not of ARP.
type Pair struct {
	A, Router, B *NS
	Wire         *Wire
}

// Outer addresses of the two machines, and of the router towards each.
const (
	AddrA   = "192.0.2.1"
	AddrB   = "198.51.100.1"
	RouterA = "192.0.2.254"
	RouterB = "198.51.100.254"

	AddrA6   = "2001:db8:a::1"
	AddrB6   = "2001:db8:b::1"
	RouterA6 = "2001:db8:a::fe"
	RouterB6 = "2001:db8:b::fe"
)

// NewPair builds it.
func (l *Lab) NewPair() *Pair {
	p := &Pair{A: l.NewNS("a"), Router: l.NewNS("router"), B: l.NewNS("b")}
	p.Router.Sysctl("net.ipv4.ip_forward", "1")
	p.Router.Sysctl("net.ipv6.conf.all.forwarding", "1")
	l.Veth(p.A, "wan", p.Router, "to-a")
	l.Veth(p.B, "wan", p.Router, "to-b")
	p.Router.Addr("to-a", RouterA+"/24")
	p.Router.Addr("to-b", RouterB+"/24")
	p.Router.Addr("to-a", RouterA6+"/64")
	p.Router.Addr("to-b", RouterB6+"/64")
	p.A.Addr("wan", AddrA+"/24")
	p.B.Addr("wan", AddrB+"/24")
	p.A.Addr("wan", AddrA6+"/64")
	p.B.Addr("wan", AddrB6+"/64")
	for _, n := range []*NS{p.A, p.B} {
		gw, gw6 := RouterA, RouterA6
		if n == p.B {
			gw, gw6 = RouterB, RouterB6
		}
		n.Route("", gw, "wan")
		n.Route("", gw6, "wan")
	}
	p.A.MustPing(AddrB, 1)
	p.A.MustPing(AddrB6, 1)
	p.Wire = p.Router.Capture("wire", "to-a")
	return p
}

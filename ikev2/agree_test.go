package ikev2

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"greseal/ikev2/wire"
)

// twoNodes is the usual setup: west and east, each the other's peer.
func twoNodes(t testing.TB, seed uint64, change func(west, east *Peer)) (*network, *node, *node) {
	n := newNetwork(seed)
	n.fault = func(f string, a ...any) { t.Helper(); t.Fatalf("seed %d at %v: %s", seed, n.now, fmt.Sprintf(f, a...)) }
	w, e := testPeer("east"), testPeer("west")
	if change != nil {
		change(&w, &e)
	}
	return n, n.add("west", "192.0.2.1", "192.0.2.2", w), n.add("east", "192.0.2.2", "192.0.2.1", e)
}

// agree checks that two nodes have one IKE SA and one Child SA, the same ones, and
// that each one's traffic is taken by the other.
func agree(t testing.TB, a, b *node) {
	t.Helper()
	if s := disagreement(a, b); s != "" {
		t.Fatal(s)
	}
}

func disagreement(a, b *node) string {
	sa, sb := a.e.SAs(a.peer.ID), b.e.SAs(b.peer.ID)
	ca, cb := a.e.Children(a.peer.ID), b.e.Children(b.peer.ID)
	switch {
	case len(sa) != 1 || len(sb) != 1:
		return fmt.Sprintf("%s has %d IKE SAs, %s has %d:\n%s", a.name, len(sa), b.name, len(sb), dump(a, b))
	case sa[0].SPIi != sb[0].SPIi || sa[0].SPIr != sb[0].SPIr:
		return "the IKE SAs differ:\n" + dump(a, b)
	case len(ca) != 1 || len(cb) != 1:
		return fmt.Sprintf("%s has %d Child SAs, %s has %d:\n%s", a.name, len(ca), b.name, len(cb), dump(a, b))
	case ca[0].SPIIn != cb[0].SPIOut || ca[0].SPIOut != cb[0].SPIIn:
		return "the Child SAs differ:\n" + dump(a, b)
	case a.carrier == 0 || b.carrier == 0:
		return "no Child SA carries the traffic:\n" + dump(a, b)
	case b.in[a.carrier] == nil || a.in[b.carrier] == nil:
		return "traffic is sent that the other side does not take:\n" + dump(a, b)
	case len(a.out) != 1 || len(b.out) != 1 || len(a.in) != 1 || len(b.in) != 1:
		return fmt.Sprintf("SAs are left over: %d/%d and %d/%d:\n%s", len(a.in), len(a.out), len(b.in), len(b.out), dump(a, b))
	}
	return ""
}

func dump(nodes ...*node) string {
	var b strings.Builder
	for _, x := range nodes {
		for _, p := range x.e.order {
			for _, s := range p.sas {
				fmt.Fprintf(&b, "%s: IKE SA %d %016x/%016x state %d announced %v req %v\n", x.name, s.ID, s.SPIi, s.SPIr, s.state, s.announced, s.req != nil)
				for _, c := range s.children {
					fmt.Fprintf(&b, "   Child SA %d %08x/%08x state %d in %v out %v spare %v loser %v replaced %v\n", c.pub.ID, c.pub.SPIIn, c.pub.SPIOut, c.state, c.in, c.out, c.spare != nil, c.loser, c.replaced)
				}
			}
		}
		fmt.Fprintf(&b, "%s: carrier %08x\n", x.name, x.carrier)
	}
	return strings.TrimRight(b.String(), "\n")
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func rng(first, last string, proto uint8) wire.Selector {
	return wire.Selector{First: addr(first), Last: addr(last), Protocol: proto, PortLast: 65535}
}

package ikev2

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	"greseal/crypto/suite"
)

// BenchmarkHandshake is both sides of a whole handshake.
func BenchmarkHandshake(b *testing.B) {
	for name, ike := range map[string][]suite.Proposal{
		"x25519":          suite.WithoutAddKE(suite.DefaultIKE()),
		"x25519-mlkem768": suite.DefaultIKE(),
	} {
		b.Run(name, func(b *testing.B) {
			a, c := pairOfEngines(ike)
			b.ReportAllocs()
			for b.Loop() {
				handshakeBetween(b, a, c)
			}
		})
	}
}

var benchWest, benchEast = netip.MustParseAddrPort("192.0.2.1:500"), netip.MustParseAddrPort("192.0.2.2:500")

func pairOfEngines(ike []suite.Proposal) (a, c *Engine) {
	p := testPeer("peer")
	p.IKE, p.ESP = ike, suite.DefaultESP(true)
	a, c = New(Config{Rand: rand.Reader}), New(Config{Rand: rand.Reader})
	a.SetPeer(0, p)
	c.SetPeer(0, p)
	return a, c
}

// handshakeBetween makes and deletes an IKE SA.
func handshakeBetween(tb testing.TB, a, c *Engine) {
	now := max(a.now, c.now)
	swap(a.Initiate(now, "peer", benchWest, benchEast), a, c)
	if len(a.Children("peer")) != 1 || len(c.Children("peer")) != 1 {
		tb.Fatal("no Child SA came up")
	}
	swap(a.Close(now, "peer"), a, c)
}

// exchange carries datagrams between two engines until none is left.
func swap(actions []Action, from, to *Engine) {
	for len(actions) > 0 {
		var next []Action
		for _, x := range actions {
			if s, ok := x.(Send); ok {
				next = append(next, to.Receive(to.now, Datagram{Local: s.Remote, Remote: s.Local, Data: s.Data})...)
			}
		}
		actions, from, to = next, to, from
	}
}

// TestMemoryOfATunnelIsSmall keeps the engine's part of an established tunnel
// within half of the 12 kB that a tunnel may cost in all.
func TestMemoryOfATunnelIsSmall(t *testing.T) {
	const tunnels = 500
	hub, spoke := New(Config{Rand: rand.Reader}), New(Config{Rand: rand.Reader})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range tunnels {
		addr := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		p := testPeer(fmt.Sprintf("t%d", i))
		p.Remotes = []netip.Addr{addr}
		hub.SetPeer(0, p)
		q := testPeer("peer")
		one := New(Config{Rand: rand.Reader})
		one.SetPeer(0, q)
		swap(one.Initiate(0, "peer", netip.AddrPortFrom(addr, 500), benchEast), one, hub)
	}
	hub.Tick(halfOpenLife * 2)
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (int(after.HeapAlloc) - int(before.HeapAlloc)) / tunnels
	t.Logf("%d octets a tunnel", each)
	if n := len(hub.ids); n != tunnels {
		t.Fatalf("%d IKE SAs instead of %d", n, tunnels)
	}
	if each > 6<<10 {
		t.Errorf("an established tunnel takes %d octets of heap in the engine", each)
	}
	runtime.KeepAlive(hub)
	runtime.KeepAlive(spoke)
}

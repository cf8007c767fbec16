package ikev2

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"greseal/crypto/suite"
	"greseal/ikev2/selector"
	"greseal/ikev2/wire"
)

// liar is a peer that has the keys of its IKE SA and says what it likes, from
// whatever address.
type liar struct {
	t    *testing.T
	n    *network
	w, e *node
	s    *ikeSA
}

// bystander is somebody else, who answers nothing.
var bystander = netip.MustParseAddr("203.0.113.9")

func newLiar(t *testing.T, seed uint64, change func(w, e *Peer)) *liar {
	n, w, e := twoNodes(t, seed, change)
	w.initiate()
	n.run(time.Second)
	all := w.e.peers[w.peer.ID].established()
	if len(all) != 1 {
		t.Fatal("not up")
	}
	return &liar{t, n, w, e, all[0]}
}

// ask sends a request that west's engine knows nothing of.
func (l *liar) ask(src netip.AddrPort, x wire.ExchangeType, inner ...wire.Payload) {
	l.t.Helper()
	h := l.s.header(x, l.s.nextOut, false)
	l.s.nextOut++
	data, err := wire.AppendSealed(nil, h, inner, l.s.keys.Out)
	if err != nil {
		l.t.Fatal(err)
	}
	l.n.put(&flight{from: l.w, src: src, dst: l.s.remote, data: data, text: "crafted", forged: true})
	l.n.run(l.n.now + 20*time.Millisecond)
}

// childSA asks for a Child SA between two addresses, in the place of old if that is
// set.
func (l *liar) childSA(src netip.AddrPort, ours, theirs netip.Addr, old *Child) {
	l.t.Helper()
	tsi, tsr := selector.Payloads(ours, theirs)
	ps := []wire.Payload{saPayload(suite.WithoutKE(l.w.peer.ESP), []byte{9, 9, 9, byte(l.s.nextOut)}), &wire.Nonce{Data: make([]byte, 32)}, tsi, tsr}
	if old != nil {
		ps = append([]wire.Payload{wire.NewSANotify(wire.RekeySA, suite.ESP, old.SPIIn)}, ps...)
	}
	l.ask(src, wire.CreateChildSA, ps...)
}

// Whatever a peer does after it has spoken from an address at which it does not
// receive, no SA is there, none has it for an endpoint, and no more is sent there
// than asks for the proof.
func TestNothingGoesWhereNothingIsProved(t *testing.T) {
	from := netip.AddrPortFrom(bystander, 4500)
	update := func(l *liar) { l.ask(from, wire.Informational, notify(wire.UpdateSAAddresses)) }
	withoutMOBIKE := func(w, e *Peer) {
		for _, p := range []*Peer{w, e} {
			p.Transport = true
		}
	}
	forced := func(w, e *Peer) { w.Encap = EncapForce }
	for _, c := range []struct {
		name   string
		change func(w, e *Peer)
		do     func(l *liar)
	}{
		{"UPDATE_SA_ADDRESSES alone", nil, update},
		{"a Child SA for it", nil, func(l *liar) {
			update(l)
			l.childSA(l.s.local, bystander, l.e.local.Addr(), nil)
		}},
		{"a Child SA for it, asked from there", nil, func(l *liar) {
			update(l)
			l.childSA(from, bystander, l.e.local.Addr(), nil)
		}},
		{"a rekeyed Child SA", nil, func(l *liar) {
			old := l.w.e.Children("east")[0]
			update(l)
			l.childSA(l.s.local, l.w.local.Addr(), l.e.local.Addr(), old)
			l.ask(l.s.local, wire.Informational, &wire.Delete{Protocol: suite.ESP, SPIs: []uint32{old.SPIIn}})
		}},
		{"a rekeyed Child SA with its address", nil, func(l *liar) {
			update(l)
			l.childSA(l.s.local, bystander, l.e.local.Addr(), l.w.e.Children("east")[0])
		}},
		{"a rekeyed IKE SA", nil, func(l *liar) {
			update(l)
			l.w.do(l.w.e.RekeyIKE(l.w.time(), l.s.ID))
			l.n.run(l.n.now + 50*time.Millisecond)
			l.w.rekeyChildren()
			l.n.run(l.n.now + 50*time.Millisecond)
		}},
		{"another port of it", nil, func(l *liar) {
			update(l)
			l.ask(netip.AddrPortFrom(bystander, 4501), wire.Informational, notify(wire.UpdateSAAddresses))
		}},
		{"our own move meanwhile", nil, func(l *liar) {
			update(l)
			l.e.moves("192.0.2.22")
			l.n.run(l.n.now + 50*time.Millisecond)
		}},
		{"our own rekeying meanwhile", nil, func(l *liar) {
			update(l)
			l.e.rekeyChildren()
			for _, s := range l.e.e.ids {
				l.e.do(l.e.e.RekeyIKE(l.e.time(), s.ID))
			}
		}},
		{"NAT detection that differs", nil, func(l *liar) {
			l.ask(from, wire.Informational, append([]wire.Payload{notify(wire.UpdateSAAddresses)}, l.s.natPayloads()...)...)
			l.childSA(l.s.local, l.w.local.Addr(), l.e.local.Addr(), l.w.e.Children("east")[0])
		}},
		{"ESP from there", forced, func(l *liar) {
			c := l.e.e.Children("west")[0]
			l.e.do(l.e.e.Mapped(l.e.time(), c.SPIIn, from))
			l.e.rekeyChildren()
		}},
		{"a list of addresses", nil, func(l *liar) {
			l.ask(from, wire.Informational, wire.NewNotify(wire.AdditionalIP4Address, bystander.AsSlice()))
			l.e.rekeyChildren()
		}},
		{"without MOBIKE", withoutMOBIKE, func(l *liar) {
			l.ask(from, wire.Informational)
			l.e.rekeyChildren()
			l.n.run(l.n.now + 50*time.Millisecond)
			l.childSA(from, bystander, l.e.local.Addr(), nil)
		}},
		{"without MOBIKE, in UDP", func(w, e *Peer) { withoutMOBIKE(w, e); forced(w, e) }, func(l *liar) {
			l.ask(from, wire.Informational)
			c := l.e.e.Children("west")[0]
			l.e.do(l.e.e.Mapped(l.e.time(), c.SPIIn, from))
			l.e.rekeyChildren()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLiar(t, 51, c.change)
			sent := 0
			l.n.filter = func(f *flight) bool {
				if f.dst.Addr() != bystander {
					return true
				}
				if sent++; f.spi != 0 {
					t.Errorf("traffic on %08x goes to %s", f.spi, f.dst)
				}
				return true
			}
			look := func() {
				t.Helper()
				for _, sas := range []map[uint32]*installed{l.e.in, l.e.out} {
					for spi, i := range sas {
						if i.child.GRERemote == bystander || i.child.Remote.Addr() == bystander {
							t.Fatalf("SA %08x is with %s, endpoint %s", spi, i.child.Remote, i.child.GRERemote)
						}
					}
				}
				l.e.packet()
			}
			c.do(l)
			look()
			for range 100 {
				l.n.run(l.n.now + 300*time.Millisecond)
				look()
			}
			if sent > 20 {
				t.Errorf("%d datagrams went to %s in 30 s", sent, bystander)
			}
		})
	}
}

// IKE_AUTH from another address than IKE_SA_INIT proves no more than any other
// message.
func TestAuthFromElsewhereIsNoProof(t *testing.T) {
	for _, transport := range []bool{false, true} {
		n, w, e := twoNodes(t, 52, func(w, e *Peer) { w.Transport, e.Transport = transport, transport; e.Remotes = nil })
		victim := netip.AddrPortFrom(bystander, 4500)
		n.filter = func(f *flight) bool {
			if h, err := wire.ParseHeader(f.data); f.spi == 0 && err == nil && f.from == w && h.Exchange == wire.IKEAuth {
				f.src = victim
			}
			return true
		}
		w.initiate()
		n.run(5 * time.Second)
		if len(e.in) == 0 {
			t.Fatal("IKE_AUTH was refused; the peer may have moved")
		}
		for _, sas := range []map[uint32]*installed{e.in, e.out} {
			for spi, i := range sas {
				if i.child.GRERemote == bystander || i.child.Remote.Addr() == bystander {
					t.Errorf("SA %08x is with %s, endpoint %s", spi, i.child.Remote, i.child.GRERemote)
				}
			}
		}
	}
}

// A message of a peer's that somebody sends on from elsewhere takes neither the
// tunnel's traffic there nor, for long, IKE.
func TestForwardedMessageOfPeerWithoutMOBIKE(t *testing.T) {
	n, w, e := twoNodes(t, 53, func(w, e *Peer) { w.Transport, e.Transport = true, true })
	w.initiate()
	n.run(time.Second)
	n.filter = func(f *flight) bool {
		if f.from == w && f.spi == 0 {
			f.src = netip.AddrPortFrom(bystander, 4500)
			n.filter = nil
		}
		return true
	}
	w.do(w.e.Check(w.time(), "east"))
	w.e.peers["east"].cfg.DPD, e.e.peers["west"].cfg.DPD = 0, 0
	n.run(n.now + 60*time.Second)
	e.rekeyChildren()
	n.run(n.now + time.Second)
	i := e.e.SAs("west")
	if len(i) != 1 || i[0].Remote.Addr() != w.local.Addr() || len(e.downs) > 0 {
		t.Errorf("IKE SAs %+v, ended %v", i, e.downs)
	}
	if c := e.e.Children("west"); len(c) != 1 || c[0].Remote.Addr() != w.local.Addr() {
		t.Errorf("Child SAs %+v", c)
	}
}

// withoutMOBIKE takes MOBIKE_SUPPORTED out of both sides' messages.
func withoutMOBIKE(n *network) {
	n.tamper = func(_ *node, _ wire.Header, ps []wire.Payload) []wire.Payload {
		return slices.DeleteFunc(slices.Clone(ps), func(p wire.Payload) bool {
			x, ok := p.(*wire.Notify)
			return ok && x.Kind == wire.MOBIKESupported
		})
	}
}

// shiftedPeer is a peer behind a NAT that changes ports, in UDP and without MOBIKE.
func shiftedPeer(t *testing.T) (n *network, w, e *node) {
	n, w, e = twoNodes(t, 54, func(w, e *Peer) { w.Encap = EncapForce; e.GRERemoteAny = true; e.Remotes = nil })
	withoutMOBIKE(n)
	w.public = netip.MustParseAddr("203.0.113.7")
	n.nats = append(n.nats, &natBox{inside: addr("192.0.2.1"), outside: w.public, shift: 20000})
	w.initiate()
	n.run(time.Second)
	if len(e.e.Children("west")) != 1 {
		t.Fatal("not up")
	}
	return n, w, e
}

// IKE and ESP in UDP are two flows to a NAT: what is heard of one says nothing
// about the other's port, in Child SAs that stand and in new ones, with a rekeyed IKE
// SA, and also when IKE stays on port 500.
func TestEachFlowHasItsPort(t *testing.T) {
	n, w, e := shiftedPeer(t)
	want := e.e.Children("west")[0].Remote
	on := func(port uint16) {
		for _, s := range w.e.peers["east"].established() {
			s.local = netip.AddrPortFrom(s.local.Addr(), port)
			s.remote = netip.AddrPortFrom(s.remote.Addr(), port)
			s.check = true
			w.e.enter(w.time())
			w.e.markDirty(s)
			w.do(w.e.flush())
		}
		n.run(n.now + 100*time.Millisecond)
	}
	ike := func() netip.AddrPort { return e.e.SAs("west")[0].Remote }
	look := func(when string) {
		t.Helper()
		if c := e.e.Children("west"); len(c) != 1 || c[0].Remote != want {
			t.Errorf("%s: ESP goes to %v, the NAT has a mapping for %s", when, c, want)
		}
	}
	on(500)
	look("IKE on port 500")
	if ike() != netip.AddrPortFrom(w.public, 20500) {
		t.Errorf("IKE is answered at %s", ike())
	}
	for _, x := range []*node{e, w} {
		x.rekeyChildren()
		n.run(n.now + time.Second)
		w.packet()
		e.packet()
		n.run(n.now + 6*time.Second)
		look("a Child SA rekeyed meanwhile by " + x.name)
	}
	for _, x := range []*node{e, w} {
		for _, s := range x.e.SAs(x.peer.ID) {
			x.do(x.e.RekeyIKE(x.time(), s.ID))
		}
		n.run(n.now + time.Second)
		look("IKE SA rekeyed meanwhile by " + x.name)
	}
	// The mapping of ESP changes, IKE's stays.
	want = netip.AddrPortFrom(w.public, 24501)
	n.nats = append([]*natBox{}, n.nats...)
	e.do(e.e.Mapped(e.time(), e.e.Children("west")[0].SPIIn, netip.AddrPortFrom(w.public, 24501)))
	for _, f := range n.queue {
		if f.from == e && f.dst != want && f.dst.Port() > 24000 {
			t.Errorf("asked at %s", f.dst)
		}
		if f.from == e && f.src.Port() != 4500 {
			t.Errorf("the NAT port of the peer is asked from our port %d, without the non-ESP marker", f.src.Port())
		}
	}
	n.run(n.now + 10*time.Second)
	on(4500)
	want = netip.AddrPortFrom(w.public, 24500)
	look("IKE on port 4500 again")
}

// Messages of IKE on port 500 do not hold the NAT's mapping of port 4500.
func TestKeepaliveHoldsTheFlowOfESP(t *testing.T) {
	n, w, _ := shiftedPeer(t)
	s := w.e.peers["east"].established()[0]
	s.NATLocal = true
	s.local = netip.AddrPortFrom(s.local.Addr(), 500)
	s.remote = netip.AddrPortFrom(s.remote.Addr(), 500)
	before := w.kept
	n.run(n.now + 2*time.Minute)
	if got := w.kept - before; got < 5 {
		t.Errorf("%d keepalives in two minutes without ESP, while IKE is on port 500 every 10 s", got)
	}
}

package ikev2

import (
	"fmt"
	"testing"
	"time"

	"greseal/crypto/esp"
	"greseal/ikev2/wire"
)

// What is due and cannot be done is tried again after a pause, not at once for
// ever.
func TestNothingSpins(t *testing.T) {
	n, w, _ := twoNodes(t, 21, nil)
	w.initiate()
	n.run(time.Second)
	p := w.peer
	p.IKE, p.ESP = nil, nil
	w.do(w.e.SetPeer(n.now, p))
	w.rekeyIKE()
	w.rekeyChildren()
	steps := 0
	for end := n.now + time.Minute; n.now < end; steps++ {
		w.do(w.e.Tick(n.now))
		if w.wake <= n.now {
			t.Fatalf("woken at %v for %v", n.now, w.wake)
		}
		n.now = w.wake
	}
	if steps > 300 {
		t.Errorf("%d wake-ups in a minute", steps)
	}
}

// A tick that comes too early, or time that runs backwards, does nothing.
func TestTicksOutOfTimeAreHarmless(t *testing.T) {
	n, w, e := twoNodes(t, 22, nil)
	w.initiate()
	n.run(time.Second)
	for _, at := range []Time{0, n.now, n.now - 500*time.Millisecond, n.now} {
		for _, a := range w.e.Tick(at) {
			if _, ok := a.(WakeAt); !ok {
				t.Errorf("Tick(%v) gives %T", at, a)
			}
		}
	}
	agree(t, w, e)
}

// Every call on something unknown does nothing.
func TestUnknownNamesAreHarmless(t *testing.T) {
	e := New(Config{Rand: seeded(1)})
	calls := map[string]func() []Action{
		"RemovePeer":    func() []Action { return e.RemovePeer(0, "x") },
		"Initiate":      func() []Action { return e.Initiate(0, "x", benchWest, benchEast) },
		"Close":         func() []Action { return e.Close(0, "x") },
		"Tick":          func() []Action { return e.Tick(0) },
		"InstallFailed": func() []Action { return e.InstallFailed(0, 9, fmt.Errorf("no")) },
		"ChildUsed":     func() []Action { return e.ChildUsed(0, 9) },
		"RekeyChild":    func() []Action { return e.RekeyChild(0, 9) },
		"RekeyIKE":      func() []Action { return e.RekeyIKE(0, 9) },
		"ChildLost":     func() []Action { return e.ChildLost(0, 9) },
		"Check":         func() []Action { return e.Check(0, "x") },
		"Receive":       func() []Action { return e.Receive(0, Datagram{benchEast, benchWest, []byte("short")}) },
	}
	for name, call := range calls {
		if a := call(); len(a) != 0 {
			t.Errorf("%s gives %v", name, a)
		}
	}
	if e.SAs("x") != nil || e.Children("x") != nil || e.Pending() != 0 {
		t.Error("something is known of nobody")
	}
}

// Initiate twice is one attempt; while an SA stands it is none.
func TestInitiateIsIdempotent(t *testing.T) {
	n, w, e := twoNodes(t, 23, nil)
	w.initiate()
	w.initiate()
	if w.sent != 1 {
		t.Errorf("%d requests for one attempt", w.sent)
	}
	n.run(2 * time.Millisecond)
	w.initiate() // IKE_AUTH is unanswered
	n.run(time.Second)
	sent := w.sent
	w.initiate()
	if w.sent != sent {
		t.Error("an attempt beside an IKE SA that stands")
	}
	agree(t, w, e)
	if len(e.e.ids) != 1 {
		t.Errorf("%d IKE SAs", len(e.e.ids))
	}
}

func TestPendingCountsUnansweredDeletes(t *testing.T) {
	n, w, _ := twoNodes(t, 24, nil)
	w.initiate()
	n.run(time.Second)
	w.do(w.e.RemovePeer(n.now, "east"))
	if w.e.Pending() != 1 {
		t.Errorf("%d pending", w.e.Pending())
	}
	n.run(n.now + time.Second)
	if w.e.Pending() != 0 || len(w.e.peers) != 0 || len(w.e.sas) != 0 {
		t.Errorf("%d pending, %d IKE SAs left", w.e.Pending(), len(w.e.sas))
	}
}

// A Delete that is never answered is given up, and nothing is left.
func TestUnansweredDeleteEnds(t *testing.T) {
	n, w, _ := twoNodes(t, 25, nil)
	w.initiate()
	n.run(time.Second)
	n.filter = func(*flight) bool { return false }
	w.do(w.e.Close(n.now, "east"))
	n.run(n.now + deletePatience + 10*time.Second)
	if len(w.e.ids) != 0 || len(w.e.timers) != 0 || len(w.e.bySPI) != 0 || len(w.e.childSAs) != 0 {
		t.Errorf("left over: %s", dump(w))
	}
}

// When the IKE SA that was to stay turns out dead, the other one is used again.
func TestSupersededSAIsRevivedWhenTheOtherDies(t *testing.T) {
	n, w, e := twoNodes(t, 26, nil)
	w.initiate()
	e.initiate()
	n.run(4 * time.Millisecond)
	// Both SAs stand at both sides; now one of them, the one that stays, goes
	// deaf: everything on it is lost.
	var stays, other *ikeSA
	for _, s := range w.e.peers["east"].sas {
		if s.redundant() {
			other = s
		} else {
			stays = s
		}
	}
	if stays == nil || other == nil {
		t.Skipf("the nonces of this seed have settled it at once:\n%s", dump(w, e))
	}
	spi := stays.SPIi
	n.queue = nil
	n.filter = func(f *flight) bool {
		h, err := wire.ParseHeader(f.data)
		return f.spi != 0 || err != nil || h.SPIi != spi
	}
	n.run(n.now + 5*time.Minute)
	if s := w.e.SAs("east"); len(s) != 1 || s[0].SPIi != other.SPIi || w.carrier == 0 {
		t.Errorf("not revived:\n%s", dump(w, e))
	}
}

// The timers' heap gives the earliest first whatever happens to it.
func TestTimersKeepTheirOrder(t *testing.T) {
	n := newNetwork(27)
	var h timers
	var all []*ikeSA
	for i := range 200 {
		s := &ikeSA{IKESA: IKESA{ID: SAID(i)}, alarm: alarm{slot: -1}}
		all = append(all, s)
		h.set(s, Time(n.rand.IntN(100)))
	}
	for range 2000 {
		s := all[n.rand.IntN(len(all))]
		if n.rand.IntN(4) == 0 {
			h.remove(s)
		} else {
			h.set(s, Time(n.rand.IntN(100)))
		}
	}
	h.set(all[0], never)
	last := Time(-1)
	for s := h.first(); s != nil; s = h.first() {
		if s.wake < last || s == all[0] {
			t.Fatalf("%v after %v", s.wake, last)
		}
		last = s.wake
		h.remove(s)
		if s.slot != -1 {
			t.Fatal("a removed SA has a place")
		}
	}
}

// Nothing of a tunnel is left in the engine when it is gone, after rekeying and
// all.
func TestNothingLeaks(t *testing.T) {
	n, w, e := twoNodes(t, 28, func(a, b *Peer) { a.ChildLifetime, b.IKELifetime = 30*time.Second, 70*time.Second })
	for range 20 {
		w.initiate()
		n.run(n.now + 100*time.Second)
		w.do(w.e.Close(n.now, "east"))
		n.run(n.now + 2*time.Second)
	}
	n.run(n.now + responseLife + time.Minute)
	for _, x := range []*node{w, e} {
		x.e.Tick(n.now)
		if len(x.e.ids) != 0 || len(x.e.sas) != 0 || len(x.e.bySPI) != 0 || len(x.e.childSAs) != 0 || len(x.e.timers) != 0 ||
			len(x.e.responses) != 0 || len(x.e.byExpiry) != 0 || len(x.e.ikeReserved) != 0 || len(x.e.espReserved) != 0 ||
			len(x.e.half.sas) != 0 || len(x.e.half.done)+len(x.e.half.ending) != 0 || len(x.in) != 0 || len(x.out) != 0 {
			t.Errorf("%s keeps %d SAs, %d Child SAs, %d responses, %d and %d reserved SPIs, %d half-open", x.name,
				len(x.e.ids), len(x.e.childSAs), len(x.e.responses), len(x.e.ikeReserved), len(x.e.espReserved), len(x.e.half.sas))
		}
	}
}

// A peer that keeps the other one of two IKE SAs than the nonces say, because
// INITIAL_CONTACT made it forget ours, is followed.
func TestPeerThatKeptTheOtherSAIsFollowed(t *testing.T) {
	for seed := uint64(1); seed <= 8; seed++ {
		n, w, e := twoNodes(t, seed, nil)
		w.initiate()
		e.initiate()
		n.run(4 * time.Millisecond)
		var stays *ikeSA
		for _, s := range e.e.peers["west"].sas {
			if !s.redundant() {
				stays = s
			}
		}
		e.e.enter(n.now)
		e.e.drop(stays, nil, false)
		n.queue = nil // its check of the SA that it forgets
		e.do(e.e.flush())
		for range 180 {
			n.run(n.now + time.Second)
			w.packet()
			e.packet()
		}
		if d := disagreement(w, e); d != "" {
			t.Errorf("seed %d: %s", seed, d)
		}
	}
}

// A Child SA that the peer may not have yet does not take the place of one that has
// carried the traffic before and still stands.
func TestThePairBeforeCarriesAgain(t *testing.T) {
	n, w, e := twoNodes(t, 27, nil)
	w.initiate()
	n.run(time.Second)
	before := e.carrier
	// East answers a rekeying, and the answer is lost.
	n.filter = func(f *flight) bool { return f.from == w }
	w.rekeyChildren()
	n.run(n.now + 300*time.Millisecond)
	if len(e.in) != 2 || e.carrier != before {
		t.Fatalf("%d inbound SAs, %08x carries", len(e.in), e.carrier)
	}
	// Meanwhile a third Child SA comes, carries the traffic, and goes.
	s := e.e.peers[e.peer.ID].sas[0]
	like := Child{ChildSA: s.children[0].pub.ChildSA, Initiator: true}
	like.SPIIn, like.SPIOut = 0x1001, 0x1002
	third := e.e.addChild(s, agreed{Child: like, in: &esp.Params{SPI: 0x1001}, out: &esp.Params{SPI: 0x1002}})
	e.e.carry(third)
	e.do(e.e.flush())
	if e.carrier != 0x1002 {
		t.Fatalf("%08x carries", e.carrier)
	}
	e.e.retire(third, false)
	e.do(e.e.flush())
	if e.carrier != before || len(e.out) != 1 {
		t.Errorf("%08x carries, want %08x as before", e.carrier, before)
	}
	n.filter = nil
	n.run(n.now + 10*time.Second)
	agree(t, w, e)
	if e.carrier == before {
		t.Error("the new Child SA does not carry the traffic")
	}
}

// Two peers may choose the same SPI for their inbound SAs, which are our outbound
// ones: the Child SA that lost an SA is named, not an SPI.
func TestLostPairIsTheOneNamed(t *testing.T) {
	n, w, e := twoNodes(t, 55, nil)
	w.initiate()
	n.run(time.Second)
	c := e.e.Children("west")[0]
	other := &child{pub: &Child{ID: 900, Peer: "west", ChildSA: esp.ChildSA{SPIIn: c.SPIOut, SPIOut: c.SPIIn}}, sa: e.e.bySPI[c.SPIIn].sa, out: true, rekeyAt: never, expireAt: never, deleteAt: never}
	e.e.bySPI[other.pub.SPIIn], e.e.childSAs[other.pub.ID] = other, other
	e.e.ChildLost(e.time(), c.ID)
	if other.lost || !e.e.childSAs[c.ID].lost {
		t.Error("the Child SA was taken for another whose SPI is the same in the other direction")
	}
}

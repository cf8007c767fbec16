package ikev2

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"greseal/crypto/suite"
)

var (
	simSeeds = flag.Int("sim.seeds", 300, "seeds of the simulation")
	simFirst = flag.Uint64("sim.first", 1, "first seed of the simulation")
	simTrace = flag.Bool("sim.trace", false, "print the conversation of the first seed that fails")
)

// TestSimulationEndsInOneAgreedPair plays two peers that rekey both SAs every
// few seconds over a network that loses 30 % and doubles 10 % of the datagrams
// and delays them unevenly. Meanwhile traffic flows: it must always find an
// inbound SA at the other side. When the network has healed both sides must
// agree on one IKE SA and one pair.
func TestSimulationEndsInOneAgreedPair(t *testing.T) {
	for seed := *simFirst; seed < *simFirst+seeds(); seed++ {
		playSeed(t, seed, simulate)
	}
}

// TestSimulationWithDisasters adds what happens to real routers: restarts that
// forget everything, outages of up to a minute, NAT mappings that change.
func TestSimulationWithDisasters(t *testing.T) {
	for seed := *simFirst; seed < *simFirst+seeds(); seed++ {
		playSeed(t, seed, disasters)
	}
}

// seeds is how many are played: few in short mode, which is for slow machines.
func seeds() uint64 {
	if testing.Short() {
		return uint64(min(*simSeeds, 10))
	}
	return uint64(*simSeeds)
}

func playSeed(t *testing.T, seed uint64, play func(uint64, func(string, ...any)) string) {
	t.Helper()
	if fault := play(seed, nil); fault != "" {
		if *simTrace {
			play(seed, t.Logf)
		}
		t.Fatalf("seed %d: %s", seed, fault)
	}
}

// caught turns the panic by which a network reports a fault into that fault.
func caught(fault *string) {
	if r := recover(); r != nil {
		s, ok := r.(string)
		if !ok || !strings.HasPrefix(s, "fault: ") {
			panic(r)
		}
		*fault = s
	}
}

// stormy is a network in bad weather.
func stormy(seed uint64, log func(string, ...any)) *network {
	n := newNetwork(seed)
	n.loss, n.double = 0.3, 0.1
	n.delayMin, n.delayMax = time.Millisecond, 300*time.Millisecond
	n.fault = func(f string, a ...any) { panic(fmt.Sprintf("fault: at %v: ", n.now) + fmt.Sprintf(f, a...)) }
	if log != nil {
		n.log = func(f string, a ...any) { log("%8.3f "+f, append([]any{n.now.Seconds()}, a...)...) }
	}
	return n
}

// simulate plays one seed and returns what went wrong.
func simulate(seed uint64, log func(string, ...any)) (fault string) {
	defer caught(&fault)
	n := stormy(seed, log)
	small := seed%8 == 7
	mk := func(name string) Peer {
		p := testPeer(name)
		p.IKELifetime, p.ChildLifetime = 10*time.Minute, 10*time.Minute
		p.DPD = 3 * time.Second
		p.PFS = n.rand.IntN(2) == 0
		if small {
			// Long lists on a small path: requests and answers in fragments.
			p.IKE, p.ESP, p.PathMTU = suite.DefaultIKE(), suite.DefaultESP(true), leastPathMTU
			p.LocalID = Identity{Type: IDKeyID, Data: name + strings.Repeat("*", 200)}
		}
		switch seed % 8 {
		case 3: // two additional key exchanges in everything
			p.IKE, p.PFS = []suite.Proposal{ike("aes128gcm16-prfsha256-x25519-mlkem768-ke2_ecp256")}, true
		case 5: // one where the first side answers, none where the other does
			p.IKE = []suite.Proposal{ike("aes128gcm16-prfsha256-x25519-mlkem768"), ike("aes128gcm16-prfsha256-x25519")}
			if name == "west" {
				slices.Reverse(p.IKE)
			}
		}
		return p
	}
	w := n.add("west", "192.0.2.1", "192.0.2.2", mk("east"))
	e := n.add("east", "192.0.2.2", "192.0.2.1", mk("west"))
	w.reconnect, e.reconnect = true, true
	switch n.rand.IntN(3) {
	case 0:
		w.initiate()
	case 1:
		e.initiate()
	default:
		w.initiate()
		e.initiate()
	}
	// Rekeying in bad weather, with packets every 50 ms.
	for at := 50 * time.Millisecond; at <= 40*time.Second; at += 50 * time.Millisecond {
		n.run(at)
		w.packet()
		e.packet()
		if s := window(w, e); s != "" {
			return fmt.Sprintf("at %v: %s", n.now, s)
		}
		for _, x := range n.nodes {
			both := n.rand.IntN(4) == 0 // provoke a collision
			if n.rand.IntN(60) == 0 {
				x.rekeyChildren()
				if both {
					x.other().rekeyChildren()
				}
			}
			if n.rand.IntN(90) == 0 {
				x.rekeyIKE()
				if both {
					x.other().rekeyIKE()
				}
			}
		}
	}
	n.loss, n.double = 0, 0 // the weather clears
	for at := n.now; n.now < at+120*time.Second; {
		n.run(n.now + 500*time.Millisecond)
		w.packet()
		e.packet()
		if s := window(w, e); s != "" {
			return fmt.Sprintf("at %v: %s", n.now, s)
		}
	}
	n.run(n.now + 6*time.Second)
	if w.outages+e.outages > 0 {
		return fmt.Sprintf("%d packets came on an SA that was removed too early", w.outages+e.outages)
	}
	return disagreement(w, e)
}

// window checks that what either side may send now has its inbound SA at the
// other.
func window(a, b *node) string {
	for _, x := range []*node{a, b} {
		y := b
		if x == b {
			y = a
		}
		if x.carrier == 0 {
			continue
		}
		if y.in[x.carrier] == nil {
			c := x.out[x.carrier].child
			if _, once := y.gone[x.carrier]; !once && !c.Initiator && c.Replaces == 0 {
				continue // a first pair: the peer has not got the answer that makes it
			}
			return fmt.Sprintf("%s sends on %08x, which %s has not installed\n%s", x.name, x.carrier, y.name, dump(a, b))
		}
	}
	return ""
}

func (x *node) rekeyChildren() {
	for _, c := range x.e.Children(x.peer.ID) {
		x.do(x.e.RekeyChild(x.net.now, c.ID))
	}
}

func (x *node) rekeyIKE() {
	for _, s := range x.e.SAs(x.peer.ID) {
		x.do(x.e.RekeyIKE(x.net.now, s.ID))
	}
}

func (x *node) other() *node {
	if x.net.nodes[0] == x {
		return x.net.nodes[1]
	}
	return x.net.nodes[0]
}

// disasters plays one seed of TestSimulationWithDisasters.
func disasters(seed uint64, log func(string, ...any)) (fault string) {
	defer caught(&fault)
	n := stormy(seed, log)
	n.loss, n.double = 0.1, 0.05
	west, east := testPeer("east"), testPeer("west")
	for _, p := range []*Peer{&west, &east} {
		p.DPD = 5 * time.Second
		p.GRELocal, p.GRERemote = addr("10.9.0.1"), addr("10.9.0.2")
	}
	east.GRELocal, east.GRERemote = east.GRERemote, east.GRELocal
	behindNAT := n.rand.IntN(2) == 0
	w := n.add("west", "10.1.0.1", "192.0.2.2", west)
	e := n.add("east", "192.0.2.2", "198.51.100.7", east)
	b := &natBox{inside: w.local.Addr(), outside: addr("198.51.100.7"), shift: 10000}
	if !behindNAT {
		b.shift = 0 // a static mapping, through which east can initiate as well
	}
	w.public, n.nats = b.outside, []*natBox{b}
	w.reconnect, e.reconnect = true, !behindNAT
	w.initiate()
	if !behindNAT && n.rand.IntN(2) == 0 {
		e.initiate()
	}
	outageEnds, next := Time(0), 10*time.Second
	for n.now < 240*time.Second {
		n.run(n.now + 500*time.Millisecond)
		w.packet()
		e.packet()
		if n.rand.IntN(40) == 0 {
			w.rekeyChildren()
		}
		if n.rand.IntN(60) == 0 {
			e.rekeyIKE()
		}
		if n.rand.IntN(30) == 0 {
			w.do(w.e.Probe(n.now, w.peer.ID, 1300+n.rand.IntN(200), 1))
		}
		if outageEnds != 0 && n.now >= outageEnds {
			outageEnds, n.filter = 0, nil
			n.log("the path is back")
		}
		if n.now < next {
			continue
		}
		next = n.now + time.Duration(5+n.rand.IntN(40))*time.Second
		switch n.rand.IntN(4) {
		case 0:
			n.log("west restarts")
			w.boot()
			w.initiate()
		case 1:
			n.log("east restarts")
			e.boot()
			if e.reconnect {
				e.initiate()
			}
		case 2:
			outageEnds = n.now + time.Duration(5+n.rand.IntN(55))*time.Second
			n.log("outage")
			n.filter = func(*flight) bool { return false }
		case 3:
			if behindNAT {
				b.shift += 500 + uint16(n.rand.IntN(500))
				n.log("the NAT mapping changes")
			}
		}
	}
	n.loss, n.double, n.filter = 0, 0, nil
	n.log("calm")
	// Longer than the dead threshold, for a restart that nobody was told of.
	for end := n.now + 200*time.Second; n.now < end; {
		n.run(n.now + time.Second)
		w.packet()
		e.packet()
	}
	return disagreement(w, e)
}

package ikev2

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"
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
	for seed := *simFirst; seed < *simFirst+uint64(*simSeeds); seed++ {
		if fault := simulate(seed, nil); fault != "" {
			if *simTrace {
				simulate(seed, t.Logf)
			}
			t.Fatalf("seed %d: %s", seed, fault)
		}
	}
}

// simulate plays one seed and returns what went wrong.
func simulate(seed uint64, log func(string, ...any)) (fault string) {
	defer func() {
		if r := recover(); r != nil && fault == "" {
			if s, ok := r.(string); ok && strings.HasPrefix(s, "fault: ") {
				fault = s
				return
			}
			panic(r)
		}
	}()
	n := newNetwork(seed)
	n.loss, n.double = 0.3, 0.1
	n.delayMin, n.delayMax = time.Millisecond, 300*time.Millisecond
	n.fault = func(f string, a ...any) { panic(fmt.Sprintf("fault: at %v: ", n.now) + fmt.Sprintf(f, a...)) }
	if log != nil {
		n.log = func(f string, a ...any) { log("%8.3f "+f, append([]any{n.now.Seconds()}, a...)...) }
	}
	mk := func(name string) Peer {
		p := testPeer(name)
		p.IKELifetime, p.ChildLifetime = 10*time.Minute, 10*time.Minute
		p.DPD = 3 * time.Second
		p.PFS = n.rand.IntN(2) == 0
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

package ikev2

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"greseal/crypto/suite"
)

// TestSimulationOfWanderers plays two peers whose addresses change every few
// seconds, one or the other or both at once, while they rekey, over a network
// that loses and doubles datagrams. When they have come to rest they agree on one
// IKE SA and one Child SA, and each sends where the other is.
func TestSimulationOfWanderers(t *testing.T) {
	for seed := *simFirst; seed < *simFirst+seeds(); seed++ {
		playSeed(t, seed, wander)
	}
}

func wander(seed uint64, log func(string, ...any)) (fault string) {
	defer caught(&fault)
	n := stormy(seed, log)
	n.loss, n.double = 0.2, 0.1
	west, east := testPeer("east"), testPeer("west")
	west.DPD, east.DPD = 3*time.Second, 3*time.Second
	if seed%2 == 0 {
		west.GRELocal, west.GRERemote = addr("10.9.0.1"), addr("10.9.0.2")
		east.GRELocal, east.GRERemote = west.GRERemote, west.GRELocal
	}
	if seed%3 == 0 {
		west.IKE = []suite.Proposal{ike("aes128gcm16-prfsha256-x25519-mlkem768")}
		east.IKE = west.IKE
	}
	if seed%4 == 3 {
		east.GRERemoteAny = true
	}
	w := n.add("west", "192.0.2.1", "198.51.100.1", west)
	e := n.add("east", "198.51.100.1", "192.0.2.1", east)
	w.reconnect, e.reconnect = true, true
	w.initiate()
	if n.rand.IntN(2) == 0 {
		e.initiate()
	}
	for n.now < 60*time.Second {
		n.run(n.now + 250*time.Millisecond)
		w.packet()
		e.packet()
		for _, x := range n.nodes {
			if n.rand.IntN(24) == 0 {
				a := x.local.Addr().As4()
				a[3] = byte(1 + n.rand.IntN(250))
				to := netip.AddrFrom4(a)
				x.other().remote = netip.AddrPortFrom(to, 500) // the name server knows
				n.log("%s moves to %s", x.name, to)
				x.moves(to.String())
				if len(x.e.SAs(x.peer.ID)) == 0 {
					x.initiate()
				}
			}
			if n.rand.IntN(60) == 0 {
				x.rekeyChildren()
			}
			if n.rand.IntN(90) == 0 {
				x.rekeyIKE()
			}
			if n.rand.IntN(40) == 0 {
				x.do(x.e.Probe(n.now, x.peer.ID, 1300+n.rand.IntN(200), 1))
			}
		}
	}
	n.loss, n.double = 0, 0
	n.log("calm")
	for end := n.now + 200*time.Second; n.now < end; {
		n.run(n.now + time.Second)
		w.packet()
		e.packet()
	}
	if d := disagreement(w, e); d != "" {
		return d
	}
	for _, x := range n.nodes {
		y, c := x.other(), x.out[x.carrier].child
		if c.Local.Addr() != x.local.Addr() || c.Remote.Addr() != y.local.Addr() {
			return fmt.Sprintf("%s sends from %s to %s, but they are at %s and %s", x.name, c.Local, c.Remote, x.local, y.local)
		}
		if !x.peer.GRELocal.IsValid() && c.GRELocal != x.local.Addr() {
			return fmt.Sprintf("the GRE endpoint of %s is %s, not %s", x.name, c.GRELocal, x.local.Addr())
		}
	}
	return ""
}

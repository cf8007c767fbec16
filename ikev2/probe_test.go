package ikev2

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// A peer that died while it was probed says nothing about the path, and its next
// IKE SA is not met with the same probe again. A probe that was cut off in its
// first form is.
func TestProbeOfADeadPeerEndsWithItsSA(t *testing.T) {
	n := newNetwork(11)
	var log []string
	n.log = func(f string, a ...any) { log = append(log, fmt.Sprintf(f, a...)) }
	west := n.add("west", "192.0.2.1", "192.0.2.2", testPeer("tunnel"))
	n.add("east", "192.0.2.2", "192.0.2.1", testPeer("tunnel"))
	west.initiate()
	n.run(n.now + time.Second)
	west.do(west.e.Probe(n.now, "tunnel", 1280, 1))
	n.run(n.now + time.Second)
	n.filter = func(*flight) bool { return false }
	west.do(west.e.Probe(n.now, "tunnel", 1500, 1))
	n.run(n.now + 3*time.Minute)
	if len(west.downs) != 1 || west.downs[0].Reason.Kind != FailDead {
		t.Fatalf("the dead peer was kept: %v", west.downs)
	}
	n.filter = nil
	log = nil
	n.nodes[1].boot()
	west.initiate()
	n.run(n.now + 5*time.Second)
	if all := strings.Join(log, "\n"); strings.Contains(all, "PROBE") || strings.Contains(all, "the peer (probe") || !strings.Contains(all, "up as initiator") {
		t.Errorf("after the dead peer's return:\n%s", all)
	}

	// The peer restarts during the probe's first form and makes an IKE SA of
	// its own, which ends the old one: the probe is sent there.
	log = nil
	n.filter = func(f *flight) bool { return !f.df }
	west.do(west.e.Probe(n.now, "tunnel", 1500, 2))
	n.nodes[1].boot()
	n.nodes[1].initiate()
	n.run(n.now + 100*time.Millisecond)
	n.filter = nil
	n.run(n.now + 5*time.Second)
	if all := strings.Join(log, "\n"); !strings.Contains(all, "1500 octets reached the peer (probe 2)") {
		t.Errorf("the probe was not sent on the new IKE SA:\n%s", all)
	}
}

package scenario

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"time"

	"greseal/build/lab/labnet"
	"greseal/tunnel/status"
)

// Rekeyings of both sides cross (RFC 7296 sections 2.8.1, 2.8.2 and 2.25), 200
// times under a running ping. greseal has lifetimes of seconds; on a long line,
// strongSwan is told to rekey as soon as greseal's request is seen on it, so that
// each sends its own before it gets the other's. Seen: the tunnel never went
// down; one IKE SA with one Child SA is left on both sides; and no ping is lost
// with strongSwan 6.1. strongSwan 5.9.8 is known to remove SAs too early in a
// collision: there each lost packet must have come to strongSwan and found no SA.
func init() {
	for _, peer := range []string{StrongSwan, NewSwan} {
		for _, c := range []collision{
			{name: "Child SA meets Child SA", role: "initiator", child: true, theirs: []bool{false}},
			{name: "IKE SA meets IKE SA", role: "responder", ike: true, theirs: []bool{true}},
			{name: "Child SA meets the peer's IKE SA", role: "responder", child: true, theirs: []bool{true}},
			{name: "both meet both", role: "initiator", child: true, ike: true, theirs: []bool{false, true}},
		} {
			c.peer = peer
			add(Scenario{Name: "200 rekeys at once: " + c.name, Peer: peer, Paths: userspace, Where: Host, Interop: true, Run: c.play})
		}
	}
}

// NewSwan is strongSwan of Debian sid, in a chroot (build/lab/sid).
const NewSwan = "strongSwan 6.1"

// newest makes a strongSwan the one of the chroot.
func newest(l *labnet.Lab, c *labnet.Swan) { c.Root = sidRoot(l, "strongswan") }

// sidRoot is the folder of a chroot of Debian sid. Where it was not made, the
// scenario is skipped.
func sidRoot(l *labnet.Lab, name string) string {
	out, err := exec.Command("build/lab/sid", "--cached", name).Output()
	if err != nil {
		l.Skipf("no chroot of Debian sid; run build/lab/sid %s", name)
	}
	return strings.TrimSpace(string(out))
}

// collision says which of its SAs greseal rekeys by lifetimes, and what the peer
// rekeys at the same time, in turns: false its Child SA, true its IKE SA.
type collision struct {
	name, peer, role string
	child, ike       bool
	theirs           []bool
}

// oneWay is how long a packet is on the line.
const oneWay = 80 * time.Millisecond

func (c collision) play(l *labnet.Lab) {
	w := newWorld(l, func(w *world) {
		w.responder = c.role == "responder"
		if c.peer == NewSwan {
			newest(l, &w.swanConfig)
		}
		// An SA of so short a life is rekeyed after half of it. The other half
		// must be longer than the 4 s after which strongSwan repeats a request:
		// 5.9.8 now and then misses an answer while it handles a request, and
		// refuses to have its IKE SA rekeyed meanwhile.
		life := "6s"
		if c.child && c.ike {
			life = "12s"
		}
		if c.child {
			w.lines = append(w.lines, fmt.Sprintf("child_lifetime = %q", life))
		}
		if c.ike {
			w.lines = append(w.lines, fmt.Sprintf("ike_lifetime = %q", life))
		}
	})
	w.net.Slow(l, oneWay)
	w.up()
	w.net.A.WaitPing(innerB, 10*time.Second)
	ping := w.net.A.StartPing(innerB, 20*time.Millisecond)
	before := w.greseal.Tunnel("t0")

	requests := make(chan bool, 1)
	w.net.Wire.Watch(func(p labnet.Packet) {
		if isCreateChild(p) && p.Src == netip.MustParseAddr(labnet.AddrA) {
			select {
			case requests <- true:
			default: // one more while the peer is being told
			}
		}
	})
	const wanted = 200
	rekeys := func(t status.Tunnel) int {
		if t.Child == nil || t.IKE == nil {
			return 0
		}
		return int(t.Child.Rekeys + t.IKE.Rekeys)
	}
	told := -1 // after so many rekeys
	for n, end := 0, time.Now().Add(25*time.Minute); ; n++ {
		select {
		case <-requests:
			// A Child SA's and an IKE SA's rekeying turn each other away, and
			// strongSwan tries its own again and again: what greseal tries until
			// one has come about is left in peace.
			if done := rekeys(w.greseal.Tunnel("t0")); done != told {
				told = done
				w.swan.RekeyNow(c.theirs[n%len(c.theirs)])
			}
		case <-time.After(20 * time.Second):
			l.Failf("greseal does not rekey any more: %s", w.greseal.Tunnel("t0").Reason)
		}
		t := w.greseal.Tunnel("t0")
		l.Check(t.UpCount == 1, "the tunnel went down: %s", t.Reason)
		if rekeys(t) >= wanted {
			break
		}
		l.Check(time.Now().Before(end), "only %d rekeys", n)
	}
	w.net.Wire.Watch(nil)
	after := w.greseal.Tunnel("t0")
	l.Check(after.Interface.Index == before.Interface.Index, "the interface's index changed")
	got := ping.Stop()
	crossed := w.crossings()
	lost := got.Sent - got.Received
	l.Fact("%d Child and %d IKE rekeys, %d crossed on the wire, %d of %d pings lost", after.Child.Rekeys, after.IKE.Rekeys, crossed, lost, got.Sent)
	l.Check(crossed >= wanted/4, "only %d rekeyings crossed", crossed)
	if lost > 0 {
		refused := strings.Count(w.swan.Log(), "does not belong to an installed SA")
		l.Fact("strongSwan had no SA for %d packets that came", refused)
		l.Check(c.peer != NewSwan && refused >= lost, "%d of %d pings lost; strongSwan turned %d packets away", lost, got.Sent, refused)
	}
	w.net.Wire.MustBeSealed()
}

// isCreateChild tells a CREATE_CHILD_SA request.
func isCreateChild(p labnet.Packet) bool {
	const createChild, response = 36, 0x20
	return p.Kind == labnet.IKE && len(p.Payload) >= 28 && p.Payload[18] == createChild && p.Payload[19]&response == 0
}

// crossings counts CREATE_CHILD_SA requests of greseal's that were on their way
// at the same time as one of the peer's.
func (w *world) crossings() int {
	var ours, theirs []time.Time
	seen := map[string]bool{}
	for _, p := range w.net.Wire.Packets() {
		if !isCreateChild(p) || seen[string(p.Payload)] {
			continue
		}
		seen[string(p.Payload)] = true
		if p.Src == netip.MustParseAddr(labnet.AddrA) {
			ours = append(ours, p.At)
		} else {
			theirs = append(theirs, p.At)
		}
	}
	n := 0
	for _, a := range ours {
		for _, b := range theirs {
			// What comes from the peer was sent a line's length before.
			if d := b.Sub(a); d > 0 && d < 2*oneWay {
				n++
				break
			}
		}
	}
	return n
}

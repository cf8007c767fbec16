package scenario

import (
	"strings"
	"time"

	"greseal/build/lab/labnet"
	"greseal/tunnel/status"
)

// Two branches fit the hub's one tunnel. Seen: the first stays up and loses no ping;
// the hub names both, in its status, its log and by doctor; the second says why it is
// turned away, and comes in when the first is gone. Two with one identity, as by a
// copied configuration, do not throw each other out again and again either.
func init() {
	addOnce(
		Scenario{Name: "two branches for one tunnel", Peer: Greseal, Paths: both, Run: twoBranches},
		Scenario{Name: "a second branch for one tunnel", Peer: StrongSwan, Paths: both, Run: secondBranchSwan},
		Scenario{Name: "two tunnels of a router for one tunnel", Peer: Greseal, Paths: userspace, Run: twoOfOneRouter},
		Scenario{Name: "two branches with one identity", Peer: Greseal, Paths: both, Run: twoNamesakes},
	)
}

// withBranch has a second branch beside the pair's, whose A is the hub.
func withBranch(l *labnet.Lab) (net *labnet.Pair, c *labnet.NS) {
	net = l.NewPair()
	c = l.NewNS("c")
	l.Veth(c, "wan", net.Router, "to-c")
	net.Router.Addr("to-c", routerC+"/24")
	c.Addr("wan", addrC+"/24")
	c.Route("", routerC, "wan")
	return net, c
}

func twoBranches(l *labnet.Lab) {
	net, c := withBranch(l)
	hub := net.A.Greseal(side("any", innerA))
	first := net.B.Greseal(side(labnet.AddrA, innerB, `local_id = "first.example"`))
	first.WaitUp("t0", 20*time.Second)
	hub.WaitUp("t0", 20*time.Second)
	net.B.WaitPing(innerA, 10*time.Second)
	ping := net.B.StartPing(innerA, 50*time.Millisecond)
	second := c.Greseal(side(labnet.AddrA, innerB, `local_id = "second.example"`))
	var t status.Tunnel
	l.Wait(20*time.Second, "the hub's word of both", func() bool {
		t = hub.Tunnel("t0")
		return t.Contention != nil
	})
	time.Sleep(12 * time.Second)
	ping.Stop()
	l.Check(ping.LongestGap() < l.Stretch(time.Second), "the first branch lost its pings for %v", ping.LongestGap())
	t = hub.Tunnel("t0")
	l.Check(t.State == "up" && t.UpCount == 1 && strings.Contains(t.Peer.RemoteID, "first.example"), "the hub is %s with %s, up %d times", t.State, t.Peer.RemoteID, t.UpCount)
	for where, text := range map[string]string{"log": hub.Log(), "status": hub.Must("status", "t0"), "doctor": hub.Do("doctor", "t0").Out()} {
		text = strings.Join(strings.Fields(text), " ")
		l.Check(contains(text, "first.example") && contains(text, "second.example at "+addrC) && contains(text, "a tunnel of its own"), "the hub's %s does not name both and the remedy:\n%s", where, text)
		l.Check(where != "doctor" || !contains(text, "no fault"), "doctor finds no fault:\n%s", text)
	}
	l.Check(contains(second.Tunnel("t0").Reason, "another peer has the tunnel"), "the second branch says: %s", second.Tunnel("t0").Reason)

	first.Kill()
	net.B.LinkDown("wan")
	gone := time.Now()
	second.WaitUp("t0", 100*time.Second)
	c.WaitPing(innerA, 10*time.Second)
	l.Check(hub.Tunnel("t0").Contention == nil, "the hub goes on telling of the second branch as one that is turned away")
	l.Fact("the second branch is up %.0f s after the first has gone", time.Since(gone).Seconds())
	net.Wire.MustBeSealed()
}

func twoOfOneRouter(l *labnet.Lab) {
	net := l.NewPair()
	hub := net.A.Greseal(side("any", innerA, "gre.key = 1"))
	lines := func(id, key string) []string {
		return []string{"remote = \"" + labnet.AddrA + "\"", "psk = \"" + psk + "\"", "local_id = \"" + id + "\"", "remote_id = \"" + labnet.AddrA + "\"", "gre.key = " + key}
	}
	net.B.Greseal(labnet.Tunnel("one", lines("one.example", "1")...) + labnet.Tunnel("two", lines("two.example", "2")...))
	hub.WaitUp("t0", 20*time.Second)
	l.Wait(20*time.Second, "the hub's word of both", func() bool { return hub.Tunnel("t0").Contention != nil })
	time.Sleep(12 * time.Second)
	t := hub.Tunnel("t0")
	l.Check(t.State == "up" && t.UpCount == 1, "the hub is %s, up %d times", t.State, t.UpCount)
	l.Check(strings.Count(hub.Log(), "established with") == 1, "more than one IKE SA:\n%s", hub.Log())
}

func twoNamesakes(l *labnet.Lab) {
	net, c := withBranch(l)
	hub := net.A.Greseal(side("any", innerA))
	mine := `local_id = "branch.example"`
	first := net.B.Greseal(side(labnet.AddrA, innerB, mine))
	first.WaitUp("t0", 20*time.Second)
	second := c.Greseal(side(labnet.AddrA, innerB, mine))
	l.Wait(60*time.Second, "the hub's word of both", func() bool { return hub.Tunnel("t0").Contention != nil })
	before := hub.Tunnel("t0").IKE.SPIi
	time.Sleep(25 * time.Second)
	t := hub.Tunnel("t0")
	l.Check(t.State == "up" && t.IKE.SPIi == before, "the hub is %s, and changed its peer once more", t.State)
	l.Check((first.Tunnel("t0").State == "up") != (second.Tunnel("t0").State == "up"), "not exactly one branch is up")
	l.Check(contains(hub.Log(), "two peers have the same identity"), "the hub does not say so:\n%s", hub.Log())
	net.Wire.MustBeSealed()
}

// secondBranchSwan: strongSwan takes the refusal for what it is.
func secondBranchSwan(l *labnet.Lab) {
	net, c := withBranch(l)
	hub := net.A.Greseal(side("any", innerA))
	first := net.B.Greseal(side(labnet.AddrA, innerB))
	first.WaitUp("t0", 20*time.Second)
	hub.WaitUp("t0", 20*time.Second)
	second := newSwan(l, c, labnet.Swan{Local: addrC, Remote: labnet.AddrA}, innerB)
	l.Check(second.TryInitiate().Code != 0, "strongSwan's tunnel came up")
	l.Check(contains(second.Log(), "AUTHENTICATION_FAILED"), "strongSwan saw no refusal:\n%s", second.Log())
	t := hub.Tunnel("t0")
	l.Check(t.State == "up" && t.UpCount == 1 && t.Contention != nil && strings.HasPrefix(t.Peer.Address, labnet.AddrB), "the hub is %s with %s", t.State, t.Peer.Address)
	net.B.MustPing(innerA, 5)
	net.Wire.MustBeSealed()
}

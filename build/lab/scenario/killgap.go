package scenario

import (
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"greseal/build/lab/labnet"
	"greseal/tunnel/status"
)

// greseal is killed with SIGKILL under a ping of 100 a second, and started again at
// once, in either role. With the kernel datapath the SAs go on meanwhile: at most one
// ping of such a second is lost in the median, and never a second of them. With the
// userspace datapath the gap is the start and one handshake. strongSwan and libreswan send on the new SA before they can know that
// greseal has it (RFC 7296 section 2.8): such packets don't count. Seen, too: the
// interface keeps its index; the tunnel's events and the daemon's count say what
// happened; no inherited SA is left in the end, and nothing of protocol 47 was in the
// clear.
//
// LAB_KILLS is how often (4), LAB_SEED where the random moments come from (1).
func init() {
	for _, role := range []string{"initiator", "responder"} {
		name := "killed at random moments under a ping, " + role
		addOnce(
			Scenario{Name: name, Peer: Greseal, Paths: both, Run: func(l *labnet.Lab) { killedUnderPing(l, role, pairOf) }},
			Scenario{Name: name, Peer: StrongSwan, Paths: both, Run: func(l *labnet.Lab) { killedUnderPing(l, role, withSwan) }},
			Scenario{Name: name, Peer: "libreswan", Paths: kernel, Where: VM, Interop: true, Run: func(l *labnet.Lab) { killedUnderPing(l, role, withLibreswan) }},
		)
	}
}

// pairOf is a tunnel with another greseal, up.
func pairOf(l *labnet.Lab, role string) (*labnet.Pair, *labnet.Greseal) {
	net := l.NewPair()
	remotes := []string{labnet.AddrB, "any"}
	if role == "responder" {
		remotes = []string{"any", labnet.AddrA}
	}
	g := net.A.Greseal(side(remotes[0], innerA))
	net.B.Greseal(side(remotes[1], innerB))
	g.WaitUp("t0", 20*time.Second)
	return net, g
}

func withSwan(l *labnet.Lab, role string) (*labnet.Pair, *labnet.Greseal) {
	w := newWorld(l, func(w *world) {
		w.responder = role == "responder"
		w.swanConfig.DPD = "5s"
	})
	w.up()
	return w.net, w.greseal
}

func withLibreswan(l *labnet.Lab, role string) (*labnet.Pair, *labnet.Greseal) {
	r := interopRow{auth: "psk", role: role, datapath: "kernel", mode: "tunnel", nat: "none", path: "1500"}
	w, _ := r.libreswan(l)
	w.raisePeerGRE()
	return w.net, w.greseal
}

func killedUnderPing(l *labnet.Lab, role string, start func(*labnet.Lab, string) (*labnet.Pair, *labnet.Greseal)) {
	rounds, seed := fromEnv("LAB_KILLS", 4), fromEnv("LAB_SEED", 1)
	random := rand.New(rand.NewPCG(uint64(seed), 48))
	net, g := start(l, role)
	net.A.WaitPing(innerB, 10*time.Second)
	before, crashes := g.Tunnel("t0"), g.Status().Daemon.Crashes // in this folder, by an earlier run
	time.Sleep(time.Second)                                      // one that lives for less is not started again at once
	var lost, early []int
	var gaps, back []time.Duration
	for round := range rounds {
		ping := net.A.StartPing(innerB, 10*time.Millisecond)
		time.Sleep(200*time.Millisecond + time.Duration(random.Int64N(int64(200*time.Millisecond))))
		begin := time.Now()
		g.Kill()
		g.Launch()
		now := ownSAs(l, g)
		back = append(back, time.Since(begin))
		time.Sleep(time.Second)
		got := ping.Stop()
		gaps, lost = append(gaps, ping.LongestGap()), append(lost, got.Sent-got.Received)
		early = append(early, sentEarly(net, now.Child.SPIIn, now.Child.SPIOut))
		l.Logf("round %d: %v, gap %v, own SAs after %v, %d packets came for them before", round, got, ping.LongestGap(), back[round], early[round])
		l.Check(now.Interface.Index == before.Interface.Index, "the interface's index is %d, was %d", now.Interface.Index, before.Interface.Index)
		l.Check(slices.ContainsFunc(now.Events, func(e status.Event) bool { return e.Kind == "takeover" }), "the events do not say that it was taken over: %+v", now.Events)
		n := g.Status().Daemon.Crashes - crashes
		l.Check(n == uint64(round+1), "%d crashes are counted of %d", n, round+1)
	}
	if l.Datapath == "kernel" {
		l.Wait(30*time.Second, "no SAs but its own are left", func() bool { return strings.Count(net.A.MustRun("ip", "xfrm", "state"), "proto esp") == 2 })
		rest := make([]int, rounds)
		for i := range rest {
			rest[i] = lost[i] - early[i]
		}
		l.Check(median(rest) <= 1, "%d pings are lost in the median: %v, %v of them sent too early by the peer", median(lost), lost, early)
		l.Check(slices.Max(gaps) <= time.Second, "gaps of %v", gaps)
	} else {
		for i := range gaps {
			l.Check(gaps[i] <= back[i]+50*time.Millisecond, "a gap of %v where greseal was back after %v", gaps[i], back[i])
		}
	}
	if n := net.Wire.Count(labnet.GRE); n > 0 {
		l.Leakf("%d packets of protocol 47 in the clear: %s", n, net.Wire.Summary())
	}
	net.Wire.MustBeWhole()
	l.Fact("%d kills: %d pings lost in the median, %d at worst, %d sent too early by the peer, gaps of %v and %v, own SAs after %v", rounds,
		median(lost), slices.Max(lost), sum(early), median(gaps).Round(time.Millisecond), slices.Max(gaps).Round(time.Millisecond), median(back).Round(time.Millisecond))
}

// ownSAs waits until the tunnel is up with an IKE SA of this life.
func ownSAs(l *labnet.Lab, g *labnet.Greseal) (t status.Tunnel) {
	l.Wait(60*time.Second, "the tunnel is up with SAs of its own", func() bool {
		if r, err := g.Ask(status.Request{Op: status.OpStatus}); err == nil && r.Snapshot != nil && len(r.Snapshot.Tunnels) == 1 {
			t = r.Snapshot.Tunnels[0]
		}
		return t.State == status.StateUp && t.IKE != nil && t.Child != nil
	})
	return t
}

func sum(list []int) (n int) {
	for _, x := range list {
		n += x
	}
	return n
}

func median[T int | time.Duration](list []T) T {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}

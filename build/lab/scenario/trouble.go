package scenario

import (
	"crypto/rand"
	"time"

	"greseal/build/lab/labnet"
)

// Things that go wrong. strongSwan or greseal is killed and started again, and
// waits for the other side, which finds out long before the dead threshold; the
// kernel's SAs are flushed by hand; half-open handshakes make the other side
// ask for a cookie. Seen: the tunnel comes back by itself, with one IKE SA; and
// protocol 47 never leaves in the clear, although pings into the tunnel go on.
func init() {
	add(
		Scenario{Name: "peer killed and started again", Peer: StrongSwan, Paths: both, Run: peerKilled},
		Scenario{Name: "greseal killed and started again", Peer: StrongSwan, Paths: both, Run: gresealKilled},
		Scenario{Name: "SAs flushed by hand", Peer: StrongSwan, Paths: kernel, Run: flushed},
	)
	addOnce(
		Scenario{Name: "cookie asked of greseal", Peer: StrongSwan, Paths: userspace, Run: cookie},
		Scenario{Name: "both initiate at once", Peer: StrongSwan, Paths: both, Run: bothInitiate},
	)
}

func peerKilled(l *labnet.Lab) {
	w := newWorld(l, func(w *world) { w.lines = []string{`dpd = "1s"`, `dpd_suspect = "3s"`} })
	w.up()
	w.pings()
	ping := w.net.A.StartPing(innerB, 20*time.Millisecond)
	w.swan.Kill()
	w.net.B.Run("ip", "xfrm", "state", "flush")
	w.greseal.WaitState("t0", "suspect", 10*time.Second)
	w.swan.Start()
	w.swan.Load(w.swan.config)
	w.Wait(60*time.Second, "the tunnel up again", func() bool {
		t := w.greseal.Tunnel("t0")
		return t.State == "up" && t.UpCount == 2
	})
	ping.Stop()
	if w.swan.end != nil { // bound to the ipsec0 of the old charon
		w.swan.end.Close()
		w.swan.end = nil
		w.swan.raiseGRE()
	}
	w.pings()
	w.oneSA()
	w.net.Wire.MustBeSealed()
}

func gresealKilled(l *labnet.Lab) {
	w := newWorld(l, func(w *world) {
		// With the kernel datapath there is no INITIAL_CONTACT while the SAs of the life
		// before carry packets: strongSwan's liveness check ends its old IKE SA.
		w.swanConfig.DPD = "2s"
		w.swanConfig.Options = "retransmit_tries = 2\n retransmit_timeout = 1"
	})
	w.up()
	w.pings()
	ping := w.net.A.StartPing(innerB, 20*time.Millisecond)
	w.greseal.Kill()
	time.Sleep(300 * time.Millisecond)
	w.greseal.Start()
	ownSAs(l, w.greseal)
	w.pings()
	ping.Stop()
	w.oneSA()
	w.pings()
	w.net.Wire.MustBeSealed()

	// And killed for good, then started with a config without the tunnel: all
	// that was there goes.
	if l.Datapath == "kernel" {
		text := w.net.A.MustRun("nft", "list", "ruleset")
		l.Check(contains(text, `"t0"`), "nothing clamps the MSS on t0:\n%s", text)
	}
	w.greseal.Kill()
	w.greseal.Write(labnet.Tunnel("other", `remote = "203.0.113.9"`, `psk = "`+psk+`"`))
	w.greseal.Start()
	w.Wait(10*time.Second, "the interface left behind removed", func() bool { return w.net.A.LinkIndex("t0") == 0 })
	if l.Datapath == "kernel" {
		text := w.net.A.MustRun("ip", "xfrm", "state") + w.net.A.MustRun("ip", "xfrm", "policy")
		l.Check(!contains(text, labnet.AddrB), "states or policies were left behind:\n%s", text)
		w.Wait(10*time.Second, "the clamp left behind removed", func() bool {
			return !contains(w.net.A.MustRun("nft", "list", "ruleset"), `"t0"`)
		})
	}
	w.net.Wire.MustBeSealed()
}

func flushed(l *labnet.Lab) {
	w := newWorld(l, nil)
	w.up()
	w.pings()
	ping := w.net.A.StartPing(innerB, 10*time.Millisecond)
	before := w.net.Wire.Count(labnet.ESP, labnet.AddrA)
	w.net.A.MustRun("ip", "xfrm", "state", "flush")
	time.Sleep(time.Second)
	after := w.net.Wire.Count(labnet.ESP, labnet.AddrA)
	got := ping.Stop()
	l.Check(got.Received < got.Sent, "pings were answered without SAs: %v", got)
	w.net.Wire.MustBeSealed()
	l.Logf("%d and %d ESP packets from greseal before and after", before, after)
	w.greseal.Must("restart", "t0")
	w.greseal.WaitUp("t0", 20*time.Second)
	w.pings()
	w.net.Wire.MustBeSealed()
}

// cookie sends strongSwan handshakes that nobody goes on with, until it asks
// for cookies; greseal's second IKE_SA_INIT must bring its own back.
func cookie(l *labnet.Lab) {
	w := newWorld(l, func(w *world) {
		w.swanConfig.Options = "cookie_threshold = 1\n cookie_threshold_ip = 1\n block_threshold = 0\n half_open_timeout = 60"
	})
	w.up()
	w.greseal.Must("down", "t0")
	w.swan.WaitGone(waitGone)
	request := firstRequest(w, labnet.AddrA)
	for range 4 {
		rand.Read(request[:8])
		labnet.SendUDP(w.net.A, labnet.AddrA, labnet.AddrB, 500, request)
	}
	time.Sleep(200 * time.Millisecond)
	before := w.initRequests()
	w.greseal.Must("up", "t0")
	w.greseal.WaitUp("t0", 20*time.Second)
	w.pings()
	l.Check(w.initRequests() == before+2, "%d IKE_SA_INIT requests instead of one without and one with a cookie", w.initRequests()-before)
	w.net.Wire.MustBeSealed()
}

// firstRequest is the first IKE_SA_INIT request that came from an address.
func firstRequest(w *world, from string) []byte {
	for _, p := range w.net.Wire.Packets() {
		if p.Kind == labnet.IKE && len(p.Payload) >= 28 && p.Payload[18] == 34 && p.Src.String() == from {
			return append([]byte(nil), p.Payload...)
		}
	}
	w.Failf("no IKE_SA_INIT request of %s on the wire", from)
	return nil
}

// bothInitiate: strongSwan initiates at the moment greseal starts. One of the
// two IKE SAs must survive, with one Child SA.
func bothInitiate(l *labnet.Lab) {
	w := newWorld(l, func(w *world) { w.swanConfig.Conn = "unique = replace" })
	w.swan = newSwan(l, w.net.B, w.swanConfig, innerB)
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.swan.TryInitiate()
	}()
	w.greseal = w.net.A.Greseal(w.config())
	w.greseal.WaitUp("t0", 30*time.Second)
	<-done
	w.oneSA()
	w.swan.raiseGRE()
	w.pings()
	w.net.Wire.MustBeSealed()
}

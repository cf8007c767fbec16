package scenario

import (
	"strings"
	"time"

	"greseal/build/lab/labnet"
)

// Settings are changed while packets flow: a new IKE SA is made with the new ones beside
// the one in use, which stays until the peer takes them. Seen: no ping of 100 a second is
// lost, whichever side is changed first; what status says in between; the interface's
// index; the wire.
func init() {
	addOnce(
		Scenario{Name: "a new key on one side, then on the other", Peer: Greseal, Paths: both, Run: rotateKey},
		Scenario{Name: "a new key here, then at the peer, initiator", Peer: StrongSwan, Paths: both, Run: func(l *labnet.Lab) { rotateWithSwan(l, "initiator") }},
		Scenario{Name: "a new key here, then at the peer, responder", Peer: StrongSwan, Paths: both, Run: func(l *labnet.Lab) { rotateWithSwan(l, "responder") }},
		Scenario{Name: "settings change while packets flow", Peer: Greseal, Paths: both, Run: changeWhileFlowing},
	)
}

const oldInUse = "the settings from before are still in use"

// flowing is a pair with pings through it.
type flowing struct {
	*labnet.Lab
	net  *labnet.Pair
	a, b *labnet.Greseal
	ping *labnet.Pinger
	at   int // index of A's interface
}

func newFlowing(l *labnet.Lab) *flowing {
	f := &flowing{Lab: l, net: l.NewPair()}
	f.a = f.net.A.Greseal(side(labnet.AddrB, innerA))
	f.b = f.net.B.Greseal(side("any", innerB))
	f.at = f.a.WaitUp("t0", 20*time.Second).Interface.Index
	f.net.A.WaitPing(innerB, 10*time.Second)
	f.ping = f.net.A.StartPing(innerB, 10*time.Millisecond)
	return f
}

// change writes a side's settings again and applies them.
func (f *flowing) change(g *labnet.Greseal, config string) {
	g.Write(config)
	out := g.Must("apply", "-c", g.Config)
	f.Check(contains(out, "beside"), "apply does not say what it costs: %s", out)
}

// taken waits until both sides have another IKE SA than was, with the present settings.
func (f *flowing) taken(was string) string {
	f.Wait(f.Stretch(50*time.Second), "an IKE SA with the new settings", func() bool {
		t := f.a.Tunnel("t0")
		return t.State == "up" && t.IKE != nil && t.IKE.SPIi+t.IKE.SPIr != was && t.Reason == "" && f.b.Tunnel("t0").Reason == ""
	})
	samePair(f.Lab, f.a, f.b)
	t := f.a.Tunnel("t0")
	f.Check(t.UpCount == 1 && t.Interface.Index == f.at, "the tunnel was down: up %d times, interface %d, before %d", t.UpCount, t.Interface.Index, f.at)
	return t.IKE.SPIi + t.IKE.SPIr
}

// end checks the pings and the wire.
func (f *flowing) end() {
	got := f.ping.Stop()
	f.Check(got.Received == got.Sent, "pings: %v, longest gap %v", got, f.ping.LongestGap())
	f.Fact("%v", got)
	f.net.Wire.MustBeSealed()
}

func rotateKey(l *labnet.Lab) {
	f := newFlowing(l)
	spis := f.taken("")
	config := func(remote, inner, key string) string {
		return strings.Replace(side(remote, inner), psk, key, 1)
	}
	for i, key := range []string{"lab-Rw8hYq2LxTz5Vn3KpJc7", "lab-Gm4dBs9XvQe6Hu1WfNa0"} {
		first, then := f.a, f.b
		one, other := config(labnet.AddrB, innerA, key), config("any", innerB, key)
		if i == 1 {
			first, then, one, other = then, first, other, one
		}
		time.Sleep(l.Stretch(500 * time.Millisecond))
		f.change(first, one)
		l.Wait(l.Stretch(20*time.Second), "why the old key is still in use", func() bool { return contains(first.Tunnel("t0").Reason, oldInUse) })
		t := first.Tunnel("t0")
		l.Check(t.State == "up" && t.Code == "AUTH_FAILED" && t.Remedy != "", "status: %s, %s, %s", t.State, t.Code, t.Remedy)
		time.Sleep(l.Stretch(500 * time.Millisecond))
		f.change(then, other)
		spis = f.taken(spis)
	}

	// Changed on one side, and the other restarted meanwhile: the old key is accepted.
	time.Sleep(l.Stretch(500 * time.Millisecond))
	f.end()
	f.change(f.b, config("any", innerB, "lab-Zk2tPw7MyRc5Jv9EhDx1"))
	f.a.Must("restart", "t0")
	f.a.WaitUp("t0", l.Stretch(20*time.Second))
	f.net.A.WaitPing(innerB, 10*time.Second)
	l.Wait(5*time.Second, "what the peer authenticated with", func() bool { return contains(f.b.Log(), "authenticates as before the settings were changed") })
	f.change(f.a, config(labnet.AddrB, innerA, "lab-Zk2tPw7MyRc5Jv9EhDx1"))
	l.Wait(l.Stretch(50*time.Second), "the new key", func() bool { return contains(f.b.Log(), "the peer has taken the new settings") })

	// Restarted before the other side has the new key: the old one is written down.
	f.b.Stop()
	f.b.Write(config("any", innerB, "lab-Xc6bNm3WqSe8Jr1YuTk4\"\npsk_old = \"lab-Zk2tPw7MyRc5Jv9EhDx1"))
	f.b.Start()
	f.a.WaitUp("t0", l.Stretch(60*time.Second))
	f.net.A.WaitPing(innerB, l.Stretch(60*time.Second))
	l.Wait(5*time.Second, "what the peer authenticated with", func() bool { return contains(f.b.Log(), "authenticates as before the settings were changed") })
	f.change(f.a, config(labnet.AddrB, innerA, "lab-Xc6bNm3WqSe8Jr1YuTk4"))
	l.Wait(l.Stretch(50*time.Second), "the new key", func() bool { return contains(f.b.Log(), "the peer has taken the new settings") })
	l.Check(!contains(f.a.Log()+f.b.Log(), "lab-Zk2t") && !contains(f.a.Log()+f.b.Log(), "lab-Xc6b"), "a key is in the log")
}

// rotateWithSwan changes the key at greseal, and at strongSwan later.
func rotateWithSwan(l *labnet.Lab, role string) {
	w := newWorld(l, func(w *world) { w.responder = role == "responder" })
	was := w.up()
	w.pings()
	ping := w.net.A.StartPing(innerB, 10*time.Millisecond)
	const key = "lab-Rw8hYq2LxTz5Vn3KpJc7"
	w.greseal.Write(strings.Replace(w.config(), psk, key, 1))
	w.greseal.Must("apply", "-c", w.greseal.Config)
	l.Wait(l.Stretch(80*time.Second), "why the old key is still in use", func() bool { return contains(w.greseal.Tunnel("t0").Reason, oldInUse) })
	time.Sleep(l.Stretch(500 * time.Millisecond))
	c := w.swan.Swan
	c.PSK = key
	w.swan.Load(c)
	l.Wait(l.Stretch(50*time.Second), "an IKE SA with the new key", func() bool {
		t := w.greseal.Tunnel("t0")
		return t.State == "up" && t.IKE != nil && t.IKE.SPIi != was.IKE.SPIi && t.Reason == ""
	})
	w.oneSA()
	time.Sleep(l.Stretch(500 * time.Millisecond))
	got := ping.Stop()
	l.Check(got.Received == got.Sent, "pings: %v, longest gap %v", got, ping.LongestGap())
	l.Check(w.greseal.Tunnel("t0").UpCount == 1, "the tunnel was down for a moment")
	w.net.Wire.MustBeSealed()
	l.Fact("%v", got)
}

func changeWhileFlowing(l *labnet.Lab) {
	f := newFlowing(l)
	spis := f.taken("")

	// Towards an address where nobody is: the tunnel stays.
	f.change(f.a, side("203.0.113.9", innerA))
	l.Wait(l.Stretch(90*time.Second), "why the old address is still in use", func() bool { return contains(f.a.Tunnel("t0").Reason, oldInUse) })
	l.Check(f.a.Tunnel("t0").State == "up", "the tunnel is down")
	f.change(f.a, side(labnet.AddrB, innerA))
	spis = f.taken(spis)

	for _, lines := range [][]string{{`encap = "always"`}, {`encap = "never"`}, {`mode = "transport"`}, {`local_id = "branch.example.test"`}, {`local = "wan"`}, nil} {
		f.change(f.a, side(labnet.AddrB, innerA, lines...))
		spis = f.taken(spis)
	}
	f.end()
}

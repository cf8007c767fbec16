package scenario

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"greseal/build/lab/labnet"
	"greseal/tunnel/status"
)

// greseal against itself: with fixed addresses on both sides, so that both
// initiate at once, and as initiator and responder; over IPv4 and IPv6; the
// two datapaths with each other; a config that changes while it runs. Seen:
// one IKE SA on each side, the same one; pings both ways; wire sealed.
func init() {
	for _, o := range []struct{ name, mode, encap, a, b string }{
		{"bring-up", "tunnel", "auto", labnet.AddrA, labnet.AddrB},
		{"bring-up, bare ESP", "tunnel", "never", labnet.AddrA, labnet.AddrB},
		{"bring-up, transport mode", "transport", "auto", labnet.AddrA, labnet.AddrB},
		{"bring-up, transport mode, bare ESP", "transport", "never", labnet.AddrA, labnet.AddrB},
		{"bring-up, IPv6 outside", "tunnel", "auto", labnet.AddrA6, labnet.AddrB6},
		{"bring-up, IPv6 outside, transport mode, bare ESP", "transport", "never", labnet.AddrA6, labnet.AddrB6},
	} {
		add(Scenario{Name: o.name, Peer: Greseal, Paths: both, Run: func(l *labnet.Lab) {
			net := l.NewPair()
			lines := []string{`mode = "` + o.mode + `"`, `encap = "` + o.encap + `"`}
			a := net.A.Greseal(side(o.b, innerA, lines...))
			b := net.B.Greseal(side("any", innerB, lines...))
			ta, tb := a.WaitUp("t0", 20*time.Second), b.WaitUp("t0", 5*time.Second)
			net.A.WaitPing(innerB, 10*time.Second)
			net.A.MustPing(innerB, 20)
			net.B.MustPing(innerA, 20)
			l.Check(ta.IKE.Role == "initiator" && tb.IKE.Role == "responder", "roles are %s and %s", ta.IKE.Role, tb.IKE.Role)
			l.Check(ta.Outside.Mode == o.mode, "mode is %s", ta.Outside.Mode)
			l.Check(o.encap != "never" || ta.Outside.Encap == "esp", "encapsulation is %s: %s", ta.Outside.Encap, ta.Outside.EncapWhy)
			l.Check(len(net.Wire.Packets()) > 0 && (o.encap != "never" || net.Wire.Count(labnet.ESPinUDP) == 0), "the wire: %s", net.Wire.Summary())
			a.Stop()
			b.Stop()
			net.Wire.MustBeSealed()
			l.Fact("%s %s", ta.IKE.Suite, ta.Child.Suite)
		}})
	}
	add(
		Scenario{Name: "rekeying", Peer: Greseal, Paths: both, Run: pairRekey},
		Scenario{Name: "packets of every size", Peer: Greseal, Paths: both, Run: pairSizes},
		Scenario{Name: "kernel on one side, userspace on the other", Peer: Greseal, Paths: kernel, Where: VM, Run: mixed},
	)
	addOnce(
		Scenario{Name: "both initiate at once", Peer: Greseal, Paths: both, Run: pairAtOnce},
		Scenario{Name: "reload touches changed tunnels only", Peer: Greseal, Paths: both, Run: reload},
	)
}

// side is the config of one side with the tunnel "t0".
func side(remote, inner string, lines ...string) string {
	return labnet.Tunnel("t0", append([]string{fmt.Sprintf("remote = %q", remote), fmt.Sprintf("psk = %q", psk), fmt.Sprintf("address = [\"%s/30\"]", inner)}, lines...)...)
}

// samePair waits until both sides have the same one IKE SA and Child SA.
func samePair(l *labnet.Lab, a, b *labnet.Greseal) {
	l.Wait(20*time.Second, "the same IKE SA and Child SA on both sides", func() bool {
		ta, tb := a.Tunnel("t0"), b.Tunnel("t0")
		return ta.State == "up" && tb.State == "up" && ta.IKE != nil && tb.IKE != nil && ta.Child != nil && tb.Child != nil &&
			ta.IKE.SPIi == tb.IKE.SPIi && ta.IKE.SPIr == tb.IKE.SPIr && ta.Child.SPIIn == tb.Child.SPIOut && ta.Child.SPIOut == tb.Child.SPIIn &&
			ta.IKE.Children == 1 && tb.IKE.Children == 1
	})
}

func pairAtOnce(l *labnet.Lab) {
	net := l.NewPair()
	a := net.A.Greseal(side(labnet.AddrB, innerA))
	b := net.B.Greseal(side(labnet.AddrA, innerB))
	samePair(l, a, b)
	net.A.WaitPing(innerB, 5*time.Second)
	for round := range 3 {
		// Both lose everything at the same time and begin again.
		done := make(chan string, 2)
		for _, g := range []*labnet.Greseal{a, b} {
			go func() { done <- g.Do("restart", "t0").Out() }()
		}
		l.Logf("round %d: %s %s", round, <-done, <-done)
		samePair(l, a, b)
		net.A.WaitPing(innerB, 5*time.Second)
	}
	net.A.MustPing(innerB, 20)
	net.B.MustPing(innerA, 20)
	net.Wire.MustBeSealed()
}

func pairRekey(l *labnet.Lab) {
	net := l.NewPair()
	// Both sides have the same lifetimes, so their rekeyings collide now and
	// then.
	child := l.Stretch(3 * time.Second)
	lines := []string{fmt.Sprintf("child_lifetime = %q", child), fmt.Sprintf("ike_lifetime = %q", child*5/3)}
	a := net.A.Greseal(side(labnet.AddrB, innerA, lines...))
	b := net.B.Greseal(side(labnet.AddrA, innerB, lines...))
	a.WaitUp("t0", 20*time.Second)
	b.WaitUp("t0", 20*time.Second)
	net.A.WaitPing(innerB, 5*time.Second)
	ping := net.A.StartPing(innerB, 10*time.Millisecond)
	time.Sleep(4 * child)
	got := ping.Stop()
	l.Check(got.Received == got.Sent, "rekeying lost pings: %v", got)
	ta, tb := a.Tunnel("t0"), b.Tunnel("t0")
	l.Check(ta.UpCount == 1 && tb.UpCount == 1, "the tunnel came up %d and %d times", ta.UpCount, tb.UpCount)
	l.Check(ta.Child != nil && ta.IKE != nil && ta.Child.Rekeys >= 2 && ta.IKE.Rekeys >= 1, "too few rekeys: %+v %+v", ta.Child, ta.IKE)
	net.Wire.MustBeSealed()
	l.Fact("%d pings, none lost, %d and %d rekeys", got.Sent, ta.Child.Rekeys, ta.IKE.Rekeys)
}

func pairSizes(l *labnet.Lab) {
	net := l.NewPair()
	a := net.A.Greseal(side(labnet.AddrB, innerA))
	net.B.Greseal(side("any", innerB))
	everySize(l, net, a.WaitUp("t0", 20*time.Second))
}

func mixed(l *labnet.Lab) {
	net := l.NewPair()
	a := net.A.Greseal(side(labnet.AddrB, innerA))
	b := net.B.Greseal("[daemon]\ndatapath = \"userspace\"\n\n" + side("any", innerB))
	a.WaitUp("t0", 20*time.Second)
	l.Check(a.Status().Daemon.Datapath == "kernel" && b.Status().Daemon.Datapath == "userspace", "the datapaths are not as asked")
	net.A.WaitPing(innerB, 10*time.Second)
	net.A.MustPing(innerB, 20)
	net.B.MustPing(innerA, 20)
	net.Wire.MustBeSealed()
}

// reload changes one of two tunnels by SIGHUP while both are pinged: the other
// must not lose a packet nor its SAs. A broken config changes nothing.
func reload(l *labnet.Lab) {
	net := l.NewPair()
	net.A.Addr("wan", "192.0.2.2/24")
	net.B.Addr("wan", "198.51.100.2/24")
	two := func(remote1, remote2, inner1, inner2, local1, local2, extra string) string {
		return labnet.Tunnel("t1", "remote = \""+remote1+"\"", "local = \""+local1+"\"", `psk = "`+psk+`"`, `address = ["`+inner1+`"]`) +
			labnet.Tunnel("t2", "remote = \""+remote2+"\"", "local = \""+local2+"\"", `psk = "`+psk+`"`, `address = ["`+inner2+`"]`, extra)
	}
	config := func(extra string) string {
		return two(labnet.AddrB, "198.51.100.2", "10.255.1.2/30", "10.255.2.2/30", labnet.AddrA, "192.0.2.2", extra)
	}
	a := net.A.Greseal(config(""))
	net.B.Greseal(two(labnet.AddrA, "192.0.2.2", "10.255.1.1/30", "10.255.2.1/30", labnet.AddrB, "198.51.100.2", ""))
	a.WaitUp("t1", 20*time.Second)
	a.WaitUp("t2", 20*time.Second)
	net.A.WaitPing("10.255.1.1", 5*time.Second)
	net.A.WaitPing("10.255.2.1", 5*time.Second)
	before1, before2 := a.Tunnel("t1"), a.Tunnel("t2")
	ping := net.A.StartPing("10.255.1.1", 10*time.Millisecond)

	a.Write(config(`esp = "aes256gcm16"`))
	plan, err := a.Ask(status.Request{Op: status.OpPlan})
	l.Check(err == nil && len(plan.Lines) == 1 && contains(plan.Lines[0], "t2: "), "the plan is not the one change: %+v, %v", plan, err)
	a.Reload()
	l.Wait(20*time.Second, "the second tunnel with its new suite", func() bool {
		t := a.Tunnel("t2")
		return t.State == "up" && t.Child != nil && strings.HasPrefix(t.Child.Suite, "aes256gcm16")
	})
	l.Check(a.Tunnel("t2").Interface.Index == before2.Interface.Index, "the changed tunnel's interface has another index")

	a.Write(config("esp = \"aes256gcm16\"\nmodus = 7"))
	r := a.Do("apply", "-c", a.Config)
	l.Check(r.Code == 2 || r.Code == 1, "a broken config was applied with code %d", r.Code)
	l.Check(strings.Contains(r.Out(), "modus") && strings.Contains(r.Out(), "t2"), "the refusal does not name the key and the tunnel: %s", r.Out())
	a.Reload()
	time.Sleep(300 * time.Millisecond)
	net.A.MustPing("10.255.2.1", 5)
	r = a.Do("doctor", "t1")
	l.Check(contains(r.Out(), "modus") && contains(r.Out(), "greseal apply"), "doctor does not warn of the file: %s", r.Out())

	got := ping.Stop()
	after1 := a.Tunnel("t1")
	l.Check(got.Received == got.Sent, "the untouched tunnel lost pings: %v", got)
	l.Check(after1.Child.SPIIn == before1.Child.SPIIn && after1.UpCount == 1, "the untouched tunnel was touched")

	// Changed while it is down: it comes up with the settings as they are then.
	a.Must("down", "t2")
	a.Write(strings.ReplaceAll(config(""), "198.51.100.2", "198.51.100.77"))
	a.Reload()
	l.Wait(10*time.Second, "the new remote", func() bool { return slices.Contains(a.Tunnel("t2").Peer.Configured, "198.51.100.77") })
	a.Must("up", "t2")
	peer := a.WaitState("t2", "connecting", 10*time.Second).Peer.Address
	l.Check(strings.HasPrefix(peer, "198.51.100.77:"), "it is brought up with %s", peer)
	names := []string{}
	for _, t := range a.Status().Tunnels {
		names = append(names, t.Name)
	}
	l.Check(slices.Equal(names, []string{"t1", "t2"}), "the tunnels are %v", names)
	net.Wire.MustBeSealed()
}

func contains(text, part string) bool { return strings.Contains(text, part) }

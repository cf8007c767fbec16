package scenario

import (
	"fmt"
	"strings"
	"time"

	"greseal/build/lab/labnet"
	"greseal/tunnel/status"
)

// The two ends' own interfaces take packets of different sizes, so that each comes to
// another MTU alone. Seen: both give their tunnel interfaces the lower one, and OSPF,
// which compares them, comes up; they follow when it changes, downward and upward; a
// configured MTU is followed by the other side, and named where it is the larger.
func init() {
	addOnce(Scenario{Name: "both ends have the same MTU", Peer: Greseal, Paths: both, Run: sameMTU})
}

func sameMTU(l *labnet.Lab) {
	net := l.NewPair()
	net.A.MTU("wan", 1400)
	a := net.A.Greseal(side(labnet.AddrB, innerA, `encap = "always"`))
	b := net.B.Greseal(side("any", innerB))
	a.WaitUp("t0", 20*time.Second)
	b.WaitUp("t0", 20*time.Second)
	is := func(what string, n int) (ta, tb status.Tunnel) {
		l.Wait(30*time.Second, what, func() bool {
			ta, tb = a.Tunnel("t0"), b.Tunnel("t0")
			has := func(ns *labnet.NS) bool {
				return strings.Contains(ns.MustRun("ip", "link", "show", "t0"), fmt.Sprintf("mtu %d ", n))
			}
			return ta.State == "up" && tb.State == "up" && ta.MTU.Bytes == n && tb.MTU.Bytes == n && ta.MTU.Peer != 0 && tb.MTU.Peer != 0 && has(net.A) && has(net.B)
		})
		return ta, tb
	}
	_, tb := is("1314 on both sides", 1314)
	l.Check(tb.MTU.Decides == status.MTUOfPeer && contains(tb.MTU.Why, "the peer's MTU is 1314"), "B says: %s: %s", tb.MTU.Decides, tb.MTU.Why)
	l.Check(tb.MTU.MSS4 == 1274, "B clamps to %d", tb.MTU.MSS4)
	net.B.Addr("lo", "10.77.0.1/32")
	fa := net.A.OSPF("t0", "10.255.0.2")
	net.B.OSPF("t0", "10.255.0.1")
	fa.WaitFull(60 * time.Second)

	net.A.MTU("wan", 1380)
	is("1294 on both sides", 1294)
	net.A.MTU("wan", 1400)
	is("1314 again", 1314)
	a.Must("restart", "t0")
	a.WaitUp("t0", 20*time.Second)
	is("1314 after a new IKE SA", 1314)

	b.Write(side("any", innerB, `mtu = 1300`))
	b.Reload()
	is("the 1300 that B has configured", 1300)
	b.Write(side("any", innerB, `mtu = 1350`))
	b.Reload()
	l.Wait(20*time.Second, "the word that they differ", func() bool {
		return strings.Contains(b.Log(), "set mtu = 1314, or leave it out") && b.Tunnel("t0").MTU.Differs != "" && a.Tunnel("t0").MTU.Bytes == 1314
	})
	doctor := strings.Join(strings.Fields(b.Do("doctor", "t0").Out()), " ")
	l.Check(contains(doctor, "set mtu = 1314, or leave it out on both sides"), "doctor does not say so:\n%s", doctor)
	net.Wire.MustBeSealed()
}

package scenario

import (
	"time"

	"greseal/build/lab/labnet"
)

// The way loses UDP 4500. Seen: what doctor names first is what status and metrics say
// from then on, with the side it lies on, until the tunnel comes up.
func init() {
	addOnce(Scenario{Name: "one cause: status says what doctor found", Peer: Greseal, Paths: userspace, Run: oneCause})
}

func oneCause(l *labnet.Lab) {
	net := l.NewPair()
	dropOnWay(net, "udp dport 4500")
	a := net.A.Greseal(side(labnet.AddrB, innerA))
	net.B.Greseal(side("any", innerB))
	l.Wait(30*time.Second, "a cause", func() bool { return a.Tunnel("t0").Code != "" })

	found := a.Do("doctor", "t0").Out()
	t := a.Tunnel("t0")
	l.Check(t.Side == "path" && len(t.Evidence) > 0 && t.Remedy != "" && t.Found > 0 && t.Confirmed >= t.Found, "the cause is %s on side %s, evidence %q, remedy %q", t.Reason, t.Side, t.Evidence, t.Remedy)
	l.Check(contains(found, t.Evidence[0]) || contains(found, "the first failing step is udp-4500"), "doctor says:\n%s", found)
	l.Check(contains(a.Must("status", "--prometheus"), `greseal_tunnel_cause_info{tunnel="t0",code="NO_ANSWER",side="path"} 1`), "the metrics say something else")

	net.Router.MustRun("nft", "delete table ip fault")
	a.WaitUp("t0", 90*time.Second)
	l.Check(a.Tunnel("t0").Code == "", "the cause is still there")
	net.Wire.MustBeSealed()
}

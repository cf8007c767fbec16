package scenario

import (
	"time"

	"greseal/build/lab/labnet"
)

// The lab itself: strongSwan speaks GRE over IPsec with strongSwan through the
// lab's wire, and everything the other scenarios rely on is seen to work: the
// capture tells ESP from GRE, lists and commands of swanctl are understood,
// pings are counted. A capture that could not see clear GRE would prove
// nothing, so at the end GRE is sent in the clear on purpose and must be found.
func init() {
	add(
		Scenario{Name: "lab self-check, tunnel mode", Peer: StrongSwan, Run: func(l *labnet.Lab) { selfCheck(l, false) }},
		Scenario{Name: "lab self-check, transport mode", Peer: StrongSwan, Where: VM, Run: func(l *labnet.Lab) { selfCheck(l, true) }},
	)
}

func selfCheck(l *labnet.Lab, transport bool) {
	net := l.NewPair()
	a := newSwan(l, net.A, labnet.Swan{Local: labnet.AddrA, Remote: labnet.AddrB, Transport: transport}, innerA)
	b := newSwan(l, net.B, labnet.Swan{Local: labnet.AddrB, Remote: labnet.AddrA, Transport: transport}, innerB)
	a.Initiate()
	b.WaitUp(5 * time.Second)
	took, ok := net.Wire.IKETime()
	l.Check(ok, "no IKE handshake on the wire")
	l.Fact("IKE %.1f ms", took.Seconds()*1000)
	a.raiseGRE()
	b.raiseGRE()
	net.A.MustPing(innerB, 20)

	before := a.List()
	l.Check(before.IKE == 1 && before.Children == 1 && len(before.ESPSPIs) == 2, "the list of SAs was not understood: %+v", before)
	ping := net.A.StartPing(innerB, 10*time.Millisecond)
	a.RekeyChild()
	l.Wait(10*time.Second, "a new Child SA", func() bool {
		now := a.List()
		return now.IKE == 1 && now.Children == 1 && now.ESPSPIs[0] != before.ESPSPIs[0]
	})
	b.RekeyIKE()
	l.Wait(10*time.Second, "a new IKE SA", func() bool {
		now := a.List()
		return now.IKE == 1 && now.Children == 1 && now.IKESPIs[0] != before.IKESPIs[0]
	})
	got := ping.Stop()
	l.Check(got.Received == got.Sent, "rekeying lost pings: %v", got)
	net.Wire.MustBeSealed()
	l.Check(net.Wire.Count(labnet.ESPinUDP) == 0 || !labnet.KernelESP(), "UDP encapsulation without a NAT: %s", net.Wire.Summary())

	a.TerminateIKE()
	b.WaitGone(5 * time.Second)
	net.Router.Must("send GRE in the clear", func() error { return labnet.SendClearGRE(labnet.RouterA, labnet.AddrA) })
	l.Check(net.Wire.Count(labnet.GRE) == 1, "the capture does not see clear GRE: %s", net.Wire.Summary())
}

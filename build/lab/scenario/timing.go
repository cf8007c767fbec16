package scenario

import (
	"fmt"
	"slices"
	"time"

	"greseal/build/lab/labnet"
)

// How long a tunnel takes: 20 times `greseal up` to the first ping answered,
// and on the wire from the first IKE_SA_INIT request to the last IKE_AUTH
// response. The goal is 50 ms and 3 ms by the median; a busy machine is no
// defect, so the figures are told and not judged.
func init() {
	add(Scenario{Name: "time to set up", Peer: Greseal, Paths: userspace, Where: Host, Alone: true, Run: setupTime})
}

func setupTime(l *labnet.Lab) {
	net := l.NewPair()
	a := net.A.Greseal(side(labnet.AddrB, innerA))
	net.B.Greseal(side("any", innerB))
	a.WaitUp("t0", 20*time.Second)
	var whole, ike []time.Duration
	for i := range 20 {
		a.Must("down", "t0")
		time.Sleep(150 * time.Millisecond)
		wire := net.Router.Capture(fmt.Sprintf("wire-%02d", i), "to-a")
		ping := net.A.StartPing(innerB, time.Millisecond)
		begin := time.Now()
		a.Must("up", "t0")
		l.Wait(10*time.Second, "the first ping answered", func() bool { return !ping.FirstAnswer().IsZero() })
		whole = append(whole, ping.FirstAnswer().Sub(begin))
		ping.Quit()
		took, ok := wire.IKETime()
		l.Check(ok, "no handshake on the wire")
		ike = append(ike, took)
		wire.MustBeSealed()
		wire.Close()
	}
	slices.Sort(whole)
	slices.Sort(ike)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	l.Fact("up to first answer %.1f/%.1f/%.1f ms, IKE on the wire %.1f/%.1f/%.1f ms (min/median/max of 20; goal 50 and 3)",
		ms(whole[0]), ms(whole[10]), ms(whole[19]), ms(ike[0]), ms(ike[10]), ms(ike[19]))
}

package scenario

import (
	"strings"
	"time"

	"greseal/build/lab/labnet"
)

// A tunnel comes up against strongSwan: greseal in either role, in either mode,
// with and without UDP encapsulation. Seen: pings cross both ways; the status
// and strongSwan's own list agree on role, mode, suites and SPIs; on the wire
// ESP looks as asked for, and neither protocol 47 nor a ping's payload shows
// itself from the first packet on.
func init() {
	for _, mode := range []string{"tunnel", "transport"} {
		for _, encap := range []string{"auto", "always", "never"} {
			for _, role := range []string{"initiator", "responder"} {
				s := Scenario{Name: "bring-up, " + role + ", " + mode + " mode, encap " + encap, Peer: StrongSwan, Paths: both,
					Run: func(l *labnet.Lab) { bringUp(l, role, mode, encap) }}
				if mode == "transport" || encap == "never" {
					s.Where = VM // kernel-libipsec has neither
				}
				add(s)
			}
		}
	}
}

func bringUp(l *labnet.Lab, role, mode, encap string) {
	w := newWorld(l, func(w *world) {
		w.responder = role == "responder"
		w.swanConfig.Transport = mode == "transport"
		w.swanConfig.Encap = encap == "always"
		w.lines = []string{`mode = "` + mode + `"`, `encap = "` + encap + `"`}
	})
	first := w.up()
	w.pings()

	l.Check(first.IKE.Role == role, "role is %s", first.IKE.Role)
	l.Check(first.IKE.Suite == "aes256gcm16-prfsha384-x25519", "IKE suite is %s", first.IKE.Suite)
	l.Check(first.Child.Suite == "aes128gcm16", "ESP suite is %s", first.Child.Suite)
	l.Check(first.Outside.Mode == mode, "mode is %s", first.Outside.Mode)
	sas := w.swan.List()
	l.Check(sas.Mode == strings.ToUpper(mode), "strongSwan's mode is %s", sas.Mode)
	w.oneSA()
	w.counters()

	// In userspace UDP is asked for by itself; strongSwan's encap = yes and
	// kernel-libipsec ask for it too.
	udp := encap == "always" || encap == "auto" && l.Datapath == "userspace"
	w.net.Wire.MustBeSealed()
	l.Wait(10*time.Second, "the capture to show the last packets", func() bool {
		return w.net.Wire.Count(labnet.ESPinUDP)+w.net.Wire.Count(labnet.ESP) >= 80
	})
	inUDP, bare := w.net.Wire.Count(labnet.ESPinUDP), w.net.Wire.Count(labnet.ESP)
	if udp {
		l.Check(bare == 0 && inUDP >= 80 && first.Outside.Encap == "udp", "wanted ESP in UDP; status: %s (%s); wire: %s", first.Outside.Encap, first.Outside.EncapWhy, w.net.Wire.Summary())
	} else {
		l.Check(inUDP == 0 && bare >= 80 && first.Outside.Encap == "esp", "wanted bare ESP; status: %s (%s); wire: %s", first.Outside.Encap, first.Outside.EncapWhy, w.net.Wire.Summary())
	}
	w.statusCommand()
	after := w.greseal.Tunnel("t0")
	l.Check(after.In.Packets >= 40 && after.Out.Packets >= 40, "the status counted %d packets in, %d out", after.In.Packets, after.Out.Packets)

	w.greseal.Stop()
	w.swan.WaitGone(waitGone)
	w.net.Wire.MustBeSealed()
	l.Check(w.net.A.LinkIndex("t0") == 0, "the interface is still there after SIGTERM")
}

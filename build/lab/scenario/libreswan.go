package scenario

import (
	"fmt"
	"strings"
	"time"

	"greseal/build/lab/labnet"
)

// libreswan of Debian sid, which has no ESP of its own: with the kernel's, in the
// virtual machine. Seen: the tunnel up in either role and mode, with and without
// a NAT; pings; libreswan rekeys the Child SA and the IKE SA, and no ping is lost;
// then greseal does. As responder libreswan sends on the new Child SA at once,
// before it can know that greseal has it (RFC 7296 section 2.8): no more pings may
// be lost than the wire shows of such packets. And the wire stays sealed.
func init() {
	for _, o := range []struct{ role, mode, nat, path string }{
		{"initiator", "tunnel", "none", "kernel"},
		{"responder", "transport", "none", "kernel"},
		{"initiator", "tunnel", "initiator", "userspace"},
	} {
		r := interopRow{auth: "psk", role: o.role, datapath: o.path, mode: o.mode, nat: o.nat, path: "1500"}
		add(Scenario{Name: r.name(), Peer: "libreswan", Paths: []string{o.path}, Where: VM, Interop: true, Run: r.playLibreswan})
	}
}

// libreswan begins a tunnel with it.
func (r interopRow) libreswan(l *labnet.Lab, lines ...string) (*world, *labnet.Libreswan) {
	root := sidRoot(l, "libreswan")
	w := r.world(l)
	w.lines = append(append(w.lines, lines...), `esp = "aes128gcm16"`, `ike = "aes256gcm16-prfsha384-x25519"`)
	seen := w.swanConfig.Remote
	pluto := w.net.B.Libreswan(root, strings.Join([]string{
		"\tleft=" + labnet.AddrB, "\tright=" + strings.Replace(seen, "%any", labnet.RouterB, 1),
		"\tleftid=@" + nameB, "\trightid=@" + nameA,
		"\tleftsubnet=" + labnet.AddrB + "/32", "\trightsubnet=" + labnet.AddrA + "/32", "\tleftprotoport=gre", "\trightprotoport=gre",
		"\tauthby=secret", "\ttype=" + r.mode, "\tkeyexchange=ikev2", "\tike=aes_gcm256-sha2_384-dh31", "\tesp=aes_gcm128-none-dh31", "\tpfs=yes",
	}, "\n"), fmt.Sprintf("@%s @%s : PSK \"%s\"\n", nameB, nameA, psk))
	w.greseal = w.net.A.Greseal(labnet.Tunnel("t0", w.lines...))
	if w.responder {
		w.greseal.WaitState("t0", "listening", 10*time.Second)
		pluto.Initiate()
	}
	w.greseal.WaitUp("t0", 30*time.Second)
	return w, pluto
}

func (r interopRow) playLibreswan(l *labnet.Lab) {
	life := l.Stretch(12 * time.Second)
	w, pluto := r.libreswan(l, fmt.Sprintf("child_lifetime = %q", life), fmt.Sprintf("ike_lifetime = %q", life*3/2))
	first := w.greseal.Tunnel("t0")
	w.raisePeerGRE()
	w.pings()
	l.Check(first.Outside.Mode == r.mode && first.IKE.NATLocal == (r.nat != "none"), "mode is %s, behind a NAT: %v", first.Outside.Mode, first.IKE.NATLocal)

	ping := w.net.A.StartPing(innerB, 10*time.Millisecond)
	for _, rekey := range []func(){pluto.RekeyChild, pluto.RekeyIKE} {
		old := w.greseal.Tunnel("t0")
		rekey()
		w.Wait(10*time.Second, "the new SA", func() bool {
			t := w.greseal.Tunnel("t0")
			return t.Child != nil && t.IKE != nil && (t.Child.SPIIn != old.Child.SPIIn || t.IKE.SPIi != old.IKE.SPIi)
		})
	}
	got := ping.Stop()
	l.Check(got.Received == got.Sent, "rekeying by libreswan lost pings: %v", got)
	old := w.greseal.Tunnel("t0")
	l.Check(w.net.Wire.Exchanges(36, labnet.AddrB)+w.net.Wire.Exchanges(36, labnet.RouterB) >= 2 || r.nat != "none", "libreswan did not begin these rekeyings")
	ping = w.net.A.StartPing(innerB, 10*time.Millisecond)
	pairs := map[string]string{} // SPIs in and out
	w.Wait(l.Stretch(40*time.Second), "rekeys by greseal", func() bool {
		t := w.greseal.Tunnel("t0")
		if t.Child != nil {
			pairs[t.Child.SPIIn] = t.Child.SPIOut
		}
		return t.State == "up" && t.Child != nil && t.IKE != nil && t.Child.Rekeys > old.Child.Rekeys && t.IKE.Rekeys > old.IKE.Rekeys
	})
	later := ping.Stop()
	early := 0
	for in, out := range pairs {
		if in != old.Child.SPIIn {
			early += sentEarly(w.net, in, out)
		}
	}
	l.Check(later.Sent-later.Received <= early, "rekeying by greseal lost pings: %v; libreswan sent %d packets on new SAs too early", later, early)
	after := w.greseal.Tunnel("t0")
	l.Check(after.UpCount == 1, "the tunnel came up %d times", after.UpCount)
	w.peerKernelHas(after.Child)
	w.greseal.Stop()
	w.net.Wire.MustBeSealed()
	l.Fact("%s, %s; %d pings during libreswan's rekeys, none lost; %d of %d during greseal's, libreswan was early with %d packets",
		after.IKE.Suite, after.Child.Suite, got.Sent, later.Sent-later.Received, later.Sent, early)
}

// sentEarly counts the packets that came for a Child SA of greseal's before greseal
// had sent its first one on it, both SPIs in hex digits.
func sentEarly(net *labnet.Pair, in, out string) int {
	n := 0
	for _, p := range net.Wire.Packets() {
		if p.Kind != labnet.ESP && p.Kind != labnet.ESPinUDP {
			continue
		}
		switch fmt.Sprintf("%08x", p.SPI()) {
		case in:
			n++
		case out:
			return n
		}
	}
	return n
}

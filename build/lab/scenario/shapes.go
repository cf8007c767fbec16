package scenario

import (
	"fmt"
	"time"

	"greseal/build/lab/labnet"
	"greseal/tunnel/status"
)

// The other shapes of a tunnel: each optional field of the GRE header, IPv6
// outside, IPv6 inside, packets of every size up to the interface's MTU, and a
// NAT in between. Seen: pings cross both ways; the GRE endpoint on the other
// side, which checks every field, refuses nothing; the wire stays sealed.
func init() {
	for _, o := range []labnet.GREOptions{
		{HasKey: true, Key: 0x01020304}, {Sequence: true}, {Checksum: true}, {HasKey: true, Key: 7, Sequence: true, Checksum: true},
	} {
		name := "GRE"
		if o.HasKey {
			name += " key"
		}
		if o.Sequence {
			name += " sequence"
		}
		if o.Checksum {
			name += " checksum"
		}
		add(Scenario{Name: name, Peer: StrongSwan, Paths: both, Run: func(l *labnet.Lab) { greFields(l, o) }})
	}
	add(
		Scenario{Name: "IPv6 outside", Peer: StrongSwan, Paths: both, Where: VM, Run: func(l *labnet.Lab) { ipv6Outside(l, "tunnel") }},
		Scenario{Name: "IPv6 outside, transport mode", Peer: StrongSwan, Paths: both, Where: VM, Run: func(l *labnet.Lab) { ipv6Outside(l, "transport") }},
		Scenario{Name: "IPv6 inside", Peer: StrongSwan, Paths: both, Run: ipv6Inside},
		// kernel-libipsec fragments above 1400 bytes, whatever the MTU of its device.
		Scenario{Name: "packets of every size", Peer: StrongSwan, Paths: both, Where: VM, Run: swanSizes},
		Scenario{Name: "NAT before greseal", Peer: StrongSwan, Paths: both, Run: behindNAT},
	)
}

func greFields(l *labnet.Lab, o labnet.GREOptions) {
	w := newWorld(l, func(w *world) {
		w.gre = o
		if o.HasKey {
			w.lines = append(w.lines, fmt.Sprintf("gre.key = %d", o.Key))
		}
		if o.Sequence {
			w.lines = append(w.lines, "gre.sequence = true")
		}
		if o.Checksum {
			w.lines = append(w.lines, "gre.checksum = true")
		}
	})
	w.up()
	w.pings()
	if w.swan.end != nil {
		l.Check(len(w.swan.end.Bad()) == 0, "the other GRE endpoint refused: %v", w.swan.end.Bad())
	}
	w.net.Wire.MustBeSealed()
}

func ipv6Outside(l *labnet.Lab, mode string) {
	w := newWorld(l, func(w *world) {
		w.v6 = true
		w.lines = []string{`mode = "` + mode + `"`}
		w.swanConfig.Transport = mode == "transport"
	})
	t := w.up()
	w.pings()
	l.Check(t.Outside.Mode == mode, "mode is %s", t.Outside.Mode)
	w.counters()
	w.net.Wire.MustBeSealed()
}

func ipv6Inside(l *labnet.Lab) {
	w := newWorld(l, func(w *world) { w.lines = []string{`routes = ["2001:db8:cc::/64"]`} })
	w.up()
	w.swan.ns.Addr("gre1", "2001:db8:cc::1/64")
	w.swan.ns.Route("2001:db8:dd::/64", "", "gre1")
	w.net.A.Addr("lo", "2001:db8:dd::1/128")
	w.net.A.WaitPing("2001:db8:cc::1", 10*time.Second)
	w.net.A.MustPing("2001:db8:cc::1", 20)
	w.net.B.MustPing("2001:db8:dd::1", 20)
	w.net.Wire.MustBeSealed()
}

// swanSizes gives strongSwan's end the MTU that greseal computed.
func swanSizes(l *labnet.Lab) {
	w := newWorld(l, nil)
	t := w.up()
	w.swan.ns.MTU("gre1", t.MTU.Bytes)
	everySize(l, w.net, t)
}

// everySize sends pings that are exactly as large as the interface lets
// through, and some sizes below, with DF set; none may be lost, and none may
// leave the outer path's 1500 bytes.
func everySize(l *labnet.Lab, net *labnet.Pair, t status.Tunnel) {
	net.A.NoSegmentation("wan")
	net.B.NoSegmentation("wan")
	net.Router.NoSegmentation("to-a")
	net.Router.NoSegmentation("to-b")
	net.A.WaitPing(innerB, 10*time.Second)
	l.Check(t.MTU.Bytes >= 1380, "the MTU is only %d: %s", t.MTU.Bytes, t.MTU.Why)
	for size := t.MTU.Bytes - 17; size <= t.MTU.Bytes; size++ {
		r := net.A.Run("ping", "-n", "-c", "2", "-i", "0.01", "-W", "2", "-M", "do", "-s", fmt.Sprint(size-28), innerB)
		l.Check(r.Code == 0, "a packet of %d bytes does not cross an interface with MTU %d (%s): %s", size, t.MTU.Bytes, t.MTU.Why, r.Out())
	}
	big := net.A.Run("ping", "-n", "-c", "1", "-W", "1", "-M", "do", "-s", fmt.Sprint(t.MTU.Bytes-27), innerB)
	l.Check(big.Code != 0, "a packet above the MTU with DF was answered")
	net.Wire.MustBeSealed()
	largest := 0
	for _, p := range net.Wire.Packets() {
		largest = max(largest, p.Size())
	}
	l.Fact("MTU %d, largest packet outside %d", t.MTU.Bytes, largest)
	l.Check(largest <= 1500, "a packet of %d bytes left", largest)
}

// behindNAT puts a masquerading router before greseal. Both sides must find it
// and use UDP 4500; the Child SA's selector is greseal's private address.
func behindNAT(l *labnet.Lab) {
	w := newWorld(l, func(w *world) {
		w.swanConfig.RemoteTS = labnet.AddrA + "/32[47]"
	})
	w.net.Router.MustRun("nft", "add table ip nat; add chain ip nat post { type nat hook postrouting priority 100; }; add rule ip nat post oifname to-b masquerade")
	w.swanConfig.Remote, w.swanConfig.RemoteID = "%any", labnet.AddrA
	w.swan = newSwan(l, w.net.B, w.swanConfig, innerB)
	w.greseal = w.net.A.Greseal(w.config())
	t := w.greseal.WaitUp("t0", 20*time.Second)
	w.swan.config.Remote = labnet.AddrA
	w.swan.raiseGRE()
	w.pings()
	l.Check(t.IKE.NATLocal, "the NAT was not found")
	l.Check(t.Outside.Encap == "udp", "encapsulation is %q: %s", t.Outside.Encap, t.Outside.EncapWhy)
	l.Check(w.net.Wire.Count(labnet.ESP) == 0, "bare ESP behind a NAT: %s", w.net.Wire.Summary())
	w.swan.RekeyChild()
	w.pings()
	w.swan.RekeyIKE()
	w.pings()
	w.net.Wire.MustBeSealed()
}

package scenario

import (
	"fmt"
	"strings"
	"time"

	"greseal/build/lab/labnet"
)

// GRE whole. Ethernet: two bridges joined by the tunnel, and behind each a host
// with a VLAN; frames of 1500 bytes and a tag pass, though each is more than the
// path takes, and so do broadcast and multicast, on which the hosts find each
// other. Class and time to live: what is set shows outside, ECN goes in, comes out, and brings along
// the congestion that a router on the way marked. Two tunnels between the same
// two addresses are told apart by their keys, each packet coming out where it
// belongs, also when the other side's kernel sends both on one SA.
func init() {
	add(Scenario{Name: "DSCP, ECN and TTL", Peer: Greseal, Paths: both, Run: classes})
	addOnce(
		Scenario{Name: "bridged Ethernet, VLAN frames of 1500 bytes", Peer: Greseal, Paths: both, Where: VM, Run: bridged},
		Scenario{Name: "two tunnels told apart by key", Peer: Greseal, Paths: both, Run: func(l *labnet.Lab) { twoByKey(l, l.Datapath) }},
		Scenario{Name: "two tunnels told apart by key, kernel and userspace", Peer: Greseal, Paths: kernel, Where: VM, Run: func(l *labnet.Lab) { twoByKey(l, "userspace") }},
	)
}

func bridged(l *labnet.Lab) {
	net := l.NewPair()
	frames := func(remote string) string {
		return labnet.Tunnel("t0", fmt.Sprintf("remote = %q", remote), fmt.Sprintf("psk = %q", psk), `gre.type = "ethernet"`, `gre.bridge = "br-lan"`, "gre.ignore_df = true", "mtu = 1500")
	}
	hosts := []*labnet.NS{l.NewNS("host-a"), l.NewNS("host-b")}
	for i, router := range []*labnet.NS{net.A, net.B} {
		router.MustRun("ip", "link", "add", "br-lan", "type", "bridge")
		l.Veth(hosts[i], "eth0", router, "lan")
		router.MustRun("ip", "link", "set", "lan", "master", "br-lan")
		router.LinkUp("br-lan")
		hosts[i].MustRun("ip", "link", "add", "link", "eth0", "name", "eth0.7", "type", "vlan", "id", "7")
		hosts[i].LinkUp("eth0.7")
		hosts[i].Addr("eth0", fmt.Sprintf("172.16.0.%d/24", i+1))
		hosts[i].Addr("eth0.7", fmt.Sprintf("172.16.7.%d/24", i+1))
		hosts[i].Addr("eth0.7", fmt.Sprintf("fd00:7::%d/64", i+1))
	}
	a := net.A.Greseal(frames(labnet.AddrB))
	net.B.Greseal(frames("any"))
	t := a.WaitUp("t0", 20*time.Second)
	l.Check(t.Interface.Bridge == "br-lan" && t.MTU.Bytes == 1500, "the interface: %+v, MTU %d", t.Interface, t.MTU.Bytes)
	hosts[0].WaitPing("172.16.0.2", 20*time.Second)
	hosts[0].WaitPing("fd00:7::2", 20*time.Second)
	for _, to := range []string{"172.16.0.2", "172.16.7.2"} {
		r := hosts[0].Run("ping", "-n", "-c", "20", "-i", "0.02", "-w", "15", "-M", "do", "-s", "1472", to)
		l.Check(r.Code == 0, "packets of 1500 bytes to %s: %s", to, r.Out())
	}
	hosts[1].MustPing("172.16.7.1", 10)
	net.Wire.MustBeSealed()
}

func classes(l *labnet.Lab) {
	net := l.NewPair()
	lines := []string{`mode = "transport"`, `encap = "never"`, `gre.tos = "inherit"`, "gre.ttl = 77"}
	a := net.A.Greseal(side(labnet.AddrB, innerA, lines...))
	b := net.B.Greseal(side("any", innerB, lines...))
	a.WaitUp("t0", 20*time.Second)
	b.WaitUp("t0", 20*time.Second)
	net.A.WaitPing(innerB, 10*time.Second)
	// The router marks congestion on what says it can bear it.
	net.Router.MustRun("nft", "add table ip marks; add chain ip marks pre { type filter hook prerouting priority -150; }; add rule ip marks pre ip saddr "+labnet.AddrA+" ip protocol esp ip ecn ect0 ip ecn set ce")
	net.B.MustRun("nft", "add table ip seen; add chain ip seen in { type filter hook input priority 0; }; add rule ip seen in iifname t0 ip ecn ce ip dscp ef counter")
	const class = 46<<2 | 2 // EF, ECT(0)
	net.A.MustRun("ping", "-n", "-c", "10", "-i", "0.02", "-w", "15", "-Q", fmt.Sprint(class), innerB)
	seen := net.B.MustRun("nft", "list", "table", "ip", "seen")
	l.Check(!strings.Contains(seen, "counter packets 0 "), "the congestion mark did not come out with the packets: %s", seen)
	marked, outside := 0, 0
	for _, p := range net.Wire.Packets() {
		if p.Kind == labnet.ESP && p.Src.String() == labnet.AddrA {
			outside++
			l.Check(p.TTL() == 77, "a packet left with TTL %d", p.TTL())
			if p.Class() == class {
				marked++
			}
		}
	}
	l.Check(marked >= 10, "%d of %d packets carry class %#x outside", marked, outside, class)
	net.Wire.MustBeSealed()
}

func twoByKey(l *labnet.Lab, other string) {
	net := l.NewPair()
	two := func(remote, ours, theirs string, host int) string {
		var text string
		for key := 1; key <= 2; key++ {
			text += labnet.Tunnel(fmt.Sprintf("t%d", key), fmt.Sprintf("remote = %q", remote), fmt.Sprintf("psk = %q", psk),
				fmt.Sprintf("gre.key = %d", key), fmt.Sprintf("address = [\"10.255.%d.%d/30\"]", key, host),
				fmt.Sprintf("local_id = \"%s%d.example.test\"", ours, key), fmt.Sprintf("remote_id = \"%s%d.example.test\"", theirs, key))
		}
		return text
	}
	a := net.A.Greseal(two(labnet.AddrB, "a", "b", 2))
	b := net.B.Greseal(fmt.Sprintf("[daemon]\ndatapath = %q\n\n", other) + two(labnet.AddrA, "b", "a", 1))
	for _, name := range []string{"t1", "t2"} {
		a.WaitUp(name, 30*time.Second)
		b.WaitUp(name, 30*time.Second)
	}
	for round := range 2 {
		for key := 1; key <= 2; key++ {
			net.A.WaitPing(fmt.Sprintf("10.255.%d.1", key), 10*time.Second)
			net.A.MustPing(fmt.Sprintf("10.255.%d.1", key), 20)
			net.B.MustPing(fmt.Sprintf("10.255.%d.2", key), 20)
		}
		if round == 0 { // the other order of SAs
			a.Must("restart", "t1")
			l.Wait(20*time.Second, "t1 up again", func() bool { t := a.Tunnel("t1"); return t.State == "up" && t.UpCount == 2 })
			b.WaitUp("t1", 20*time.Second)
		}
	}
	a.Must("down", "t1")
	net.A.WaitPing("10.255.2.1", 10*time.Second)
	net.A.MustPing("10.255.2.1", 20)
	net.A.MustNotPing("10.255.1.1", 3)
	net.Wire.MustBeSealed()
}

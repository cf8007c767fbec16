package scenario

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"greseal/build/lab/labnet"
)

// Somebody takes away or changes what greseal has laid. Seen: iproute2, XFRM and nft
// show it as before within seconds, packets pass again, and the log said what was put
// right; what somebody may have meant, or cannot be put right, is in the status with a
// remedy, which is then carried out literally.
func init() {
	addOnce(
		Scenario{Name: "somebody changes what is laid", Peer: Greseal, Paths: both, Run: changedByHand},
		Scenario{Name: "somebody changes what is laid, a port of a bridge", Peer: Greseal, Paths: both, Run: bridgeByHand},
		Scenario{Name: "interface set down by hand", Peer: Greseal, Paths: both, Run: setDownByHand},
		Scenario{Name: "start without CAP_NET_ADMIN", Peer: Greseal, Paths: userspace, Run: startWithoutAdmin},
	)
}

var anotherEachTime = regexp.MustCompile(`^\d+: |qlen \d+|spi 0x\w+|reqid \w+|fe80::\S+|ptype main|index \d+|bridge_slave .* addrgenmode`)

// laidOn is what stands on a machine for the tunnel t0, without what is another each
// time: indices, SPIs, ages, counters.
func laidOn(l *labnet.Lab, n *labnet.NS) string {
	text := ""
	for _, c := range []string{
		"ip -d -o link show dev t0", "ip -br addr show dev t0", "ip route show table all dev t0", "ip -6 route show table all dev t0",
		"ip route show proto 147", "ip -6 route show proto 147", "ip xfrm policy", "nft list table inet greseal",
	} {
		// The kernel makes one of the other where an interface has no hardware address.
		out := strings.ReplaceAll(n.Run(strings.Fields(c)...).Out(), "addrgenmode random", "addrgenmode eui64")
		lines := strings.Split(out, "\n")
		if strings.Contains(c, "route") {
			lines = slices.DeleteFunc(lines, func(line string) bool {
				return strings.Contains(line, "broadcast") || strings.Contains(line, "multicast") || strings.Contains(line, "anycast") || strings.Contains(line, "fe80::")
			})
		}
		for i, line := range lines {
			lines[i] = strings.TrimSpace(anotherEachTime.ReplaceAllString(line, ""))
		}
		if strings.HasPrefix(c, "ip xfrm") { // one policy in a line
			lines = strings.Split(strings.ReplaceAll(strings.Join(lines, " "), " src ", "\nsrc "), "\n")
			for i, line := range lines {
				lines[i] = strings.TrimSpace(line)
			}
		}
		if !strings.HasPrefix(c, "nft") {
			slices.Sort(lines)
		}
		text += "# " + c + "\n" + strings.Join(lines, "\n") + "\n"
	}
	return text
}

// byHand carries out a command and waits until everything is as it was.
func byHand(l *labnet.Lab, n *labnet.NS, g *labnet.Greseal, command string, says string) {
	before, said := laidOn(l, n), len(g.Log())
	for _, c := range strings.Split(command, "; ") {
		r := n.Run(strings.Fields(c)...)
		if strings.Contains(r.Out(), "Device or resource busy") {
			l.Logf("%s: kernels before 6.2 refuse it", command)
			return
		}
		l.Check(r.Code == 0, "%s: %s", c, r.Out())
	}
	begun, after := time.Now(), ""
	deadline := begun.Add(l.Stretch(20 * time.Second))
	for after = laidOn(l, n); after != before || !strings.Contains(g.Log()[said:], says); after = laidOn(l, n) {
		if time.Now().After(deadline) {
			l.Failf("%s: not as before, or %q was not said:\n%s\ninstead of\n%s\nsaid:\n%s", command, says, after, before, g.Log()[said:])
		}
		time.Sleep(100 * time.Millisecond)
	}
	g.WaitUp("t0", 30*time.Second)
	n.WaitPing(innerB, 20*time.Second)
	l.Logf("%s: as before after %v", command, time.Since(begun).Round(100*time.Millisecond))
}

func changedByHand(l *labnet.Lab) {
	net := l.NewPair()
	a := net.A.Greseal(side(labnet.AddrB, innerA, `routes = ["10.9.0.0/24"]`, "gre.key = 7"))
	net.B.Greseal(side("any", innerB, "gre.key = 7"))
	a.WaitUp("t0", 30*time.Second)
	net.A.WaitPing(innerB, 10*time.Second)
	steps := [][2]string{
		{"ip route flush dev t0", "put right"},
		{"ip addr flush dev t0", "put right"},
		{"ip route del unreachable 10.9.0.0/24 metric 4294967295", "put right"},
		{"ip link set t0 mtu 1300", "put right"},
		{"ip link set t0 name other", "put right"},
		{"ip link set t0 alias other", "put right"},
		{"ip link del t0", "deleted the interface"},
	}
	if l.Datapath == "userspace" {
		steps = append(steps, [][2]string{
			{"ip link set t0 addrgenmode none", "addr_gen_mode"},
			{"ip link set t0 gso_max_size 5000", "gso_max_size"},
		}...)
	} else {
		steps = append(steps, [][2]string{
			{"ip link set t0 addrgenmode eui64", "addr_gen_mode"},
			{"ip link set t0 mode default", "liveness"},
			{"ip xfrm policy flush", "put right"},
			{"ip xfrm policy delete dir in src " + labnet.AddrB + " dst 0.0.0.0/0 proto 47", "guard " + labnet.AddrB},
			{"ip xfrm state flush", ""},
			{"nft flush ruleset", "MSS clamp"},
			{"nft delete chain inet greseal prerouting", "MSS clamp"},
			{"ip link set t0 type gre local " + labnet.AddrA + " remote 192.0.2.77 key 7", "put right"},
		}...)
	}
	for _, s := range steps {
		byHand(l, net.A, a, s[0], s[1])
	}
	// A group may be meant for somebody's firewall: it stays.
	net.A.MustRun("ip", "link", "set", "t0", "group", "7")
	byHand(l, net.A, a, "ip route flush dev t0", "put right")
	l.Check(contains(net.A.MustRun("ip", "link", "show", "t0"), "group 7"), "its group was changed")
	if l.Datapath == "kernel" {
		replaceSA(l, net.A, a, "")
		replaceSA(l, net.A, a, "5")
	}
	status := a.Tunnel("t0")
	l.Check(len(status.Differs) == 0, "the status says that something differs: %q", status.Differs)
	l.Fact("%d changes", len(steps))
}

var anySA = regexp.MustCompile(`src (\S+) dst ([^\s\\]+)\s*\\?\s*proto esp spi (0x\w+) reqid (\d+) mode (\w+)`)

// replaceSA puts another SA in the place of one, of another reqid where one is given.
func replaceSA(l *labnet.Lab, n *labnet.NS, g *labnet.Greseal, reqid string) {
	sa := anySA.FindStringSubmatch(n.MustRun("ip", "-o", "xfrm", "state"))
	l.Check(sa != nil, "there is no SA")
	if reqid == "" {
		reqid = sa[4]
	}
	id := fmt.Sprintf("src %s dst %s proto esp spi %s", sa[1], sa[2], sa[3])
	byHand(l, n, g, fmt.Sprintf("ip xfrm state delete %s; ip xfrm state add %[1]s reqid %s mode %s aead rfc4106(gcm(aes)) 0x%040x 128", id, reqid, sa[5], 7), "deleted one of our SAs")
}

func bridgeByHand(l *labnet.Lab) {
	net := l.NewPair()
	lan := func(n *labnet.NS, inner string) {
		for _, c := range []string{"ip link add br-lan type bridge", "ip link set br-lan up", "ip addr add " + inner + "/30 dev br-lan"} {
			n.MustRun(strings.Fields(c)...)
		}
	}
	config := func(remote string) string {
		return labnet.Tunnel("t0", fmt.Sprintf("remote = %q", remote), fmt.Sprintf("psk = %q", psk), `gre.type = "ethernet"`, `gre.bridge = "br-lan"`)
	}
	lan(net.A, innerA)
	lan(net.B, innerB)
	a := net.A.Greseal(config(labnet.AddrB))
	net.B.Greseal(config("any"))
	a.WaitUp("t0", 30*time.Second)
	net.A.WaitPing(innerB, 10*time.Second)
	byHand(l, net.A, a, "ip link set t0 nomaster", "put right")
	byHand(l, net.A, a, "ip link del br-lan; ip link add br-lan type bridge; ip link set br-lan up; ip addr add "+innerA+"/30 dev br-lan", "put right")

	net.A.MustRun("ip", "link", "del", "br-lan")
	l.Wait(10*time.Second, "word of the missing bridge", func() bool {
		t := a.Tunnel("t0")
		return t.State == "down" && contains(t.Reason, "bridge br-lan does not exist") && t.Interface.Bridge == ""
	})
	net.A.MustRun(strings.Fields(a.Tunnel("t0").Remedy)...)
	net.A.MustRun("ip", "link", "set", "br-lan", "up")
	net.A.MustRun("ip", "addr", "add", innerA+"/30", "dev", "br-lan")
	a.WaitUp("t0", 20*time.Second)
	net.A.WaitPing(innerB, 20*time.Second)
	l.Check(a.Tunnel("t0").Interface.Bridge == "br-lan", "the status shows the bridge %q", a.Tunnel("t0").Interface.Bridge)

	// A bridge has the least MTU of its ports, for the whole LAN.
	net.A.MustRun("ip", "link", "add", "lan", "type", "veth", "peer", "name", "lan-host")
	net.A.MustRun("ip", "link", "set", "lan", "master", "br-lan")
	narrow := func() string { return strings.Join(a.Tunnel("t0").Differs, "\n") }
	l.Wait(40*time.Second, "word of the narrow bridge", func() bool { return contains(narrow(), "it narrows br-lan to") })
	l.Wait(40*time.Second, "the log", func() bool { return contains(a.Log(), "it narrows br-lan to") })
	l.Check(a.Tunnel("t0").State == "up", "the tunnel is %s", a.Tunnel("t0").State)
	net.A.MustRun("ip", "link", "set", "lan", "nomaster")
	l.Wait(40*time.Second, "no word of it any more", func() bool { return narrow() == "" })
	net.Wire.MustBeSealed()
}

func setDownByHand(l *labnet.Lab) {
	net := l.NewPair()
	a := net.A.Greseal(side(labnet.AddrB, innerA, `routes = ["10.9.0.0/24"]`))
	net.B.Greseal(side("any", innerB))
	a.WaitUp("t0", 30*time.Second)
	net.A.WaitPing(innerB, 10*time.Second)
	net.A.MustRun("ip", "link", "set", "t0", "down")
	l.Wait(10*time.Second, "the status that says so", func() bool { return a.Tunnel("t0").State == "down" })
	t := a.Tunnel("t0")
	l.Check(contains(t.Reason, "set it down") && !t.Interface.Up && !t.Interface.Running, "reason %q, interface %+v", t.Reason, t.Interface)
	l.Check(contains(a.Must("status", "--prometheus"), `greseal_tunnel_up{tunnel="t0"} 0`), "the metrics say that it is up")
	l.Wait(5*time.Second, "the log", func() bool { return strings.Contains(a.Log(), "set it down") })
	mustBeClosed(l, net.A, "10.9.0.1")
	net.A.MustRun(strings.Fields(t.Remedy)...)
	a.WaitUp("t0", 10*time.Second)
	net.A.WaitPing(innerB, 10*time.Second)
	l.Check(contains(net.A.MustRun("ip", "route"), "10.9.0.0/24 dev t0"), "its routes did not come back")
	l.Check(a.Tunnel("t0").UpCount == 1, "the tunnel came up %d times", a.Tunnel("t0").UpCount)
	net.Wire.MustBeSealed()
}

// startWithoutAdmin: nothing can be closed, and nobody is told that it is.
func startWithoutAdmin(l *labnet.Lab) {
	net := l.NewPair()
	a := net.A.Greseal(side(labnet.AddrB, innerA, `routes = ["10.9.0.0/24"]`))
	a.Stop()
	reboot(net.A, a)
	r := net.A.Run("timeout", "20", "setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin", l.Binary, "run", "-c", a.Config)
	l.Check(r.Code == 1 && contains(r.Out(), "NOT CLOSED: tunnels t0") && contains(r.Out(), "CAP_NET_ADMIN"), "exit code %d: %s", r.Code, r.Out())
	l.Check(!contains(r.Out(), "no tunnel packet leaves"), "it says that it is closed: %s", r.Out())
}

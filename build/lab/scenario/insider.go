package scenario

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"greseal/build/lab/labnet"
)

// A peer that is honest up to IKE puts something else than the tunnel's GRE into its
// SA: ICMP, TCP, UDP, IP in IP, GRE of other endpoints. Seen, in either mode: nothing
// of it reaches the machine or comes out of the tunnel's interface, nothing is said
// of it in the clear, and the status counts every packet (RFC 4301 section 5.2), as it
// does one that comes twice, one that nobody sealed, and GRE cut short.
func init() {
	for _, mode := range []string{"tunnel", "transport"} {
		add(Scenario{Name: "other packets in ESP, " + mode + " mode", Peer: Greseal, Paths: both, Where: VM, Run: func(l *labnet.Lab) { otherInESP(l, mode) }})
	}
}

func otherInESP(l *labnet.Lab, mode string) {
	const other = "203.0.113.9"
	net := l.NewPair()
	net.A.Sysctl("net.ipv4.ip_forward", "1")
	lines := []string{`mode = "` + mode + `"`, `encap = "never"`, `esp = "aes128gcm16"`}
	a := net.A.Greseal(side("any", innerA, lines...))
	b := net.B.Greseal("[daemon]\ndatapath = \"kernel\"\n\n" + side(labnet.AddrA, innerB, lines...))
	a.WaitUp("t0", 20*time.Second)
	b.WaitUp("t0", 20*time.Second)
	net.B.WaitPing(innerA, 10*time.Second)

	datagram := []byte{0x0f, 0xa0, 0x0f, 0xa0, 0, 8, 0, 0}
	user := labnet.IPv4(innerB, innerA, 1, labnet.Echo())
	gre := append([]byte{0, 0, 8, 0}, user...)
	user6 := []byte{0x60, 0, 0, 0, 0, 20, 6, 64}
	for _, a := range []string{labnet.AddrB6, labnet.AddrA6} {
		user6 = append(user6, netip.MustParseAddr(a).AsSlice()...)
	}
	user6 = append(user6, labnet.SYN(labnet.AddrB6, labnet.AddrA6)...)
	type row struct {
		what    string
		next    uint8
		payload []byte
	}
	rows := []row{{"ICMP", 1, labnet.Echo()}, {"TCP", 6, labnet.SYN(labnet.AddrB, labnet.AddrA)}, {"UDP", 17, datagram}, {"IPv4 in IP", 4, user}, {"IPv6 in IP", 41, user6}}
	if mode == "tunnel" {
		rows = append(rows, row{"GRE without an inner header", 47, gre})
		for _, r := range rows[:5] {
			rows = append(rows, row{r.what + " behind the inner header", 4, labnet.IPv4(labnet.AddrB, labnet.AddrA, r.next, r.payload)})
		}
		rows = append(rows,
			row{"GRE from another endpoint", 4, labnet.IPv4(other, labnet.AddrA, 47, gre)},
			row{"GRE to another endpoint", 4, labnet.IPv4(labnet.AddrB, other, 47, gre)})
	}
	insider := net.B.Insider(labnet.AddrB, labnet.AddrA)
	before := counted(a)
	taken, received := arrived(net.A), linkReceived(net.A)
	for i, r := range rows {
		insider.Send(r.next, r.payload)
		l.Wait(10*time.Second, r.what+" counted", func() bool { return counted(a)-before > uint64(i) })
	}
	l.Check(counted(a)-before == uint64(len(rows)), "%d of %d packets are counted", counted(a)-before, len(rows))
	l.Check(arrived(net.A) == taken, "%d packets reached the machine's own protocols", arrived(net.A)-taken)
	l.Check(linkReceived(net.A) == received, "%d packets came out of the interface", linkReceived(net.A)-received)
	text := a.Must("status")
	l.Check(strings.Contains(text, "was not a tunnel's GRE inside ESP") || strings.Contains(text, "selector "), "the status does not show them:\n%s", text)
	insider.Again()
	insider.Forge()
	l.Wait(10*time.Second, "a repeated and a forged packet counted", func() bool {
		d := a.Tunnel("t0").Drops
		return d.Replay > 0 && d.Integrity > 0
	})
	if l.Datapath == "userspace" { // the kernel's GRE keeps no such count
		if cut := []byte{0}; mode == "tunnel" {
			insider.Send(4, labnet.IPv4(labnet.AddrB, labnet.AddrA, 47, cut))
		} else {
			insider.Send(47, cut)
		}
		l.Wait(10*time.Second, "a GRE header cut short counted", func() bool { return a.Tunnel("t0").Drops.Malformed > 0 })
	}
	net.B.MustPing(innerA, 5)
	net.Wire.MustHideGRE()
}

// counted is how many packets the status says were dropped after decryption.
func counted(g *labnet.Greseal) (n uint64) {
	for _, c := range g.Status().Daemon.XFRM {
		switch c.Name {
		case "XfrmInStateMismatch", "XfrmInTmplMismatch", "XfrmInNoPols", "XfrmInPolBlock", "XfrmInStateModeError", "XfrmInNoStates":
			n += c.Value
		}
	}
	d := g.Tunnel("t0").Drops
	return n + d.Selector + d.Malformed
}

// arrived counts what reached ICMP, TCP and UDP of a machine: answers to SYNs and to
// datagrams for nobody.
func arrived(n *labnet.NS) (count int) {
	var names []string
	for line := range strings.Lines(n.MustRun("cat", "/proc/net/snmp")) {
		f := strings.Fields(line)
		if len(names) != len(f) || names[0] != f[0] {
			names = f
			continue
		}
		for i, name := range names {
			if name == "InEchos" || name == "OutRsts" || name == "NoPorts" {
				v, _ := strconv.Atoi(f[i])
				count += v
			}
		}
	}
	return count
}

func linkReceived(n *labnet.NS) int {
	v, _ := strconv.Atoi(strings.TrimSpace(n.MustRun("cat", "/sys/class/net/t0/statistics/rx_packets")))
	return v
}

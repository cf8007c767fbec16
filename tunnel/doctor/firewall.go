package doctor

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"greseal/ikev2/wire"
	"greseal/platform/rtnl"
)

// trial is a packet the tunnel depends on, with what to write to let it pass.
type trial struct {
	hook   string
	packet packet
	needed bool   // without it the tunnel cannot come up, or carries nothing
	accept string // the nft rule, less "accept"
}

// checkFirewall follows the packets of the tunnel through the firewall rules of
// this machine, and names those that would drop them.
func checkFirewall(x *exam) Step {
	if s := x.readFirewall(); s.Verdict != OK {
		return s
	}
	s := judgeFirewall(x.rules, x.trials(), x.now.up() && x.now.Tunnel.In.Packets > 0)
	if s.Verdict != OK && onOpenWrt() {
		s.Remedy += "; on OpenWrt permanently as a rule in /etc/config/firewall"
	}
	return s
}

// readFirewall reads the rules once an examination.
func (x *exam) readFirewall() Step {
	if x.rules == nil && x.rulesErr == nil {
		x.rules, x.rulesErr = loadRules(x.ctx)
	}
	switch {
	case errors.Is(x.rulesErr, errNoNFT):
		return skip(x.rulesErr.Error())
	case x.rulesErr != nil:
		return skip("the firewall could not be read: " + x.rulesErr.Error())
	}
	return fine()
}

func onOpenWrt() bool {
	var st unix.Stat_t
	return unix.Stat("/etc/openwrt_release", &st) == nil
}

// trials lists the packets. An answer to a packet of ours passes as part of its
// connection where the rules say so; the peer's own first packet does not.
func (x *exam) trials() []trial {
	local := x.local()
	v6 := x.remote.Is6() || !x.remote.IsValid() && local.Is6()
	ifname := x.arrives()
	udp := func(port uint16, state string) packet {
		return packet{what: fmt.Sprintf("UDP %d", port), v6: v6, proto: "udp", protoNumber: unix.IPPROTO_UDP,
			src: x.remote, dst: local, sport: port, dport: port, in: ifname, state: state}
	}
	const bothPorts = "udp dport { 500, 4500 }"
	var all []trial
	ports := []uint16{wire.PortIKE, wire.PortNAT}
	if x.Tunnel.Encap == "never" {
		ports = ports[:1]
	}
	if x.port() != wire.PortIKE {
		ports = []uint16{wire.PortNAT}
	}
	for _, port := range ports {
		answer, first := udp(port, "established"), udp(port, "new")
		if port != wire.PortIKE {
			answer.sport = x.natPort()
			first.sport = answer.sport
		}
		answer.what = "answers to " + answer.what
		first.what = "the peer's first packet to " + first.what
		if x.Tunnel.RemoteAny {
			all = append(all, trial{"input", first, true, bothPorts})
		} else {
			all = append(all, trial{"input", answer, true, bothPorts}, trial{"input", first, false, bothPorts})
		}
		all = append(all, trial{"output", turned(udp(port, "new"), "UDP"), true, bothPorts})
	}
	if !x.udp() {
		esp := packet{what: "ESP", v6: v6, proto: "esp", protoNumber: unix.IPPROTO_ESP, src: x.remote, dst: local, in: ifname, state: "established"}
		all = append(all, trial{"input", esp, true, "meta l4proto esp"}, trial{"output", turned(esp, "ESP"), true, "meta l4proto esp"})
	}
	if !x.userspace() {
		// The kernel shows GRE to the rules once more when it came out of ESP.
		src, _ := netip.ParseAddr(x.now.Tunnel.Outside.GRERemote)
		dst, _ := netip.ParseAddr(x.now.Tunnel.Outside.GRELocal)
		gre := packet{what: "GRE out of ESP", v6: src.Is6(), proto: "gre", protoNumber: unix.IPPROTO_GRE, src: src, dst: dst, in: ifname, state: "established", ipsec: true}
		all = append(all, trial{"input", gre, true, "meta l4proto gre meta secpath exists"})
		out := turned(gre, "GRE into ESP")
		all = append(all, trial{"output", out, true, "meta l4proto gre"})
	}
	return all
}

// arrives is the interface by which the peer's packets come in: where those to it leave,
// or the default route's while no peer is known. Empty: not known.
func (x *exam) arrives() string {
	if r, err := x.way(); err == nil {
		return r.IfName
	}
	all, err := rtnl.Routes(x.net.Netlink(), unix.AF_INET, 0)
	if err != nil || x.remote.IsValid() {
		return ""
	}
	best := rtnl.Route{}
	for _, r := range all {
		if r.Table == unix.RT_TABLE_MAIN && r.Dst.Bits() == 0 && r.Type == unix.RTN_UNICAST && (best.Oif == 0 || r.Metric < best.Metric) {
			best = r
		}
	}
	l, err := rtnl.LinkByIndex(x.net.Netlink(), best.Oif)
	if err != nil {
		return ""
	}
	return l.Name
}

// natPort is the peer's port when IKE is on 4500, as far as it is known.
func (x *exam) natPort() uint16 {
	if port := x.now.Remote.Port(); x.now.up() && port != wire.PortIKE && port != 0 {
		return port
	}
	return wire.PortNAT
}

// turned is the packet in the other direction.
func turned(p packet, what string) packet {
	p.src, p.dst, p.sport, p.dport, p.in, p.out, p.what = p.dst, p.src, p.dport, p.sport, "", p.in, "outgoing "+what
	if p.proto == "udp" {
		p.what = fmt.Sprintf("outgoing UDP %d", p.dport)
	}
	return p
}

// hooks that a packet of each direction passes.
var hooks = map[string][]string{"input": {"ingress", "prerouting", "input"}, "output": {"output", "postrouting", "egress"}, "forward": {"ingress", "prerouting", "forward", "postrouting", "egress"}}

// losses is what a set of rules takes of the packets tried.
type losses struct {
	needed, others, doubtful []string // a sentence each
	commands                 []string // that let them pass
}

func (l *losses) try(r *ruleset, t trial) (f fate) {
	add := func(list *[]string, s string) {
		if !slices.Contains(*list, s) {
			*list = append(*list, s)
		}
	}
	f = passes
	for _, hook := range hooks[t.hook] {
		one, at := r.judge(hook, t.packet)
		if one == dropped || f != dropped && one == unclear {
			f = one
		}
		if one == unclear && t.needed {
			add(&l.doubtful, t.packet.what+": passes rules that could not be evaluated")
		}
		for _, c := range at {
			says := fmt.Sprintf("%s: dropped at hook %s by table %s %s, chain %s (%s)", t.packet.what, hook, c.chain.Family, c.chain.Table, c.chain.Name, c.rule)
			if t.needed {
				add(&l.needed, says)
			} else {
				add(&l.others, says)
			}
			add(&l.commands, c.chain.accept(t.accept))
		}
	}
	return f
}

// judgeFirewall tries packets outside the tunnel; carries tells that they do come in.
func judgeFirewall(r *ruleset, trials []trial, carries bool) Step {
	var l losses
	for _, t := range trials {
		t.needed = t.needed && !carries
		l.try(r, t)
	}
	switch {
	case len(l.needed) > 0:
		return fault("let them pass in this machine's firewall", append(l.needed, l.others...)...).with(l.commands...)
	case len(l.others) > 0:
		return warn("let them pass in this machine's firewall, so that the peer can begin too", l.others...).with(l.commands...)
	case len(r.chains) == 0:
		return fine("there are no rules of nftables or iptables")
	}
	return fine(append([]string{"IKE and ESP pass its rules"}, l.doubtful...)...)
}

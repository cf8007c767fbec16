package doctor

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"greseal/platform/rtnl"
	"greseal/tunnel/config"
)

// inside is a packet that travels inside the tunnel.
func inside(what, proto string, src, dst netip.Addr, state string) packet {
	p := packet{what: what, v6: src.Is6() || dst.Is6(), proto: proto, src: src, dst: dst, state: state}
	switch {
	case proto == "tcp":
		p.protoNumber = unix.IPPROTO_TCP
	case p.v6:
		p.proto, p.protoNumber = "ipv6-icmp", unix.IPPROTO_ICMPV6
	default:
		p.protoNumber = unix.IPPROTO_ICMP
	}
	return p
}

// checkFirewallInside follows echo requests and answers between both ends of the
// tunnel through the rules of this machine.
func checkFirewallInside(x *exam) Step {
	if x.Tunnel.GRE.Bridge != "" {
		return fine("it is a port of " + x.Tunnel.GRE.Bridge + ": what it carries is not routed here")
	}
	if s := x.readFirewall(); s.Verdict != OK {
		return s
	}
	var l losses
	name := x.name()
	for _, a := range x.Tunnel.Address {
		own, far := a.Addr(), other(a)
		request := inside("outgoing echo requests to the peer", "icmp", own, far, "new")
		request.out = name
		answer := inside("the peer's answers to them", "icmp", far, own, "established")
		answer.in = name
		asked := inside("the peer's echo requests", "icmp", far, own, "new")
		asked.in, asked.icmp = name, "echo-request"
		request.icmp, answer.icmp = "echo-request", "echo-reply"
		l.try(x.rules, trial{"output", request, true, fmt.Sprintf("oifname %q", name)})
		l.try(x.rules, trial{"input", answer, true, fmt.Sprintf("iifname %q", name)})
		l.try(x.rules, trial{"input", asked, false, fmt.Sprintf("iifname %q", name)})
	}
	switch {
	case len(l.needed) > 0:
		return x.zoned(fault("let them pass in this machine's firewall", append(l.needed, l.others...)...).with(l.commands...))
	case len(l.others) > 0:
		return x.zoned(warn("let them pass, if the peer is meant to reach this machine", l.others...).with(l.commands...))
	}
	return fine(append([]string{"echo requests and answers pass its rules"}, l.doubtful...)...)
}

// lan is a network behind this machine.
type lan struct {
	netip.Prefix
	ifname string
}

// checkForwarding: hosts behind this machine reach the networks behind the peer.
func checkForwarding(x *exam) Step {
	if x.Tunnel.GRE.Bridge != "" {
		return fine("it is a port of " + x.Tunnel.GRE.Bridge + ": what it carries is not routed here")
	}
	lans, err := x.lans()
	switch {
	case err != nil:
		return skip("the routes cannot be read: " + err.Error())
	case len(lans) == 0:
		return fine("no other network is behind this machine")
	}
	if s := notForwarded(lans, x.name(), forwards); s.Verdict != OK {
		return s
	}
	if s := x.readFirewall(); s.Verdict != OK {
		return s
	}
	s := judgeForwarding(x.rules, x.name(), lans, x.Tunnel.Routes)
	if s.Verdict != OK {
		s = x.zoned(s)
	}
	return s
}

// lans are the networks of this machine's other interfaces whose IP version is routed
// into the tunnel.
func (x *exam) lans() (lans []lan, err error) {
	if len(x.Tunnel.Routes) == 0 || cmp.Or(x.Tunnel.Table, config.TableMain) != config.TableMain {
		return nil, nil
	}
	wan := ""
	if r, err := x.way(); err == nil {
		wan = r.IfName
	}
	beside, err := x.routesBeside(config.TableMain)
	for _, h := range beside {
		l, lerr := rtnl.LinkByName(x.net.Netlink(), h.ifname)
		if lerr != nil || !h.connected() || h.ifname == wan || h.ifname == "lo" || virtual(h.ifname) || l.Ours() || h.Dst.Addr().IsLinkLocalUnicast() || h.Dst.Addr().IsMulticast() {
			continue
		}
		if slices.ContainsFunc(x.Tunnel.Routes, func(p netip.Prefix) bool { return p.Addr().Is4() == h.Dst.Addr().Is4() }) {
			lans = append(lans, lan{h.Dst, h.ifname})
		}
	}
	return lans, err
}

// virtual reports the networks of containers and virtual machines by their usual names:
// what these may do says nothing of a LAN.
func virtual(ifname string) bool {
	return slices.ContainsFunc([]string{"docker", "podman", "virbr", "lxcbr", "lxdbr", "cni", "veth"}, func(p string) bool { return strings.HasPrefix(ifname, p) }) ||
		len(ifname) == len("br-0123456789ab") && strings.HasPrefix(ifname, "br-") && strings.Trim(ifname[3:], "0123456789abcdef") == ""
}

// forwards reports whether the kernel forwards what comes in by an interface.
func forwards(ifname string, v6 bool) bool {
	version := "ipv4"
	if v6 {
		version = "ipv6"
	}
	b, err := os.ReadFile("/proc/sys/net/" + version + "/conf/" + ifname + "/forwarding")
	return err != nil || strings.TrimSpace(string(b)) != "0"
}

// notForwarded names the networks from which, or to which, the kernel forwards nothing.
// It is a warning: not every machine with two interfaces is a router.
func notForwarded(lans []lan, name string, forwards func(ifname string, v6 bool) bool) Step {
	s := warn("switch forwarding on, permanently in /etc/sysctl.d or /etc/sysctl.conf, if hosts behind this machine are to use the tunnel")
	for _, l := range lans {
		v6 := l.Addr().Is6()
		version, command := "IPv4", "sysctl -w net.ipv4.ip_forward=1"
		if v6 {
			version, command = "IPv6", "sysctl -w net.ipv6.conf.all.forwarding=1"
		}
		for _, in := range []string{l.ifname, name} {
			if forwards(in, v6) {
				continue
			}
			s = s.and(fmt.Sprintf("%s forwarding is off on %s: hosts in %s (%s) cannot use %s", version, in, l.Prefix, l.ifname, name))
			if !slices.Contains(s.Commands, command) {
				s = s.with(command)
			}
			break
		}
	}
	if len(s.Evidence) == 0 {
		return fine()
	}
	return s
}

// judgeForwarding follows the first packet of a connection in both directions. That one
// of several networks may not use the tunnel can be meant; that none may is a fault.
func judgeForwarding(r *ruleset, name string, lans []lan, routes []netip.Prefix) Step {
	var all, allowed losses // of all networks, and of those that may
	var may []string
	for _, from := range lans {
		for _, to := range routes {
			if from.Addr().Is4() != to.Addr().Is4() {
				continue
			}
			host, far := sample(from.Prefix, nil), sample(to, nil)
			out := inside(fmt.Sprintf("from %s (%s) to %s", from.Prefix, from.ifname, to), "tcp", host, far, "new")
			out.in, out.out = from.ifname, name
			in := inside(fmt.Sprintf("from %s to %s (%s)", to, from.Prefix, from.ifname), "tcp", far, host, "new")
			in.in, in.out = name, from.ifname
			first := trial{"forward", out, true, fmt.Sprintf("iifname %q oifname %q", from.ifname, name)}
			back := trial{"forward", in, false, fmt.Sprintf("iifname %q oifname %q", name, from.ifname)}
			if all.try(r, first) != dropped {
				may = append(may, from.ifname)
				allowed.try(r, first)
				allowed.try(r, back)
			}
			all.try(r, back)
			break // the networks behind the peer are treated alike, most likely
		}
	}
	switch {
	case len(may) == 0:
		return fault("let the networks on both sides reach each other in this machine's firewall", append(all.needed, all.others...)...).with(all.commands...)
	case len(allowed.others) > 0:
		return warn("let new connections from the other side pass, if they are meant to", allowed.others...).with(allowed.commands...)
	}
	return fine(append([]string{"hosts behind " + strings.Join(slices.Compact(may), ", ") + " may use the tunnel"}, allowed.doubtful...)...)
}

// zoned replaces the remedy where OpenWrt's firewall knows nothing of the interface: it
// belongs into a zone, and single rules would be gone at the next start of the firewall.
func (x *exam) zoned(s Step) Step {
	if !slices.Contains(x.rules.tables, nftTable{"inet", "fw4"}) {
		return s
	}
	if x.rules.names("inet", "fw4", x.name()) {
		s.Remedy += "; on OpenWrt permanently in the zone of " + x.name() + ", /etc/config/firewall"
		return s
	}
	member := "device"
	if x.Tunnel.Netifd {
		member = "network"
	}
	s.Evidence = append([]string{x.name() + " belongs to no firewall zone, so OpenWrt's firewall drops what comes from it"}, s.Evidence...)
	s.Remedy = fmt.Sprintf("add %s to a firewall zone: the lan zone when the other side is trusted like the own LAN, else a zone of its own with forwardings", x.name())
	s.Commands = []string{fmt.Sprintf(`uci add_list "$(uci show firewall | sed -n "s/\\.name='lan'$//p" | head -n 1).%s=%s"`, member, x.name()), "uci commit firewall", "/etc/init.d/firewall restart"}
	return s
}

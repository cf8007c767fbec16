package doctor

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"greseal/ikev2/wire"
	"greseal/platform/netlink"
	"greseal/platform/xfrm"
)

// xfrmPolicy is one policy of the kernel, as far as it can interfere.
type xfrmPolicy struct {
	dir          uint8 // 0 in, 1 out, 2 fwd
	src, dst     netip.Prefix
	proto        uint8
	sport, dport uint16 // 0: any; of protocol 47 the halves of a GRE key
	block        bool
	protects     bool // has a template: wants ESP or AH
	priority     uint32
}

var dirWords = [...]string{"in", "out", "fwd"}

func (p xfrmPolicy) String() string {
	s := fmt.Sprintf("dir %s src %s dst %s", dirWords[p.dir], p.src, p.dst)
	if p.proto != 0 {
		s += fmt.Sprintf(" proto %d", p.proto)
	}
	if p.proto == unix.IPPROTO_GRE {
		if key := uint32(p.sport)<<16 | uint32(p.dport); key != 0 {
			s += fmt.Sprintf(" key %d", key)
		}
		return s
	}
	if p.sport != 0 {
		s += fmt.Sprintf(" sport %d", p.sport)
	}
	if p.dport != 0 {
		s += fmt.Sprintf(" dport %d", p.dport)
	}
	return s
}

// matches reports whether a packet falls under the policy.
func (p xfrmPolicy) matches(dir uint8, src, dst netip.Addr, proto uint8, sport, dport uint16) bool {
	return p.dir == dir && p.src.Contains(src) && p.dst.Contains(dst) && (p.proto == 0 || p.proto == proto) &&
		(p.sport == 0 || p.sport == sport) && (p.dport == 0 || p.dport == dport)
}

// listPolicies reads the policies of this network namespace.
func listPolicies() ([]xfrmPolicy, error) {
	n, err := netlink.Open(unix.NETLINK_XFRM)
	if err != nil {
		return nil, err
	}
	defer n.Close()
	there, err := xfrm.Policies(n)
	all := make([]xfrmPolicy, 0, len(there))
	for _, p := range there {
		sport, dport := p.Ports()
		all = append(all, xfrmPolicy{
			dir: p.Dir, src: p.Src, dst: p.Dst, proto: p.Proto, sport: sport, dport: dport,
			block: p.Action != xfrm.ActionAllow, protects: p.TmplDst.IsValid(), priority: p.Priority,
		})
	}
	return all, err
}

// best is the policy that decides about a packet: the lowest priority number,
// nil when none matches.
func best(all []xfrmPolicy, dir uint8, src, dst netip.Addr, proto uint8, port uint16) *xfrmPolicy {
	var found *xfrmPolicy
	for i := range all {
		p := &all[i]
		if p.matches(dir, src, dst, proto, port, port) && (found == nil || p.priority < found.priority) {
			found = p
		}
	}
	return found
}

// checkPolicies: no foreign policy catches IKE or ESP, and the ones
// that keep GRE from leaving in the clear are there.
func checkPolicies(x *exam) Step {
	local := x.local()
	if !x.remote.IsValid() || !local.IsValid() {
		return skip("the addresses are not known yet")
	}
	all, err := listPolicies()
	if err != nil {
		if x.userspace() {
			return fine("the kernel has no XFRM, so no policy is in the way")
		}
		return skip("XFRM policies cannot be read: " + err.Error())
	}
	s := judgePolicies(all, local, x.remote, x.udp(), x.now.up() && x.now.Tunnel.In.Packets > 0)
	if s.Verdict == OK && !x.userspace() {
		return x.checkGuards(s, all)
	}
	return s
}

func judgePolicies(all []xfrmPolicy, local, remote netip.Addr, udp, carries bool) Step {
	type way struct {
		what  string
		proto uint8
		port  uint16
	}
	ways := []way{{"UDP 500", unix.IPPROTO_UDP, wire.PortIKE}, {"UDP 4500", unix.IPPROTO_UDP, wire.PortNAT}}
	if !udp {
		ways = append(ways, way{"ESP", unix.IPPROTO_ESP, 0})
	}
	var says, commands []string
	seen := make(map[string]bool)
	for _, w := range ways {
		for dir, ends := range [][2]netip.Addr{{remote, local}, {local, remote}} {
			p := best(all, uint8(dir), ends[0], ends[1], w.proto, w.port)
			if p == nil || !p.block && !p.protects {
				continue
			}
			if !p.block && w.proto == unix.IPPROTO_ESP {
				continue // what protects may protect ESP
			}
			verb := "blocks"
			if !p.block {
				verb = "wants to protect, and so drops,"
			}
			says = append(says, fmt.Sprintf("a policy %s %s %s: %s", verb, dirWords[p.dir], w.what, p))
			if c := "ip xfrm policy delete " + p.String(); !seen[c] {
				seen[c] = true
				commands = append(commands, c)
			}
		}
	}
	if len(says) == 0 {
		return fine(fmt.Sprintf("none of %d XFRM policies matches IKE or ESP", len(all)))
	}
	remedy := "another IPsec program made it: stop that program, or have it exempt IKE; a leftover policy can be deleted"
	if carries {
		return warn(remedy, says...).with(commands...)
	}
	return fault(remedy, says...).with(commands...)
}

// checkGuards: the block policies of the kernel datapath are installed.
func (x *exam) checkGuards(s Step, all []xfrmPolicy) Step {
	remote, err := netip.ParseAddr(x.now.Tunnel.Outside.GRERemote)
	if err != nil {
		return s
	}
	for dir, word := range dirWords {
		found := false
		for _, p := range all {
			peer := p.src
			if dir == 1 {
				peer = p.dst
			}
			found = found || int(p.dir) == dir && p.block && p.proto == unix.IPPROTO_GRE && peer.Contains(remote)
		}
		if !found {
			return fault("restart the daemon, and find out what deletes XFRM policies on this machine",
				fmt.Sprintf("the policy that blocks protocol 47 in the clear (dir %s, %s) is gone", word, remote))
		}
	}
	local, err := netip.ParseAddr(x.now.Tunnel.Outside.GRELocal)
	if err != nil {
		return s
	}
	if p := portUnreachable(all, local, remote); p == nil || !p.block {
		return fault("restart the daemon, and find out what deletes XFRM policies on this machine",
			fmt.Sprintf("the policy that blocks ICMP errors to %s is gone: the kernel would quote in the clear what came out of ESP and no interface takes", remote))
	}
	return s.and("protocol 47 in the clear is blocked: in, out and fwd; so are ICMP errors that would quote it")
}

// portUnreachable is the policy that decides about the ICMP error which the kernel
// makes of GRE that no interface takes.
func portUnreachable(all []xfrmPolicy, local, remote netip.Addr) *xfrmPolicy {
	proto, kind, code := uint8(unix.IPPROTO_ICMP), uint16(3), uint16(3)
	if remote.Is6() {
		proto, kind, code = unix.IPPROTO_ICMPV6, 1, 4
	}
	var found *xfrmPolicy
	for i := range all {
		p := &all[i]
		if p.matches(1, local, remote, proto, kind, code) && (found == nil || p.priority < found.priority) {
			found = p
		}
	}
	return found
}

package kernel

import (
	"net/netip"

	"greseal/platform/inet"
	"greseal/platform/xfrm"
)

// When a packet from ESP has no receiver (another GRE key, IP instead of Ethernet, no
// GRE module, an incomplete fragment) the kernel sends an ICMP error outside ESP, which
// quotes the decrypted packet in the clear. RFC 4301 section 6.2 has such errors
// discarded, so the guard blocks to a remote those that the kernel sends before or
// without checking its inbound policies:
//
//	ICMP    3    destination unreachable, every code but 4
//	        11/1 reassembly time exceeded
//	        12   parameter problem
//	ICMPv6  1    destination unreachable
//	        3/1  reassembly time exceeded
//	        4    parameter problem
//
// Fragmentation needed (3/4), packet too big (ICMPv6 2), hop limit exceeded and
// redirects come from forwarding alone. That checks the policies first, so they never
// quote what came out of ESP, and other traffic of the remote through this machine
// needs them.

// passPriority comes before guardPriority: what passes has a narrower selector.
const passPriority = guardPriority - 1

// errorPolicies keep ICMP errors about decrypted packets from leaving to remote.
// The one that allows comes first.
func errorPolicies(remote netip.Addr) []xfrm.Policy {
	block := xfrm.Policy{
		Dir: xfrm.DirOut, Src: inet.Of(remote).All(), Dst: inet.Host(remote),
		Proto: xfrm.ProtoICMP, Priority: guardPriority, Action: xfrm.ActionBlock,
	}
	of := func(p xfrm.Policy, kind uint8, code ...uint8) xfrm.Policy {
		p.ICMP = xfrm.ICMP{Set: true, Kind: kind, EveryCode: len(code) == 0}
		if len(code) > 0 {
			p.ICMP.Code = code[0]
		}
		return p
	}
	if remote.Is6() {
		block.Proto = xfrm.ProtoICMPv6
		return []xfrm.Policy{of(block, 1), of(block, 3, 1), of(block, 4)}
	}
	pass := block
	pass.Priority, pass.Action = passPriority, xfrm.ActionAllow
	return []xfrm.Policy{of(pass, 3, 4), of(block, 3), of(block, 11, 1), of(block, 12)}
}

// Package guard keeps what closes a tunnel: the addresses towards which protocol 47
// may not pass in the clear, and whether unreachable routes lie under its networks. It
// asks no datapath: the caller lays what is wanted and tells what came to stand.
//
//	          Stand: the first is laid           Open
//	NONE LAID -------------------------> CLOSED ------> OPEN
//	                                      |  ^           |
//	    With: a candidate, a Child SA,    |  |   Close   |
//	        a move; Only: it has moved on +--+-----------+
//
// What is wanted, and when:
//
//	                                protocol 47 closed towards       networks closed
//	before anything else            gre_remote; remote, if it has    yes
//	                                addresses alone
//	a candidate is tried            that candidate                   yes
//	a Child SA is installed, moved  its GRE and outer endpoints      yes
//	both its ESP SAs are gone       what others still need (Only),   yes
//	                                while one carries the traffic
//	down, or link lost              what was closed stays so         yes
//	opened, or left the config      nothing                          no
package guard

import (
	"net/netip"
	"sort"
)

// Guards are those of one tunnel. The zero value has none laid, and counts as closed.
type Guards struct {
	laid map[netip.Addr]bool
	open bool
}

// Has tells whether protocol 47 in the clear is closed towards a.
func (g *Guards) Has(a netip.Addr) bool { return g.laid[a] }

// Laid are the addresses towards which it is closed, in order.
func (g *Guards) Laid() []netip.Addr { return g.where(func(netip.Addr) bool { return true }) }

// With are the addresses to be closed when these come to them; added are those that
// are new. An unset or unspecified address is none.
func (g *Guards) With(addrs ...netip.Addr) (want, added []netip.Addr) {
	seen := map[netip.Addr]bool{}
	for _, a := range addrs {
		if a.IsValid() && !a.IsUnspecified() && !g.laid[a] && !seen[a] {
			seen[a] = true
			added = append(added, a)
		}
	}
	return append(g.Laid(), added...), added
}

// Only are those that are still needed; fewer tells that any is not.
func (g *Guards) Only(needed map[netip.Addr]bool) (want []netip.Addr, fewer bool) {
	want = g.where(func(a netip.Addr) bool { return needed[a] })
	return want, len(want) < len(g.laid)
}

// Stand takes that the datapath has closed these, and no others.
func (g *Guards) Stand(laid []netip.Addr) {
	g.laid = make(map[netip.Addr]bool, len(laid))
	for _, a := range laid {
		g.laid[a] = true
	}
}

// Open takes that everything is to be opened, by request or for good.
func (g *Guards) Open() { *g = Guards{open: true} }

// Close takes that the tunnel is to be closed (again).
func (g *Guards) Close() { g.open = false }

// Opened tells that not even unreachable routes are wanted.
func (g *Guards) Opened() bool { return g.open }

func (g *Guards) where(wanted func(netip.Addr) bool) []netip.Addr {
	all := make([]netip.Addr, 0, len(g.laid))
	for a := range g.laid {
		if wanted(a) {
			all = append(all, a)
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Less(all[j]) })
	return all
}

// Package underlay keeps what a peer's tunnel goes over, the own address and the
// route, and judges what a change of either means. It asks for no route itself.
//
//	        Choose                  Arrive
//	NONE ----------> TO BE TRIED ----------> IN USE ---+ Judge: Stay, Follow
//	  ^                  |                     | ^     |
//	  +------ None ------+                     | +-----+
//	                                           +-> Move to another address, or Wait for one
package underlay

import (
	"net/netip"

	"greseal/platform"
)

// Underlay is the way to one peer. The zero value knows none.
type Underlay struct {
	local netip.Addr
	route platform.RouteInfo
	known bool
}

// Local is the own address, unset before one was chosen.
func (u *Underlay) Local() netip.Addr { return u.local }

// Known tells whether there is a route.
func (u *Underlay) Known() bool { return u.known }

// Choose takes the way that is tried.
func (u *Underlay) Choose(way platform.RouteInfo) { *u = Underlay{way.Local, way, true} }

// None takes that there is no way.
func (u *Underlay) None() { u.known = false }

// Arrive takes the own address that is in use.
func (u *Underlay) Arrive(local netip.Addr) { u.local = local }

// Follow takes the way as it is now and tells whether it is another one.
func (u *Underlay) Follow(way platform.RouteInfo) bool {
	if way == u.route {
		return false
	}
	u.route, u.known = way, true
	return true
}

// Rerouted tells whether way leads elsewhere than the last one.
func (u *Underlay) Rerouted(way platform.RouteInfo) bool {
	return way.Local != u.route.Local || way.IfIndex != u.route.IfIndex || way.Gateway != u.route.Gateway
}

// MTU is that of the way's first interface or of the route, in bytes; ok is false
// where it is not known.
func (u *Underlay) MTU() (ifname string, mtu int, ok bool) {
	return u.route.IfName, u.route.MTU, u.known && u.route.MTU > 0
}

// Learned is the path MTU that the kernel has heard of by ICMP, or that of the first
// interface, in bytes; 0: none.
func (u *Underlay) Learned() int { return u.route.PathMTU }

// Verdict is what to do about a tunnel that stands, when addresses or routes changed.
type Verdict uint8

// Verdicts.
const (
	Stay   Verdict = iota // nothing to go by
	Follow                // the address is right; the route may be another one
	Move                  // to the address of the route
	Wait                  // the address is gone, and there is no route
)

// Judge tells whether a tunnel still comes from where it should: from the address
// of the route to its peer when we began it, and from where the peer found us
// otherwise, as long as that address is there. local is in use, gone says that the
// machine has it no longer, way is the route to the peer now, or err why there is none.
func Judge(local netip.Addr, gone, initiated bool, way func() (platform.RouteInfo, error)) (Verdict, platform.RouteInfo, error) {
	if !gone && !initiated {
		return Follow, platform.RouteInfo{}, nil
	}
	info, err := way()
	switch {
	case err != nil && gone:
		return Wait, info, err
	case err != nil:
		return Stay, info, err
	case info.Local == local:
		return Follow, info, nil
	}
	return Move, info, nil
}

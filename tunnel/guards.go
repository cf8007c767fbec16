package tunnel

import (
	"fmt"
	"maps"
	"net/netip"
)

// guard closes protocol 47 in clear towards addresses, keeping those closed
// before.
func (l *loop) guard(t *tunnel, addrs ...netip.Addr) error {
	var added []netip.Addr
	for _, a := range addrs {
		if a.IsValid() && !a.IsUnspecified() && !t.guarded[a] {
			t.guarded[a] = true
			added = append(added, a)
		}
	}
	if len(added) == 0 {
		return nil
	}
	all := make([]netip.Addr, 0, len(t.guarded))
	for a := range t.guarded {
		all = append(all, a)
	}
	if err := l.dp.Guard(t.name, all); err != nil {
		for _, a := range added { // the datapath keeps what it had closed before
			delete(t.guarded, a)
		}
		return fmt.Errorf("closing protocol 47 towards %v: %w", added, err)
	}
	return nil
}

// releaseGuards opens protocol 47 towards addresses that a peer which has moved on
// had before, once another pair carries the traffic and none is left of theirs.
// The datapath keeps what its interfaces and SAs still need.
func (l *loop) releaseGuards(t *tunnel) {
	if !t.shown().established() {
		return
	}
	keep := map[netip.Addr]bool{t.cfg.GRERemote: true, t.link.Remote: true}
	for _, p := range t.peers {
		for _, a := range p.attempt.Candidates() {
			keep[a] = true
		}
		for _, c := range p.pairs {
			keep[c.GRERemote], keep[c.Remote.Addr()] = true, true
		}
	}
	var all []netip.Addr
	for a := range t.guarded {
		if keep[a] {
			all = append(all, a)
		}
	}
	if len(all) == len(t.guarded) {
		return
	}
	if err := l.dp.Guard(t.name, all); err != nil {
		l.log.Warn("opening protocol 47 towards addresses that a peer has left", "tunnel", t.name, "error", err)
		return
	}
	maps.DeleteFunc(t.guarded, func(a netip.Addr, _ bool) bool { return !keep[a] })
}

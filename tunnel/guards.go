package tunnel

import (
	"fmt"
	"net/netip"
)

// guard closes protocol 47 in the clear towards addresses, keeping those closed
// before.
func (l *loop) guard(t *tunnel, addrs ...netip.Addr) error {
	want, added := t.guards.With(addrs...)
	if len(added) == 0 {
		return nil
	}
	l.laidSomething()
	if err := l.dp.Guard(t.name, want); err != nil { // the datapath keeps what it had closed before
		return fmt.Errorf("closing protocol 47 towards %v: %w", added, err)
	}
	t.guards.Stand(want)
	return nil
}

// guardOuter is guard towards an address at which a peer is reached by IKE. Where
// that is the far end of somebody else's GRE it stays open: the peer lives behind
// that machine, and its own GRE goes elsewhere.
func (l *loop) guardOuter(p *peer, a netip.Addr) error {
	if !p.tunnel.guards.Has(a) && !p.names(a) && a != p.tunnel.link.Remote {
		m, err := l.lookAtMachine()
		if err != nil || m.Foreign[a] != "" {
			return err
		}
	}
	return l.guard(p.tunnel, a)
}

// releaseGuards opens protocol 47 towards addresses that a peer which has moved on
// had before, once another Child SA carries the traffic and none is left of theirs.
// The datapath keeps what its interfaces and SAs still need.
func (l *loop) releaseGuards(t *tunnel) {
	if !t.shown().established() {
		return
	}
	needed := map[netip.Addr]bool{t.cfg.GRERemote: true, t.link.Remote: true}
	for _, p := range t.peers {
		for _, a := range p.attempt.Candidates() {
			needed[a] = true
		}
		for _, c := range p.children {
			needed[c.GRERemote], needed[c.Remote.Addr()] = true, true
		}
	}
	want, fewer := t.guards.Only(needed)
	if !fewer {
		return
	}
	if err := l.dp.Guard(t.name, want); err != nil {
		l.log.Warn("opening protocol 47 towards addresses that a peer has left", "tunnel", t.name, "error", err)
		return
	}
	t.guards.Stand(want)
}

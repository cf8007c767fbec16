package tunnel

import (
	"fmt"
	"net/netip"
)

// guard blocks protocol 47 in the clear to addresses, keeping existing guards.
func (l *loop) guard(t *tunnel, addrs ...netip.Addr) error {
	want, added := t.guards.With(addrs...)
	if len(added) == 0 {
		return nil
	}
	l.laid(nil)
	if err := l.dp.Guard(t.name, want); err != nil { // the datapath keeps what it had closed before
		return fmt.Errorf("closing protocol 47 towards %v: %w", added, err)
	}
	t.guards.Stand(want)
	return nil
}

// guardOuter is guard for an address at which a peer is reached by IKE. Where that is
// the remote end of a foreign GRE interface it stays open: the peer is behind that
// machine, and its own GRE goes elsewhere.
func (l *loop) guardOuter(p *peer, a netip.Addr) error {
	if !p.tunnel.guards.Has(a) && !p.names(a) && a != p.tunnel.link.Remote {
		m, err := l.lookAtMachine()
		if err != nil || m.Foreign[a] != "" {
			return err
		}
	}
	return l.guard(p.tunnel, a)
}

// releaseGuards removes the guards for a peer's previous addresses once it has moved,
// another Child SA carries the traffic and theirs are gone. The datapath keeps what its
// interfaces and SAs still need.
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

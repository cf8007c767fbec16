package tunnel

import (
	"errors"
	"fmt"
	"log/slog"

	"greseal/crypto/esp"
	"greseal/ikev2"
	"greseal/platform"
)

type failedInstall struct {
	child *ikev2.Child
	err   error
}

// installed handles the result of installing, and wipes the keys if it failed.
func (r *round) installed(c *ikev2.Child, keys esp.Params, err error) bool {
	if err != nil {
		keys.Wipe()
		r.failed = append(r.failed, failedInstall{c, err})
	}
	return err == nil
}

// moveTo moves the traffic to a Child SA, unless its inbound SA could not be installed.
func (l *loop) moveTo(a ikev2.InstallOut, r *round) {
	for _, f := range r.failed {
		if f.child.ID == a.Child.ID {
			a.Params.Wipe()
			return
		}
	}
	if r.installed(a.Child, a.Params, l.installOut(a)) {
		r.carrying = append(r.carrying, l.peers[a.Child.Peer])
	}
}

// notInstalled reports why a Child SA could not be installed.
func (l *loop) notInstalled(p *peer, err error) {
	text := fmt.Sprintf("Child SA not installed: %v", err)
	if known, ok := errors.AsType[ikev2.Remedied](err); ok {
		text += "; " + known.Remedy()
	}
	l.event(p.tunnel, slog.LevelError, "install", text)
}

// installIn prepares the machine for a new Child SA (guards, interface) and installs
// its inbound SA.
func (l *loop) installIn(a ikev2.InstallIn) error {
	p := l.peers[a.Child.Peer]
	if p == nil {
		return fmt.Errorf("tunnel %q is no longer configured", a.Child.Peer)
	}
	l.reschedule(p)
	if err := l.admit(p, a.Child); err != nil {
		return err
	}
	if err := l.guard(p.tunnel, a.Child.GRERemote); err != nil {
		return err
	}
	if err := l.guardOuter(p, a.Child.Remote.Addr()); err != nil {
		return err
	}
	// With other GRE endpoints than those of the Child SA that carries the
	// traffic, the interface follows when the new one does (contract 12).
	if now := p.current(); now == nil || now.GRELocal == a.Child.GRELocal && now.GRERemote == a.Child.GRERemote {
		if err := l.setLink(p, a.Child); err != nil {
			return err
		}
	}
	sa := l.sa(p, a.Child, a.Params, false)
	sa.WatchFirstUse = a.WatchFirstUse
	if err := l.dp.InstallIn(sa); err != nil {
		return err
	}
	p.child(a.Child).in.key = sa.Key()
	return nil
}

// installOut installs the outbound SA, which moves the traffic to it.
func (l *loop) installOut(a ikev2.InstallOut) error {
	p := l.peers[a.Child.Peer]
	if p == nil {
		return fmt.Errorf("tunnel %q is no longer configured", a.Child.Peer)
	}
	l.reschedule(p)
	sa := l.sa(p, a.Child, a.Params, true)
	if err := l.dp.InstallOut(sa); err != nil {
		return err
	}
	l.outs++
	sas := p.child(a.Child)
	sas.out.key, sas.outs = sa.Key(), l.outs
	p.carrying = a.Child.ID
	return l.setLink(p, a.Child)
}

// sa is what the datapath is to install of one direction of a Child SA.
func (l *loop) sa(p *peer, c *ikev2.Child, params esp.Params, out bool) platform.SA {
	sa := platform.SA{ChildSA: c.ChildSA, Link: p.tunnel.name, Out: out, Params: params, ReplayWindow: p.cfg.ReplayWindow}
	// Soft limits are spread so that both ends and many tunnels do not rekey
	// at once; hard ones are well above (contract 7).
	limit := func(n uint64) (soft, hard uint64) {
		if n == 0 {
			return 0, 0
		}
		return uint64(float64(n) * (0.85 + 0.1*l.random())), n + n/2
	}
	sa.SoftBytes, sa.HardBytes = limit(p.cfg.ChildBytes)
	sa.SoftPackets, sa.HardPackets = limit(p.cfg.ChildPackets)
	return sa
}

func (l *loop) removeIn(p *peer, c *ikev2.Child)  { l.remove(p, c, false) }
func (l *loop) removeOut(p *peer, c *ikev2.Child) { l.remove(p, c, true) }

// remove takes one direction of a Child SA out of the datapath and keeps its
// counters in the peer's totals.
func (l *loop) remove(p *peer, c *ikev2.Child, out bool) {
	sas := p.children[c.ID]
	if sas == nil {
		return
	}
	sa, total := &sas.in, &p.total.in
	if out {
		sa, total = &sas.out, &p.total.out
	}
	if !sa.installed() {
		return
	}
	n, err := l.dp.RemoveSA(sa.key)
	if err != nil {
		l.log.Warn("removing an SA", "tunnel", p.id, "error", err)
	}
	total.Add(later(n, sa.count))
	sa.key = platform.SAKey{}
	if len(sas.installed()) == 0 {
		delete(p.children, c.ID)
		defer l.releaseGuards(p.tunnel)
	}
	if out && p.carrying == c.ID {
		l.fallBack(p)
	}
}

// fallBack is called when the outbound SA that carried the traffic is gone: the
// datapath goes back to the one installed before.
func (l *loop) fallBack(p *peer) {
	latest := uint64(0)
	p.carrying = 0
	for _, other := range p.children {
		if other.out.installed() && other.outs > latest {
			p.carrying, latest = other.ID, other.outs
		}
	}
	if p.carrying == 0 {
		l.carriesNot(p)
	}
}

// later is the final count, or the last one read if the SA was already gone.
func later(final, read platform.Counters) platform.Counters {
	if final.Packets < read.Packets {
		return read
	}
	return final
}

// count reads a Child SA's counters from the datapath.
func (l *loop) count(sas *childSA) {
	for _, sa := range sas.installed() {
		if n, err := l.dp.SACounters(sa.key); err == nil {
			sa.count = n
		}
	}
}

// totals are the counters of all Child SAs, past and present.
func (l *loop) totals(p *peer) (in, out platform.Counters) {
	in, out = p.total.in, p.total.out
	for _, sas := range p.children {
		l.count(sas)
		if sas.in.installed() {
			in.Add(sas.in.count)
		}
		if sas.out.installed() {
			out.Add(sas.out.count)
		}
	}
	return in, out
}

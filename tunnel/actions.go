package tunnel

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	sys "golang.org/x/sys/unix"

	"greseal/crypto/esp"
	"greseal/ikev2"
	"greseal/platform"
	"greseal/tunnel/esppath"
	"greseal/tunnel/resolve"
	"greseal/tunnel/standby"
)

// do carries out the engine's actions in their order (contract 1). What could
// not be installed goes back into the engine once the list is through.
//
// Link state, addresses and routes follow when the list is through: the answer
// that completes a handshake does not wait for them.
func (l *loop) do(actions []ikev2.Action) {
	var failed []failedInstall
	var carrying []*peer
	var probed []ikev2.Probed
	var refused []ikev2.PeerID
	for _, a := range actions {
		switch a := a.(type) {
		case ikev2.WakeAt:
			l.wake = a.At
		case ikev2.Send:
			if l.send(a) == errProbeSize {
				refused = append(refused, a.Peer)
			}
		case ikev2.SendKeepalive:
			if err := l.dp.SendKeepalive(a.Local, a.Remote); err != nil {
				l.log.Debug("sending a NAT keepalive", "error", err)
			}
		case ikev2.InstallIn:
			if err := l.installIn(a); err != nil {
				a.Params.Wipe()
				failed = append(failed, failedInstall{a.Child, err})
			}
		case ikev2.InstallOut:
			if anyOf(failed, a.Child.ID) {
				a.Params.Wipe()
				continue
			}
			if err := l.installOut(a); err != nil {
				a.Params.Wipe()
				failed = append(failed, failedInstall{a.Child, err})
				continue
			}
			carrying = append(carrying, l.peers[a.Child.Peer])
		case ikev2.RemoveIn:
			l.remove(a.Child, false)
		case ikev2.RemoveOut:
			l.remove(a.Child, true)
		case ikev2.IKEUp:
			l.ikeUp(a.IKEInfo)
		case ikev2.IKEDown:
			l.ikeDown(a)
		case ikev2.Failed:
			l.failed(a)
		case ikev2.Noted:
			l.noted(a)
		case ikev2.Liveness:
			l.liveness(a)
		case ikev2.PeerMTU:
			l.peerMTU(a)
		case ikev2.Contended:
			l.contended(a)
		case ikev2.Moved:
			l.moved(a)
		case ikev2.Reachable:
			l.answered(a)
		case ikev2.Probed:
			probed = append(probed, a)
		}
	}
	for _, p := range carrying {
		if p.established() {
			l.carries(p)
		}
	}
	for _, f := range failed {
		if p := l.peers[f.child.Peer]; p != nil {
			l.reschedule(p)
			r := reason{text: fmt.Sprintf("Child SA not installed: %v", f.err)}
			if known, ok := errors.AsType[ikev2.Remedied](f.err); ok {
				r.remedy = known.Remedy()
			}
			l.event(p.tunnel, slog.LevelError, "install", r.String())
		}
		l.do(l.engine.InstallFailed(l.now(), f.child.ID, f.err))
	}
	for givers := l.givers; len(givers) > 0; givers = givers[1:] {
		l.givers = nil
		l.giveWay(givers[0])
	}
	for _, id := range refused {
		l.do(l.engine.ProbeRefused(l.now(), id))
	}
	for _, a := range probed {
		l.probed(a)
	}
}

// errProbeSize says that a datagram with DF is larger than the way out takes.
var errProbeSize = errors.New("larger than the interface takes")

type failedInstall struct {
	child *ikev2.Child
	err   error
}

func anyOf(failed []failedInstall, id ikev2.ChildID) bool {
	for _, f := range failed {
		if f.child.ID == id {
			return true
		}
	}
	return false
}

func (l *loop) send(a ikev2.Send) error {
	l.ike.Sent++
	var err error
	if a.Split {
		err = l.dp.SendIKEFragmented(a.Local, a.Remote, a.Data)
	} else {
		err = l.dp.SendIKE(a.Local, a.Remote, a.Data, a.DF)
	}
	if err == nil {
		return nil
	}
	if a.DF && errors.Is(err, sys.EMSGSIZE) {
		return errProbeSize
	}
	l.ike.SendErrors++
	if p := l.peers[a.Peer]; p != nil && !p.established() {
		l.reschedule(p)
		p.note = reason{
			text:   fmt.Sprintf("the kernel refused to send to %s: %v", a.Remote, err),
			remedy: "look at the route and the firewall's output rules for that address",
		}
	}
	l.log.Debug("sending an IKE message", "remote", a.Remote, "error", err)
	return err
}

// installIn brings the machine to where the new Child SA fits (guards, interface)
// and installs its inbound SA.
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
	sa := platform.SA{ChildSA: c.ChildSA, Link: p.name, Out: out, Params: params, ReplayWindow: p.cfg.ReplayWindow}
	// Soft limits are spread so that both ends and many tunnels do not rekey
	// at once; hard ones stand well beyond (contract 7).
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

// remove takes one direction of a Child SA out of the datapath and keeps its
// counters in the tunnel's totals.
func (l *loop) remove(c *ikev2.Child, out bool) {
	p := l.peers[c.Peer]
	if p == nil {
		return
	}
	l.reschedule(p)
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
		p.carrying = 0
		latest := uint64(0)
		for _, other := range p.children { // the datapath goes back to the one before
			if other.out.installed() && other.outs > latest {
				p.carrying, latest = other.ID, other.outs
			}
		}
		if p.carrying == 0 {
			l.carriesNot(p)
		}
	}
}

// later is the final count, or the last one read when the SA was gone already.
func later(final, read platform.Counters) platform.Counters {
	if final.Packets < read.Packets {
		return read
	}
	return final
}

func (l *loop) ikeUp(i ikev2.IKEInfo) {
	p := l.peers[i.Peer]
	if p == nil {
		return
	}
	l.reschedule(p)
	p.ike[i.ID] = i
	p.initiated = i.Replaces == 0 && i.Initiator || i.Replaces != 0 && p.initiated
	if i.Replaces != 0 {
		for _, sas := range p.children { // it has inherited them
			if sas.IKE == i.Replaces {
				c := *sas.Child
				c.IKE = i.ID
				sas.Child = &c
			}
		}
		p.ikeRekeys++
		l.event(p.tunnel, slog.LevelInfo, "rekey", "IKE SA rekeyed with "+i.Suite.String())
		return
	}
	l.event(p.tunnel, slog.LevelInfo, "ike", fmt.Sprintf("IKE SA with %s established with %s as %s", i.Remote, i.Suite, role(i.Initiator)))
}

func role(initiator bool) string {
	if initiator {
		return "initiator"
	}
	return "responder"
}

func (l *loop) ikeDown(a ikev2.IKEDown) {
	p := l.peers[a.Peer]
	if p == nil {
		return
	}
	l.reschedule(p)
	delete(p.ike, a.ID)
	l.probesCost(p, a)
	if a.Reason != nil {
		r := why(a.Reason)
		l.keep(p, a.Reason)
		l.event(p.tunnel, slog.LevelWarn, "ike", r.String())
		if !p.established() {
			l.lost(p, r)
		}
	}
	l.markDirty(p)
}

// noted keeps a remark about the attempt under way. An answer, even one that
// nobody authenticated, says more than the silence after it.
func (l *loop) noted(a ikev2.Noted) {
	p := l.peers[a.Peer]
	if p == nil {
		return
	}
	l.reschedule(p)
	if a.Reason.Kind == ikev2.FailModeChanged {
		l.event(p.tunnel, slog.LevelWarn, "mode", why(a.Reason).String())
		return
	}
	if p.established() || a.Reason.Kind == ikev2.FailTimeout && p.note.text != "" {
		return
	}
	l.keep(p, a.Reason)
	if r := why(a.Reason); p.note != r {
		p.note = r
		l.strangerEvent(p, slog.LevelInfo, "note", r.String())
	}
}

func why(f *ikev2.Failure) reason { return reason{f.What(), f.Remedy} }

// failed notes the end of an attempt; a tunnel that carries packets all the
// same (a second SA was refused, say) is not disturbed.
func (l *loop) failed(a ikev2.Failed) {
	p := l.peers[a.Peer]
	if p == nil {
		return
	}
	l.reschedule(p)
	r := why(a.Reason)
	l.strangerEvent(p, slog.LevelWarn, "failed", r.String())
	if p.established() {
		p.standby.Failed()
		return
	}
	l.keep(p, a.Reason)
	l.lost(p, r)
}

// keep remembers the typed reason of a failure for doctor.
func (l *loop) keep(p *peer, f *ikev2.Failure) { p.failure, p.failedAt = f, l.now() }

// lost puts a tunnel without SAs into the state down and plans the next
// attempt.
func (l *loop) lost(p *peer, r reason) {
	p.standby.Stop()
	if !p.wanted || p.cfg.RemoteAny {
		p.attempt.Stop()
	}
	if !p.wanted {
		return
	}
	p.set(phaseDown, r)
	if p.cfg.RemoteAny {
		return
	}
	if len(p.cfg.CRL) > 0 {
		l.listsAt = min(l.listsAt, l.now()+listPauseDown)
	}
	p.attempt.Failed(l.now(), l.random(), func(a netip.Addr) bool {
		_, err := l.routeFor(p, a)
		return err == nil
	})
	l.markDirty(p)
}

func (l *loop) liveness(a ikev2.Liveness) {
	p := l.peers[a.Peer]
	if p == nil || !p.established() || p.current().IKE != a.IKE {
		return
	}
	l.reschedule(p)
	switch a.State {
	case ikev2.Suspect:
		p.set(phaseSuspect, l.silence(p))
		l.event(p.tunnel, slog.LevelWarn, "suspect", p.reason.text)
		l.setRunning(p.tunnel, false)
		l.ask(p.tunnel, resolve.Down) // its name may have another address now
		l.replace(p, standby.Suspect, netip.Addr{})
	case ikev2.Alive:
		if p.phase == phaseSuspect {
			p.set(phaseUp, reason{})
			p.standby.Alive()
			l.event(p.tunnel, slog.LevelInfo, "alive", "the peer answers again")
			l.setRunning(p.tunnel, true)
		}
	}
}

// carries is called when a Child SA has become the one that carries the traffic.
func (l *loop) carries(p *peer) {
	c := p.current()
	p.attempt.Up(l.now())
	p.note, p.failure, p.passed = reason{}, nil, nil
	pause := time.Duration(0)
	if len(p.preferred()) > 0 {
		pause = p.probePause()
	}
	p.standby.Carries(l.now(), uint64(c.IKE), pause)
	if i, ok := p.ike[c.IKE]; ok {
		p.agreed.newPeer(i)
	}
	if p.phase == phaseUp {
		if c.Replaces == 0 {
			l.event(p.tunnel, slog.LevelInfo, "up", fmt.Sprintf("another Child SA carries the traffic: %s, %s", c.Remote, c.Suite))
			l.settleIn(p)
			return
		}
		p.childRekeys++
		l.event(p.tunnel, slog.LevelInfo, "rekey", fmt.Sprintf("Child SA rekeyed with %s", c.Suite))
		return
	}
	p.ups++
	p.ikeRekeys, p.childRekeys = 0, 0
	p.set(phaseUp, reason{})
	how := "ESP"
	if c.Encap {
		how = "ESP in UDP"
	}
	l.event(p.tunnel, slog.LevelInfo, "up", fmt.Sprintf("up: %s with %s, %s, %s mode, MTU %d", how, c.Remote.Addr(), c.Suite, mode(c.Transport), p.link.MTU))
	p.arrive()
	l.setRunning(p.tunnel, true)
	i, known := p.currentIKE()
	p.esp.Up(l.now(), esppath.FormOf(c.Encap), !known || i.Initiator)
	l.searchPath(p)
	l.upAt = l.now()
}

func mode(transport bool) string {
	if transport {
		return "transport"
	}
	return "tunnel"
}

// carriesNot is called when the last outbound SA is gone.
func (l *loop) carriesNot(p *peer) {
	p.standby.Stop()
	p.search.Stop()
	l.setRunning(p.tunnel, false)
	if p.esp.Down() {
		l.register(p)
	}
	if p.wanted && !p.cfg.RemoteAny {
		p.attempt.Down(l.now(), l.random())
	} else {
		p.attempt.Stop()
	}
	if !p.wanted {
		return
	}
	p.set(phaseDown, reason{text: "the Child SA is gone; making a new one"})
	l.event(p.tunnel, slog.LevelWarn, "down", "no Child SA carries packets any more")
	l.markDirty(p)
}

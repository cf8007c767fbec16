package tunnel

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	sys "golang.org/x/sys/unix"

	"greseal/ikev2"
	"greseal/platform"
	"greseal/tunnel/esppath"
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
		case ikev2.Answered:
			l.answered(a)
		case ikev2.Probed:
			probed = append(probed, a)
		}
	}
	for _, t := range carrying {
		if t.established() {
			l.carries(t)
		}
	}
	for _, f := range failed {
		if t := l.peers[f.child.Peer]; t != nil {
			l.reschedule(t)
			r := reason{text: fmt.Sprintf("Child SA not installed: %v", f.err)}
			if known, ok := errors.AsType[ikev2.Remedied](f.err); ok {
				r.remedy = known.Remedy()
			}
			l.event(t.tunnel, slog.LevelError, "install", r.String())
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
		err = l.dp.SplitIKE(a.Local, a.Remote, a.Data)
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
	if t := l.peers[a.Peer]; t != nil && !t.established() {
		l.reschedule(t)
		t.note = reason{
			text:   fmt.Sprintf("the kernel refused to send to %s: %v", a.Remote, err),
			remedy: "look at the route and the firewall's output rules for that address",
		}
	}
	l.log.Debug("sending an IKE message", "remote", a.Remote, "error", err)
	return err
}

// installIn brings the machine to where the new pair fits (guards, interface)
// and installs its inbound SA.
func (l *loop) installIn(a ikev2.InstallIn) error {
	t := l.peers[a.Child.Peer]
	if t == nil {
		return fmt.Errorf("tunnel %q is no longer configured", a.Child.Peer)
	}
	l.reschedule(t)
	if err := l.admit(t, a.Child); err != nil {
		return err
	}
	if err := l.guard(t.tunnel, a.Child.GRERemote); err != nil {
		return err
	}
	if err := l.guardOuter(t, a.Child.Remote.Addr()); err != nil {
		return err
	}
	// With other GRE endpoints than those of the pair that carries the traffic,
	// the interface follows when the new pair does (contract 12).
	if now := t.current(); now == nil || now.GRELocal == a.Child.GRELocal && now.GRERemote == a.Child.GRERemote {
		if err := l.setLink(t, a.Child); err != nil {
			return err
		}
	}
	sa := l.sa(t, a.Child, false)
	sa.Params = a.Params
	sa.WatchFirstUse = a.WatchFirstUse
	if err := l.dp.InstallIn(sa); err != nil {
		return err
	}
	p := t.pairs[a.Child.ID]
	if p == nil {
		p = &pair{Child: a.Child}
		t.pairs[a.Child.ID] = p
	}
	p.in = true
	return nil
}

// installOut installs the outbound SA, which moves the traffic to it.
func (l *loop) installOut(a ikev2.InstallOut) error {
	t := l.peers[a.Child.Peer]
	if t == nil {
		return fmt.Errorf("tunnel %q is no longer configured", a.Child.Peer)
	}
	l.reschedule(t)
	sa := l.sa(t, a.Child, true)
	sa.Params = a.Params
	if err := l.dp.InstallOut(sa); err != nil {
		return err
	}
	p := t.pairs[a.Child.ID]
	if p == nil {
		p = &pair{Child: a.Child}
		t.pairs[a.Child.ID] = p
	}
	l.outs++
	p.out, p.outs = true, l.outs
	t.carrying = a.Child.ID
	return l.setLink(t, a.Child)
}

// sa is the datapath's view of one direction of a pair, without its keys.
func (l *loop) sa(t *peer, c *ikev2.Child, out bool) platform.SA {
	sa := platform.SA{
		Link: t.name, Out: out,
		Local: c.Local, Remote: c.Remote, Encap: c.Encap, Transport: c.Transport,
		GRELocal: c.GRELocal, GRERemote: c.GRERemote,
		ReplayWindow: t.cfg.ReplayWindow,
	}
	// Soft limits are spread so that both ends and many tunnels do not rekey
	// at once; hard ones stand well beyond (contract 7).
	limit := func(n uint64) (soft, hard uint64) {
		if n == 0 {
			return 0, 0
		}
		return uint64(float64(n) * (0.85 + 0.1*l.random())), n + n/2
	}
	sa.SoftBytes, sa.HardBytes = limit(t.cfg.ChildBytes)
	sa.SoftPackets, sa.HardPackets = limit(t.cfg.ChildPackets)
	return sa
}

// remove takes one direction of a pair out of the datapath and keeps its
// counters in the tunnel's totals.
func (l *loop) remove(c *ikev2.Child, out bool) {
	t := l.peers[c.Peer]
	if t == nil {
		return
	}
	l.reschedule(t)
	p := t.pairs[c.ID]
	if p == nil {
		return
	}
	key := platform.SAKey{Link: t.name, Out: out, SPI: c.SPIIn}
	if out {
		key.SPI = c.SPIOut
	}
	if out && !p.out || !out && !p.in {
		return
	}
	n, err := l.dp.RemoveSA(key)
	if err != nil {
		l.log.Warn("removing an SA", "tunnel", t.id, "error", err)
	}
	if out {
		p.out = false
		t.total.out.Add(later(n, p.countOut))
	} else {
		p.in = false
		t.total.in.Add(later(n, p.countIn))
	}
	if !p.in && !p.out {
		delete(t.pairs, c.ID)
		defer l.releaseGuards(t.tunnel)
	}
	if out && t.carrying == c.ID {
		t.carrying = 0
		latest := uint64(0)
		for _, other := range t.pairs { // the datapath goes back to the one before
			if other.out && other.outs > latest {
				t.carrying, latest = other.ID, other.outs
			}
		}
		if t.carrying == 0 {
			l.carriesNot(t)
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
	t := l.peers[i.Peer]
	if t == nil {
		return
	}
	l.reschedule(t)
	t.ike[i.ID] = i
	t.initiated = i.Replaces == 0 && i.Initiator || i.Replaces != 0 && t.initiated
	if i.Replaces != 0 {
		for _, p := range t.pairs { // it has inherited them
			if p.IKE == i.Replaces {
				c := *p.Child
				c.IKE = i.ID
				p.Child = &c
			}
		}
		t.ikeRekeys++
		l.event(t.tunnel, slog.LevelInfo, "rekey", "IKE SA rekeyed with "+i.Suite.String())
		return
	}
	l.event(t.tunnel, slog.LevelInfo, "ike", fmt.Sprintf("IKE SA with %s established with %s as %s", i.Remote, i.Suite, role(i.Initiator)))
}

func role(initiator bool) string {
	if initiator {
		return "initiator"
	}
	return "responder"
}

func (l *loop) ikeDown(a ikev2.IKEDown) {
	t := l.peers[a.Peer]
	if t == nil {
		return
	}
	l.reschedule(t)
	delete(t.ike, a.ID)
	l.probesCost(t, a)
	if a.Reason != nil {
		r := why(a.Reason)
		l.keep(t, a.Reason)
		l.event(t.tunnel, slog.LevelWarn, "ike", r.String())
		if !t.established() {
			l.lost(t, r)
		}
	}
	l.markDirty(t)
}

// noted keeps a remark about the attempt under way. An answer, even one that
// nobody authenticated, says more than the silence after it.
func (l *loop) noted(a ikev2.Noted) {
	t := l.peers[a.Peer]
	if t == nil {
		return
	}
	l.reschedule(t)
	if a.Reason.Kind == ikev2.FailModeChanged {
		l.event(t.tunnel, slog.LevelWarn, "mode", why(a.Reason).String())
		return
	}
	if t.established() || a.Reason.Kind == ikev2.FailTimeout && t.note.text != "" {
		return
	}
	l.keep(t, a.Reason)
	if r := why(a.Reason); t.note != r {
		t.note = r
		l.strangerEvent(t, slog.LevelInfo, "note", r.String())
	}
}

func why(f *ikev2.Failure) reason { return reason{f.What(), f.Remedy} }

// failed notes the end of an attempt; a tunnel that carries packets all the
// same (a second SA was refused, say) is not disturbed.
func (l *loop) failed(a ikev2.Failed) {
	t := l.peers[a.Peer]
	if t == nil {
		return
	}
	l.reschedule(t)
	r := why(a.Reason)
	l.strangerEvent(t, slog.LevelWarn, "failed", r.String())
	if t.established() {
		t.standby.Failed()
		return
	}
	l.keep(t, a.Reason)
	l.lost(t, r)
}

// keep remembers the typed reason of a failure for doctor.
func (l *loop) keep(t *peer, f *ikev2.Failure) { t.failure, t.failedAt = f, l.now() }

// lost puts a tunnel without SAs into the state down and plans the next
// attempt.
func (l *loop) lost(t *peer, r reason) {
	t.standby.Stop()
	if !t.wanted || t.cfg.RemoteAny {
		t.attempt.Stop()
	}
	if !t.wanted {
		return
	}
	t.set(phaseDown, r)
	if t.cfg.RemoteAny {
		return
	}
	if len(t.cfg.CRL) > 0 {
		l.listsAt = min(l.listsAt, l.now()+listPauseDown)
	}
	t.attempt.Failed(l.now(), l.random(), func(a netip.Addr) bool {
		_, err := l.routeFor(t, a)
		return err == nil
	})
	l.markDirty(t)
}

func (l *loop) liveness(a ikev2.Liveness) {
	t := l.peers[a.Peer]
	if t == nil || !t.established() || t.current().IKE != a.IKE {
		return
	}
	l.reschedule(t)
	switch a.State {
	case ikev2.Suspect:
		t.set(phaseSuspect, l.silence(t))
		l.event(t.tunnel, slog.LevelWarn, "suspect", t.reason.text)
		l.setRunning(t.tunnel, false)
		l.ask(t.tunnel, resolveDown) // its name may have another address now
		l.replace(t, standby.Suspect, netip.Addr{})
	case ikev2.Alive:
		if t.phase == phaseSuspect {
			t.set(phaseUp, reason{})
			t.standby.Alive()
			l.event(t.tunnel, slog.LevelInfo, "alive", "the peer answers again")
			l.setRunning(t.tunnel, true)
		}
	}
}

// carries is called when a pair has become the one that carries the traffic.
func (l *loop) carries(t *peer) {
	c := t.current()
	t.attempt.Up(l.now())
	t.note, t.failure, t.passed = reason{}, nil, nil
	pause := time.Duration(0)
	if len(t.preferred()) > 0 {
		pause = t.probePause()
	}
	t.standby.Carries(l.now(), uint64(c.IKE), pause)
	if i, ok := t.ike[c.IKE]; ok {
		t.agreed.newPeer(i)
	}
	if t.phase == phaseUp {
		if c.Replaces == 0 {
			l.event(t.tunnel, slog.LevelInfo, "up", fmt.Sprintf("another Child SA carries the traffic: %s, %s", c.Remote, c.Suite))
			l.settleIn(t)
			return
		}
		t.childRekeys++
		l.event(t.tunnel, slog.LevelInfo, "rekey", fmt.Sprintf("Child SA rekeyed with %s", c.Suite))
		return
	}
	t.ups++
	t.ikeRekeys, t.childRekeys = 0, 0
	t.set(phaseUp, reason{})
	how := "ESP"
	if c.Encap {
		how = "ESP in UDP"
	}
	l.event(t.tunnel, slog.LevelInfo, "up", fmt.Sprintf("up: %s with %s, %s, %s mode, MTU %d", how, c.Remote.Addr(), c.Suite, mode(c.Transport), t.link.MTU))
	t.arrive()
	l.setRunning(t.tunnel, true)
	i, known := t.currentIKE()
	t.esp.Up(l.now(), esppath.FormOf(c.Encap), !known || i.Initiator)
	l.searchPath(t)
	l.upAt = l.now()
}

func mode(transport bool) string {
	if transport {
		return "transport"
	}
	return "tunnel"
}

// carriesNot is called when the last outbound SA is gone.
func (l *loop) carriesNot(t *peer) {
	t.standby.Stop()
	t.search.Stop()
	l.setRunning(t.tunnel, false)
	if t.esp.Down() {
		l.register(t)
	}
	if t.wanted && !t.cfg.RemoteAny {
		t.attempt.Down(l.now(), l.random())
	} else {
		t.attempt.Stop()
	}
	if !t.wanted {
		return
	}
	t.set(phaseDown, reason{text: "the Child SA is gone; making a new one"})
	l.event(t.tunnel, slog.LevelWarn, "down", "no Child SA carries packets any more")
	l.markDirty(t)
}

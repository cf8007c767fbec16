package tunnel

import (
	"errors"
	"fmt"
	"time"

	sys "golang.org/x/sys/unix"

	"greseal/ikev2"
	"greseal/tunnel/cause"
	"greseal/tunnel/status"
)

// round is what is left to do after a list of actions.
type round struct {
	failed   []failedInstall
	carrying []*peer
	probed   []ikev2.Probed
	refused  []ikev2.PeerID
}

// do carries out the engine's actions in order (contract 1). Failures to install are
// reported to the engine after the list.
//
// Link state, addresses and routes follow after the list: the answer that completes a
// handshake does not wait for them.
func (l *loop) do(actions []ikev2.Action) {
	var r round
	for _, a := range actions {
		switch a := a.(type) {
		case ikev2.WakeAt:
			l.wake = a.At
		case ikev2.Send:
			if l.send(a) == errProbeSize {
				r.refused = append(r.refused, a.Peer)
			}
		case ikev2.SendKeepalive:
			if err := l.dp.SendKeepalive(a.Local, a.Remote); err != nil {
				l.log.Debug("sending a NAT keepalive", "error", err)
			}
		case ikev2.InstallIn:
			r.installed(a.Child, a.Params, l.installIn(a))
		case ikev2.InstallOut:
			l.moveTo(a, &r)
		case ikev2.RemoveIn:
			with(l, a.Child.Peer, a.Child, (*loop).removeIn)
		case ikev2.RemoveOut:
			with(l, a.Child.Peer, a.Child, (*loop).removeOut)
		case ikev2.Probed:
			r.probed = append(r.probed, a)
		default:
			l.happened(a)
		}
	}
	l.finish(r)
}

// happened takes what the engine reports.
func (l *loop) happened(a ikev2.Action) {
	switch a := a.(type) {
	case ikev2.IKEUp:
		with(l, a.Peer, a.IKEInfo, (*loop).ikeUp)
	case ikev2.IKEDown:
		with(l, a.Peer, a, (*loop).ikeDown)
	case ikev2.Failed:
		with(l, a.Peer, a.Reason, (*loop).failed)
	case ikev2.Noted:
		with(l, a.Peer, a.Reason, (*loop).noted)
	case ikev2.Liveness:
		with(l, a.Peer, a, (*loop).liveness)
	case ikev2.PeerMTU:
		with(l, a.Peer, a.MTU, (*loop).peerMTU)
	case ikev2.Contended:
		with(l, a.Peer, a, (*loop).contended)
	case ikev2.Moved:
		with(l, a.Peer, a, (*loop).moved)
	case ikev2.Reachable:
		with(l, a.Peer, a.Remote.Addr(), (*loop).answered)
	}
}

// with calls f with the peer that an action is about, unless that has left the
// configuration, and reschedules it.
func with[A any](l *loop, id ikev2.PeerID, about A, f func(*loop, *peer, A)) {
	if p := l.peers[id]; p != nil {
		l.reschedule(p)
		f(l, p, about)
	}
}

// finish does what follows after a list.
func (l *loop) finish(r round) {
	for _, p := range r.carrying {
		if p.established() {
			l.carries(p)
		}
	}
	for _, f := range r.failed {
		with(l, f.child.Peer, f.err, (*loop).notInstalled)
		l.do(l.engine.InstallFailed(l.now(), f.child.ID, f.err))
	}
	for givers := l.givers; len(givers) > 0; givers = givers[1:] {
		l.givers = nil
		l.giveWay(givers[0])
	}
	for _, id := range r.refused {
		l.do(l.engine.ProbeRefused(l.now(), id))
	}
	for _, a := range r.probed {
		with(l, a.Peer, a, (*loop).probed)
	}
}

// errProbeSize says that a datagram with DF exceeds the outgoing interface's MTU.
var errProbeSize = errors.New("larger than the interface takes")

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
	if p := l.peers[a.Peer]; p != nil && !p.established() && (p.phase == phaseConnecting || p.cfg.RemoteAny) {
		l.reschedule(p)
		why := cause.Here(status.CodeUnavailable, fmt.Sprintf("the kernel refused to send to %s: %v", a.Remote, err),
			"check the route and the firewall's output rules for that address")
		p.cause.Set(time.Now(), why)
		p.said = why.String()
	}
	l.log.Debug("sending an IKE message", "remote", a.Remote, "error", err)
	return err
}

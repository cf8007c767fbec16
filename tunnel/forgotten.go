package tunnel

import (
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"greseal/ikev2"
)

// A peer that was restarted and waits for others to begin has forgotten the IKE
// SA. What it says of that is not authenticated and proves nothing (RFC 7296
// section 2.4), and until the dead threshold it could as well be the path that is
// gone. So a suspect peer is asked now and then whether it answers IKE_SA_INIT: one
// that does so for forgetTime, and not what is asked on the IKE SA meanwhile, is
// offered another IKE SA beside the old one. Where only the path was gone, its first
// answer on the old one ends the suspicion, and nothing is made.

// forgetTime is longer than the pause between repetitions of a request.
const forgetTime = 12 * time.Second

// knock asks the address of a suspect peer for IKE_SA_INIT.
func (l *loop) knock(t *peer) {
	a := &t.aside
	if a.asked {
		a.answers = 0 // the last one was in vain
	}
	a.asked = true
	remote := t.current().Remote.Addr()
	info, err := l.routeFor(t, remote)
	if err != nil {
		return
	}
	local, peer := t.ports(info.Local, remote)
	l.do(l.engine.Knock(l.now(), t.id, local, peer))
}

// knockAnswered takes the answer.
func (l *loop) knockAnswered(t *peer, remote netip.AddrPort) {
	a, now := &t.aside, l.now()
	a.asked = false
	if a.answers == 0 {
		a.answers = now
	}
	if now-a.answers < forgetTime {
		return
	}
	a.answers = 0
	info, err := l.routeFor(t, remote.Addr())
	if err != nil {
		return
	}
	l.event(t.tunnel, slog.LevelWarn, "forgotten", fmt.Sprintf("%s answers new handshakes, and nothing on the IKE SA: it was restarted, it seems; making a new IKE SA", remote.Addr()))
	l.tellTime()
	local, peer := t.ports(info.Local, remote.Addr())
	l.do(l.engine.Initiate(now, t.id, local, peer))
}

// knocks tells whether a tunnel's suspect peer is being knocked at an address.
func (t *peer) knocks(e ikev2.Answered) bool {
	return t.aside.why == asideSuspect && t.aside.asked && e.Remote.Addr() == t.current().Remote.Addr()
}

package tunnel

import (
	"fmt"
	"log/slog"
	"time"

	"greseal/ikev2"
	"greseal/platform"
	"greseal/tunnel/mtu"
)

// Where both ends of a tunnel are greseal their interfaces get the same MTU: each sends
// the one that it would choose, and both use the lower, also when that changes. A
// configured MTU is sent too, and kept.

// agreePause is the shortest time between two changes that the peer causes.
const agreePause = time.Second

// agreement is what a tunnel knows of the two ends' MTUs.
type agreement struct {
	own  int // what this side would choose, or has configured
	peer int // what the peer sent, 0: nothing

	told    int        // the last own sent
	warned  int        // the peer's MTU that the log has warned of
	at      ikev2.Time // when a change is to be sent and applied, 0: none
	takenAt ikev2.Time
}

// lower is the MTU for both ends. The peer's is not followed below the interface's
// minimum, nor does it make ours larger.
func (a *agreement) lower(least int) int {
	if a.peer == 0 {
		return a.own
	}
	return min(a.own, max(a.peer, least))
}

// agreeMTU lowers the MTU of a link to the peer's, if that is less.
func (l *loop) agreeMTU(p *peer, want *platform.Link) {
	a := &p.agreed
	if a.own = want.MTU; a.own != a.told {
		a.due(l.now())
	}
	if p.cfg.MTU != 0 {
		return
	}
	least := mtu.IPv4MinMTU
	if carriesIPv6(p.cfg) {
		least = mtu.IPv6MinMTU
	}
	if want.MTU = a.lower(least); want.MTU < a.own {
		p.tunnel.sizing.why = fmt.Sprintf("the peer's MTU is %d; %d would fit here, %s", a.peer, a.own, p.tunnel.sizing.why)
	}
}

func (a *agreement) due(now ikev2.Time) {
	if a.at == 0 {
		a.at = max(now, a.takenAt+agreePause)
	}
}

// peerMTU takes the MTU that the peer sends.
func (l *loop) peerMTU(p *peer, mtu int) {
	if p.agreed.peer != mtu {
		p.agreed.peer = mtu
		p.agreed.due(l.now())
	}
}

// agree sends our MTU to the peer, and applies the peer's.
func (l *loop) agree(p *peer, now ikev2.Time) {
	a := &p.agreed
	if a.at == 0 || a.at > now {
		return
	}
	a.at, a.takenAt = 0, now
	if !p.settled() {
		a.told = 0 // when it is up
		return
	}
	l.report(p.tunnel, "machine", l.refresh(p))
	a.at, a.told = 0, a.own
	l.do(l.engine.TellMTU(now, p.id, a.own))
	if a.differs(p.tunnel.link.MTU) && a.warned != a.peer {
		a.warned = a.peer
		l.event(p.tunnel, slog.LevelWarn, "mtu", fmt.Sprintf("the MTU here is %d and the peer's %d: OSPF needs the same; %s", p.tunnel.link.MTU, a.peer, p.sameMTU()))
	}
}

// differs reports whether the peer will have another MTU than we do.
func (a *agreement) differs(mtu int) bool { return a.peer != 0 && a.peer < mtu }

// sameMTU is how the two ends come to have the same.
func (p *peer) sameMTU() string {
	if p.cfg.MTU != 0 {
		return fmt.Sprintf("set mtu = %d, or leave it out on both sides", p.agreed.peer)
	}
	return fmt.Sprintf("IPv6 in this tunnel needs %d, so set mtu = %d at the peer", mtu.IPv6MinMTU, p.tunnel.link.MTU)
}

// newPeer forgets the MTU of the previous peer.
func (a *agreement) newPeer(i ikev2.IKEInfo) {
	if !i.TellsMTU {
		a.peer, a.warned = 0, 0
	}
}

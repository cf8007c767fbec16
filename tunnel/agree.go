package tunnel

import (
	"fmt"
	"log/slog"
	"time"

	"greseal/ikev2"
	"greseal/platform"
	"greseal/tunnel/mtu"
)

// Both ends of a tunnel give their interfaces the same MTU where both are greseal:
// each tells the other what it came to alone, and both take the lower, also when
// that changes. A configured MTU is told too, and stays.

// agreePause is the shortest time between two changes at the peer's word.
const agreePause = time.Second

// agreement is what a tunnel knows of the two ends' MTUs.
type agreement struct {
	own  int // what this side came to alone, or has in its configuration
	peer int // what the peer told, 0: nothing

	told    int        // of own
	warned  int        // the MTU of the peer's that the log has named as another
	at      ikev2.Time // when what changed is to be told and taken, 0: nothing has
	takenAt ikev2.Time
}

// lower is the MTU that both ends have. The peer's is not followed below what the
// interface must take, nor does it make ours larger.
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

// peerMTU takes what the peer tells.
func (l *loop) peerMTU(p *peer, mtu int) {
	if p.agreed.peer != mtu {
		p.agreed.peer = mtu
		p.agreed.due(l.now())
	}
}

// agree tells the peer our MTU, and takes its.
func (l *loop) agree(p *peer, now ikev2.Time) {
	a := &p.agreed
	if a.at == 0 || a.at > now {
		return
	}
	a.at, a.takenAt = 0, now
	if p.current() == nil {
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

// differs tells whether the peer will have another MTU than we do.
func (a *agreement) differs(mtu int) bool { return a.peer != 0 && a.peer < mtu }

// sameMTU is how the two ends come to have the same.
func (p *peer) sameMTU() string {
	if p.cfg.MTU != 0 {
		return fmt.Sprintf("set mtu = %d, or leave it out on both sides", p.agreed.peer)
	}
	return fmt.Sprintf("IPv6 in this tunnel needs %d, so set mtu = %d at the peer", mtu.IPv6MinMTU, p.tunnel.link.MTU)
}

// newPeer forgets the MTU of a peer that does not tell it.
func (a *agreement) newPeer(i ikev2.IKEInfo) {
	if !i.TellsMTU {
		a.peer, a.warned = 0, 0
	}
}

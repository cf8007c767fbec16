package tunnel

import (
	"log/slog"
	"time"

	"greseal/ikev2"
	"greseal/tunnel/status"
)

// contention is what a tunnel knows of a peer that was rejected because another one
// has the tunnel.
type contention struct {
	last  ikev2.Contended
	at    ikev2.Time // 0: never
	told  ikev2.Time // when it was last logged
	times uint64
}

const (
	// contentionLasts is how long it is shown after the last time: a peer that keeps
	// trying comes back within a minute or two.
	contentionLasts = 10 * time.Minute
	contentionEvery = time.Hour // in the log, of the same two
)

// contended notes that the engine rejected a peer.
func (l *loop) contended(p *peer, a ikev2.Contended) {
	c, now := &p.contention, l.now()
	same := c.at != 0 && c.last.Holder.Equal(a.Holder) && c.last.Newcomer.Equal(a.Newcomer) && now-c.told < contentionEvery
	c.last, c.at = a, now
	c.times++
	if !same {
		c.told = now
		l.event(p.tunnel, slog.LevelWarn, "peer", a.Reason.Error())
	}
}

// stands reports whether the peer that has the tunnel is the one in whose favour
// another was rejected; where both have the same identity their addresses decide.
func (c *contention) stands(p *peer) bool {
	i, ok := p.currentIKE()
	a := &c.last
	return ok && i.RemoteID.Equal(a.Holder) &&
		(!a.Holder.Equal(a.Newcomer) || i.Remote.Addr() != a.NewcomerAt.Addr() || a.HolderAt.Addr() == a.NewcomerAt.Addr())
}

// describe is nil when no peer was rejected lately.
func (c *contention) describe(l *loop, p *peer) *status.Contention {
	if c.at == 0 || l.now()-c.at > contentionLasts || !c.stands(p) {
		return nil
	}
	a := &c.last
	return &status.Contention{
		Holder: a.Holder.String(), HolderAddress: a.HolderAt.String(),
		Newcomer: a.Newcomer.String(), NewcomerAddress: a.NewcomerAt.String(),
		Times: c.times, Last: l.wall(c.at).Unix(), Remedy: a.Reason.Remedy,
	}
}

package tunnel

import (
	"log/slog"
	"time"

	"greseal/ikev2"
	"greseal/tunnel/status"
)

// contention is what a tunnel knows of a peer that was turned away because another
// one has the tunnel.
type contention struct {
	last  ikev2.Contended
	at    ikev2.Time // 0: never
	told  ikev2.Time // when the log said so last
	times uint64
}

const (
	// contentionLasts is how long it is told after the last time: a peer that goes
	// on trying comes back within a minute or two.
	contentionLasts = 10 * time.Minute
	contentionEvery = time.Hour // in the log, of the same two
)

// contended notes that the engine turned a peer away.
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

// stands tells whether the peer that has the tunnel is the one for whom another was
// turned away; where both have one identity their addresses tell.
func (c *contention) stands(p *peer) bool {
	i, ok := p.currentIKE()
	a := &c.last
	return ok && i.RemoteID.Equal(a.Holder) &&
		(!a.Holder.Equal(a.Newcomer) || i.Remote.Addr() != a.NewcomerAt.Addr() || a.HolderAt.Addr() == a.NewcomerAt.Addr())
}

// describe is nil when nobody was turned away lately.
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

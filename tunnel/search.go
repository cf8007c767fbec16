package tunnel

import (
	"fmt"
	"log/slog"
	"time"

	"greseal/ikev2"
	"greseal/platform"
	"greseal/tunnel/mtu"
)

// The search of the path MTU: tunnel/mtu decides what is probed, the engine
// probes, and the interface, the clamp and the size of IKE messages follow. It
// begins when a Child SA carries traffic, and again whenever the path changes: our own
// or the peer's address, the outgoing interface or its MTU.

// pathOf is the path to the peer of a Child SA, or of the candidate that is tried.
func (p *peer) pathOf(child *ikev2.Child) mtu.Path {
	way := mtu.Path{Local: p.underlay.Local(), Remote: p.remote(), Max: usualMTU}
	if child != nil {
		way.Local, way.Remote = child.Local.Addr(), child.Remote.Addr()
	}
	if ifname, size, ok := p.underlay.MTU(); ok {
		way.Interface, way.Max = ifname, size
	}
	return way
}

// usualMTU is assumed where the outgoing interface is not known.
const usualMTU = 1500

// Where many tunnels come up one after the other, the handshakes of the next come
// first, and the paths of those that are up are searched a little later.
const (
	searchCrowd    = 100 * time.Millisecond // since the last one came up
	searchPause    = 500 * time.Millisecond
	searchPatience = 3 * time.Second
)

// searchPath begins the search if none is under way or done on the path that the
// carrying Child SA now takes. Whoever changes that path calls it.
func (l *loop) searchPath(p *peer) {
	sas := p.current()
	if !p.settled() || !p.underlay.Known() {
		return
	}
	crowded := l.upAt != 0 && l.now()-l.upAt < searchCrowd
	if crowded && p.phase == phaseUp && time.Since(p.since) < searchPatience {
		p.search.Later(l.now().Truncate(searchPause) + searchPause) // many at once
		return
	}
	if p.search.Follow(l.now(), p.pathOf(sas.Child)) {
		l.hintKernel(p)
		l.nextProbe(p)
	}
}

// hintKernel takes a path MTU that the kernel learned by ICMP as a hint.
func (l *loop) hintKernel(p *peer) {
	if _, size, _ := p.underlay.MTU(); p.underlay.Learned() != 0 && p.underlay.Learned() < size {
		p.search.Hint(p.underlay.Learned())
	}
}

// nextProbe sends the next probe, if there is one to send.
func (l *loop) nextProbe(p *peer) {
	if size, token := p.search.Next(l.now()); size != 0 {
		l.do(l.engine.Probe(l.now(), p.id, size, token))
	}
}

// probed handles the result of a probe.
func (l *loop) probed(p *peer, a ikev2.Probed) {
	if !p.search.Awaits(a.Token) {
		return
	}
	if a.Hopeless {
		if p.search.Hopeless(l.now()) {
			l.event(p.tunnel, slog.LevelInfo, "mtu", fmt.Sprintf("the path MTU is not searched: fragmented IKE messages got no answer twice while small ones did, so fragments are lost on the way or dropped by the peer, and a lost probe would cost the IKE SA; tried again every %s", mtu.RaiseTime))
		}
		return
	}
	before := p.search.Result(l.now(), a.Size, a.Arrived)
	found, path := p.search.Found(), p.search.Path()
	switch now := p.search.State(); {
	case now == before:
	case now == mtu.Complete:
		l.event(p.tunnel, slog.LevelInfo, "mtu", fmt.Sprintf("packets of up to %d bytes reach the peer, of %d on %s", found, path.Max, path.Interface))
	case now == mtu.Base:
		l.event(p.tunnel, slog.LevelWarn, "mtu", "packets of the size in use no longer reach the peer; looking for one that does")
	case now == mtu.Error && found == 0:
		l.event(p.tunnel, slog.LevelWarn, "mtu", fmt.Sprintf("packets of %d bytes do not reach the peer", a.Size))
	}
	l.resize(p)
	l.nextProbe(p)
}

// resize adapts everything to the size in use.
func (l *loop) resize(p *peer) {
	was := p.tunnel.link.MaxUnfragmented
	if l.report(p.tunnel, "machine", l.refresh(p)) {
		return
	}
	// The kernel would keep what it learned by ICMP for ten more minutes.
	if p.tunnel.link.MaxUnfragmented > was || p.underlay.Learned() != 0 && p.underlay.Learned() < p.search.Found() {
		if err := platform.FlushRouteCache(); err != nil {
			l.log.Debug("forgetting learned path MTUs", "error", err)
		}
	}
	if n := p.ikeMTU(); n != p.ikeSize {
		l.register(p)
	}
}

// ikeMTU is the largest IP packet for IKE messages. They are fragmented above 1280 bytes
// also where more was found: larger ones gain nothing, and one that the path has begun
// to lose would be retransmitted just as large.
func (p *peer) ikeMTU() int {
	n := mtu.BasePLPMTU
	if p.underlay.Known() && p.underlay.Learned() != 0 {
		n = min(n, p.underlay.Learned())
	}
	if p.search.Found() != 0 {
		n = min(n, p.search.Found())
	}
	return n
}

// searchTick does what is due: the size in use is probed again if packets were sent
// since, and after a longer time a larger one is tried.
func (l *loop) searchTick(p *peer, now ikev2.Time) {
	due := p.search.Wake()
	if due == 0 || due > now || p.current() == nil {
		return
	}
	if p.search.Begins() {
		l.searchPath(p)
		return
	}
	if p.search.ProofDue(now) {
		if _, out := l.totals(p); p.search.Prove(now, out.Packets, p.phase == phaseUp) {
			l.followUnderlay(p)
		}
	}
	l.nextProbe(p)
}

// tooBig handles the datapath's report of a packet that did not fit: from this
// machine's kernel, or from a router, which is only a hint.
func (l *loop) tooBig(ev platform.Event) {
	t := l.tunnels[ev.Link]
	if t == nil {
		return
	}
	for _, p := range t.peers {
		switch {
		case !p.settled():
		case ev.MTU == 0:
			l.followUnderlay(p)
		default:
			p.search.Hint(ev.MTU)
			l.nextProbe(p)
		}
	}
}

// probesCost notes that an IKE SA has ended.
func (l *loop) probesCost(p *peer, a ikev2.IKEDown) {
	if a.Reason == nil || a.Reason.Kind != ikev2.FailDead {
		return
	}
	if size, rest := p.search.Died(l.now()); size != 0 {
		l.event(p.tunnel, slog.LevelWarn, "mtu", fmt.Sprintf("the search of the path MTU has cost %d IKE SAs and is given up for %s; %d is used on this path", mtu.MaxDeaths, rest, size))
	}
}

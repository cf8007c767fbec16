package tunnel

import (
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"greseal/ikev2"
	"greseal/platform"
	"greseal/tunnel/mtu"
)

// The search of the path MTU: tunnel/mtu decides what is probed, the engine
// probes, and the interface, the clamp and the size of IKE messages follow. It
// begins when a pair carries traffic, and anew whenever the path is another one:
// own or peer's address, the interface below or its MTU.

// path is what a search is about.
type path struct {
	local, remote netip.Addr
	ifname        string
	max           int // MTU of the first interface or of the route
}

// search is a tunnel's search. The zero value has found nothing.
type search struct {
	mtu.Search
	path    path
	found   int        // on that path, 0: nothing yet; outlives the search
	at      ikev2.Time // when it is to begin, 0: it has, or is not wanted
	token   uint64     // of the present search's probes
	asked   int        // of the outstanding probe, 0: none
	deaths  int        // IKE SAs in a row that ended with a probe unanswered
	rests   ikev2.Time // not to be begun before: probes are of no use, or too dear
	carried uint64     // packets sent by the time of the last proof
}

// size is the MTU of a path: what the search says of it, or found last time.
func (s *search) size(p path) (size int, searched bool) {
	if s.path != p {
		return p.max, false
	}
	size = s.PLPMTU()
	if size == 0 {
		size = s.found
	}
	if size == 0 || size > p.max {
		return p.max, false
	}
	return size, size <= s.found
}

// pathOf is the path to the peer of a pair, or of the candidate that is tried.
func (t *peer) pathOf(child *ikev2.Child) path {
	p := path{local: t.local, remote: t.remote(), max: usualMTU}
	if child != nil {
		p.local, p.remote = child.Local.Addr(), child.Remote.Addr()
	}
	if t.outside && t.underlay.MTU > 0 {
		p.ifname, p.max = t.underlay.IfName, t.underlay.MTU
	}
	return p
}

// usualMTU is taken where nothing is known of the way out.
const usualMTU = 1500

// Where many tunnels come up one after the other, the handshakes of the next come
// first, and the paths of those that are up are searched a little later.
const (
	searchCrowd    = 100 * time.Millisecond // since the last one came up
	searchPause    = 500 * time.Millisecond
	searchPatience = 3 * time.Second
)

// searchPath begins the search if none is under way or done on the path that the
// carrying pair now takes. Whoever changes that path calls it.
func (l *loop) searchPath(t *peer) {
	p := t.current()
	if p == nil || !t.outside {
		return
	}
	s := &t.search
	s.at = 0
	if crowded := l.upAt != 0 && l.now()-l.upAt < searchCrowd; crowded && t.phase == phaseUp && time.Since(t.since) < searchPatience {
		s.at = l.now().Truncate(searchPause) + searchPause // many at once
		return
	}
	now := t.pathOf(p.Child)
	switch {
	case s.path != now:
		*s = search{path: now, token: s.token}
	case s.rests > l.now():
		s.at = s.rests
		return
	case s.State() != mtu.Disabled:
		return
	}
	s.token++
	s.asked = 0
	s.Start(now.max, now.remote.Is6(), s.found)
	l.hintKernel(t)
	l.nextProbe(t)
}

// stopSearch ends the search while no pair carries traffic; what was found stays.
func (l *loop) stopSearch(t *peer) {
	t.search.Stop()
	t.search.at = 0
	t.search.token++
	t.search.asked = 0
}

// hintKernel takes what the kernel has heard by ICMP for a hint.
func (l *loop) hintKernel(t *peer) {
	if n := t.underlay.PathMTU; n != 0 && n < t.underlay.MTU {
		t.search.Hint(n)
	}
}

// nextProbe sends the next probe, if there is one to send.
func (l *loop) nextProbe(t *peer) {
	if size := t.search.Next(l.now()); size != 0 {
		t.search.asked = size
		l.do(l.engine.Probe(l.now(), t.id, size, t.search.token))
	}
}

// probed takes the result of a probe.
func (l *loop) probed(a ikev2.Probed) {
	t := l.of(a.Peer)
	if t == nil || a.Token != t.search.token || t.search.asked == 0 {
		return
	}
	s := &t.search
	if a.Hopeless {
		again := s.rests != 0
		l.stopSearch(t)
		s.rests = l.now() + mtu.RaiseTime
		s.at = s.rests
		if !again {
			l.event(t.tunnel, slog.LevelInfo, "mtu", fmt.Sprintf("the path MTU is not searched: fragments of IKE messages got no answer twice, and what is small did, so they get lost on the way to the peer, or are not taken there; a lost probe would cost the IKE SA. Looked at again every %s", mtu.RaiseTime))
		}
		return
	}
	was := s.State()
	s.asked = 0
	s.Result(l.now(), a.Size, a.Arrived)
	s.found, s.deaths, s.rests = s.Found(), 0, 0
	if now := s.State(); now != was {
		switch now {
		case mtu.Complete:
			l.event(t.tunnel, slog.LevelInfo, "mtu", fmt.Sprintf("packets of up to %d bytes reach the peer, of %d from %s", s.found, s.path.max, s.path.ifname))
		case mtu.Base:
			l.event(t.tunnel, slog.LevelWarn, "mtu", "packets of the size in use no longer reach the peer; looking for one that does")
		case mtu.Error:
			if s.found == 0 {
				l.event(t.tunnel, slog.LevelWarn, "mtu", fmt.Sprintf("packets of %d bytes do not reach the peer", a.Size))
			}
		}
	}
	l.resize(t)
	l.nextProbe(t)
}

// resize has everything follow the size in use.
func (l *loop) resize(t *peer) {
	was := t.link.Fits
	if err := l.refresh(t); err != nil {
		l.event(t.tunnel, slog.LevelError, "machine", err.Error())
		return
	}
	// What the kernel learned by ICMP would hold for ten minutes more.
	if t.link.Fits > was || t.underlay.PathMTU != 0 && t.underlay.PathMTU < t.search.found {
		if err := platform.FlushRouteCache(); err != nil {
			l.log.Debug("forgetting learned path MTUs", "error", err)
		}
	}
	if n := t.ikeMTU(); n != t.ikeSize {
		l.register(t)
	}
}

// ikeMTU is the largest IP packet for IKE messages. They are fragmented above 1280
// also where more was found: nothing is gained by larger ones, and one that a path
// has begun to lose would be repeated as large as it is.
func (t *peer) ikeMTU() int {
	n := 1280
	if t.outside && t.underlay.PathMTU != 0 {
		n = min(n, t.underlay.PathMTU)
	}
	if t.search.found != 0 {
		n = min(n, t.search.found)
	}
	return n
}

// searchDue is when a tunnel's search has something to do by itself, 0: not.
func (t *peer) searchDue() ikev2.Time {
	if t.search.at != 0 {
		return t.search.at
	}
	due := t.search.Wake()
	if at := t.search.CheckAt(); at != 0 && t.search.asked == 0 && (due == 0 || at < due) {
		due = at
	}
	return due
}

// searchTick does what is due: the size in use is proved again if packets were
// sent since, and after a longer time a larger one is tried.
func (l *loop) searchTick(t *peer, now ikev2.Time) {
	due := t.searchDue()
	if due == 0 || due > now || t.current() == nil {
		return
	}
	s := &t.search
	if s.at != 0 {
		l.searchPath(t)
		return
	}
	if at := s.CheckAt(); at != 0 && at <= now {
		_, out := l.totals(t)
		if out.Packets != s.carried && t.phase == phaseUp {
			s.carried = out.Packets
			l.followUnderlay(t)
			s.Check()
		} else {
			s.Unused(now)
		}
	}
	l.nextProbe(t)
}

// tooBig takes what the datapath heard of a packet that did not fit: from this
// machine's kernel, or from a router, which is a hint.
func (l *loop) tooBig(ev platform.Event) {
	t := l.tunnels[ev.Link]
	if t == nil {
		return
	}
	for _, p := range t.peers {
		switch {
		case !p.established():
		case ev.MTU == 0:
			l.followUnderlay(p)
		default:
			p.search.Hint(ev.MTU)
			l.nextProbe(p)
		}
	}
}

// maxDeaths is how many IKE SAs in a row may end with a probe unanswered. A peer
// that dies by itself does so at other times, too.
const maxDeaths = 2

// deathsRest is how long that is believed.
const deathsRest = 24 * time.Hour

// probesCost notes that an IKE SA died with a probe unanswered. The probe itself
// may be why, where a path drops large packets as well as the fragments of IP, and
// the peer puts no IKE fragments together. That is not risked for ever.
func (l *loop) probesCost(t *peer, a ikev2.IKEDown) {
	s := &t.search
	if a.Reason == nil || a.Reason.Kind != ikev2.FailDead || s.asked <= mtu.BasePLPMTU {
		return
	}
	if s.deaths++; s.deaths == maxDeaths {
		s.found, s.deaths = mtu.BasePLPMTU, 0
		s.rests = l.now() + deathsRest
		l.event(t.tunnel, slog.LevelWarn, "mtu", fmt.Sprintf("the search of the path MTU has cost %d IKE SAs and is given up for %s; %d is used on this path", maxDeaths, deathsRest, s.found))
	}
}

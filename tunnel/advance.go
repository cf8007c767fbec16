package tunnel

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"greseal/crypto/suite"
	"greseal/ikev2"
	"greseal/platform"
	"greseal/tunnel/attempt"
	"greseal/tunnel/cause"
	"greseal/tunnel/resolve"
	"greseal/tunnel/status"
)

// advance decides what a tunnel does next: names, then addresses and route, then the
// machine's side, then the handshake. It may be called at any time and does nothing
// when there is nothing to do.
func (l *loop) advance(p *peer) {
	if p == nil || !p.tunnel.wanted || p.settled() {
		return
	}
	p.stays(l.step(p), l.now())
}

// step is one step of advance, as far as it can go now, and what the next waits for.
func (l *loop) step(p *peer) wait {
	now := l.now()
	p.attempt.Tick(now)
	switch {
	case p.attempt.State() == attempt.UnderWay:
		return p.still(p.attempt.Wake(), eventHandshake)
	case p.attempt.State() == attempt.Pausing:
		return p.still(p.attempt.Wake(), eventNone) // waiting on purpose
	case p.cfg.RemoteAny:
		return l.listen(p)
	}
	l.ask(p.tunnel, resolve.Down)
	if l.findCandidates(p) {
		l.register(p)
	}
	if w, must := l.unresolved(p); must {
		return w
	}
	passed, w, ok := l.choose(p)
	if !ok {
		return w
	}
	return l.initiate(p, passed)
}

// choose finds the first candidate, from the one whose turn it is, that can be
// reached from here, and makes the machine ready for it. passed says why others
// were skipped; when all are, ok is false and w says why.
func (l *loop) choose(p *peer) (passed []string, w wait, ok bool) {
	w = wait{phase: phaseWaiting, until: l.now() + routeRetry, word: l.lacks(p), why: cause.Here(status.CodeNoPath, "", appears)}
	p.passed = nil
	l.layRoutes(p.tunnel)
	for range p.attempt.Candidates() {
		info, err := l.outside(p, p.remote())
		if err != nil {
			passed = append(passed, err.Error())
			if !errors.Is(err, platform.ErrNoSource) {
				w.word = waitRoute
			}
			p.attempt.Next()
			continue
		}
		p.underlay.Choose(info)
		if err := l.prepare(p); err != nil {
			passed = append(passed, err.Error())
			w.phase, w.word, w.until, w.why = phaseDown, "", l.now()+linkRetry, hindered(err)
			p.attempt.Next()
			continue
		}
		return passed, w, true
	}
	p.attempt.First()
	p.underlay.None()
	w.why.Text = sentence(passed)
	if w.phase == phaseDown {
		l.stuck(p, slog.LevelError, w.why.Text)
	} else {
		l.stuck(p, slog.LevelInfo, w.why.Text) // it may be seconds after a boot
	}
	return passed, w, false
}

// sentence joins what is wrong with several remotes, with one remedy at the end.
func sentence(whys []string) string {
	for i := range len(whys) - 1 {
		whys[i], _, _ = strings.Cut(whys[i], ": wait for")
	}
	return strings.Join(whys, "; ")
}

// initiate begins the handshake with the chosen candidate.
func (l *loop) initiate(p *peer, passed []string) wait {
	now := l.now()
	if o, w := l.offered(p); len(o.esp) == 0 {
		return w
	}
	p.attempt.Begin(now)
	p.said, p.passed, p.hindrance = "", passed, ""
	w := wait{phase: phaseConnecting, until: p.attempt.Wake(), event: eventHandshake, why: cause.Progress(fmt.Sprintf("waiting for %s to answer", p.remote()))}
	if p.cause.Known().Failure != nil {
		w.why = *p.cause.Known() // why the last attempt failed says more
	}
	// What the engine reports at once, such as a failure, takes precedence.
	p.stays(w, now)
	l.beginHandshake(p, p.underlay.Local(), p.remote())
	if p.attempt.State() != attempt.UnderWay {
		return p.still(max(p.attempt.Wake(), now+1), eventNone)
	}
	return p.wait
}

// listen prepares a tunnel whose peer speaks first.
func (l *loop) listen(p *peer) wait {
	if err := l.prepare(p); err != nil {
		l.stuck(p, slog.LevelError, err.Error())
		return wait{phase: phaseDown, why: hindered(err), until: l.now() + linkRetry}
	}
	l.register(p)
	if o, w := l.offered(p); len(o.esp) == 0 {
		return w
	}
	if why := l.nowhere(p); why != "" {
		return wait{phase: phaseWaiting, word: l.lacks(p), until: l.now() + linkRetry,
			why: cause.Here(status.CodeNoPath, why+", so no peer is let in", "the tunnel continues by itself when the address appears")}
	}
	l.callBack(p)
	if p.cause.Known().Failure != nil {
		return p.still(0, eventPeer) // why the last peer was refused says more
	}
	return wait{phase: phaseWaiting, event: eventPeer, why: cause.Cause{
		Text:   "no peer has connected yet",
		Remedy: "start the other side; UDP 500 and 4500 must reach this machine",
	}}
}

// hindered is what of this machine stands in a tunnel's way.
func hindered(err error) cause.Cause {
	c := cause.Here(status.CodeUnavailable, err.Error(), tried)
	if known, ok := errors.AsType[ikev2.Remedied](err); ok {
		c.Remedy = known.Remedy()
	}
	return c
}

// stuck reports, once, what on this machine keeps a tunnel from being set up.
func (l *loop) stuck(p *peer, level slog.Level, what string) {
	if p.hindrance != what {
		l.event(p.tunnel, level, "machine", what)
	}
	p.hindrance = what
}

// nowhere says that local is no address of this machine, "" when it is.
func (l *loop) nowhere(p *peer) string {
	if !p.localOnly {
		return ""
	}
	switch all, err := l.net.LocalAddrs(); {
	case err != nil:
		return ""
	case len(p.locals) == 0:
		return fmt.Sprintf("local = %q: the interface does not exist or has no address", p.cfg.Local)
	case !slices.ContainsFunc(p.locals, func(a netip.Addr) bool { return slices.Contains(all, a) }):
		return fmt.Sprintf("local address %s is not on this machine", p.cfg.Local)
	}
	return ""
}

// lacks is what a tunnel waits for that has no source address: the interface
// that local names, where it is not there, else the address.
func (l *loop) lacks(p *peer) string {
	if _, err := netip.ParseAddr(p.cfg.Local); p.cfg.Local == "" || err == nil {
		return waitAddress
	}
	if _, err := l.net.Link(p.cfg.Local); errors.Is(err, platform.ErrNoLink) {
		return waitLink
	}
	return waitAddress
}

// ownAddresses are those that local allows for the tunnel; only is false when it
// allows any.
func (l *loop) ownAddresses(p *peer) (own []netip.Addr, only bool) {
	if p.cfg.Local == "" {
		return nil, false
	}
	if a, err := netip.ParseAddr(p.cfg.Local); err == nil {
		return []netip.Addr{a.Unmap()}, true
	}
	own, err := l.net.InterfaceAddrs(p.cfg.Local)
	if err != nil {
		l.log.Warn("reading the local addresses", "tunnel", p.id, "error", err)
	}
	return own, true
}

// register tells the engine what to offer to, and expect of, the tunnel's peer.
// A tunnel that is not wanted, or whose names are not known yet, has no Peer, so that
// no peer can bring it up.
func (l *loop) register(p *peer) {
	if !p.tunnel.wanted || !p.cfg.RemoteAny && len(p.attempt.Candidates()) == 0 {
		return
	}
	o, _ := l.proposalsOf(p)
	c := p.cfg
	p.locals, p.localOnly = l.ownAddresses(p)
	peer := ikev2.Peer{
		ID:            p.id,
		Remotes:       p.attempt.Candidates(),
		Local:         p.locals,
		LocalOnly:     p.localOnly,
		PPKID:         c.PPKID,
		PPK:           c.PPK.Bytes(),
		PPKRequired:   c.PPKRequired,
		IKE:           o.ike,
		ESP:           o.esp,
		PFS:           c.PFS,
		Transport:     c.Transport(),
		GRELocal:      c.GRELocal,
		GRERemote:     c.GRERemote,
		GRERemoteAny:  c.RemoteAny && !c.GRERemote.IsValid(),
		IKELifetime:   c.IKELifetime,
		ChildLifetime: c.ChildLifetime,
		Reauth:        c.Reauth,
		DPD:           c.DPD,
		Suspect:       c.DPDSuspect,
		Dead:          c.DPDDead,
		Encap:         p.encapMode(l.dp.Kind()),
		Elsewhere:     p.elsewhere(),
		Earlier:       p.earlier(),
	}
	authenticate(&peer, c)
	peer.PathMTU = p.ikeMTU()
	p.ikeSize = peer.PathMTU
	var err error
	if c.LocalID != "" {
		if peer.LocalID, err = ikev2.ParseIdentity(c.LocalID); err != nil {
			l.log.Error("local_id", "tunnel", p.id, "error", err) // config has checked it
		}
	}
	if c.RemoteID != "" {
		if peer.RemoteID, err = ikev2.ParsePattern(c.RemoteID); err != nil {
			l.log.Error("remote_id", "tunnel", p.id, "error", err)
			return // never accept more than what was configured
		}
	}
	l.do(l.engine.SetPeer(l.now(), peer))
}

// offers are the proposals of a tunnel that this machine supports.
type offers struct{ ike, esp []suite.Proposal }

// offered is what the tunnel can offer; with nothing left it is down, and w says
// which and why.
func (l *loop) offered(p *peer) (o offers, w wait) {
	o, refused := l.proposalsOf(p)
	why := "the list is empty"
	if refused != nil {
		why = refused.Error()
	}
	if len(o.esp) == 0 {
		p.hindrance = "none of the ESP proposals is supported here: " + why
	}
	return o, wait{phase: phaseDown, until: l.now() + time.Minute, why: cause.Here(status.CodeUnavailable, p.hindrance,
		`install what is missing, choose other algorithms in esp, or set datapath = "userspace"`)}
}

// proposalsOf are the configured or built-in lists less the ESP algorithms that
// the datapath cannot compute; the error is its last refusal.
func (l *loop) proposalsOf(p *peer) (o offers, refused error) {
	o = offers{p.cfg.IKEProposals, p.cfg.ESPProposals}
	if o.ike == nil {
		o.ike = suite.DefaultIKE()
	}
	if o.esp == nil {
		o.esp = suite.DefaultESP(suite.HasAESInGo() || l.dp.Kind() == platform.KindKernel && suite.HasAES())
	}
	o.esp, refused = possible(o.esp, l.dp.Supports)
	return o, refused
}

// possible drops what supports refuses from ESP proposals, and the proposals
// that have nothing left. A cipher is judged together with the integrity algorithms
// of its proposal, and the error is the last refusal.
func possible(ps []suite.Proposal, supports func(encr, integ suite.Transform) error) ([]suite.Proposal, error) {
	var last error
	var out []suite.Proposal
	for _, p := range ps {
		encrs, integs := map[suite.Transform]bool{}, map[suite.Transform]bool{}
		for _, e := range p.Of(suite.TypeEncr) {
			if e.IsAEAD() {
				err := supports(e, suite.Transform{})
				encrs[e] = err == nil
				if err != nil {
					last = err
				}
				continue
			}
			for _, i := range p.Of(suite.TypeInteg) {
				if err := supports(e, i); err != nil {
					last = err
					continue
				}
				encrs[e], integs[i] = true, true
			}
		}
		kept := suite.Filter([]suite.Proposal{p}, func(t suite.Transform) bool {
			switch t.Type {
			case suite.TypeEncr:
				return encrs[t]
			case suite.TypeInteg:
				return integs[t] || t.ID == 0
			}
			return true
		})
		out = append(out, kept...)
	}
	return out, last
}

// restart closes a tunnel's SAs and starts again at once.
func (l *loop) restart(p *peer, why string) {
	l.do(l.engine.Close(l.now(), p.id))
	l.disinherit(p)
	p.attempt.Reset()
	p.standby.Stop()
	p.cause.Find(time.Now(), cause.Cause{})
	if p.tunnel.wanted {
		p.set(phaseWaiting, cause.Progress(why))
	}
	l.retryNow(p)
}

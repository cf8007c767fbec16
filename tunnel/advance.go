package tunnel

import (
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"greseal/crypto/suite"
	"greseal/ikev2"
	"greseal/platform"
	"greseal/tunnel/config"
)

const (
	routeRetry = 5 * time.Second  // without a route; a change of routes comes sooner
	linkRetry  = 30 * time.Second // after the interface could not be made
)

// advance decides what a tunnel does next. It may be called at any time and
// does nothing when there is nothing to do: names, then addresses and route,
// then the machine's side, then the handshake.
func (l *loop) advance(t *state) {
	if t == nil || !t.wanted || t.established() || t.trying {
		return
	}
	now := l.now()
	if t.retryAt > now {
		return // waiting on purpose
	}
	t.waitingFor = ""

	if t.cfg.RemoteAny {
		l.listen(t)
		return
	}

	if addrs, ok := literals(t.cfg.Remotes); ok {
		if len(t.candidates) == 0 {
			t.candidates, t.ranks = addrs, ranksOf(len(addrs))
			l.register(t)
		}
	} else if !t.resolving && t.resolveAt <= now {
		l.resolve(t)
	}
	if len(t.candidates) == 0 {
		if t.phase != phaseWaiting || t.waitingFor != waitName {
			t.set(phaseWaiting, reason{text: fmt.Sprintf("resolving %s", t.cfg.Remotes[0])})
			t.waitingFor = waitName
		}
		return
	}

	if !l.lookOutside(t) {
		t.retryAt = now + routeRetry
		return
	}
	if err := l.prepare(t); err != nil {
		t.set(phaseDown, reason{text: err.Error()})
		l.event(t, slog.LevelError, "machine", err.Error())
		t.retryAt = now + linkRetry
		return
	}
	if len(l.proposals(t).esp) == 0 {
		return // proposals has said why
	}

	t.trying = true
	t.note = reason{}
	r := reason{text: fmt.Sprintf("waiting for %s to answer", t.remote())}
	if t.attempts > 0 {
		r = t.reason // why the last attempt failed says more
	}
	t.set(phaseConnecting, r)
	if len(t.candidates) > 1 {
		t.nextAt = now + candidateTime
	}
	l.tellTime()
	local, remote := t.ports(t.local, t.remote())
	l.do(l.engine.Initiate(now, t.id, local, remote))
}

// candidateTime is how long one of several remotes is tried before the next.
const candidateTime = 10 * time.Second

// tryNext goes on to the next remote when one has not answered.
func (l *loop) tryNext(t *state) {
	t.nextAt = 0
	if !t.trying || t.established() || len(t.candidates) < 2 {
		return
	}
	t.trying = false
	t.candidate++
	l.stir(t)
}

const (
	portIKE = 500
	portNAT = 4500
)

// listen prepares a tunnel whose peer speaks first.
func (l *loop) listen(t *state) {
	if err := l.prepare(t); err != nil {
		t.set(phaseDown, reason{text: err.Error()})
		l.event(t, slog.LevelError, "machine", err.Error())
		t.retryAt = l.now() + linkRetry
		return
	}
	l.register(t)
	if t.phase != phaseDown {
		t.set(phaseWaiting, reason{
			text:   "no peer has come yet",
			remedy: "start the other side; UDP 500 and 4500 must reach this machine",
		})
	}
}

// lookOutside finds the local address and the path to the candidate.
func (l *loop) lookOutside(t *state) bool {
	info, err := l.routeFor(t, t.remote())
	if err != nil {
		t.set(phaseWaiting, reason{err.Error(), "the tunnel goes on by itself when the address or route appears"})
		t.waitingFor = waitRoute
		if t.cfg.Local != "" {
			t.waitingFor = waitAddress
		}
		t.outside = false
		return false
	}
	t.local, t.underlay, t.outside = info.Local, info, true
	return true
}

// What a tunnel in phaseWaiting waits for; the words are those of status.
const (
	waitName    = "name"
	waitRoute   = "route"
	waitAddress = "address"
)

// register tells the engine what to offer to, and expect of, the tunnel's peer.
// A tunnel that is not wanted, or whose names are not known yet, has no Peer:
// nobody can talk it up.
func (l *loop) register(t *state) {
	if !t.wanted || !t.cfg.RemoteAny && len(t.candidates) == 0 {
		return
	}
	p := l.proposals(t)
	c := t.cfg
	peer := ikev2.Peer{
		ID:            t.id,
		Remotes:       t.candidates,
		PPKID:         c.PPKID,
		PPK:           c.PPK.Bytes(),
		PPKRequired:   c.PPKRequired,
		IKE:           p.ike,
		ESP:           p.esp,
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
	}
	authenticate(&peer, c)
	switch {
	case c.Encap == config.EncapAlways:
		peer.Encap = ikev2.EncapForce
	case c.Encap == config.EncapNever:
		peer.Encap = ikev2.EncapNever
	case t.esp.forced:
		peer.Encap = ikev2.EncapForce
	case l.dp.Kind() == platform.KindUserspace:
		// UDP is three times as fast as raw ESP there (contract 14).
		peer.Encap = ikev2.EncapForce
	}
	if a, err := netip.ParseAddr(c.Local); err == nil {
		peer.Local = a
	}
	peer.PathMTU = t.ikeMTU()
	t.ikeSize = peer.PathMTU
	var err error
	if c.LocalID != "" {
		if peer.LocalID, err = ikev2.ParseIdentity(c.LocalID); err != nil {
			l.log.Error("local_id", "tunnel", t.id, "error", err) // config has checked it
		}
	}
	if c.RemoteID != "" {
		if peer.RemoteID, err = ikev2.ParsePattern(c.RemoteID); err != nil {
			l.log.Error("remote_id", "tunnel", t.id, "error", err)
			return // never accept more than what was configured
		}
	}
	l.do(l.engine.SetPeer(l.now(), peer))
}

// offers are the proposals of a tunnel that this machine can carry out.
type offers struct{ ike, esp []suite.Proposal }

// proposals are the configured or built-in lists less the ESP algorithms that
// the datapath cannot compute. When none is left the tunnel is down and says
// which and why.
func (l *loop) proposals(t *state) offers {
	o, refused := l.proposalsOf(t)
	if len(o.esp) == 0 {
		why := "the list is empty"
		if refused != nil {
			why = refused.Error()
		}
		t.set(phaseDown, reason{
			text:   "none of the ESP proposals can be carried out here: " + why,
			remedy: `install what is named, choose other algorithms in esp, or set datapath = "userspace"`,
		})
		t.retryAt = l.now() + time.Minute
	}
	return o
}

// proposalsOf is proposals without the consequences; the error is the last
// refusal of the datapath.
func (l *loop) proposalsOf(t *state) (o offers, refused error) {
	o = offers{t.cfg.IKEProposals, t.cfg.ESPProposals}
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
// that have nothing left. A cipher is judged with the integrity algorithms
// beside it, and the error is the last refusal.
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

// restart closes a tunnel's SAs and starts anew at once.
func (l *loop) restart(t *state, why string) {
	l.do(l.engine.Close(l.now(), t.id))
	t.trying, t.aside = false, aside{}
	t.attempts, t.retryAt, t.resolveAt = 0, 0, 0
	if t.wanted {
		t.set(phaseWaiting, reason{text: why})
	}
	l.stir(t)
}

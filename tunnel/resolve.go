package tunnel

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"greseal/ikev2"
	"greseal/tunnel/attempt"
	"greseal/tunnel/cause"
	"greseal/tunnel/resolve"
	"greseal/tunnel/status"
)

// The host names in remote: tunnel/resolve decides when to look one up and what follows
// from the answers; the queries are made here.

const (
	resolveTimeout = 10 * time.Second // of one query
	resolveMost    = 64               // queries at once
)

// nameTable is what is known of host names, and how they are looked up.
type nameTable struct {
	resolve.Names
	users   map[string][]*peer // by host; nil: to be rebuilt
	answers chan resolve.Answer
	places  chan struct{} // bounds the queries under way
	lookup  resolver

	servers   func() []netip.Addr // that lookup may ask
	serversAt ikev2.Time          // when they were read
	known     []netip.Addr
}

func newNameTable(lookup resolver) nameTable {
	return nameTable{
		answers: make(chan resolve.Answer, 64),
		places:  make(chan struct{}, resolveMost),
		lookup:  lookup,
	}
}

// nameServers are those that queries go to.
func (l *loop) nameServers() []netip.Addr {
	n := &l.names
	if now := l.now(); n.servers != nil && (n.serversAt == 0 || now >= n.serversAt+time.Second) {
		n.known, n.serversAt = n.servers(), now
	}
	return n.known
}

// named reports whether remote holds a name.
func (t *tunnel) named() bool {
	_, all := resolve.Literals(t.cfg.Remotes)
	return !all && !t.cfg.RemoteAny
}

// ask looks up the names of a tunnel that were not looked up within pause.
func (l *loop) ask(t *tunnel, pause time.Duration) {
	if !t.wanted || t.cfg.RemoteAny {
		return
	}
	routed := false
	for _, name := range t.cfg.Remotes {
		if !l.names.Ask(l.now(), pause, name) {
			continue
		}
		if !routed {
			l.layRoutes(t) // also to name servers that are new
			routed = true
		}
		go l.names.question(name)
	}
}

// question runs in a goroutine of its own.
func (n *nameTable) question(name string) {
	n.places <- struct{}{}
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	addrs, err := n.lookup(ctx, name)
	cancel()
	<-n.places
	n.answers <- resolve.Judge(name, addrs, err)
}

// askPause is the time between two queries for a tunnel's names.
func (t *tunnel) askPause() time.Duration {
	if t.shown().phase == phaseUp {
		return resolve.Up
	}
	return resolve.Down
}

// askDue is when a name of a tunnel is to be looked up next, 0: not by the clock.
func (l *loop) askDue(t *tunnel) ikev2.Time {
	if !t.wanted || t.cfg.RemoteAny {
		return 0
	}
	return l.names.Due(t.cfg.Remotes, t.askPause())
}

// resolved passes the resolver's answer to all tunnels that have the name.
func (l *loop) resolved(a resolve.Answer) {
	if !l.names.Took(a) {
		return
	}
	if l.names.users == nil {
		l.names.users = map[string][]*peer{}
		for _, id := range l.order {
			t := l.tunnels[id]
			for _, name := range t.cfg.Remotes {
				l.names.users[name] = append(l.names.users[name], t.peers...)
			}
		}
	}
	for _, p := range l.names.users[a.Host] {
		if p.tunnel.wanted {
			l.reschedule(p)
			l.renamed(p, a.Host)
		}
	}
}

// forgetNames drops names that no tunnel has any more.
func (l *loop) forgetNames() {
	l.names.users = nil
	used := map[string]bool{}
	for _, t := range l.tunnels {
		for _, name := range t.cfg.Remotes {
			used[name] = true
		}
	}
	l.names.Keep(used)
}

// renamed follows an answer about a name of the tunnel's.
func (l *loop) renamed(p *peer, name string) {
	if !l.findCandidates(p) {
		if !p.settled() && p.attempt.State() != attempt.UnderWay {
			l.markDirty(p) // it may wait for this
		}
		return
	}
	if p.settled() {
		all := p.attempt.Candidates()
		l.event(p.tunnel, slog.LevelInfo, "resolved", fmt.Sprintf("%s is %s now", name, resolve.List(all)))
		if l.report(p.tunnel, "close", l.guard(p.tunnel, all...)) {
			return
		}
		l.settleIn(p)
		p.standby.Resolved(l.now())
	}
	l.register(p)
	l.markDirty(p)
}

// findCandidates makes the list of addresses to try from what is known of the names,
// and reports whether it has changed.
func (l *loop) findCandidates(p *peer) (changed bool) {
	addrs, ranks := l.names.Candidates(p.cfg.Remotes)
	return p.attempt.SetCandidates(l.now(), addrs, ranks)
}

// unresolved is the wait for a name.
func (l *loop) unresolved(p *peer) (w wait, must bool) {
	best, known := p.attempt.Best()
	if !known {
		best = len(p.cfg.Remotes)
	}
	lack := l.names.Lacks(l.now(), p.cfg.Remotes, best, p.attempt.Failures() > 0)
	w = wait{phase: phaseWaiting, word: waitName, until: lack.Until, why: cause.Progress("resolving " + strings.Join(p.cfg.Remotes, ", "))}
	if lack.Asking {
		w.event = eventName
	}
	if len(lack.Failed) > 0 {
		w.why = cause.Here(status.CodeNoPath, strings.Join(lack.Failed, "; "), "check the name in remote, and that this router can reach a name server")
		if l.names.servers != nil {
			w.why.Remedy = cmp.Or(p.cfg.NameServerRemedy(l.nameServers()), w.why.Remedy)
		}
	}
	return w, lack.Must
}

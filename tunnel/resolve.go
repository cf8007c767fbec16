package tunnel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"time"

	"greseal/ikev2"
	"greseal/tunnel/attempt"
)

const (
	resolveTimeout = 10 * time.Second // of one question
	resolveUp      = 5 * time.Minute  // between questions while the peer answers
	resolveDown    = 5 * time.Second  // and while it does not
	resolveGrace   = 2 * time.Second  // for a name before addresses that remote names later
	resolveMost    = 64               // questions at once
)

// nameTable is what is known of the host names in remote. Tunnels share it: one
// question about a name is under way at a time, however many wait for it.
type nameTable struct {
	hosts   map[string]*host
	users   map[string][]*peer // by host; nil: to be made
	answers chan resolution
	places  chan struct{} // for the questions under way
	lookup  resolver

	servers   func() []netip.Addr // that lookup may ask
	serversAt ikev2.Time          // when they were read
	known     []netip.Addr
}

// host is one name.
type host struct {
	asking  bool
	askedAt ikev2.Time   // the question under way, or the last one
	addrs   []netip.Addr // of the last answer that had any
	err     error        // of the last answer, nil when it had addresses
}

// resolution is the resolver's answer.
type resolution struct {
	host  string
	addrs []netip.Addr
	err   error
}

func newNameTable(lookup resolver) nameTable {
	return nameTable{
		hosts:   map[string]*host{},
		answers: make(chan resolution, 64),
		places:  make(chan struct{}, resolveMost),
		lookup:  lookup,
	}
}

// literals returns the addresses of hosts when all of them are literal ones.
func literals(hosts []string) ([]netip.Addr, bool) {
	var addrs []netip.Addr
	for _, h := range hosts {
		a, err := netip.ParseAddr(h)
		if err != nil {
			return nil, false
		}
		addrs = append(addrs, a.Unmap())
	}
	return addrs, true
}

// nameServers are those that names are asked of.
func (l *loop) nameServers() []netip.Addr {
	n := &l.names
	if now := l.now(); n.servers != nil && (n.serversAt == 0 || now >= n.serversAt+time.Second) {
		n.known, n.serversAt = n.servers(), now
	}
	return n.known
}

// named tells whether remote holds a name.
func (t *tunnel) named() bool {
	_, all := literals(t.cfg.Remotes)
	return !all && !t.cfg.RemoteAny
}

// ask asks for the names of a tunnel that were not asked for within pause.
func (l *loop) ask(t *tunnel, pause time.Duration) {
	if !t.wanted || t.cfg.RemoteAny {
		return
	}
	now, routed := l.now(), false
	for _, name := range t.cfg.Remotes {
		if _, err := netip.ParseAddr(name); err == nil {
			continue
		}
		h := l.names.hosts[name]
		if h == nil {
			h = &host{}
			l.names.hosts[name] = h
		}
		if h.asking || h.askedAt != 0 && h.askedAt+pause > now {
			continue
		}
		if !routed {
			l.layRoutes(t) // also to name servers that are new
			routed = true
		}
		h.asking, h.askedAt = true, now
		go l.names.question(name)
	}
}

// question runs beside the loop.
func (n *nameTable) question(name string) {
	n.places <- struct{}{}
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	addrs, err := n.lookup(ctx, name)
	cancel()
	<-n.places
	r := resolution{host: name}
	r.addrs, r.err = usable(addrs, err)
	if r.err != nil {
		r.err = fmt.Errorf("host name %q %w", name, r.err)
	}
	n.answers <- r
}

// usable are the addresses of an answer that a peer can have, IPv4 ones first: GRE
// and ESP have fewer surprises there, and a stale AAAA record of a dynamic name is
// more common than a stale A. Providers of dynamic names answer 0.0.0.0 for a host
// that is away.
func usable(all []netip.Addr, err error) ([]netip.Addr, error) {
	if err != nil {
		return nil, errors.New("does not resolve: " + plain(err))
	}
	var good, bad []netip.Addr
	for _, a := range all {
		if a = a.Unmap(); possiblePeer(a) {
			good = append(good, a)
		} else {
			bad = append(bad, a)
		}
	}
	if len(good) == 0 {
		return nil, fmt.Errorf("has no address that a peer can have: the name server answers %s", list(bad))
	}
	sort.SliceStable(good, func(i, j int) bool { return good[i].BitLen() < good[j].BitLen() })
	return good, nil
}

// possiblePeer tells whether an address can be another machine's.
func possiblePeer(a netip.Addr) bool {
	thisNetwork := netip.PrefixFrom(netip.IPv4Unspecified(), 8)
	broadcast := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	return a.IsValid() && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() && a != broadcast && !thisNetwork.Contains(a)
}

// askPause is the time between two questions about a tunnel's names.
func (t *tunnel) askPause() time.Duration {
	if t.shown().phase == phaseUp {
		return resolveUp
	}
	return resolveDown
}

// askDue is when a name of a tunnel is to be asked for next, 0: not by the clock.
func (l *loop) askDue(t *tunnel) (due ikev2.Time) {
	if !t.wanted || t.cfg.RemoteAny {
		return 0
	}
	for _, name := range t.cfg.Remotes {
		if h := l.names.hosts[name]; h != nil && !h.asking {
			if at := h.askedAt + t.askPause(); due == 0 || at < due {
				due = at
			}
		}
	}
	return due
}

// resolved takes the resolver's answer to all tunnels that have the name.
func (l *loop) resolved(r resolution) {
	h := l.names.hosts[r.host]
	if h == nil {
		return
	}
	h.asking, h.err = false, r.err
	if r.err == nil && !sameAddrs(h.addrs, r.addrs) {
		h.addrs = r.addrs
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
	for _, p := range l.names.users[r.host] {
		if p.wanted {
			l.reschedule(p)
			l.renamed(p, r.host)
		}
	}
}

// sameAddrs compares answers without regard to their order, which name servers
// change from one to the next.
func sameAddrs(a, b []netip.Addr) bool {
	sorted := func(s []netip.Addr) []netip.Addr {
		s = slices.Clone(s)
		sort.Slice(s, func(i, j int) bool { return s[i].Less(s[j]) })
		return s
	}
	return slices.Equal(sorted(a), sorted(b))
}

// forgetNames drops what is known of names that no tunnel has any more.
func (l *loop) forgetNames() {
	l.names.users = nil
	used := map[string]bool{}
	for _, t := range l.tunnels {
		for _, name := range t.cfg.Remotes {
			used[name] = true
		}
	}
	for name, h := range l.names.hosts {
		if !used[name] && !h.asking {
			delete(l.names.hosts, name)
		}
	}
}

// renamed follows an answer about a name of the tunnel's.
func (l *loop) renamed(p *peer, name string) {
	changed := l.findCandidates(p)
	if !changed {
		if !p.established() && p.attempt.State() != attempt.UnderWay {
			l.markDirty(p) // what it waits for may have changed
		}
		return
	}
	if p.established() {
		l.event(p.tunnel, slog.LevelInfo, "resolved", fmt.Sprintf("%s is %s now", name, list(p.attempt.Candidates())))
		if l.report(p.tunnel, "close", l.guard(p.tunnel, p.attempt.Candidates()...)) {
			return
		}
		l.settleIn(p)
		p.standby.Resolved(l.now())
	}
	l.register(p)
	l.markDirty(p)
}

// findCandidates makes the list of addresses to try of what is known of the names,
// and tells whether it has changed.
func (l *loop) findCandidates(p *peer) (changed bool) {
	var addrs []netip.Addr
	var ranks []int
	add := func(rank int, list ...netip.Addr) {
		for _, a := range list {
			if !slices.Contains(addrs, a) {
				addrs, ranks = append(addrs, a), append(ranks, rank)
			}
		}
	}
	for i, name := range p.cfg.Remotes {
		if a, err := netip.ParseAddr(name); err == nil {
			add(i, a.Unmap())
		} else if h := l.names.hosts[name]; h != nil {
			add(i, h.addrs...)
		}
	}
	return p.attempt.SetCandidates(l.now(), addrs, ranks)
}

// unresolved is the wait for a name: for the first address of all, or for a while
// for one that goes before those that are known.
func (l *loop) unresolved(p *peer) (w wait, must bool) {
	now := l.now()
	var grace, due ikev2.Time
	var failed []string
	asking := false
	best, known := p.attempt.Best()
	for i, name := range p.cfg.Remotes {
		h := l.names.hosts[name]
		if h == nil {
			continue // an address
		}
		asking = asking || h.asking
		switch {
		case h.err != nil:
			failed = append(failed, h.err.Error())
		case len(h.addrs) == 0 && (!known || i < best):
			grace = max(grace, h.askedAt+resolveGrace)
		}
		if !h.asking {
			due = h.askedAt + resolveDown
		}
	}
	w = wait{phase: phaseWaiting, word: waitName, until: due, why: reason{text: "resolving " + strings.Join(p.cfg.Remotes, ", ")}}
	if asking {
		w.event = eventName
	}
	if len(failed) > 0 {
		w.why = reason{strings.Join(failed, "; "), "check the name in remote, and that this router can reach a name server"}
		if l.names.servers != nil {
			w.why.remedy = cmp.Or(p.cfg.NameServerRemedy(l.nameServers()), w.why.remedy)
		}
	}
	if known {
		w.until = grace
		return w, grace > now && p.attempt.Failures() == 0
	}
	return w, true
}

func list(addrs []netip.Addr) string {
	if len(addrs) == 0 {
		return "none"
	}
	var words []string
	for _, a := range addrs {
		words = append(words, a.String())
	}
	return strings.Join(words, ", ")
}

// plain is a resolver's error without Go's words around it.
func plain(err error) string {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		switch {
		case dns.IsNotFound:
			return "the name server knows no such name"
		case dns.IsTimeout:
			return "no name server answers"
		case dns.Err == "server misbehaving": // Go's words for any other answer
			return "the name server answers that it can't tell"
		case strings.Contains(dns.Err, "connection refused"):
			return "no name server runs where /etc/resolv.conf says"
		}
		return dns.Err
	}
	return err.Error()
}

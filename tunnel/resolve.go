package tunnel

import (
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
	"greseal/platform/names"
)

const (
	resolveTimeout = 10 * time.Second
	resolveAgain   = 5 * time.Minute // names of a tunnel that is not up
	resolveRetry   = 5 * time.Second // after a failure
)

// resolution is the resolver's answer for one tunnel.
type resolution struct {
	id    ikev2.PeerID
	hosts []string // the question, to recognise an answer that came too late
	addrs []netip.Addr
	ranks []int // which of hosts each address belongs to
	err   error // of the last name without an address, when addrs is empty
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

// resolve starts resolving a tunnel's names on a goroutine of its own: one at a
// time a tunnel, each bounded by resolveTimeout.
func (l *loop) resolve(t *state) {
	t.resolving = true
	id, hosts := t.id, t.cfg.Remotes
	go func() {
		r := resolution{id: id, hosts: hosts}
		r.addrs, r.ranks, r.err = lookup(hosts)
		l.names <- r
	}()
}

// lookup returns the addresses of hosts in their order, IPv4 ones first within a
// name: GRE and ESP have fewer surprises there, and a stale AAAA record of a
// dynamic name is more common than a stale A.
func lookup(hosts []string) (addrs []netip.Addr, ranks []int, last error) {
	for i, h := range hosts {
		if a, err := netip.ParseAddr(h); err == nil {
			addrs, ranks = append(addrs, a.Unmap()), append(ranks, i)
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
		found, err := names.Lookup(ctx, h)
		cancel()
		if err != nil {
			last = fmt.Errorf("host name %q does not resolve: %s", h, plain(err))
			continue
		}
		for i, a := range found {
			found[i] = a.Unmap()
		}
		sort.SliceStable(found, func(i, j int) bool { return found[i].BitLen() < found[j].BitLen() })
		addrs = append(addrs, found...)
		for range found {
			ranks = append(ranks, i)
		}
	}
	if len(addrs) == 0 {
		return nil, nil, last
	}
	return addrs, ranks, nil
}

// ranksOf are the ranks of literal addresses.
func ranksOf(n int) []int {
	ranks := make([]int, n)
	for i := range ranks {
		ranks[i] = i
	}
	return ranks
}

// refreshNames resolves the names of a tunnel that stands again: now and then,
// and often while the peer is silent.
func (l *loop) refreshNames(t *state, now ikev2.Time) {
	if t.established() && t.named() && !t.resolving && t.resolveAt <= now {
		l.resolve(t)
	}
}

// named tells whether remote holds a name.
func (t *state) named() bool {
	_, all := literals(t.cfg.Remotes)
	return !all && !t.cfg.RemoteAny
}

func list(addrs []netip.Addr) string {
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
		}
		return dns.Err
	}
	return err.Error()
}

// resolved takes the resolver's answer.
func (l *loop) resolved(r resolution) {
	t := l.tunnels[r.id]
	if t == nil {
		return
	}
	t.resolving = false
	if !slices.Equal(r.hosts, t.cfg.Remotes) {
		t.resolveAt = 0
		l.stir(t)
		return
	}
	now := l.now()
	if len(r.addrs) == 0 {
		t.resolveAt = now + resolveRetry
		if t.phase == phaseUp {
			t.resolveAt = now + resolveAgain
		}
		if len(t.candidates) == 0 {
			if t.wanted {
				t.set(phaseWaiting, reason{r.err.Error(), "check the name in remote, and that this router can reach a name server"})
				t.waitingFor = waitName
				t.retryAt = t.resolveAt
			}
			return
		}
		l.stir(t) // the addresses known so far are still worth trying
		return
	}
	t.resolveAt = now + resolveAgain
	if t.phase == phaseSuspect {
		t.resolveAt = now + resolveRetry
	}
	if !slices.Equal(t.candidates, r.addrs) {
		t.candidates, t.ranks, t.candidate = r.addrs, r.ranks, 0
		if c := t.current(); c != nil {
			l.event(t, slog.LevelInfo, "resolved", fmt.Sprintf("%s is %s now", strings.Join(r.hosts, ", "), list(r.addrs)))
			if err := l.guard(t, r.addrs...); err != nil {
				l.event(t, slog.LevelError, "close", err.Error())
				return
			}
			l.settleIn(t)
			if t.aside.why == asideSuspect {
				t.aside.at = now
			}
			if t.aside.probeAt == 0 {
				t.aside.probeAt = now
			}
		}
		l.register(t)
	}
	l.stir(t)
}

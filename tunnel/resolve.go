package tunnel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sort"
	"time"

	"greseal/ikev2"
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
		r.addrs, r.err = lookup(hosts)
		l.names <- r
	}()
}

// lookup returns the addresses of hosts in their order, IPv4 ones first within a
// name: GRE and ESP have fewer surprises there, and a stale AAAA record of a
// dynamic name is more common than a stale A.
func lookup(hosts []string) ([]netip.Addr, error) {
	var addrs []netip.Addr
	var last error
	for _, h := range hosts {
		if a, err := netip.ParseAddr(h); err == nil {
			addrs = append(addrs, a.Unmap())
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
		found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", h)
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
	}
	if len(addrs) == 0 {
		return nil, last
	}
	return addrs, nil
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
	if !slices.Equal(t.candidates, r.addrs) {
		t.candidates, t.candidate = r.addrs, 0
		l.register(t)
	}
	l.stir(t)
}

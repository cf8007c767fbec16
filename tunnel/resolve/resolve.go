// Package resolve knows the host names in remote: when one is asked for, and which
// addresses to try follow from the answers. It sends no question and has no clock:
// the caller asks where Ask says so, and hands the answer to Took.
//
//	           Ask                 Took
//	UNKNOWN ----------> ASKING ------------> KNOWN, or FAILED
//	                      ^                         |
//	                      +-------------------------+
//	                        Ask: the pause is over
//
// A name that fails keeps the addresses of its last answer that had any.
package resolve

import (
	"net/netip"
	"slices"
	"sort"
	"time"
)

const (
	// Up is the time between two questions while the peer answers, Down while it
	// does not.
	Up   = 5 * time.Minute
	Down = 5 * time.Second

	// grace is for a name before addresses that remote names later.
	grace = 2 * time.Second
)

// Names are those of all tunnels, which share the answers: one question about a name
// is under way at a time. The zero value knows none.
type Names struct{ hosts map[string]*host }

// host is one name.
type host struct {
	asking  bool
	askedAt time.Duration // the question under way, or the last one
	addrs   []netip.Addr  // of the last answer that had any
	err     error         // of the last answer, nil when it had addresses
}

// Ask tells whether a name is to be asked for now, and takes that it is: it is no
// address, no question about it is under way, and the last one was a pause ago.
func (n *Names) Ask(now, pause time.Duration, name string) bool {
	if _, ok := Literal(name); ok {
		return false
	}
	h := n.hosts[name]
	if h == nil {
		if n.hosts == nil {
			n.hosts = map[string]*host{}
		}
		h = &host{}
		n.hosts[name] = h
	}
	if h.asking || h.askedAt != 0 && h.askedAt+pause > now {
		return false
	}
	h.asking, h.askedAt = true, now
	return true
}

// Due is when the first of the names is to be asked for again, 0: not by the clock.
func (n *Names) Due(names []string, pause time.Duration) (due time.Duration) {
	for _, name := range names {
		if h := n.hosts[name]; h != nil && !h.asking && (due == 0 || h.askedAt+pause < due) {
			due = h.askedAt + pause
		}
	}
	return due
}

// Took takes an answer and tells whether anybody has asked for it.
func (n *Names) Took(a Answer) bool {
	h := n.hosts[a.Host]
	if h == nil {
		return false
	}
	h.asking, h.err = false, a.Err
	if a.Err == nil && !sameAddrs(h.addrs, a.Addrs) {
		h.addrs = a.Addrs
	}
	return true
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

// Keep forgets all names but those in use.
func (n *Names) Keep(used map[string]bool) {
	for name, h := range n.hosts {
		if !used[name] && !h.asking {
			delete(n.hosts, name)
		}
	}
}

// Candidates are the addresses of a peer as far as they are known, in the order of
// remote, each once and with the place there of the name it belongs to.
func (n *Names) Candidates(remotes []string) (addrs []netip.Addr, ranks []int) {
	for i, name := range remotes {
		var of []netip.Addr
		if a, ok := Literal(name); ok {
			of = []netip.Addr{a}
		} else if h := n.hosts[name]; h != nil {
			of = h.addrs
		}
		for _, a := range of {
			if !slices.Contains(addrs, a) {
				addrs, ranks = append(addrs, a), append(ranks, i)
			}
		}
	}
	return addrs, ranks
}

// Lack is what is not known of a peer's names.
type Lack struct {
	Must   bool          // it is to be waited for before anything is tried
	Until  time.Duration // then, or with an answer; 0: with an answer alone
	Asking bool          // one is bound to come
	Failed []string      // what is wrong with the names that have no good answer
}

// Lacks tells what a peer with these remotes waits for: the first address of all, or
// for a while one that goes before those that are known, unless tried tells that
// these were tried before. best is the place in remote of the first address known,
// beyond the end without any.
func (n *Names) Lacks(now time.Duration, remotes []string, best int, tried bool) (lack Lack) {
	var patience, due time.Duration
	for i, name := range remotes {
		h := n.hosts[name]
		if h == nil {
			continue // an address
		}
		switch {
		case h.err != nil:
			lack.Failed = append(lack.Failed, h.err.Error())
		case len(h.addrs) == 0 && i < best:
			patience = max(patience, h.askedAt+grace)
		}
		if h.asking {
			lack.Asking = true
		} else {
			due = h.askedAt + Down
		}
	}
	lack.Must, lack.Until = true, due
	if best < len(remotes) {
		lack.Must, lack.Until = patience > now && !tried, patience
	}
	return lack
}

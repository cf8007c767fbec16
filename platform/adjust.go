package platform

import (
	"errors"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"greseal/platform/inet"
	"greseal/platform/rtnl"
)

// A full pass (Network.reconcile) reads all interfaces and routes of the machine. On
// a hub of thousands of tunnels, which come up, go down and are repaired one at a
// time, nearly always only the routes into one link change: those are added and
// removed without a full pass.

// lastWanted is what a link wanted at the last full pass, as far as it matters to
// others: the unreachable routes that links share, and the peers' host routes.
type lastWanted struct {
	addresses, prefixes []netip.Prefix
	peers               []netip.Addr
	inside              []Inside
	table               uint32
	through             string
	fallback, foreign   bool
	servers             []netip.Addr
	running             bool
}

// recordWanted keeps what the link wants now.
func (in *inside) recordWanted() {
	r := &in.routes
	in.last = &lastWanted{in.addresses, r.Prefixes, r.Peers, r.Inside, r.Table, r.Through, r.Fallback, in.foreign, r.Servers, in.running}
}

// onlyRoutesChanged reports that nothing a link wants has changed since the last full
// pass except the routes into it, and peers that our routes cover neither before nor
// after.
func (n *Network) onlyRoutesChanged(in *inside) bool {
	s, r := in.last, &in.routes
	if !n.settled || s == nil || s.table != r.Table || s.through != r.Through || s.fallback != r.Fallback || s.foreign != in.foreign ||
		!slices.Equal(s.addresses, in.addresses) || !slices.Equal(s.prefixes, r.Prefixes) || !slices.Equal(s.inside, r.Inside) {
		return false
	}
	if r.Fallback && r.Table == unix.RT_TABLE_MAIN && len(r.Prefixes) > 0 {
		return false // its routes cover peers only while they are installed
	}
	pinned := func(peer netip.Addr) bool { _, covered := n.covers(peer); return covered }
	if !slices.Equal(s.servers, r.Servers) || s.running != in.running {
		if slices.ContainsFunc(s.servers, pinned) || slices.ContainsFunc(r.Servers, pinned) {
			return false // other name servers are to be asked outside the tunnels
		}
	}
	if slices.Equal(s.peers, r.Peers) {
		return true
	}
	return r.Through == "" && !slices.ContainsFunc(s.peers, pinned) && !slices.ContainsFunc(r.Peers, pinned)
}

// covers finds the longest prefix of our routes that an address is in.
func (n *Network) covers(peer netip.Addr) (bits int, ok bool) {
	peer = inet.Plain(peer)
	for bits = peer.BitLen(); bits >= 0; bits-- {
		if p, err := peer.Prefix(bits); err == nil && n.cover[p] {
			return bits, true
		}
	}
	return 0, false
}

// update applies what has changed of one link.
func (n *Network) update(link string) error {
	in := n.links[link]
	switch {
	case in == nil || !n.onlyRoutesChanged(in):
		return n.reconcile(link)
	case n.batching:
		n.batched = append(n.batched, link)
		return nil
	}
	return n.adjust(link, in)
}

// adjust makes the routes into one link those it wants. Adding one that exists does
// nothing.
func (n *Network) adjust(link string, in *inside) error {
	in.last.peers, in.last.servers, in.last.running = in.routes.Peers, in.routes.Servers, in.running
	if len(in.routes.Prefixes) == 0 && len(in.laid) == 0 {
		return nil
	}
	l, err := rtnl.LinkByName(n.nl, link)
	if err != nil && !errors.Is(err, rtnl.ErrNoLink) {
		return err
	}
	if l != nil && !l.Ours() {
		l = nil
	}
	want := make(map[rtnl.Route]bool)
	for _, r := range n.into(in, l) {
		want[r.Key()] = true
	}
	var errs []error
	for k := range in.laid {
		if want[k] {
			continue
		}
		if err := n.changeRoute(unix.RTM_DELROUTE, k); err != nil {
			errs = append(errs, err)
			continue
		}
		delete(in.laid, k)
		delete(n.laid, k)
	}
	for k := range want {
		if err := n.changeRoute(unix.RTM_NEWROUTE, k); err != nil {
			errs = append(errs, err)
			continue
		}
		in.laid[k], n.laid[k] = true, true
	}
	n.settled = len(errs) == 0
	return errors.Join(errs...)
}

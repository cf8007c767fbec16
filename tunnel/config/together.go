package config

import (
	"fmt"
	"net/netip"
	"slices"

	"greseal/crypto/sign/id"
	"greseal/ikev2"
)

// checkTogether makes the checks between tunnels. Only names count for disabled
// ones.
func (b *builder) checkTogether(all []*reading) {
	byName := map[string]*reading{}
	routes := map[routeKey]*reading{}
	addrs := map[netip.Addr]*reading{}
	byEnds := map[ends][]*reading{}      // those before, but for who waits for any
	byPeer := map[peerClass][]*reading{} // likewise
	for _, r := range all {
		if r.has("name") {
			if first, ok := byName[r.Name]; ok {
				r.mistake("name", -1, fault{"is also the name of the tunnel at " + first.line(r), "give each its own"})
			} else {
				byName[r.Name] = r
			}
		}
		if !r.Enabled {
			continue
		}
		for i, p := range r.Address {
			if first, ok := addrs[p.Addr()]; ok && !p.IsSingleIP() {
				r.warn("address", i, fault{p.Addr().String() + " is also an address of tunnel " + quote(first.Name), "give each its own"})
				continue
			}
			addrs[p.Addr()] = r
		}
		peers := r.Remotes
		if r.RemoteAny {
			peers = []string{"any"}
		}
		b.checkEnds(r, byEnds, all)
		class := r.class()
		for _, peer := range peers {
			// One other tunnel is enough to say what must change.
			c := peerClass{peer, class}
			for _, first := range byPeer[c] {
				if r.samePeer(first) {
					break
				}
			}
			byPeer[c] = append(byPeer[c], r)
		}
		r.sameRoutes(routes)
		r.report()
	}
}

// sameRoutes reports routes that another tunnel has with the same metric. The one
// that is proposed is then taken.
func (r *reading) sameRoutes(before map[routeKey]*reading) {
	at := func(metric uint32, i int) routeKey { return routeKey{r.Routes[i], metric, r.Table} }
	taken := func(metric uint32) bool {
		for i := range r.Routes {
			if before[at(metric, i)] != nil {
				return true
			}
		}
		return false
	}
	metric := r.Metric
	for taken(metric) {
		first := before[at(metric, 0)]
		metric += 100
		if first != nil {
			first.behind = max(first.behind+100, metric) // not to be tried again
			metric = first.behind
		}
	}
	proposed := false
	for i, p := range r.Routes {
		first := before[at(r.Metric, i)]
		switch {
		case first == r: // written twice
		case first != nil:
			var here []string
			if !proposed {
				here, proposed = []string{fmt.Sprintf("metric = %d", metric)}, true
			}
			r.clash(first, "routes", i).add(fmt.Sprintf("%s with metric %d is also a route of tunnel %s", p, r.Metric, quote(first.Name)), here, nil)
		default:
			before[at(r.Metric, i)] = r
		}
		before[at(metric, i)] = r
	}
}

// checkEnds looks for tunnels whose GRE endpoints are the same: gre_remote, or where
// that is not given each of remote.
func (b *builder) checkEnds(r *reading, before map[ends][]*reading, all []*reading) {
	remotes := r.Remotes
	if r.GRERemote.IsValid() {
		remotes = []string{r.GRERemote.String()}
	}
	told := false
	for _, remote := range remotes {
		if a, err := netip.ParseAddr(remote); err == nil {
			remote = a.Unmap().String()
		}
		e := ends{remote, r.GRELocal}
		for _, first := range before[e] {
			told = told || b.sameEnds(r, first, remote, all)
		}
		before[e] = append(before[e], r)
	}
}

// ends are GRE endpoints, and peerClass is what two tunnels share whose peers can't
// be told apart.
type ends struct {
	remote string
	local  netip.Addr
}

type peerClass struct{ peer, class string }

// class is the Class of remote_id.
func (r *reading) class() string {
	if r.RemoteID == "" {
		return id.Any.Class()
	}
	p, err := ikev2.ParsePattern(r.RemoteID)
	if err != nil {
		return "" // reported
	}
	return p.Class()
}

type routeKey struct {
	prefix        netip.Prefix
	metric, table uint32
}

// line names the place of a tunnel in a message about another one.
func (r *reading) line(from *reading) string {
	if r.section.At.File == from.section.At.File {
		return fmt.Sprintf("line %d", r.section.At.Line)
	}
	return r.section.At.String()
}

// comparable tells whether conclusions can be drawn from two tunnels with the same
// remote, and they come from the same address.
func (r *reading) comparable(first *reading) bool {
	for _, k := range []string{"remote", "local", "local_id", "remote_id", "gre.key", "gre_local", "gre_remote"} {
		if r.bad[k] || first.bad[k] {
			return false
		}
	}
	return r.Local == first.Local || r.Local == "" || first.Local == ""
}

// sameEnds reports that packets of two tunnels can't be told apart: they have the
// same key, or only one has any and their peers are not the same.
func (b *builder) sameEnds(r, first *reading, remote string, all []*reading) bool {
	if !r.comparable(first) {
		return false
	}
	what := "with the same GRE endpoints and key"
	if r.GRE.Key != first.GRE.Key {
		if r.GRE.HasKey && first.GRE.HasKey || r.sameProof(first) {
			return false
		}
		what = "and only one of them has a gre.key, while their peers prove themselves in other ways"
	}
	key, is := "remote", "remote"
	if r.GRERemote.IsValid() {
		key = "gre_remote"
	}
	if first.GRERemote.IsValid() {
		is = "gre_remote"
	}
	var here, peer []string
	if !r.GRE.HasKey || r.GRE.Key == first.GRE.Key {
		here = []string{b.freeKey(r, all)}
		peer = here
	}
	c := r.clash(first, key, -1)
	if !first.GRE.HasKey && !r.sameProof(first) {
		c.other = []string{b.freeKey(first, all)}
	}
	c.add(quote(remote)+" is also the "+is+" of tunnel "+quote(first.Name)+", "+what, here, peer)
	return true
}

// sameProof reports whether the peers of two tunnels prove who they are by the same
// secret, key or authorities.
func (r *reading) sameProof(first *reading) bool {
	switch {
	case r.PSK.IsSet() || first.PSK.IsSet():
		return r.PSK.IsSet() && r.PSK.Equal(first.PSK)
	case r.PeerRawKey != "" || first.PeerRawKey != "":
		return r.PeerRawKey != "" && r.Credentials.sums["peer_raw_key"] == first.Credentials.sums["peer_raw_key"]
	}
	return SameAnchors(&r.Tunnel, &first.Tunnel)
}

// samePeer reports that peers of two tunnels can't: a responder finds the tunnel
// by address and then by identity alone.
func (r *reading) samePeer(first *reading) bool {
	if !r.comparable(first) || !sameIdentity(r.ownIdentity(), first.ownIdentity()) || !tie(r.RemoteID, first.RemoteID) {
		return false
	}
	key := "remote_id"
	if !r.has(key) {
		key = "remote"
	}
	c := r.clash(first, key, -1)
	what := "a peer of this tunnel can't be told apart from one of tunnel " + quote(first.Name) + ": remote, local_id and remote_id are the same"
	name := quote(r.ownName())
	switch {
	case r.Credentials.Own != nil:
		c.add(what, []string{"as remote_id a name that only this peer's certificate has"}, nil)
	case r.RemoteAny:
		c.add(what, []string{"remote_id = " + name}, []string{"local_id = " + name})
	default:
		c.add(what, []string{"local_id = " + name}, []string{"remote_id = " + name})
	}
	return true
}

// ownIdentity is local_id, or what stands for it with a certificate.
func (r *reading) ownIdentity() string {
	if r.LocalID == "" && r.Credentials.Own != nil {
		return r.Credentials.Own.Identity().String()
	}
	return r.LocalID
}

// tie tells whether a peer could fit two patterns equally well, "" being any.
func tie(a, b string) bool {
	parse := func(s string) (p ikev2.Pattern, err error) {
		if s != "" {
			p, err = ikev2.ParsePattern(s)
		}
		return p, err
	}
	p, err1 := parse(a)
	q, err2 := parse(b)
	return err1 == nil && err2 == nil && id.Tie(p, q)
}

// sameIdentity compares two identities as written, "" being none.
func sameIdentity(a, b string) bool {
	if a == b {
		return true
	}
	i, err1 := ikev2.ParseIdentity(a)
	j, err2 := ikev2.ParseIdentity(b)
	return err1 == nil && err2 == nil && i == j
}

// checkSecrecy checks that a file with secrets in it is for its owner only. One
// problem is enough to say so, and every tunnel with a secret of the file has it.
func (b *builder) checkSecrecy(all []*reading) {
	perm := b.file.Perm
	if perm&0o022 != 0 {
		b.add(Problem{Position: Position{File: b.file.Name}, What: fmt.Sprintf("others can change it (mode %04o)", perm), Remedy: "run chmod go-w " + shell(b.file.Name), Warning: true})
	}
	if perm&0o077 == 0 {
		return
	}
	secret := func(e Entry) bool {
		k, ok := LookUp(e.Key)
		return ok && k.Kind == SecretKey && e.KeyAt.File == b.file.Name
	}
	var open *Problem
	for _, s := range append([]Section{b.file.Defaults}, b.file.Tunnels...) {
		if i := slices.IndexFunc(s.Entries, secret); i >= 0 {
			e := s.Entries[i]
			open = &Problem{Position: e.KeyAt, Key: e.Key, What: fmt.Sprintf("others can read this secret (file mode %04o)", perm), Remedy: "run chmod 600 " + shell(b.file.Name) + ", or use " + e.Key + "_file"}
			b.add(*open)
			break
		}
	}
	for _, r := range all {
		for _, e := range r.written {
			if secret(e) {
				r.blame(*open)
				break
			}
		}
	}
}

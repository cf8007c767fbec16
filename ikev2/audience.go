package ikev2

import (
	"net/netip"
	"slices"

	"greseal/crypto/sign/id"
	"greseal/crypto/suite"
	"greseal/ikev2/wire"
)

// directory is the peers that are registered, and what finds them.
type directory struct {
	peers map[PeerID]*peer
	order []*peer // in the order they were registered
	// byRemote finds peers by their addresses, byID by their identity where it
	// is no pattern, audiences whom a request may be for; nil when all have to
	// be recreated.
	byRemote  map[netip.Addr][]*peer
	byID      map[string][]*peer
	audiences map[audienceKey]*audience
}

// audience is what IKE_SA_INIT requests of one kind may be for, with what is
// answered to all of them alike. It is made once for each kind, until a peer's
// settings change: there may be hundreds of peers, and anyone can send requests.
type audience struct {
	peers    []*peer
	offers   []suite.Proposal // the union of theirs, and of those what is not slow
	quick    []suite.Proposal
	hashes   wire.Payload   // SIGNATURE_HASH_ALGORITHMS, nil: none of them signs
	requests []wire.Payload // CERTREQ
	ppk      bool
	encap    EncapMode
	named    bool // the address is configured
}

// audienceKey is an own address and a configured one, or anywhere.
type audienceKey struct{ local, remote netip.Addr }

// mostAudiences bounds how many are kept: a machine can have any number of
// addresses.
const mostAudiences = 256

// audience finds whom a request from remote to local may be for.
func (d *directory) audience(local, remote netip.Addr) *audience {
	d.index()
	k := audienceKey{local.Unmap(), remote.Unmap()}
	named := d.byRemote[k.remote]
	if named == nil {
		k.remote = anywhere
	}
	if a := d.audiences[k]; a != nil {
		return a
	}
	if len(d.audiences) >= mostAudiences {
		clear(d.audiences)
	}
	a := &audience{}
	best := -1
	for _, some := range [][]*peer{named, d.byRemote[anywhere]} {
		for _, p := range some {
			n, ok := p.accepts(local, remote)
			if !ok {
				continue
			}
			a.peers = append(a.peers, p)
			a.named = a.named || len(p.cfg.Remotes) > 0
			a.ppk = a.ppk || p.cfg.usesPPK()
			if n > best {
				best, a.encap = n, p.cfg.Encap
			}
		}
	}
	a.offers = union(a.peers)
	a.quick = withoutSlow(a.offers)
	a.hashes, a.requests = hashPayload(a.peers...), requests(a.peers...)
	d.audiences[k] = a
	return a
}

func union(peers []*peer) (own []suite.Proposal) {
	for _, p := range peers {
		for _, o := range p.cfg.IKE {
			same := func(q suite.Proposal) bool { return slices.Equal(q.Transforms, o.Transforms) }
			if !slices.ContainsFunc(own, same) {
				own = append(own, o)
			}
		}
	}
	return own
}

// accepts reports whether a request from remote to local may be this peer's, and
// how specific that is: 2 for each address that is configured.
func (p *peer) accepts(local, remote netip.Addr) (specific int, ok bool) {
	if p.cfg.LocalOnly {
		if !p.comesFrom(local) {
			return 0, false
		}
		specific++
	}
	if len(p.cfg.Remotes) > 0 {
		if !slices.Contains(p.cfg.Remotes, remote.Unmap()) {
			return 0, false
		}
		specific += 2
	}
	return specific, true
}

// comesFrom reports whether our side may be at an address.
func (p *peer) comesFrom(local netip.Addr) bool {
	return !p.cfg.LocalOnly || slices.Contains(p.cfg.Local, local.Unmap())
}

// index makes the maps that find peers.
func (d *directory) index() {
	if d.byRemote != nil {
		return
	}
	d.byRemote, d.byID = map[netip.Addr][]*peer{}, map[string][]*peer{}
	d.audiences = map[audienceKey]*audience{}
	for _, p := range d.order {
		for _, a := range p.cfg.Remotes {
			d.byRemote[a] = append(d.byRemote[a], p)
		}
		if len(p.cfg.Remotes) == 0 {
			d.byRemote[anywhere] = append(d.byRemote[anywhere], p)
		}
		if k := idKey(p.cfg.RemoteID.Exact()); k != "" {
			d.byID[k] = append(d.byID[k], p)
		}
	}
}

// idKey is the same for equal identities, empty for those that are not compared
// by their octets.
func idKey(i Identity) string {
	switch i.Type {
	case id.FQDN, id.IPv4, id.IPv6, id.KeyID:
		return id.Exact(i).Class()
	}
	return ""
}

// candidates are the peers that a request may be from (contract 9).
func (d *directory) candidates(local, remote netip.Addr) []*peer {
	return d.audience(local, remote).peers
}

// anywhere is the entry of directory.byRemote for peers without an address.
var anywhere = netip.Addr{}

// answersTo is the identity we answer under when the peer asks for one of ours,
// and whether we are who it asks for. A certificate without a local_id beside it
// speaks for each of its names.
func (p *peer) answersTo(asked Identity, local netip.Addr) (Identity, bool) {
	own := p.localID(local)
	switch c := p.cfg.Certificates; {
	case !asked.IsSet() || asked.Equal(own):
		return own, true
	case c != nil && !p.cfg.LocalID.IsSet() && c.Own.Certificate().Has(asked):
		return c.Own.Certificate().Spelled(asked), true
	}
	return own, false
}

// choosePeer finds the peer an IKE_AUTH request belongs to (contract 9): by
// IDr, then by the most specific remote identity, then by the most specific
// addresses. A failure says what did match.
func (e *Engine) choosePeer(s *ikeSA, c *wire.Contents) (*peer, *Failure) {
	e.index()
	idi, idr := identityFrom(c.IDi), identityFrom(c.IDr)
	bears := func(p *peer) bool { return p.cfg.RemoteID.Matches(idi) }
	// Who is expected by exactly this identity is found at once: no pattern is
	// more specific. Only when none fits do all the others matter.
	if best, _ := s.bestOf(e.byID[idKey(idi)], idr, bears); len(best) > 0 {
		return best[0], nil
	}
	cands := e.candidates(s.local.Addr(), s.remote.Addr())
	e.half.charge(e.now, &s.handshake.standing, float64(len(cands))*lookCost)
	best, byIDr := s.bestOf(cands, idr, bears)
	if len(best) > 0 {
		return best[0], nil
	}
	if best = e.certifiedAs(s, byIDr, idi, idr, c); len(best) == 1 {
		return best[0], nil
	}
	// Reported for a tunnel so that it is seen.
	near, detail, remedy := byIDr, "no tunnel here expects the peer's identity", "set local_id at the peer, or remote_id here, so that they are equal"
	if len(best) > 1 {
		near, detail, remedy = best, "the peer's certificate has the names that several tunnels expect, and its identity is none of them", "set local_id at the peer to the name that the tunnel expects"
	}
	if len(near) > 0 {
		f := s.failure(FailIdentity, "IKE_AUTH", detail, remedy)
		f.Theirs = "identity " + idi.String()
		f.Ours = "expected identity " + some(near, func(p *peer) string { return p.cfg.RemoteID.String() })
		return near[0], f
	}
	f := s.failure(FailIdentity, "IKE_AUTH", "no tunnel here has the identity the peer asks for",
		"set remote_id at the peer, or local_id here, so that they are equal")
	f.Theirs = "asks for identity " + idr.String()
	f.Ours = "identity " + some(cands, func(p *peer) string { return p.localID(s.local.Addr()).String() })
	if len(cands) > 0 {
		return cands[0], f
	}
	return nil, f
}

// bestOf chooses among peers the most specific ones that fit, the first
// registered first, and lists those that have the identity the peer asks for.
func (s *ikeSA) bestOf(peers []*peer, idr Identity, fits func(*peer) bool) (best, byIDr []*peer) {
	bestScore := 0
	for _, p := range peers {
		specific, ok := p.accepts(s.local.Addr(), s.remote.Addr())
		if !ok {
			continue
		}
		if _, ok := p.answersTo(idr, s.local.Addr()); !ok {
			continue
		}
		byIDr = append(byIDr, p)
		if !fits(p) {
			continue
		}
		score := 8*p.cfg.RemoteID.Specificity() + specific
		if score > bestScore {
			best, bestScore = nil, score
		}
		if score == bestScore {
			best = append(best, p)
		}
	}
	return best, byIDr
}

// certifiedAs chooses among peers by the other names of the certificate that
// speaks for idi: many products send its subject, or their address, where we
// expect its domain name (RFC 4945 section 3.1). The identity itself comes first,
// and nothing is believed here: the peer chosen verifies the certificate as
// every other.
func (e *Engine) certifiedAs(s *ikeSA, peers []*peer, idi, idr Identity, c *wire.Contents) []*peer {
	signing := func(p *peer) bool { return p.cfg.Certificates != nil }
	if !slices.ContainsFunc(peers, signing) {
		return nil
	}
	leaf, _, err := received(c.Certs[:min(1, len(c.Certs))])
	if err != nil || !leaf.Has(idi) {
		return nil
	}
	e.half.charge(e.now, &s.handshake.standing, float64(len(peers))*lookCost)
	best, _ := s.bestOf(peers, idr, func(p *peer) bool {
		return signing(p) && leaf.CheckPattern(p.cfg.RemoteID) == nil
	})
	return best
}

package ikev2

import (
	"net/netip"
	"slices"

	"greseal/crypto/suite"
	"greseal/ikev2/wire"
)

// audience is what IKE_SA_INIT requests of one kind may be for, with what is
// answered to all of them alike. It is made once for each kind, until a peer's
// settings change: there may be hundreds of peers, and anybody sends requests.
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
func (e *Engine) audience(local, remote netip.Addr) *audience {
	e.index()
	k := audienceKey{local.Unmap(), remote.Unmap()}
	named := e.byRemote[k.remote]
	if named == nil {
		k.remote = anywhere
	}
	if a := e.audiences[k]; a != nil {
		return a
	}
	if len(e.audiences) >= mostAudiences {
		clear(e.audiences)
	}
	a := &audience{}
	best := -1
	for _, some := range [][]*peer{named, e.byRemote[anywhere]} {
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
	e.audiences[k] = a
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

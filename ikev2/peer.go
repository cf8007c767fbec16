package ikev2

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"greseal/crypto/sign/id"
	"greseal/crypto/suite"
	"greseal/ikev2/rate"
)

// Defaults of the two thresholds of contract 13.
const (
	defaultSuspect = 15 * time.Second
	defaultDead    = 120 * time.Second
)

// peer is one configured other side with its IKE SAs.
type peer struct {
	cfg   Peer
	sas   []*ikeSA // attempts and SAs being deleted among them, oldest first
	outs  []*child // pairs whose outbound SA is installed, in that order: the last one's carries the traffic
	group uint16   // key exchange method the peer last asked for, 0: none yet
	gone  bool     // removed while SAs were still being closed
	probe *probe   // to be sent

	innerMTU  uint16      // of our interface, as the peer is to be told; 0: not known
	newcomer  *ikeSA      // waits for whether another peer, who has the tunnel, lives
	turnover  Time        // when one identity was last heard from another place, 0: never
	lingering []*child    // pairs whose inbound SA stays for a while, oldest first
	renewals  rate.Bucket // CREATE_CHILD_SA requests of the peer's

	installFailures int    // in a row
	strange         string // last note about unauthenticated input
	strangeAt       Time
}

// accepts tells whether a request from remote to local may be this peer's, and
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

// comesFrom tells whether our side may be at an address.
func (p *peer) comesFrom(local netip.Addr) bool {
	return !p.cfg.LocalOnly || slices.Contains(p.cfg.Local, local.Unmap())
}

// index makes the maps that find peers.
func (e *Engine) index() {
	if e.byRemote != nil {
		return
	}
	e.byRemote, e.byID = map[netip.Addr][]*peer{}, map[string][]*peer{}
	e.audiences = map[audienceKey]*audience{}
	for _, p := range e.order {
		for _, a := range p.cfg.Remotes {
			e.byRemote[a] = append(e.byRemote[a], p)
		}
		if len(p.cfg.Remotes) == 0 {
			e.byRemote[anywhere] = append(e.byRemote[anywhere], p)
		}
		if k := idKey(p.cfg.RemoteID.Exact()); k != "" {
			e.byID[k] = append(e.byID[k], p)
		}
	}
}

// idKey is the same for equal identities, empty for those that are not compared
// by their octets.
func idKey(i Identity) string {
	switch i.Type {
	case id.FQDN:
		return "fqdn:" + strings.ToLower(i.Data)
	case id.IPv4, id.IPv6:
		return "address:" + i.Data
	case id.KeyID:
		return "keyid:" + i.Data
	}
	return ""
}

// candidates are the peers that a request may be from (contract 9).
func (e *Engine) candidates(local, remote netip.Addr) []*peer {
	return e.audience(local, remote).peers
}

// anywhere is the entry of Engine.byRemote for peers without an address.
var anywhere = netip.Addr{}

// localID is our identity towards the peer.
func (p *peer) localID(local netip.Addr) Identity {
	if p.cfg.LocalID.IsSet() {
		if p.cfg.Certificates != nil {
			return p.cfg.Certificates.Own.Certificate().Spelled(p.cfg.LocalID)
		}
		return p.cfg.LocalID
	}
	if p.cfg.Certificates != nil {
		return p.cfg.Certificates.Own.Identity()
	}
	return AddrIdentity(local)
}

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
// addresses. On failure it says how close it came.
func (e *Engine) choosePeer(s *ikeSA, idi Identity, idr Identity) (*peer, *Failure) {
	e.index()
	// Who is expected by exactly this identity is found at once: no pattern is
	// more specific. Only when none fits do all the others matter.
	if p, _ := e.bestOf(e.byID[idKey(idi)], s, idi, idr); p != nil {
		return p, nil
	}
	cands := e.candidates(s.local.Addr(), s.remote.Addr())
	e.half.charge(e.now, &s.handshake.standing, float64(len(cands))*lookCost)
	best, byIDr := e.bestOf(cands, s, idi, idr)
	if best != nil {
		return best, nil
	}
	// Named after a tunnel so that somebody gets to see it.
	if len(byIDr) > 0 {
		f := s.failure(FailIdentity, "IKE_AUTH", "no tunnel here expects the peer's identity",
			"set local_id at the peer, or remote_id here, so that they are equal")
		f.Theirs = "it is " + idi.String()
		f.Ours = "we expect " + identities(byIDr, func(p *peer) string { return p.cfg.RemoteID.String() })
		return byIDr[0], f
	}
	f := s.failure(FailIdentity, "IKE_AUTH", "no tunnel here has the identity the peer asks for",
		"set remote_id at the peer, or local_id here, so that they are equal")
	f.Theirs = "it asks for " + idr.String()
	f.Ours = "we are " + identities(cands, func(p *peer) string { return p.localID(s.local.Addr()).String() })
	if len(cands) > 0 {
		best = cands[0]
	}
	return best, f
}

// bestOf chooses among peers the most specific one that fits, nil for none, and
// lists those that have the identity the peer asks for.
func (e *Engine) bestOf(peers []*peer, s *ikeSA, idi, idr Identity) (best *peer, byIDr []*peer) {
	bestScore := -1
	for _, p := range peers {
		specific, ok := p.accepts(s.local.Addr(), s.remote.Addr())
		if !ok {
			continue
		}
		if _, ok := p.answersTo(idr, s.local.Addr()); !ok {
			continue
		}
		byIDr = append(byIDr, p)
		if !p.cfg.RemoteID.Matches(idi) {
			continue
		}
		if score := 8*p.cfg.RemoteID.Specificity() + specific; score > bestScore {
			best, bestScore = p, score
		}
	}
	return best, byIDr
}

func identities(ps []*peer, of func(*peer) string) string {
	out := ""
	for i, p := range ps {
		if i == 4 {
			return out + ", …"
		}
		if i > 0 {
			out += ", "
		}
		out += of(p)
	}
	return out
}

// groups are the key exchange methods offered to the peer.
func (p *peer) groups() []suite.Transform { return suite.Groups(p.cfg.IKE) }

// espOffer is what is offered for a Child SA by CREATE_CHILD_SA.
// Additional key exchanges are asked for where the IKE SA has them.
func (s *ikeSA) espOffer(pfs bool) []suite.Proposal {
	p := s.peer
	if !pfs {
		return suite.WithoutKE(p.cfg.ESP)
	}
	plain := suite.WithKE(p.cfg.ESP, p.groups(), false)
	if len(addKEs(&s.Suite)) == 0 {
		return plain
	}
	return append(p.withAddKE(), plain...)
}

// espAccept is what is accepted for one: with a key exchange or without, the
// configured wish first.
func (p *peer) espAccept() []suite.Proposal {
	if p.cfg.PFS {
		return append(p.withAddKE(), suite.WithKE(p.cfg.ESP, p.groups(), true)...)
	}
	none := append([]suite.Transform{{Type: suite.TypeKE}}, p.groups()...)
	return append(suite.WithKE(p.cfg.ESP, none, false), p.withAddKE()...)
}

// established lists the peer's IKE SAs that are in use.
func (p *peer) established() []*ikeSA {
	var out []*ikeSA
	for _, s := range p.sas {
		if s.announced && s.inUse() {
			out = append(out, s)
		}
	}
	return out
}

// String, Format and LogValue name a peer without its secret.
func (p Peer) String() string             { return "peer " + string(p.ID) }
func (p Peer) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(p.String())) }
func (p Peer) LogValue() slog.Value       { return slog.StringValue(p.String()) }

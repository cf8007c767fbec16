package ikev2

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"greseal/crypto/rate"
)

// Defaults of the two thresholds of contract 13.
const (
	defaultSuspect = 15 * time.Second
	defaultDead    = 120 * time.Second
)

// peer is one configured other side with its IKE SAs. What it can make us hold is
// bounded, whatever it asks for, how often, and however little of it it deletes:
// maxSAs, maxChildren and maxLingering here; one request of ours and one series of
// key exchanges for each IKE SA; maxOthers addresses; maxResponses answers for all
// peers; what a message's own bounds allow; and how often it has new keys made.
type peer struct {
	cfg     Peer
	earlier *Peer    // cfg with its Earlier credentials, nil: it has none
	before  bool     // they are what the next handshake of ours begins with
	sas     []*ikeSA // attempts and SAs being deleted among them, oldest first
	outs    []*child // Child SAs whose outbound SA is installed, in that order: the last one's carries the traffic
	group   uint16   // key exchange method the peer last asked for, 0: none yet
	gone    bool     // removed while SAs were still being closed
	probe   *probe   // to be sent

	innerMTU  uint16      // of our interface, to be sent to the peer; 0: not known
	newcomer  *ikeSA      // waits for whether another peer, who has the tunnel, lives
	turnover  Time        // when one identity was last heard from another place, 0: never
	lingering []*child    // Child SAs whose inbound SA stays for a while, oldest first
	renewals  rate.Bucket // CREATE_CHILD_SA requests of the peer's; what is beyond is refused for the moment

	installFailures int    // in a row
	strange         string // last note about unauthenticated input
	strangeAt       Time
}

// localID is our identity towards the peer.
func (p *peer) localID(local netip.Addr) Identity { return p.cfg.localID(local) }

func (c *Peer) localID(local netip.Addr) Identity {
	if c.LocalID.IsSet() {
		if c.Certificates != nil {
			return c.Certificates.Own.Certificate().Spelled(c.LocalID)
		}
		return c.LocalID
	}
	if c.Certificates != nil {
		return c.Certificates.Own.Identity()
	}
	return AddrIdentity(local)
}

// settings are the peer's with the credentials by which s is authenticated.
func (p *peer) settings(s *ikeSA) *Peer {
	if s.Auth.Earlier && p.earlier != nil {
		return p.earlier
	}
	return &p.cfg
}

// otherwise has the next handshake of ours begin with the other credentials, where there
// are some, when an attempt with one of the two was refused.
func (p *peer) otherwise(s *ikeSA, f *Failure) {
	switch f.Kind {
	case FailAuthentication, FailIdentity, FailCertificate:
		p.before = p.earlier != nil && !s.Auth.Earlier
	}
}

// withEarlier is c with its earlier credentials, nil: it has none.
func (c *Peer) withEarlier() *Peer {
	if c.Earlier == nil {
		return nil
	}
	e := *c
	e.LocalID, e.PSK, e.Certificates, e.RawKeys = c.Earlier.LocalID, bytes.Clone(c.Earlier.PSK), c.Earlier.Certificates, c.Earlier.RawKeys
	e.Earlier = nil
	return &e
}

// reserveElsewhere keeps the inbound SPIs of Child SAs of an earlier run from being drawn,
// instead of those before.
func (e *Engine) reserveElsewhere(p *peer, spis []uint32) {
	for _, spi := range p.cfg.Elsewhere {
		delete(e.espReserved, spi)
	}
	p.cfg.Elsewhere = slices.Clone(spis)
	for _, spi := range spis {
		e.espReserved[spi] = true
	}
}

// forgetKeys clears the secrets from memory.
func (p *peer) forgetKeys() {
	clear(p.cfg.PSK)
	clear(p.cfg.PPK)
	p.cfg.PSK, p.cfg.PPK = nil, nil
	if p.earlier != nil {
		clear(p.earlier.PSK)
		p.earlier = nil
	}
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

// SetPeer registers a peer or replaces its settings; existing SAs are kept and use the
// new settings from their next exchange on.
func (e *Engine) SetPeer(now Time, cfg Peer) []Action {
	e.enter(now)
	cfg.PSK, cfg.PPK = bytes.Clone(cfg.PSK), bytes.Clone(cfg.PPK)
	cfg.Remotes, cfg.Local = slices.Clone(cfg.Remotes), slices.Clone(cfg.Local)
	for i, a := range cfg.Remotes {
		cfg.Remotes[i] = a.Unmap()
	}
	e.byRemote = nil
	if cfg.Suspect <= 0 {
		cfg.Suspect = defaultSuspect
	}
	if cfg.Dead <= 0 {
		cfg.Dead = defaultDead
	}
	p := e.peers[cfg.ID]
	if p == nil {
		p = &peer{renewals: rate.Bucket{Burst: 60, Each: time.Second / 10}}
		e.peers[cfg.ID] = p
		e.order = append(e.order, p)
	}
	p.forgetKeys()
	again := p.cfg.Reauth != cfg.Reauth
	alone := len(p.cfg.Elsewhere) > 0 && len(cfg.Elsewhere) == 0
	e.reserveElsewhere(p, cfg.Elsewhere)
	cfg.Elsewhere = p.cfg.Elsewhere // a copy
	p.cfg, p.earlier = cfg, cfg.withEarlier()
	p.before = p.before && p.earlier != nil
	p.cfg.Earlier = nil
	if alone && p.current() == nil {
		if c := p.substitute(); c != nil {
			e.carry(c) // it need not wait any more
		}
	}
	for _, s := range p.sas {
		if again && s.stands() {
			s.planReauth(e)
		}
	}
	return e.flush()
}

// RemovePeer closes a peer's SAs and forgets it.
func (e *Engine) RemovePeer(now Time, id PeerID) []Action {
	return e.withPeer(now, id, func(p *peer) {
		e.closePeer(p)
		delete(e.peers, id)
		e.byRemote = nil
		e.order = slices.DeleteFunc(e.order, func(q *peer) bool { return q == p })
		p.gone = true
		e.reserveElsewhere(p, nil)
		p.forgetKeys()
	})
}

// Close deletes all SAs of a peer and tells it, but keeps its settings. Pending
// says when the peer has answered.
func (e *Engine) Close(now Time, id PeerID) []Action {
	return e.withPeer(now, id, e.closePeer)
}

// closePeer ends everything with a peer.
func (e *Engine) closePeer(p *peer) {
	for _, s := range slices.Clone(p.sas) {
		e.closeSA(s, nil, false)
	}
}

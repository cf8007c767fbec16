package ikev2

import (
	"crypto/sha256"
	"net/netip"
	"slices"
	"time"

	"greseal/crypto/rate"
)

// Unauthenticated peers share one budget: octets of memory, for half-open IKE SAs and
// their fragments, and computing (computing.go). The defence is that of RFC 8019,
// without puzzles. A full budget shuts no one out: for a request from an address that
// answers, the heaviest network's oldest half-open SA is dropped, so that a flood
// displaces itself. A network's weight is what it holds, and how many of its handshakes
// failed lately. A part of the budget is reserved for peers with a configured address
// and for addresses where a peer was authenticated before.
const (
	halfOpenLife   = 20 * time.Second // without IKE_AUTH
	cookieFrom     = 32               // half-open SAs, and IKE_AUTHs just refused, from which on cookies are asked for
	cookieFromHere = 4                // the same, of one network, where three that came to nothing count for one

	strangersOctets = 1536 << 10 // unless Config.StrangersOctets says otherwise
	halfOpenOctets  = 2560       // of a half-open SA beside its messages
	keOctets        = 4          // times the length of a key exchange value: a secret, its group and both values
	mostOrigins     = 1536       // networks that are remembered

	// A half-open SA of an ordinary network is safe for this long: its initiator
	// needs a round trip and some computing (RFC 8019 section 4.1). While many fail
	// it is shorter: then most are not real initiators.
	leastLife      = 2 * time.Second
	leastUnderFire = 250 * time.Millisecond

	refusedWeight = 2                // of a refused IKE_AUTH, in handshakes without an end
	mostWasted    = 64               // of those are counted
	forgiveOne    = 10 * time.Second // and one is forgotten

	mostHeard = 4096 // addresses of authenticated peers
)

// halfKey knows a repeated IKE_SA_INIT request again: by all of it (RFC 7296
// section 2.1), since two peers behind one NAT may choose the same SPI.
type halfKey [16]byte

func halfKeyOf(datagram []byte) (k halfKey) {
	sum := sha256.Sum256(datagram)
	copy(k[:], sum[:])
	return k
}

// strangers is the budget and what is on it. Half-open SAs are found by their
// request. When its initiator was authenticated the request is known for a while,
// so that a late repetition starts nothing new.
type strangers struct {
	limit   int
	held    int      // octets
	foreign int      // octets held by others than those that a part is kept for
	waiting []*ikeSA // half-open, oldest first
	sas     map[halfKey]*ikeSA
	futile  rate.Meter // handshakes that were refused or made room, from anywhere

	origins map[netip.Prefix]*origin
	swept   Time

	done   map[halfKey]bool
	ending []doneHalf // in the order they are forgotten

	heard map[netip.Addr]bool
	since []netip.Addr // the same, oldest first

	computing
}

type doneHalf struct {
	key   halfKey
	until Time
}

func newStrangers(cfg *Config) strangers {
	limit := cfg.StrangersOctets
	if limit <= 0 {
		limit = strangersOctets
	}
	return strangers{
		limit: limit, futile: rate.Meter{Most: mostWasted, Each: forgiveOne / 20}, sas: map[halfKey]*ikeSA{}, origins: map[netip.Prefix]*origin{},
		done: map[halfKey]bool{}, heard: map[netip.Addr]bool{}, computing: newComputing(cfg.Computing),
	}
}

// origin is what one network has here.
type origin struct {
	open   int        // half-open SAs
	held   int        // octets of them
	wasted rate.Meter // handshakes that came to nothing
}

func (o *origin) weight(now Time) int {
	return o.held + int(o.wasted.Level(now)*halfOpenOctets)
}

// standing is what a half-open SA holds on the budget, and where it came from.
type standing struct {
	origins []*origin // the widest network first, the address itself last
	known   bool      // a part is kept for it
	held    int       // octets
	cost    float64   // of computing
}

// networks are what an address counts for, the widest first (RFC 8019 section
// 4.2): customers get from a /64 to a /48 of IPv6.
func networks(a netip.Addr) []netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := []int{24, 32}
	if a.Is6() {
		bits = []int{48, 56, 64}
	}
	out := make([]netip.Prefix, len(bits))
	for i, n := range bits {
		out[i], _ = a.Prefix(n)
	}
	return out
}

// originsOf are the networks of an address.
func (h *strangers) originsOf(now Time, a netip.Addr) []*origin {
	if len(h.origins) > mostOrigins {
		h.sweep(now, len(h.origins) > mostOrigins*9/8)
	}
	out := make([]*origin, 0, 3)
	ns := networks(a)
	for i, n := range ns {
		o := h.origins[n]
		if o == nil {
			o = &origin{wasted: rate.Meter{Most: mostWasted, Each: forgiveOne << (2 * (len(ns) - 1 - i))}}
			h.origins[n] = o
		}
		out = append(out, o)
	}
	return out
}

// sweep forgets networks that have nothing here, and with all what they wasted.
func (h *strangers) sweep(now Time, all bool) {
	for n, o := range h.origins {
		if o.open == 0 && (all || o.wasted.Level(now) == 0) {
			delete(h.origins, n)
		}
	}
}

// waits reports whether a handshake with an address is under way.
func (h *strangers) waits(a netip.Addr) bool {
	n := networks(a)
	o := h.origins[n[len(n)-1]]
	return o != nil && o.open > 0
}

// wantsCookie reports whether a request without a valid cookie is answered by one.
func (h *strangers) wantsCookie(now Time, from []*origin, cost float64) bool {
	here := from[len(from)-1]
	busy := len(h.waiting) + int(h.futile.Level(now))
	return busy >= cookieFrom || float64(here.open)+here.wasted.Level(now)/3 >= cookieFromHere ||
		h.short(now) || slow(cost) && busy > 0
}

// enter takes a half-open SA on the budget, for which room was made.
func (h *strangers) enter(s *ikeSA) {
	b := &s.handshake.standing
	for _, o := range b.origins {
		o.open++
	}
	h.waiting = append(h.waiting, s)
	h.sas[s.handshake.key] = s
	h.count(b, s.octets())
}

func (h *strangers) count(b *standing, octets int) {
	more := octets - b.held
	b.held = octets
	h.held += more
	if !b.known {
		h.foreign += more
	}
	for _, o := range b.origins {
		o.held += more
	}
}

// octets is what a half-open SA takes, in round figures.
func (s *ikeSA) octets() int {
	h := s.handshake
	return halfOpenOctets + len(h.message1) + len(h.message2) + keOctets*len(h.peerKE) + s.answered.Held() + s.parts.Request.Held()
}

// leave takes a half-open SA off the budget.
func (h *strangers) leave(s *ikeSA) {
	b := &s.handshake.standing
	h.count(b, 0)
	for _, o := range b.origins {
		o.open--
	}
	delete(h.sas, s.handshake.key)
	if i := slices.Index(h.waiting, s); i >= 0 {
		h.waiting = slices.Delete(h.waiting, i, i+1)
	}
}

// authenticated ends what an SA owed: honest peers pay nothing. Its address has
// a part of the budget kept for it from now on.
func (h *strangers) authenticated(now Time, s *ikeSA) {
	h.refund(&s.handshake.standing)
	h.done[s.handshake.key] = true
	h.ending = append(h.ending, doneHalf{s.handshake.key, now + halfOpenLife})
}

// hear remembers the address of a peer that was authenticated.
func (h *strangers) hear(a netip.Addr) {
	if a = a.Unmap(); h.heard[a] {
		return
	}
	h.heard[a] = true
	if h.since = append(h.since, a); len(h.since) > mostHeard {
		delete(h.heard, h.since[0])
		h.since = h.since[1:]
	}
}

// waste counts a handshake that came to nothing against the networks of its
// initiator. Networks that many share may have more of them.
func (b *standing) waste(now Time, n float64) {
	for i := len(b.origins) - 1; i >= 0; i-- {
		b.origins[i].wasted.Add(now, n)
		n /= 4
	}
}

// forget ends the memory of authenticated SAs' requests, and of networks that
// have been quiet.
func (h *strangers) forget(now Time) {
	for len(h.ending) > 0 && h.ending[0].until <= now {
		delete(h.done, h.ending[0].key)
		h.ending = h.ending[1:]
	}
	if now-h.swept >= forgiveOne && len(h.origins) > 0 {
		h.swept = now
		h.sweep(now, false)
	}
}

// shares are the parts of the budget: of all but those that a part is kept for,
// and of one network, from the widest to the address.
const (
	foreignShare = 0.75
	widestShare  = 0.625
	originShare  = 0.5
)

// heaviest is the oldest half-open SA of the network that weighs most: of the
// widest, in that of the next, down to the address.
func (h *strangers) heaviest(now Time, of func(*standing) bool) *ikeSA {
	var best *ikeSA
	var most [3]int
	for _, s := range h.waiting {
		b := &s.handshake.standing
		if !of(b) {
			continue
		}
		w := b.weights(now)
		if best == nil || slices.Compare(w[:], most[:]) > 0 {
			best, most = s, w
		}
	}
	return best
}

func (b *standing) weights(now Time) (w [3]int) {
	for i, o := range b.origins {
		w[i] = o.weight(now)
	}
	return w
}

// yields reports whether a half-open SA has to make room: it has had its time, or
// its network has wasted handshakes, or weighs more than that of the request beside
// what one handshake takes.
func (h *strangers) yields(now Time, v *ikeSA, by *standing) bool {
	if now-v.began >= h.least(now) {
		return true
	}
	b := &v.handshake.standing
	for i, o := range b.origins {
		if i < len(by.origins) && by.origins[i] == o { // both are of it
			if b.wasteful(now) {
				return true
			}
			continue
		}
		mine := 0
		if i < len(by.origins) {
			mine = by.origins[i].weight(now)
		}
		return o.weight(now)-min(b.held, 2*halfOpenOctets) > mine
	}
	return false
}

// least is how long a half-open SA is safe.
func (h *strangers) least(now Time) time.Duration {
	if h.futile.Level(now) >= cookieFrom {
		return leastUnderFire
	}
	return leastLife
}

// oldest is the oldest half-open SA, if it has had its time. One whose address has
// wasted nothing does not make room for a request whose address has.
func (h *strangers) oldest(now Time, of func(*standing) bool, by *standing) *ikeSA {
	for _, s := range h.waiting {
		b := &s.handshake.standing
		if now-s.began < h.least(now) {
			break
		}
		if of(b) && (b.wasteful(now) || !by.wasteful(now)) {
			return s
		}
	}
	return nil
}

// wasteful reports whether a handshake from the same address came to nothing lately.
func (b *standing) wasteful(now Time) bool {
	return b.origins[len(b.origins)-1].wasted.Level(now) >= 0.5
}

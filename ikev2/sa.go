package ikev2

import (
	"net/netip"
	"slices"
	"time"

	"greseal/ikev2/keymat"
)

// ikeSA is one IKE SA from its first message to its last. It exists once for
// every tunnel, so what is only needed while it is made hangs on handshake.
type ikeSA struct {
	IKESA
	peer      *peer // nil on a responder until IKE_AUTH
	state     saState
	announced bool // IKEUp was reported
	keys      *keymat.Keys
	handshake *handshake // until established
	run       runID      // the peer's

	requestWindow
	ways
	natState
	pathSize
	schedule
	mob     *mobility // both sides support MOBIKE, else nil
	toldMTU uint16    // of our interface, as last sent on this IKE SA

	times
	lineage
	check    bool // a liveness check is wanted
	suspect  bool // the peer owes an answer for so long that it may be dead
	children []*child
	alarm
}

// times are when something happened to an IKE SA.
type times struct {
	began      Time // first message
	sent       Time // last message of ours the Child SAs' way
	asked      Time // last repeated request of the peer
	superseded Time // since when it is redundant
}

// lineage is where an IKE SA comes from, and what replaced it.
type lineage struct {
	lowNonce   []byte   // lowest nonce of the exchange that made it
	origin     saOrigin // of the first of the IKE SAs it was rekeyed from
	replacedBy *ikeSA   // after rekeying: where the Child SAs went
}

// schedule is when an IKE SA has something to do.
type schedule struct {
	rekeyAt, expireAt Time
	reauthAt          Time // a new IKE SA from scratch is to be begun then
	reauthEnd         Time // closed then if there is none
	retryAt           Time // no CREATE_CHILD_SA for the IKE SA itself before
	stalled           Time // first TEMPORARY_FAILURE of an unbroken row, 0: none
	createAt          Time // a Child SA from scratch is wanted, never: not
	dropAt            Time // half-open, replaced or redundant: forget it then
}

// own and other are the SPIs by which we and the peer find the SA.
func (s *ikeSA) own() uint64 {
	if s.Initiator {
		return s.SPIi
	}
	return s.SPIr
}

func (s *ikeSA) other() uint64 {
	if s.Initiator {
		return s.SPIr
	}
	return s.SPIi
}

// newSA makes an SA known under our SPI.
func (e *Engine) newSA(p *peer, initiator bool, spiI, spiR uint64, local, remote netip.AddrPort) *ikeSA {
	s := &ikeSA{
		IKESA: IKESA{Initiator: initiator, SPIi: spiI, SPIr: spiR}, peer: p,
		ways: ways{local: local, remote: remote}, natState: natState{pause: e.cfg.NATKeepalive},
		times: times{began: e.now, sent: e.now}, alarm: alarm{slot: -1},
		schedule: schedule{rekeyAt: never, expireAt: never, reauthAt: never, reauthEnd: never, createAt: never, dropAt: never},
	}
	e.register(s)
	if p != nil {
		p.sas = append(p.sas, s)
		e.boundSAs(p)
	}
	e.markDirty(s)
	return s
}

// encap reports whether ESP travels in UDP: when a NAT was found or UDP encapsulation is forced, which
// takes NAT detection in both directions.
func (s *ikeSA) encap() bool {
	return s.natd && (s.NATLocal || s.NATRemote || s.EncapForced)
}

func (s *ikeSA) info() IKEInfo {
	i := IKEInfo{IKESA: s.IKESA, Local: s.local, Remote: s.remote, MOBIKE: s.mob != nil, TellsMTU: s.run.told()}
	if s.rekeyAt != never {
		i.RekeyAt = s.rekeyAt
	}
	if s.peer != nil {
		i.Peer = s.peer.cfg.ID
	}
	return i
}

// establish begins an SA's life proper.
func (e *Engine) establish(s *ikeSA) {
	if s.handshake != nil {
		s.PPK = s.handshake.ppk.mixed
	}
	s.state = stateEstablished
	e.half.hear(s.remote.Addr())
	s.Established, s.LastHeard = e.now, e.now
	s.origin = saOrigin{s.began, e.now, s.lowNonce, s.Initiator}
	s.rekeyAt, s.expireAt = e.lifetime(s.peer.cfg.IKELifetime, s.Initiator)
	if s.handshake != nil {
		s.handshake.wipe()
		s.handshake = nil
	}
	s.keys.Authenticated()
}

// rekeyLead is what a rekeying is given at least before a lifetime ends, for lost
// messages and a busy peer; half of a lifetime that is shorter than twice that.
const rekeyLead = 10 * time.Second

// lifetime spreads the time of rekeying over the last part of a lifetime, the
// initiator's before the responder's, so that both seldom start at once (RFC
// 7296 section 2.8.1).
func (e *Engine) lifetime(whole time.Duration, initiator bool) (rekey, expire Time) {
	if whole <= 0 {
		return never, never
	}
	lo := whole - max(whole*15/100, min(rekeyLead, whole/2))
	if !initiator {
		lo += whole * 5 / 100
	}
	return e.now + lo + e.rnd.between(0, whole*5/100), e.now + whole
}

// drop forgets an SA at once. Its Child SAs go with it; with linger their
// inbound SAs stay for what is still under way. A reason nil is a wanted end.
func (e *Engine) drop(s *ikeSA, why *Failure, linger bool) {
	if s.state == stateGone {
		return
	}
	if s.state == stateHalfOpen && s.handshake != nil {
		e.half.leave(s)
	}
	s.forgetNewcomer()
	s.state, s.dropAt = stateGone, never
	if o := s.collidingSA(); o != nil {
		e.drop(o, nil, false)
	}
	unanswered := e.endRequest(s)
	e.release(s)
	for _, c := range slices.Clone(s.children) {
		e.retire(c, linger)
	}
	if s.announced {
		s.announced = false
		e.emit(IKEDown{s.info(), why})
	}
	if s.handshake != nil {
		s.handshake.wipe()
		s.handshake = nil
	}
	if s.keys != nil {
		s.keys.Wipe()
		s.keys = nil
	}
	e.unregister(s)
	e.keepResponse(e.now, s)
	if s.peer != nil {
		s.peer.sas = slices.DeleteFunc(s.peer.sas, func(o *ikeSA) bool { return o == s })
	}
	if unanswered != nil {
		unanswered.about.giveUp(e, s)
	}
	if s.peer != nil {
		e.lookAtNewcomer(s.peer)
		e.revive(s.peer)
	}
	e.markDirty(s)
}

// closeSA ends an SA with a Delete to the peer, after what is under way.
func (e *Engine) closeSA(s *ikeSA, why *Failure, linger bool) {
	switch {
	case s.stands(), s.state == stateReplaced:
		s.state = stateDeleting
		for _, c := range slices.Clone(s.children) {
			if linger {
				e.fade(c)
			} else {
				e.retire(c, false)
			}
		}
		if s.announced {
			s.announced = false
			e.emit(IKEDown{s.info(), why})
		}
		e.lookAtNewcomer(s.peer)
		s.dropAt = e.now + deletePatience
		e.cutProbeShort(s)
		e.markDirty(s)
	case s.state == stateAuthenticating:
		// The peer may have an SA already: go on, and delete it then.
		s.handshake.abandoned = true
	case s.state == stateDeleting:
	default:
		e.drop(s, why, false)
	}
}

// deletePatience is how long an unanswered Delete is repeated.
const deletePatience = 30 * time.Second

// SAs describes the peer's established IKE SAs, oldest first.
func (e *Engine) SAs(id PeerID) []IKEInfo {
	var out []IKEInfo
	if p := e.peers[id]; p != nil {
		for _, s := range p.sas {
			if s.stands() && s.announced {
				out = append(out, s.info())
			}
		}
	}
	return out
}

// failure is a Failure of ours about an SA.
func (s *ikeSA) failure(kind FailureKind, exchange, detail, remedy string) *Failure {
	return &Failure{
		Kind: kind, Exchange: exchange, Detail: detail, Remedy: remedy,
		Local: s.local.String(), Remote: s.remote.String(), ike: s.ID,
	}
}

// maxSAs bounds the IKE SAs of a peer: one is in use, rekeying and collisions make
// three, a new one beside it as many.
const maxSAs = 16

// boundSAs forgets the oldest IKE SAs that are on their way out, when a peer has
// too many: those that it was to delete, or that others took the place of.
func (e *Engine) boundSAs(p *peer) {
	for _, s := range slices.Clone(p.sas) {
		if len(p.sas) <= maxSAs {
			return
		}
		if s.superfluous() {
			e.drop(s, nil, true)
		}
	}
}

func (s *ikeSA) superfluous() bool {
	switch s.state {
	case stateReplaced, stateDeleting, stateChildless, stateRedundantOurs, stateRedundantTheirs, stateRedundantGone:
		return true
	}
	return false
}

// announce reports an IKE SA.
func (e *Engine) announce(s *ikeSA) {
	if !s.announced {
		s.announced = true
		e.emit(IKEUp{s.info()})
	}
}

// saOrigin is how a line of IKE SAs, each rekeyed from the one before, began.
type saOrigin struct {
	began, stood Time // its IKE_SA_INIT request; its IKE_AUTH
	lowNonce     []byte
	ours         bool // we began it
}

// overlapped reports whether the later of two SAs was begun before the earlier one
// stood.
func overlapped(a, b *ikeSA) bool {
	return a.origin.began <= b.origin.stood && b.origin.began <= a.origin.stood
}

// newIKESPI draws an IKE SPI of ours: never zero, unique among our own.
func (e *Engine) newIKESPI() (uint64, error) {
	for range 64 {
		n, ok := e.rnd.uint64()
		if !ok {
			return 0, errRandom
		}
		if n != 0 && e.sas[n] == nil && e.responses[n] == nil && !e.ikeReserved[n] {
			return n, nil
		}
	}
	return 0, errRandom
}

// attemptTime is how long an initiator tries; refusedTime, how long it goes on
// after an error notify that anyone may have sent (RFC 7296 section 2.21.1).
const (
	attemptTime = 60 * time.Second
	refusedTime = 12 * time.Second
)

// fail ends an attempt.
func (e *Engine) fail(s *ikeSA, f *Failure) {
	p := s.peer
	silent := s.handshake != nil && s.handshake.abandoned
	e.drop(s, f, false)
	if p != nil && !silent {
		e.emit(Failed{p.cfg.ID, f})
	}
}

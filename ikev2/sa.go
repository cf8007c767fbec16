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
	toldMTU uint16    // of our interface, as the peer was told on this IKE SA

	began      Time // first message
	sent       Time // last message of ours the Child SAs' way
	asked      Time // last repeated request of the peer
	superseded Time // since when it is redundant

	check      bool     // a liveness check is wanted
	suspect    bool     // the peer owes an answer for so long that it may be dead
	lowNonce   []byte   // lowest nonce of the exchange that made it
	origin     saOrigin // of the first of the IKE SAs it was rekeyed from
	replacedBy *ikeSA   // after rekeying: where the Child SAs went

	children []*child

	slot   int  // in Engine.timers
	wake   Time // while in there
	marked bool
}

// schedule is when an IKE SA has something to do by itself.
type schedule struct {
	rekeyAt, expireAt Time
	reauthAt          Time // a new IKE SA from scratch is to be begun then
	reauthEnd         Time // closed then when none stands
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
	e.nextSA++
	s := &ikeSA{
		IKESA: IKESA{ID: e.nextSA, Initiator: initiator, SPIi: spiI, SPIr: spiR}, peer: p,
		ways: ways{local: local, remote: remote}, natState: natState{pause: e.cfg.NATKeepalive},
		began: e.now, sent: e.now, slot: -1,
		schedule: schedule{rekeyAt: never, expireAt: never, reauthAt: never, reauthEnd: never, createAt: never, dropAt: never},
	}
	e.sas[s.own()] = s
	e.ids[s.ID] = s
	if p != nil {
		p.sas = append(p.sas, s)
		e.boundSAs(p)
	}
	e.markDirty(s)
	return s
}

// encap tells whether ESP travels in UDP: when a NAT was found or UDP encapsulation is forced, which
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
	delete(e.sas, s.own())
	delete(e.ids, s.ID)
	e.keepResponse(s)
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

// deadline is until when an unanswered Delete is repeated beyond that: where pairs
// fade the peer may send on them until it has the Delete, or has given us up as
// we do it, whose silence begins a liveness check later at most.
func (s *ikeSA) deadline() Time {
	fades := func(c *child) bool { return c.state == childLingers && c.lingerAt == never }
	if s.req == nil || !slices.ContainsFunc(s.children, fades) {
		return 0
	}
	c := &s.peer.cfg
	return min(max(s.req.first, s.LastHeard)+c.Dead+c.DPD, s.req.first+deafness*c.Dead)
}

// closePeer ends everything with a peer.
func (e *Engine) closePeer(p *peer) {
	for _, s := range slices.Clone(p.sas) {
		e.closeSA(s, nil, false)
	}
}

// pump starts the next exchange that an SA wants, when none is under way.
func (e *Engine) pump(s *ikeSA) {
	if s.stands() && s.probing() && s.nextExchange() <= e.now {
		e.cutProbeShort(s)
	}
	if s.req != nil || s.keys == nil {
		return
	}
	switch {
	case s.handshake != nil && s.handshake.newcomer != nil:
		e.decideNewcomer(s)
	case s.state == stateDeleting:
		e.ask(s, deleteIKE{})
	case s.redundant() && s.state != stateCollisionLost && s.check:
		s.check = false
		e.ask(s, livenessCheck{bare: true})
	case s.mayAsk():
		e.pumpInUse(s)
	}
}

// pumpInUse is pump for an SA that is in use: what moves it comes first, then its
// keys, then questions about the path and whether the peer lives.
func (e *Engine) pumpInUse(s *ikeSA) {
	switch {
	case e.pumpMobility(s):
	case s.pending == nil && !s.mob.testDue(e.now) && (e.pumpDeletes(s) || e.pumpRekeyIKE(s) || e.pumpRekeyChild(s) || e.pumpNewChild(s)):
	case e.pumpProbe(s):
		s.check = false
	case s.check || e.idle(s) || e.tells(s):
		s.check = false
		e.ask(s, livenessCheck{})
	}
}

// nextWake is the next time an SA has something to do by itself.
func (s *ikeSA) nextWake() Time {
	at := s.dropAt
	for _, c := range s.children {
		at = min(at, c.nextWake())
	}
	if s.state == stateGone {
		return at
	}
	if s.req != nil {
		at = min(at, s.req.next)
	}
	if s.pending != nil {
		at = min(at, s.pending.expires)
	}
	at = min(at, s.parts.Expires())
	switch {
	case s.state == stateInitiating, s.state == stateAuthenticating:
		if n := s.handshake.newcomer; n != nil {
			at = min(at, n.until)
		}
		return min(at, s.handshake.deadline)
	case s.stands(), s.state == stateReplaced:
	default:
		return at
	}
	at = min(at, s.nextLiveness(), s.nextKeepalive())
	if !s.inUse() {
		return at
	}
	at = min(at, s.expireAt, s.reauthAt, s.reauthEnd)
	if s.mob != nil {
		at = min(at, s.mob.follows)
	}
	if s.req == nil && s.mayAsk() {
		if s.mob != nil && s.mob.test != 0 {
			return min(at, s.mob.test)
		}
		if s.mob != nil && s.mob.renew && s.mob.follows == never {
			at = min(at, s.mob.renewAt)
		}
		at = min(at, s.nextExchange())
	} else if s.probing() {
		at = min(at, s.nextExchange())
	}
	return at
}

// nextExchange is when the next rekeying or new Child SA is due.
func (s *ikeSA) nextExchange() Time {
	at := s.createAt
	if s.rekeyAt != never {
		at = min(at, max(s.rekeyAt, s.retryAt))
	}
	for _, c := range s.children {
		at = min(at, c.nextRekey())
	}
	return at
}

// due does what an SA's time has come for, except starting exchanges.
func (e *Engine) due(s *ikeSA) {
	for _, c := range slices.Clone(s.children) {
		e.childDue(c)
	}
	if s.state == stateGone {
		return
	}
	if s.pending != nil && s.pending.expires <= e.now {
		e.release(s)
	}
	s.parts.Expire(e.now)
	if s.dropAt <= e.now && !e.dropDue(s) {
		return
	}
	if s.handshake != nil && s.handshake.deadline <= e.now {
		e.handshakeTimeout(s)
		return
	}
	e.retransmit(s)
	if !s.stands() && s.state != stateReplaced {
		return
	}
	if !e.liveness(s) {
		return
	}
	e.keepalive(s)
	if !s.stands() {
		return
	}
	if s.expireAt <= e.now && !s.redundant() {
		e.closeSA(s, s.expired("IKE SA"), false)
		return
	}
	if e.overdue(s) {
		return
	}
	if !s.redundant() {
		e.reauthDue(s)
	}
}

// dropDue ends the time that an SA's state has. False: nothing more is due.
func (e *Engine) dropDue(s *ikeSA) bool {
	switch s.state {
	case stateHalfOpen:
		e.turnOut(s, 1)
		return false
	case stateReplaced:
		// The peer was to delete it and did not; or it has not had our answer,
		// and knows this one only.
		if next := s.replacedBy; next != nil && next.stands() && next.LastHeard <= next.Established {
			s.dropAt = e.now + replacedPatience
		} else {
			e.closeSA(s, nil, true)
		}
	case stateCollisionLost:
		e.drop(s, nil, true) // nothing hangs on it
	case stateRedundantOurs, stateRedundantTheirs, stateRedundantGone:
		e.supersededDue(s)
	case stateChildless, stateEstablished, stateUnconfirmed:
		if s.state == stateChildless && s.childless() {
			e.closeSA(s, nil, false)
		} else {
			s.state, s.dropAt = stateEstablished, never
		}
	case stateDeleting:
		if s.dropAt = s.deadline(); s.dropAt > e.now {
			break
		}
		fallthrough
	default:
		e.drop(s, nil, false)
		return false
	}
	return true
}

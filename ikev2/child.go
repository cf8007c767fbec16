package ikev2

import (
	"errors"
	"slices"
	"sort"
	"time"

	"greseal/crypto/esp"
	"greseal/ikev2/selector"
)

// lingerTime is how long the inbound SA of a deleted Child SA still accepts packets in
// flight (contract 11).
const lingerTime = 5 * time.Second

// replacedPatience is how long a Child SA that the peer has rekeyed, or an IKE SA,
// waits for the Delete that is the peer's to send.
const replacedPatience = 60 * time.Second

// maxChildren bounds the Child SAs of one peer; we want one, and rekeying with its
// collisions makes three.
const maxChildren = 8

// maxLingering bounds the deleted Child SAs of one peer whose inbound SA still accepts
// packets in flight.
const maxLingering = 8

// childState is the life of a Child SA.
type childState uint8

const (
	childLive     childState = iota
	childDeleting            // our Delete is due or unanswered
	childLingers             // deleted; the inbound SA accepts packets in flight
	childGone
)

// child is a Child SA.
type child struct {
	pub   *Child // replaced, not changed, when something in it does
	sa    *ikeSA
	state childState

	in, out bool        // installed
	spare   *esp.Params // outbound keys, while the SA is not to be used yet

	replaced    bool // rekeyed, by either side
	loser       bool // lost in simultaneous rekeying: the peer is to delete it
	lost        bool // the datapath lost one of its SAs
	deleteSent  bool
	unconfirmed bool // made on the peer's request; it may not have our answer yet
	waits       bool // carries the traffic once the peer shows that it has its IKE SA

	rekeyAt, expireAt Time
	deleteAt          Time // the peer was to delete it by then
	retryAt           Time // no rekeying before
	noPFS             bool // the peer refused a key exchange of its own
	lingerAt          Time
}

// ends are the Child SA's GRE endpoints.
func (c *child) ends() selector.Ends {
	return selector.Ends{Local: c.pub.GRELocal, Remote: c.pub.GRERemote}
}

// closing reports whether the Child SA is on its way out.
func (c *child) closing() bool { return c.state != childLive }

func (c *child) nextWake() Time {
	if c.state == childLive {
		return min(c.expireAt, c.deleteAt)
	}
	if c.state == childLingers {
		return c.lingerAt
	}
	return never
}

func (c *child) nextRekey() Time {
	if c.state != childLive || c.replaced || c.unconfirmed || c.rekeyAt == never {
		return never
	}
	return max(c.rekeyAt, c.retryAt)
}

// agreed is what two sides have settled on for a Child SA.
type agreed struct {
	Child
	in, out *esp.Params
	old     *child
	series  *series // additional key exchanges are to come, and the keys then
}

// addChild makes a Child SA known and installs its inbound SA; the outbound keys are
// kept until carry.
func (e *Engine) addChild(s *ikeSA, a agreed) *child {
	pub := new(Child)
	*pub = a.Child // not the keys beside it, which go with what is installed
	pub.Peer, pub.IKE, pub.Created = s.peer.cfg.ID, s.ID, e.now
	pub.Local, pub.Remote, pub.Encap = s.esp.local, s.esp.remote, s.esp.encap
	c := &child{pub: pub, sa: s, spare: a.out, unconfirmed: !pub.Initiator, deleteAt: never}
	if a.old != nil {
		pub.Replaces = a.old.pub.ID
		c.noPFS = a.old.noPFS
		if a.old.pub.Transport && !pub.Transport {
			e.note(s.peer, s.failure(FailModeChanged, "CREATE_CHILD_SA",
				"the peer left out USE_TRANSPORT_MODE, so the new Child SA is in tunnel mode; each packet is 20 bytes longer, 40 with IPv6",
				"set transport mode at the peer for rekeying as well, or mode = \"tunnel\" on both sides"))
		}
	}
	c.rekeyAt, c.expireAt = e.lifetime(s.peer.cfg.ChildLifetime, pub.Initiator)
	if c.rekeyAt != never {
		pub.RekeyAt = c.rekeyAt
	}
	beside := !s.childless()
	s.children = append(s.children, c)
	s.createAt = never
	e.registerChild(c)
	e.markDirty(s)

	c.in = true
	e.emit(InstallIn{Child: pub, Params: *a.in, WatchFirstUse: !pub.Initiator && (beside || s.peer.carries())})
	return c
}

// carry installs a Child SA's outbound SA, which from then on carries the traffic.
func (e *Engine) carry(c *child) {
	if c.spare == nil {
		return
	}
	c.out = true
	e.emit(InstallOut{Child: c.pub, Params: *c.spare})
	c.spare = nil // the datapath owns the keys now
	c.waits = false
	c.unconfirmed = false
	p := c.sa.peer
	p.outs = append(p.outs, c)
}

// current is the Child SA that carries the traffic, nil when none does. When its
// outbound SA goes the datapath takes the one installed before it again.
func (p *peer) current() *child {
	if n := len(p.outs); n > 0 {
		return p.outs[n-1]
	}
	return nil
}

// carries reports whether another Child SA carries the traffic already.
func (p *peer) carries() bool { return p.current() != nil || len(p.cfg.Elsewhere) > 0 }

// carryWhenConfirmed is carry for the first Child SA of an IKE SA. The initiator has
// not installed it before our answer arrives: as long as another Child SA carries the
// traffic it goes on to (contract 11).
func (e *Engine) carryWhenConfirmed(c *child) {
	if cur := c.sa.peer.current(); c.pub.Initiator || !c.sa.peer.carries() || cur != nil && cur.closing() {
		e.carry(c)
		return
	}
	c.waits = c.spare != nil
}

// removeOut removes a Child SA's outbound SA. Where another Child SA has to carry
// the traffic then, its outbound SA is installed first.
func (e *Engine) removeOut(c *child) {
	if c.spare != nil {
		c.spare.Wipe()
		c.spare = nil
	}
	if !c.out {
		return
	}
	p := c.sa.peer
	if p.current() == c {
		if n := p.substitute(); n != nil {
			e.carry(n)
		}
	}
	c.out = false
	p.outs = slices.DeleteFunc(p.outs, func(o *child) bool { return o == c })
	e.emit(RemoveOut{c.pub})
}

// substitute is the Child SA to carry the traffic when the current one no longer can:
// the newest one, those that lost a collision after the others, and those that
// the peer may not have yet last. Nil: the datapath has one, which carried the
// traffic before and is better than what would have to be installed.
func (p *peer) substitute() *child {
	var best *child
	for _, s := range p.sas {
		if !s.stands() {
			continue
		}
		for _, o := range s.children {
			if !o.closing() && o.spare != nil && (best == nil || o.preferred(best)) {
				best = o
			}
		}
	}
	if n := len(p.outs); best != nil && n > 1 && (best.unconfirmed || best.waits || best.loser) {
		if before := p.outs[n-2]; !before.lost && !before.stale(best) {
			return nil
		}
	}
	return best
}

// stale reports whether the peer may have forgotten a Child SA with its IKE SA, which
// others have taken the place of and which was not heard since o's stands.
func (c *child) stale(o *child) bool {
	return c.sa.redundant() && c.sa.LastHeard <= o.sa.Established
}

func (c *child) preferred(o *child) bool {
	old, oldToo := c.stale(o), o.stale(c)
	switch {
	case old != oldToo:
		return oldToo
	case c.waits != o.waits:
		return o.waits
	case c.loser != o.loser:
		return o.loser
	}
	return c.pub.ID > o.pub.ID
}

// deleteChild begins the deletion of a Child SA: nothing is sent on it any more, and
// the peer is told.
func (e *Engine) deleteChild(c *child) {
	if c.state != childLive {
		return
	}
	c.state = childDeleting
	e.removeOut(c)
	e.markDirty(c.sa)
}

// retire ends a Child SA without telling the peer, who knows.
func (e *Engine) retire(c *child, linger bool) {
	if c.state == childLingers && c.lingerAt != never || c.state == childGone {
		return
	}
	c.state = childLingers
	e.removeOut(c)
	e.markDirty(c.sa)
	if linger && c.in && !c.lost {
		c.lingerAt = e.now + lingerTime
		e.lingers(c)
		return
	}
	e.forgetChild(c)
}

// fade ends a Child SA with its IKE SA, whose Delete the peer has not had yet: until
// then it may send on it, so the inbound SA stays (retire follows).
func (e *Engine) fade(c *child) {
	if c.state == childLingers || c.state == childGone {
		return
	}
	c.state, c.lingerAt = childLingers, never
	e.removeOut(c)
	e.markDirty(c.sa)
}

func (e *Engine) forgetChild(c *child) {
	c.state = childGone
	if c.in {
		c.in = false
		e.emit(RemoveIn{c.pub})
	}
	e.unregisterChild(c)
	p := c.sa.peer
	p.lingering = slices.DeleteFunc(p.lingering, func(o *child) bool { return o == c })
	e.markDirty(c.sa)
	c.sa.children = slices.DeleteFunc(c.sa.children, func(o *child) bool { return o == c })
}

// childless reports whether an SA has no Child SA left that is in use.
func (s *ikeSA) childless() bool {
	return !slices.ContainsFunc(s.children, func(c *child) bool { return !c.closing() })
}

// wantChild asks for a Child SA from scratch where there is none left: an IKE SA
// without one is of no use here.
func (e *Engine) wantChild(s *ikeSA, after time.Duration) {
	if s.inUse() && s.childless() {
		s.createAt = min(s.createAt, e.now+after)
		e.markDirty(s)
	}
}

// Who makes a Child SA again after the peer deleted the last one: the IKE SA's
// initiator soon, the responder when nothing came.
func (s *ikeSA) recreatePause() time.Duration {
	if s.Initiator {
		return time.Second
	}
	return 10 * time.Second
}

// installFailed replaces a Child SA that the datapath could not take (contract 2);
// when that does not help, the IKE SA is given up.
func (e *Engine) installFailed(c *child, err error) {
	if c.closing() {
		return
	}
	s := c.sa
	f := s.failure(FailInstall, "", err.Error(), "check the kernel's modules and what else uses IPsec on this machine")
	if known, ok := errors.AsType[Remedied](err); ok {
		f.Remedy = known.Remedy()
	}
	c.lost = true // at least one half is not there
	for _, o := range s.children {
		if o.pub.ID == c.pub.Replaces && !o.closing() {
			// The old Child SA carries on and is rekeyed again later.
			o.replaced = false
			o.retryAt = e.now + e.rnd.jitter(10*time.Second)
		}
	}
	e.deleteChild(c)
	if !s.stands() {
		return
	}
	s.peer.installFailures++
	if s.peer.installFailures >= 3 {
		s.peer.installFailures = 0
		e.emit(Failed{s.peer.cfg.ID, f})
		e.closeSA(s, f, false)
		return
	}
	e.note(s.peer, f)
	e.wantChild(s, 0)
}

// Remedied is an error of InstallFailed that knows what to do about it.
type Remedied interface {
	error
	Remedy() string
}

// InstallFailed reports that an InstallIn or InstallOut of a Child SA failed.
func (e *Engine) InstallFailed(now Time, id ChildID, err error) []Action {
	e.enter(now)
	if c := e.childSAs[id]; c != nil {
		e.installFailed(c, err)
	}
	return e.flush()
}

// ChildUsed reports the first authenticated packet on a watched inbound SA.
func (e *Engine) ChildUsed(now Time, spiIn uint32) []Action {
	e.enter(now)
	if c := e.bySPI[spiIn]; c != nil && c.spare != nil && !c.loser && !c.closing() {
		e.carry(c)
	}
	return e.flush()
}

// ChildLost reports that the datapath lost an SA of a Child SA. The Child SA is
// replaced at once.
func (e *Engine) ChildLost(now Time, id ChildID) []Action {
	e.enter(now)
	if c := e.childSAs[id]; c != nil && !c.closing() {
		c.lost = true
		c.rekeyAt = min(c.rekeyAt, e.now)
		e.markDirty(c.sa)
	}
	return e.flush()
}

// Children returns the peer's Child SAs that are not being deleted, oldest
// first.
func (e *Engine) Children(id PeerID) []*Child {
	var out []*Child
	if p := e.peers[id]; p != nil {
		for _, s := range p.sas {
			for _, c := range s.children {
				if !c.closing() {
					out = append(out, c.pub)
				}
			}
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].ID < out[j].ID })
	return out
}

// lingers notes a Child SA whose inbound SA stays for a while, and forgets the oldest
// of those when there are too many.
func (e *Engine) lingers(c *child) {
	p := c.sa.peer
	p.lingering = append(p.lingering, c)
	if len(p.lingering) > maxLingering {
		e.forgetChild(p.lingering[0])
	}
}

// childSAs counts a peer's Child SAs but for those that linger for their time.
func (p *peer) childSAs() int {
	n := 0
	for _, s := range p.sas {
		for _, c := range s.children {
			if c.state != childLingers || c.lingerAt == never {
				n++
			}
		}
	}
	return n
}

// wantedEnds are the endpoints that we ask for, or accept. Rekeying keeps those
// that were negotiated, whatever was configured (RFC 7296 section 2.8).
func (s *ikeSA) wantedEnds(old *child) selector.Ends {
	if old != nil {
		return selector.Ends{Local: old.pub.GRELocal, Remote: old.pub.GRERemote}
	}
	w := s.outerEnds()
	if a := s.peer.cfg.GRELocal; a.IsValid() {
		w.Local = a.Unmap()
	}
	if a := s.peer.cfg.GRERemote; a.IsValid() {
		w.Remote = a.Unmap()
	}
	return w
}

// outerEnds are the addresses of the Child SAs' packets.
func (s *ikeSA) outerEnds() selector.Ends {
	return selector.Ends{Local: s.esp.local.Addr(), Remote: s.esp.remote.Addr()}
}

// newESPSPI draws an inbound SPI: 256 and above (RFC 4303 section 2.1), unique
// among ours (contract 2).
func (e *Engine) newESPSPI() (uint32, error) {
	for range 64 {
		n, ok := e.rnd.uint64()
		if !ok {
			return 0, errRandom
		}
		spi := uint32(n)
		if spi >= 256 && e.bySPI[spi] == nil && !e.espReserved[spi] {
			return spi, nil
		}
	}
	return 0, errRandom
}

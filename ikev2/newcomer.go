package ikev2

import (
	"encoding/binary"
	"hash/fnv"
	"net/netip"
	"slices"
	"time"

	"greseal/ikev2/fragment"
	"greseal/ikev2/wire"
)

// One tunnel has one peer, but several may match it: two branches with one secret,
// two certificates that one remote_id admits, a router's configuration that was
// copied to another. A newcomer that authenticates while another peer has an IKE SA
// replaces it only when that peer is dead. So the holder gets a liveness check, and the
// answer to IKE_AUTH waits for it: when it answers, the newcomer is rejected; when it is
// silent for newcomerWait, or gone, the newcomer is accepted.
//
// Two IKE SAs are certainly with the same peer when they receive at the same address
// and port, or when both name the same run of the program and the same tunnel. A peer's
// identity is its address by default, so that one which moved may have another identity;
// but as it has an IKE SA already it sends no INITIAL_CONTACT, and is accepted at once.
// So is the same identity from elsewhere: a peer that was restarted, or got another
// address. Only where they soon replace each other again may there be two of them, and
// the holder gets a liveness check as well.

const (
	// newcomerWait is for a request and three repetitions of it.
	newcomerWait = 3 * time.Second
	// turnoverTime is how soon the same identity from yet another address counts
	// as one of two peers.
	turnoverTime = 5 * time.Minute
)

// newcomer is an IKE_AUTH request whose answer waits.
type newcomer struct {
	peer         *peer
	since, until Time

	m      *wire.Message
	d      Datagram
	c      *wire.Contents
	answer []wire.Payload
	parts  *fragment.Parts // of m
}

// Contended reports that an authenticated peer was rejected: another one has the tunnel
// and answers.
type Contended struct {
	Peer   PeerID
	Reason *Failure
	// Who has the tunnel, and who was rejected.
	Holder, Newcomer     Identity
	HolderAt, NewcomerAt netip.AddrPort
}

func (Contended) isAction() {}

// runID names a run of the program, and which of its tunnels speaks.
type runID struct{ run, tunnel uint64 }

func (r runID) told() bool { return r.run != 0 }

// samePeer reports whether two IKE SAs are certainly with the same peer. Two tunnels of
// one router are two peers.
func samePeer(a, b *ikeSA) bool {
	if a.run.told() && a.run.run == b.run.run {
		return a.run == b.run
	}
	nat := a.NATRemote || b.NATRemote
	return a.verified.Addr() == b.verified.Addr() && (!nat || a.verified.Port() == b.verified.Port())
}

// runNotify tells the peer which run of the program this is, and by a digest of its
// name which tunnel.
func (e *Engine) runNotify(p *peer) []wire.Payload {
	if e.cfg.Run == 0 {
		return nil
	}
	data := binary.BigEndian.AppendUint64(nil, e.cfg.Run)
	digest := fnv.New64a()
	digest.Write(data)
	digest.Write([]byte(p.cfg.ID))
	return []wire.Payload{wire.NewNotify(wire.SameRun, digest.Sum(data))}
}

// learnRun reads the peer's.
func (s *ikeSA) learnRun(c *wire.Contents) {
	if n := c.Notify(wire.SameRun); n != nil && len(n.Data) == 16 {
		s.run = runID{binary.BigEndian.Uint64(n.Data), binary.BigEndian.Uint64(n.Data[8:])}
	}
}

// namesakes reports whether the peers of two IKE SAs have the same identity.
func namesakes(a, b *ikeSA) bool { return a.RemoteID.Equal(b.RemoteID) }

// holders are the IKE SAs whose peer must be silent before s may replace them.
func (e *Engine) holders(s *ikeSA, p *peer, c *wire.Contents) []*ikeSA {
	lately := p.turnover != 0 && e.now-p.turnover < turnoverTime
	first := c.Notify(wire.InitialContact) != nil
	return slices.DeleteFunc(p.established(), func(o *ikeSA) bool {
		switch {
		case o == s || samePeer(o, s):
			return true
		case namesakes(o, s):
			return !lately || overlapped(o, s)
		}
		return !lately && !first
	})
}

// turnsOver notes that s replaces o, whose peer may be another one.
func (e *Engine) turnsOver(o, s *ikeSA) {
	if !s.origin.ours && !samePeer(o, s) {
		s.peer.turnover = e.now
	}
}

// wait has the answer to an authentic IKE_AUTH request wait for the holders. False:
// there are none.
func (e *Engine) wait(s *ikeSA, p *peer, m *wire.Message, d *Datagram, c *wire.Contents, answer []wire.Payload) bool {
	holders := e.holders(s, p, c)
	if len(holders) == 0 {
		return false
	}
	n := &newcomer{peer: p, since: e.now, until: e.now + newcomerWait, m: m, d: *d, c: c, answer: answer, parts: s.parts.Request}
	if o := p.newcomer; o != nil && namesakes(o, s) {
		e.drop(o, nil, false) // it starts again
	}
	s.handshake.newcomer = n
	if p.newcomer != nil { // one at a time
		e.turnAway(s, holders[0])
		return true
	}
	p.newcomer = s
	for _, o := range holders {
		o.check = true
		e.markDirty(o)
	}
	e.markDirty(s)
	return true
}

// decideNewcomer ends the wait of a newcomer when what it waits for is known.
func (e *Engine) decideNewcomer(s *ikeSA) {
	n := s.handshake.newcomer
	if n.peer.gone {
		e.drop(s, nil, false) // there is no such tunnel any more
		return
	}
	holders := e.holders(s, n.peer, n.c)
	for _, o := range holders {
		if o.LastHeard > n.since {
			e.turnAway(s, o)
			return
		}
	}
	if len(holders) > 0 && n.until > e.now {
		return
	}
	n.peer.newcomer, s.handshake.newcomer = nil, nil
	s.parts.Request = n.parts
	e.authenticated(s, n.peer, n.m, &n.d, n.c, n.answer)
	s.parts.Request = nil
}

// lookAtNewcomer is called when something was heard on an IKE SA or it is gone.
func (e *Engine) lookAtNewcomer(p *peer) {
	if p != nil {
		e.markDirty(p.newcomer)
	}
}

// forgetNewcomer is called when an IKE SA is gone.
func (s *ikeSA) forgetNewcomer() {
	if s.handshake == nil || s.handshake.newcomer == nil {
		return
	}
	if p := s.handshake.newcomer.peer; p.newcomer == s {
		p.newcomer = nil
	}
	s.handshake.newcomer = nil
}

// turnAway rejects a newcomer, as holder is alive. AUTHENTICATION_FAILED ends the
// attempt with every implementation; another notify gives the true reason to those that
// know it.
func (e *Engine) turnAway(s, holder *ikeSA) {
	n := s.handshake.newcomer
	p := n.peer
	s.parts.Request = n.parts
	e.respond(s, n.m, &n.d, []wire.Payload{notify(wire.AuthenticationFailed), notify(wire.TunnelInUse)})
	s.parts.Request = nil
	f := s.failure(FailInUse, "IKE_AUTH", "", "give each peer a tunnel of its own, with its identity as remote_id")
	f.Theirs = s.RemoteID.String() + " at " + s.remote.String()
	f.Ours = "this tunnel has " + holder.RemoteID.String() + " at " + holder.remote.String() + ", which answers"
	if namesakes(s, holder) {
		f.Remedy = "two peers have the same identity, as when a configuration was copied: give each its own local_id, and a tunnel of its own here"
	}
	e.emit(Contended{
		Peer: p.cfg.ID, Reason: f,
		Holder: holder.RemoteID, HolderAt: holder.remote, Newcomer: s.RemoteID, NewcomerAt: s.remote,
	})
	e.drop(s, nil, false)
}

// tunnelInUse explains that the peer rejected us in favour of another.
func (s *ikeSA) tunnelInUse() *Failure {
	f := s.failure(FailInUse, "IKE_AUTH",
		"",
		"the peer has one tunnel for two initiators: give it a tunnel for each, with its identity as remote_id; its log names both").byPeer()
	f.Ours = "identity " + s.LocalID.String()
	return f
}

package ikev2

import (
	"slices"

	"greseal/crypto/suite"
	"greseal/ikev2/wire"
)

// Deleting (RFC 7296 sections 1.4.1 and 2.21): each side closes its own inbound
// SAs and tells the other, whose answer names those of the opposite direction.
// Deletes that cross leave out what the other side has asked for itself.

// deleteChildren sends the Delete of all Child SAs that are to go.
type deleteChildren struct{ childSAs []*child }

// pumpDeletes starts their deletion.
func (e *Engine) pumpDeletes(s *ikeSA) bool {
	x := &deleteChildren{}
	for _, c := range s.children {
		if c.state == childDeleting && !c.deleteSent {
			c.deleteSent = true
			x.childSAs = append(x.childSAs, c)
		}
	}
	return len(x.childSAs) > 0 && e.ask(s, x)
}

func (x *deleteChildren) payloads(*Engine, *ikeSA) (wire.ExchangeType, []wire.Payload, bool) {
	d := &wire.Delete{Protocol: suite.ESP}
	for _, c := range x.childSAs {
		d.SPIs = append(d.SPIs, c.pub.SPIIn)
	}
	return wire.Informational, []wire.Payload{d}, true
}

func (x *deleteChildren) answer(e *Engine, s *ikeSA, r *request, c content, _ *Datagram) {
	if !e.sound(s, r, c) {
		return
	}
	for _, c := range x.childSAs {
		e.retire(c, true)
	}
	e.wantChild(s, 0)
}

func (*deleteChildren) giveUp(*Engine, *ikeSA) {}

// meet leaves the rekeying of the IKE SA until its Child SAs are settled (RFC 7296
// section 2.25.1).
func (*deleteChildren) meet(theirs crossing) bool { return !theirs.ike }

// deleteIKE ends an IKE SA. Whatever is answered, it is gone (RFC 7296 section
// 2.21).
type deleteIKE struct{ lone }

func (deleteIKE) payloads(*Engine, *ikeSA) (wire.ExchangeType, []wire.Payload, bool) {
	return wire.Informational, []wire.Payload{&wire.Delete{Protocol: suite.IKE}}, true
}

func (deleteIKE) answer(e *Engine, s *ikeSA, _ *request, _ content, _ *Datagram) {
	e.drop(s, nil, true)
}

// onDeleteIKE ends an IKE SA on the peer's request.
func (e *Engine) onDeleteIKE(s *ikeSA) {
	theirs := s.collidingSA()
	switch {
	case s.state == stateReplaced:
		e.drop(s, nil, true)
		if s.replacedBy != nil {
			e.confirm(s.replacedBy)
			e.markDirty(s.replacedBy)
		}
	case theirs != nil:
		// The peer finished its rekeying without having noticed ours, which we
		// forget (RFC 7296 section 2.8.2).
		e.inherit(s, theirs)
		e.drop(s, nil, true)
		e.confirm(theirs)
	case s.redundant(), s.state == stateDeleting:
		e.drop(s, nil, true)
	default:
		f := s.failure(FailDeleted, "INFORMATIONAL", "", "it was closed at the peer, by hand or because the peer is going down").byPeer()
		other := func(o *ikeSA) bool { return o != s && o.stands() }
		e.drop(s, f, slices.ContainsFunc(s.peer.sas, other))
	}
}

// onDeleteChild closes the Child SA whose inbound SPI at the peer is spi and returns
// our inbound SPI, 0 when the answer must not name it: there is none, or we have
// asked for its deletion ourselves (RFC 7296 section 1.4.1).
func (e *Engine) onDeleteChild(s *ikeSA, spi uint32) uint32 {
	c := s.childTo(spi)
	if c == nil {
		if r := s.req; r != nil && len(r.gone) < maxChildren {
			r.gone = append(r.gone, spi) // perhaps of the Child SA we are asking for
		}
		return 0
	}
	if c.state == childDeleting && c.deleteSent {
		return 0 // its inbound SA goes with the answer to our own request
	}
	in := c.pub.SPIIn
	owner := c.sa
	wanted := c.state == childLive && !c.replaced && !c.loser
	e.retire(c, true)
	if wanted && owner.childless() {
		e.note(s.peer, s.failure(FailDeleted, "INFORMATIONAL", "the Child SA alone", "a new one is made").byPeer())
	}
	if owner.creating() == nil {
		e.wantChild(owner, owner.recreatePause())
	}
	return in
}

// childTo finds a Child SA by our outbound SPI, on this IKE SA or on the one that
// inherited its Child SAs.
func (s *ikeSA) childTo(spi uint32) *child {
	for ; s != nil; s = s.replacedBy {
		for _, c := range s.children {
			if c.pub.SPIOut == spi && (c.state == childLive || c.state == childDeleting) {
				return c
			}
		}
	}
	return nil
}

// Pending counts the IKE SAs whose Delete has not been answered yet: a daemon that
// shuts down may wait a second or so for them.
func (e *Engine) Pending() int {
	n := 0
	for _, s := range e.ids {
		if s.state == stateDeleting {
			n++
		}
	}
	return n
}

package ikev2

import (
	"greseal/crypto/suite"
	"greseal/ikev2/wire"
)

// Rekeying a Child SA (RFC 7296 sections 1.3.3, 2.8 and 2.8.1). The initiator
// installs the new Child SA and deletes the old one. The responder installs the
// inbound SA before it answers, and the outbound one when it sees a packet on
// it or the Delete of the old Child SA (contract 11). When both rekey at once there
// are two new Child SAs for a moment; the one of the exchange with the lowest of
// the four nonces is deleted by the side that asked for it.

// rekeyChild is CREATE_CHILD_SA with REKEY_SA.
type rekeyChild struct{ createChild }

// pumpRekeyChild starts the rekeying of a Child SA that is due.
func (e *Engine) pumpRekeyChild(s *ikeSA) bool {
	for _, c := range s.children {
		if c.nextRekey() <= e.now {
			x := &rekeyChild{createChild{childOffer: childOffer{old: c}, noPFS: c.noPFS}}
			x.self = x
			return e.ask(s, x)
		}
	}
	return false
}

func (x *rekeyChild) payloads(e *Engine, s *ikeSA) (wire.ExchangeType, []wire.Payload, bool) {
	kind, ps, ok := x.createChild.payloads(e, s)
	if ok && kind == wire.CreateChildSA {
		ps = append([]wire.Payload{wire.NewSANotify(wire.RekeySA, suite.ESP, x.old.pub.SPIIn)}, ps...)
	}
	return kind, ps, ok
}

func (x *rekeyChild) stays(e *Engine, _ *ikeSA, _ *child) { e.deleteChild(x.old) }

func (x *rekeyChild) givesWay(e *Engine) { e.superseded(x.old) }

func (x *rekeyChild) gone(e *Engine, s *ikeSA) {
	if !x.old.closing() {
		x.old.retryAt = e.afterBusy(s, x.old.expireAt)
	}
}

func (x *rekeyChild) refused(e *Engine, s *ikeSA, n *wire.Notify) bool {
	switch {
	case x.colliding != nil || x.old.replaced || x.old.closing():
		// The peer's own rekeying, or Delete, was first.
		e.wantChild(s, s.recreatePause())
	case n.Kind == wire.ChildSANotFound:
		// The peer has lost it: remove it in silence and begin again (RFC 7296
		// section 2.25).
		e.retire(x.old, false)
		e.wantChild(s, 0)
	default:
		return false
	}
	return true
}

func (x *rekeyChild) later(_ *Engine, _ *ikeSA, at Time) { x.old.retryAt = at }

func (x *rekeyChild) failed(e *Engine, s *ikeSA, f *Failure) bool {
	if x.old.closing() {
		return false
	}
	e.note(s.peer, f)
	x.old.retryAt = e.now + e.rnd.jitter(retryPause)
	e.markDirty(s)
	if f.Kind == FailNoAdditionalSA {
		e.reauthenticate(s) // the only way to new keys with this peer
	}
	return true
}

// RekeyChild rekeys a Child SA now.
func (e *Engine) RekeyChild(now Time, id ChildID) []Action {
	e.enter(now)
	if c := e.childSAs[id]; c != nil {
		c.rekeyAt = min(c.rekeyAt, e.now)
		e.markDirty(c.sa)
	}
	return e.flush()
}

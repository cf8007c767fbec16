package ikev2

import "greseal/ikev2/wire"

// A new Child SA by CREATE_CHILD_SA (RFC 7296 section 1.3.1): where the IKE SA
// has none left, or to replace one whose GRE endpoint is no longer our address. When
// both sides ask at the same time one of the two Child SAs goes, as in simultaneous
// rekeying.

// newChild is CREATE_CHILD_SA without REKEY_SA.
type newChild struct{ createChild }

// pumpNewChild starts the making of a Child SA from scratch.
func (e *Engine) pumpNewChild(s *ikeSA) bool {
	return s.createAt <= e.now && s.childless() && e.askNewChild(s, nil)
}

// askNewChild asks for a Child SA, to replace one with our former address or, with nil,
// as the first one.
func (e *Engine) askNewChild(s *ikeSA, renews *child) bool {
	x := &newChild{createChild{childOffer: childOffer{renews: renews}}}
	x.self = x
	return e.ask(s, x)
}

func (x *newChild) stays(e *Engine, s *ikeSA, made *child) {
	if x.renews != nil {
		e.renewed(s, made)
	}
}

func (x *newChild) givesWay(*Engine) {}

func (x *newChild) gone(*Engine, *ikeSA) {}

func (x *newChild) refused(*Engine, *ikeSA, *wire.Notify) bool { return false }

func (x *newChild) later(e *Engine, s *ikeSA, at Time) {
	if x.renews != nil && s.mob != nil {
		s.mob.renew, s.mob.renewAt = true, at
	} else {
		e.wantChild(s, at-e.now)
	}
}

func (x *newChild) failed(*Engine, *ikeSA, *Failure) bool { return false }

// renewEnds makes a Child SA whose selectors hold our new address, beside the one
// that carries the traffic.
func (e *Engine) renewEnds(s *ikeSA) bool {
	s.mob.renew = false
	var old *child
	for _, c := range s.children {
		switch {
		case c.state != childLive || c.replaced || c.loser:
		case !s.renewable(c):
			return false // the peer, which moved as well, has asked for one
		default:
			old = c
		}
	}
	return old != nil && e.askNewChild(s, old)
}

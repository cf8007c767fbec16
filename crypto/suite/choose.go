package suite

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// NoMatch says that two lists of proposals have no suite in common, and why.
type NoMatch struct {
	Protocol Protocol
	// Type is the first transform type without a match, 0 when no proposal of
	// the peer's could be read at all (Reason then says why).
	Type Type
	// Own and Offered are both sides' alternatives of that type.
	Own, Offered []Transform
	// Reason replaces the lists when they are not what is wrong.
	Reason string
	// OwnList and OfferedList are all proposals of both sides.
	OwnList, OfferedList []Proposal
}

func (e *NoMatch) Error() string {
	if e.Reason != "" {
		return fmt.Sprintf("no %s proposal in common: %s", e.Protocol, e.Reason)
	}
	key := strings.ToLower(e.Protocol.String())
	remedy := fmt.Sprintf("; allow one of ours at the peer (%s)", Words(e.Own))
	if can := usable(e.Protocol, e.Offered); len(can) > 0 {
		remedy += fmt.Sprintf(", or add %s to %q here", strings.Join(can, " or "), key)
	}
	return fmt.Sprintf("no %s proposal in common: no match for %s: this side allows %s; the peer offers %s%s",
		e.Protocol, e.Type, Words(e.Own), Words(e.Offered), remedy)
}

// usable lists the words of those transforms that could be configured here.
func usable(p Protocol, ts []Transform) []string {
	known := Known(p)
	var out []string
	for _, t := range ts {
		if w := t.Word(); slices.Contains(known, w) && !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return out
}

// Choose picks a suite as a responder: the first of own proposals, and in it
// the first transforms, that one of the offered proposals contains. It returns
// the suite and the number of the offered proposal, counted from 1. The error
// is a *NoMatch.
//
// A type that one side leaves out is the same as NONE there (no INTEG, no KE in
// a Child SA) and as 32-bit sequence numbers for ESN. An offered proposal with
// a transform type we don't know, or without a mandatory one, is not considered
// (RFC 7296 section 3.3.6); neither is an AEAD with an integrity algorithm
// (section 3.3). Transforms are equal when number and key length are.
func Choose(own, offered []Proposal) (Suite, int, error) {
	for _, o := range own {
		for i, p := range offered {
			if o.Protocol != p.Protocol || unfit(p) != "" {
				continue
			}
			if s, at := match(o, p); at == 0 {
				return s, i + 1, nil
			}
		}
	}
	return Suite{}, 0, explain(own, offered)
}

// unfit says why an offered proposal can't be considered at all.
func unfit(p Proposal) string {
	for _, t := range p.Transforms {
		if !t.Type.Known() {
			return fmt.Sprintf("it has a transform of type %d, which we don't know", t.Type)
		}
	}
	switch p.Protocol {
	case IKE:
		for _, t := range []Type{TypeEncr, TypePRF, TypeKE} {
			if !p.Has(t) {
				return fmt.Sprintf("it has no %s transform", t)
			}
		}
	case ESP:
		if !p.Has(TypeEncr) {
			return "it has no ENCR transform"
		}
	default:
		return fmt.Sprintf("it is for %s", p.Protocol)
	}
	return ""
}

// match tries one pair of proposals. It returns the suite, or the first type
// without a match.
func match(own, offered Proposal) (Suite, Type) {
	failed := TypeEncr
	for _, e := range own.Of(TypeEncr) {
		if !slices.Contains(offered.Transforms, e) {
			continue
		}
		s := Suite{Protocol: own.Protocol, Encr: e}
		at := matchRest(&s, own, offered)
		if at == 0 {
			return s, 0
		}
		// Keep the failure that got furthest: it is the one to tell.
		if slices.Index(order[:], at) > slices.Index(order[:], failed) {
			failed = at
		}
	}
	return Suite{}, failed
}

func matchRest(s *Suite, own, offered Proposal) Type {
	for _, typ := range order[1:] {
		t, ok := common(typ, own, offered, s)
		if !ok {
			return typ
		}
		if t.ID == 0 {
			continue // NONE, or 32-bit sequence numbers
		}
		switch {
		case typ == TypeInteg:
			s.Integ = t
		case typ == TypePRF:
			s.PRF = t
		case typ == TypeKE:
			s.KE = t
		case typ.IsAddKE():
			s.AddKE[typ-TypeAddKE1] = t
		case typ == TypeESN:
			s.ESN = true
		}
	}
	return 0
}

// common finds the first of our alternatives that is also offered.
func common(typ Type, own, offered Proposal, s *Suite) (Transform, bool) {
	none := Transform{Type: typ}
	theirs := offered.Of(typ)
	if len(theirs) == 0 {
		theirs = []Transform{none}
	}
	ours := own.Of(typ)
	if len(ours) == 0 || typ == TypeInteg && s.Encr.IsAEAD() {
		ours = []Transform{none}
	}
	for _, t := range ours {
		if t.ID == 0 && !noneAllowed(typ, s) {
			continue
		}
		// An additional key exchange may not repeat an earlier one unless
		// both are NONE (RFC 9370 section 2.2.1).
		if typ.IsAddKE() && t.ID != 0 && s.uses(t.ID) {
			continue
		}
		if slices.Contains(theirs, t) {
			return t, true
		}
	}
	return Transform{}, false
}

func noneAllowed(typ Type, s *Suite) bool {
	switch typ {
	case TypeInteg:
		return s.Encr.IsAEAD() // encryption without integrity is never used
	case TypePRF, TypeKE:
		return s.Protocol != IKE
	}
	return true
}

func (s *Suite) uses(method uint16) bool {
	return s.KE.ID == method || slices.ContainsFunc(s.AddKE[:], func(t Transform) bool { return t.ID == method })
}

// explain finds out why nothing matched.
func explain(own, offered []Proposal) error {
	e := &NoMatch{OwnList: own, OfferedList: offered}
	if len(own) > 0 {
		e.Protocol = own[0].Protocol
	}
	switch {
	case len(own) == 0:
		e.Reason = "this side has no proposal left, because what was configured can't be done here; see the probe's answer for what is missing"
		if len(offered) > 0 {
			e.Protocol = offered[0].Protocol
		}
		return e
	case len(offered) == 0:
		e.Reason = "the peer offers none; check its configuration"
		return e
	}
	var fit []Proposal
	for i, p := range offered {
		why := unfit(p)
		if p.Protocol != e.Protocol {
			why = fmt.Sprintf("it is for %s", p.Protocol)
		}
		if why == "" {
			fit = append(fit, p)
		} else if e.Reason == "" {
			e.Reason = fmt.Sprintf("the peer's proposal %d can't be used: %s; give the peer a proposal such as %s", i+1, why, own[0])
		}
	}
	if len(fit) == 0 {
		return e
	}
	e.Reason = ""
	// A type in which the two sides have nothing in common over all their
	// proposals is the plain answer.
	for _, typ := range order {
		ours, theirs := union(own, typ), union(fit, typ)
		if typ == TypeInteg && anyAEAD(own) {
			continue // whether INTEG matters depends on the cipher
		}
		if !slices.ContainsFunc(ours, func(t Transform) bool { return slices.Contains(theirs, t) }) {
			e.Type, e.Own, e.Offered = typ, ours, theirs
			return e
		}
	}
	// Else every type has something, but no pair has all: show the pair that
	// got furthest.
	furthest := -1
	for _, o := range own {
		for _, p := range fit {
			_, at := match(o, p)
			if n := slices.Index(order[:], at); n > furthest {
				furthest = n
				e.Type, e.Own, e.Offered = at, union([]Proposal{o}, at), union([]Proposal{p}, at)
			}
		}
	}
	return e
}

func anyAEAD(ps []Proposal) bool {
	return slices.ContainsFunc(union(ps, TypeEncr), Transform.IsAEAD)
}

// union lists the alternatives of one type over several proposals, NONE where a
// proposal has none.
func union(ps []Proposal, typ Type) []Transform {
	var out []Transform
	for _, p := range ps {
		ts := p.Of(typ)
		if len(ts) == 0 {
			ts = []Transform{{Type: typ}}
		}
		for _, t := range ts {
			if !slices.Contains(out, t) {
				out = append(out, t)
			}
		}
	}
	return out
}

// Verify checks, as an initiator, the proposal that a responder accepted: it
// must have exactly one transform of each type that was offered and be one of
// the combinations of a single own proposal (RFC 7296 section 2.7). Pass only
// the proposal whose number the response carries to have the number checked.
func Verify(own []Proposal, accepted Proposal) (Suite, error) {
	for i, t := range accepted.Transforms {
		if slices.ContainsFunc(accepted.Transforms[:i], func(o Transform) bool { return o.Type == t.Type }) {
			return Suite{}, fmt.Errorf("the peer's accepted proposal has two %s transforms, %s among them; the peer breaks RFC 7296 section 2.7", t.Type, t)
		}
	}
	if why := unfit(accepted); why != "" {
		return Suite{}, fmt.Errorf("the peer's accepted proposal can't be used: %s", why)
	}
	for _, o := range own {
		if o.Protocol != accepted.Protocol {
			continue
		}
		if s, at := match(o, accepted); at == 0 {
			return s, nil
		}
	}
	if len(own) == 0 {
		return Suite{}, errors.New("the peer accepted a proposal although none was offered")
	}
	return Suite{}, fmt.Errorf("the peer accepted %q, which was not offered (%s)", accepted, list(own))
}

func list(ps []Proposal) string {
	out := make([]string, len(ps))
	for i, p := range ps {
		out[i] = p.String()
	}
	return strings.Join(out, ", ")
}

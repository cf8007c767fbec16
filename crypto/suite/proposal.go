package suite

import (
	"slices"
	"strconv"
	"strings"
)

// Of returns the alternatives of type t in order of preference.
func (p Proposal) Of(t Type) []Transform {
	var out []Transform
	for _, x := range p.Transforms {
		if x.Type == t {
			out = append(out, x)
		}
	}
	return out
}

// Has reports whether the proposal has a transform of type t.
func (p Proposal) Has(t Type) bool {
	return slices.ContainsFunc(p.Transforms, func(x Transform) bool { return x.Type == t })
}

// NeedsAddKE reports whether the proposal can't be used without additional key
// exchanges (RFC 9370): it has one that does not list NONE.
func (p Proposal) NeedsAddKE() bool {
	for t := TypeAddKE1; t <= TypeAddKE7; t++ {
		if p.Has(t) && !slices.Contains(p.Transforms, Transform{Type: t}) {
			return true
		}
	}
	return false
}

// WeakWords lists the words of the proposal that are only kept for old peers
// (HMAC-SHA1, MODP-1024 and -1536), so that a check can warn of them.
func (p Proposal) WeakWords() []string {
	var out []string
	for _, t := range p.Transforms {
		if t.Weak() {
			out = append(out, t.Word())
		}
	}
	return out
}

// Weak reports whether the proposal has a weak transform.
func (p Proposal) Weak() bool { return len(p.WeakWords()) > 0 }

// order in which words are written and mismatches are looked for.
var order = [...]Type{TypeEncr, TypeInteg, TypePRF, TypeKE,
	TypeAddKE1, 7, 8, 9, 10, 11, TypeAddKE7, TypeESN}

// String writes the proposal as the configuration does. Transforms without a
// word stand there with their registry names.
func (p Proposal) String() string {
	var out []string
	for _, typ := range order {
		ts := p.Of(typ)
		switch {
		case typ == TypePRF && p.prfImplied():
			continue
		case typ == TypeESN && len(ts) == 2:
			continue // both is what is meant without a word
		}
		for _, t := range ts {
			out = append(out, prefixed(t))
		}
	}
	for _, t := range p.Transforms {
		if !t.Type.Known() {
			out = append(out, t.String())
		}
	}
	return strings.Join(out, "-")
}

// prefixed writes an additional key exchange so that it is read back as one.
func prefixed(t Transform) string {
	if t.Type.IsAddKE() && !(t.Type == TypeAddKE1 && isMLKEM(t.ID)) {
		return "ke" + strconv.Itoa(int(t.Type-TypeAddKE1)+1) + "_" + t.Word()
	}
	return t.Word()
}

// prfImplied reports whether the PRFs are those of the integrity algorithms.
func (p Proposal) prfImplied() bool {
	integ, prf := p.Of(TypeInteg), p.Of(TypePRF)
	return len(integ) == len(prf) && slices.EqualFunc(integ, prf,
		func(i, f Transform) bool { id, ok := prfOf[i.ID]; return ok && id == f.ID })
}

// transforms are the suite's transforms in the order of String.
func (s Suite) transforms() []Transform {
	out := make([]Transform, 0, 6)
	for _, t := range append([]Transform{s.Encr, s.Integ, s.PRF, s.KE}, s.AddKE[:]...) {
		if t.Type != 0 && t.ID != 0 {
			out = append(out, t)
		}
	}
	return out
}

// String writes the suite in configuration words: "aes256gcm16-prfsha384-x25519",
// "aes128gcm16-x25519-esn". 32-bit sequence numbers have no word here.
func (s Suite) String() string {
	out := Proposal{Protocol: s.Protocol, Transforms: s.transforms()}.String()
	if s.ESN {
		out += "-" + Transform{Type: TypeESN, ID: ESN_YES}.Word()
	}
	return out
}

// IANA writes the suite with the registry's names:
// "ENCR_AES_GCM_16-128, KE Curve25519, Extended Sequence Numbers".
func (s Suite) IANA() string {
	var out []string
	for _, t := range s.transforms() {
		out = append(out, t.String())
	}
	if s.ESN {
		out = append(out, Transform{Type: TypeESN, ID: ESN_YES}.String())
	}
	return strings.Join(out, ", ")
}

// Answer is the proposal that accepts s out of offered: exactly one transform
// of each type that was offered, NONE where none was chosen (RFC 7296 sections
// 2.7 and 3.3.6). With the zero Proposal it is s as an offer of its own.
func (s Suite) Answer(offered Proposal) Proposal {
	p := Proposal{Protocol: s.Protocol, Transforms: s.transforms()}
	esn := Transform{Type: TypeESN, ID: ESN_NO}
	if s.ESN {
		esn.ID = ESN_YES
	}
	if offered.Has(TypeESN) || len(offered.Transforms) == 0 && s.Protocol == ESP {
		p.Transforms = append(p.Transforms, esn)
	}
	for _, t := range offered.Transforms {
		if !p.Has(t.Type) {
			p.Transforms = append(p.Transforms, Transform{Type: t.Type})
		}
	}
	return p
}

// Filter returns ps without the transforms that keep refuses. A proposal that
// loses the last transform of a type is dropped whole, since without it it
// would say something else. It is how a datapath's limits reach the offer.
func Filter(ps []Proposal, keep func(Transform) bool) []Proposal {
	var out []Proposal
next:
	for _, p := range ps {
		q := Proposal{Protocol: p.Protocol}
		for _, t := range p.Transforms {
			if keep(t) {
				q.Transforms = append(q.Transforms, t)
			}
		}
		for _, t := range p.Transforms {
			if !q.Has(t.Type) {
				continue next
			}
		}
		out = append(out, q)
	}
	return out
}

// WithoutAddKE drops the proposals that need additional key exchanges and
// removes optional ones from the others: for an engine, or a peer, that has no
// IKE_INTERMEDIATE. An empty result means that nothing else was configured.
func WithoutAddKE(ps []Proposal) []Proposal {
	ps = slices.DeleteFunc(slices.Clone(ps), Proposal.NeedsAddKE)
	return without(ps, Type.IsAddKE)
}

// WithoutKE removes every key exchange: the Child SA that IKE_AUTH makes has
// none (RFC 7296 section 1.2).
func WithoutKE(ps []Proposal) []Proposal { return without(ps, Type.IsKE) }

// without removes the types for which drop is true, and proposals that have
// become equal to an earlier one.
func without(ps []Proposal, drop func(Type) bool) []Proposal {
	var out []Proposal
	for _, p := range ps {
		q := Proposal{Protocol: p.Protocol}
		for _, t := range p.Transforms {
			if !drop(t.Type) {
				q.Transforms = append(q.Transforms, t)
			}
		}
		same := func(o Proposal) bool { return slices.Equal(o.Transforms, q.Transforms) }
		if !slices.ContainsFunc(out, same) {
			out = append(out, q)
		}
	}
	return out
}

// WithKE returns ESP proposals with the given key exchange methods in each that
// names none itself: how perfect forward secrecy offers the groups of the IKE
// proposals. With optional, "no key exchange" is added as the last choice of
// every proposal: what a responder that accepts Child SAs without it matches
// with.
func WithKE(ps []Proposal, groups []Transform, optional bool) []Proposal {
	out := make([]Proposal, 0, len(ps))
	for _, p := range ps {
		p.Transforms = slices.Clone(p.Transforms)
		if !p.Has(TypeKE) {
			p.Transforms = append(p.Transforms, groups...)
		}
		if optional {
			for _, typ := range order {
				none := Transform{Type: typ}
				if typ.IsKE() && p.Has(typ) && !slices.Contains(p.Transforms, none) {
					p.Transforms = append(p.Transforms, none)
				}
			}
		}
		out = append(out, p)
	}
	return out
}

// Groups lists the key exchange methods (type KE) of ps, each once, in order of
// preference.
func Groups(ps []Proposal) []Transform {
	var out []Transform
	for _, p := range ps {
		for _, t := range p.Of(TypeKE) {
			if t.ID != KE_NONE && !slices.Contains(out, t) {
				out = append(out, t)
			}
		}
	}
	return out
}

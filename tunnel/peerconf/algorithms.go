package peerconf

import (
	"strings"

	"greseal/crypto/suite"
)

// algorithms chooses what both sides have: greseal's first for the IKE SA, and
// for ESP the first that brings its own integrity and the first that does not,
// since a kernel may lack one of them.
func (s *side) algorithms() {
	own := s.IKEProposals
	if own == nil {
		own = suite.DefaultIKE()
	}
	ike := s.both(own, s.vendor.ike, "ike")
	s.ikeSuite = first(ike[0])

	own = s.ESPProposals
	if own == nil {
		own = suite.DefaultESP(true)
	}
	s.esn = sequenceNumbers(own)
	if !has(s.vendor.esp, suite.Transform{Type: suite.TypeESN, ID: suite.ESN_YES}) && s.esn == "yes" {
		s.warn("%s has no extended sequence numbers, and esp insists on them: leave esn out there", s.vendor.title)
	}
	if !has(s.vendor.esp, suite.Transform{Type: suite.TypeESN, ID: suite.ESN_YES}) {
		own = withoutESN(own)
	}
	esp := s.both(own, s.vendor.esp, "esp")
	seen := map[bool]bool{}
	for _, p := range esp {
		if e := first(p); !seen[e.IsAEAD()] {
			seen[e.IsAEAD()] = true
			s.espSuites = append(s.espSuites, e)
		}
	}
	if !s.PFS {
		return
	}
	// The group of a rekeyed Child SA: its own, else one of the IKE SA's.
	s.pfsGroup = s.espSuites[0].KE
	if s.pfsGroup.Type != 0 {
		return
	}
	for _, p := range ike {
		for _, ke := range p.Of(suite.TypeKE) {
			if has(s.vendor.esp, ke) {
				s.pfsGroup = ke
				return
			}
		}
	}
}

// both reduces greseal's proposals to what the vendor can do. When nothing is
// left, the vendor's own best is returned, and what to add to greseal's list is
// told.
func (s *side) both(own []suite.Proposal, can, key string) []suite.Proposal {
	plain := suite.WithoutAddKE(own)
	if len(plain) == 0 && s.vendor.addKE {
		plain = own
		s.warn("the additional key exchange needs a version of %s that has ML-KEM", s.vendor.title)
	}
	kept := suite.Filter(plain, func(t suite.Transform) bool {
		if t.Type == suite.TypeESN && t.ID == suite.ESN_NO {
			return true
		}
		if t.Type.IsAddKE() {
			return s.vendor.addKE
		}
		return has(can, t)
	})
	if len(kept) > 0 {
		return kept
	}
	parse, tries, best := suite.ParseIKE, []string{"aes256gcm16-prfsha384-ecp384", "aes256-sha256-ecp256"}, ""
	if key == "esp" {
		parse, tries = suite.ParseESP, []string{"aes128gcm16", "aes256-sha256"}
	}
	for _, try := range tries {
		p, err := parse(try)
		if err != nil {
			continue
		}
		if all := suite.Filter([]suite.Proposal{p}, func(t suite.Transform) bool {
			return t.Type == suite.TypeESN && t.ID == suite.ESN_NO || has(can, t)
		}); len(all) > 0 {
			best = try
			kept = all
			break
		}
	}
	s.warn("%s has nothing of this tunnel's %s list; add to it: %s = [\"%s\"]", s.vendor.title, key, key, best)
	return kept
}

// first is the suite of a proposal's first transforms, with the PRF that belongs
// to the integrity algorithm where there is one.
func first(p suite.Proposal) suite.Suite {
	one := func(t suite.Type) (x suite.Transform) {
		if all := p.Of(t); len(all) > 0 {
			x = all[0]
		}
		return x
	}
	s := suite.Suite{Protocol: p.Protocol, Encr: one(suite.TypeEncr), PRF: one(suite.TypePRF), Integ: one(suite.TypeInteg), KE: one(suite.TypeKE)}
	if s.Encr.IsAEAD() {
		s.Integ = suite.Transform{}
	}
	for _, prf := range p.Of(suite.TypePRF) {
		if s.Integ.Type != 0 && strings.TrimPrefix(prf.Word(), "prf") == s.Integ.Word() {
			s.PRF = prf
		}
	}
	s.ESN = one(suite.TypeESN).ID == suite.ESN_YES
	for i := range s.AddKE {
		s.AddKE[i] = one(suite.TypeAddKE1 + suite.Type(i))
	}
	return s
}

// withoutESN replaces every choice of sequence numbers by 32-bit ones.
func withoutESN(ps []suite.Proposal) []suite.Proposal {
	var out []suite.Proposal
	for _, p := range ps {
		q := suite.Proposal{Protocol: p.Protocol}
		for _, t := range p.Transforms {
			if t.Type != suite.TypeESN {
				q.Transforms = append(q.Transforms, t)
			}
		}
		q.Transforms = append(q.Transforms, suite.Transform{Type: suite.TypeESN, ID: suite.ESN_NO})
		out = append(out, q)
	}
	return out
}

// sequenceNumbers is "yes" for extended ones alone, "no" for 32-bit ones alone,
// else "either".
func sequenceNumbers(ps []suite.Proposal) string {
	extended, short := false, false
	for _, p := range ps {
		for _, t := range p.Of(suite.TypeESN) {
			extended = extended || t.ID == suite.ESN_YES
			short = short || t.ID == suite.ESN_NO
		}
	}
	switch {
	case extended && !short:
		return "yes"
	case short && !extended:
		return "no"
	}
	return "either"
}

// hash is the SHA-2 size of an integrity algorithm or PRF, such as "256"; "1" for
// SHA-1.
func hash(t suite.Transform) string {
	return strings.TrimPrefix(strings.TrimPrefix(t.Word(), "prf"), "sha")
}

// hashOf is the integrity algorithm's, or with an AEAD the PRF's.
func hashOf(s suite.Suite) string {
	if s.Integ.Type != 0 {
		return hash(s.Integ)
	}
	return hash(s.PRF)
}

// group is the number of a key exchange, by which most products call it.
func group(t suite.Transform) int { return int(t.ID) }

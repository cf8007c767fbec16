package doctor

import (
	"fmt"
	"time"

	"greseal/crypto/suite"
	"greseal/ikev2"
	"greseal/ikev2/wire"
)

// checkProposals: the two sides have an IKE suite in common. A responder that
// refuses does not say what it wants; asked with everything there is, it shows
// it.
func checkProposals(x *exam) Step {
	f := x.failure()
	switch {
	case x.now.up() && x.now.Tunnel.IKE != nil:
		return fine("agreed: " + x.now.Tunnel.IKE.Suite)
	case isAuth(f):
		return fine("agreed: the handshake got as far as IKE_AUTH")
	case f == nil || f.Kind != ikev2.FailNoProposal && f.Kind != ikev2.FailInvalidKE:
		return fine("nothing shows that they differ").and(x.ours())
	}
	s := x.told()
	if !f.ByPeer {
		return s
	}
	taken, ok := x.discover()
	if !ok {
		s.Remedy = fmt.Sprintf("at the peer, enable the tunnel and check that its remote is this side's address as it arrives there (%s, unless a NAT changes it); its log says why it refuses", x.local())
		return s.and("offered every suite there is, the peer still refused: the proposals are not the problem; it has no IKEv2 connection for this address, or has it disabled")
	}
	s = s.and("offered every suite, the peer accepts " + taken.String())
	if _, err := suite.ParseIKE(taken.String()); err == nil {
		s.Remedy = fmt.Sprintf("set ike = [%q] here, or allow one of ours at the peer", taken.String())
	} else {
		s.Remedy = "allow one of ours at the peer: what it accepts is too weak, or greseal does not have it"
	}
	if why := firstDifference(x.IKE, taken); why != "" {
		s = s.and(why)
	}
	return s
}

func (x *exam) ours() string {
	if len(x.IKE) == 0 {
		return ""
	}
	return "ours: " + proposals(x.IKE)
}

// everything is one proposal for AEAD ciphers and one for the others, of all
// that peers are known to take, good or bad.
func everything() []suite.Proposal {
	prfs := []suite.Transform{}
	for _, id := range []uint16{7, 6, 5, 2} { // HMAC-SHA2-512, -384, -256, HMAC-SHA1
		prfs = append(prfs, suite.Transform{Type: suite.TypePRF, ID: id})
	}
	groups := []suite.Transform{}
	for _, id := range []uint16{31, 19, 20, 21, 14, 15, 16, 5, 2} {
		groups = append(groups, suite.Transform{Type: suite.TypeKE, ID: id})
	}
	encr := func(id, bits uint16) suite.Transform {
		return suite.Transform{Type: suite.TypeEncr, ID: id, KeyLen: bits}
	}
	aead := suite.Proposal{Protocol: suite.IKE, Transforms: []suite.Transform{encr(20, 256), encr(20, 128), encr(28, 0)}}
	aead.Transforms = append(append(aead.Transforms, prfs...), groups...)
	cbc := suite.Proposal{Protocol: suite.IKE, Transforms: []suite.Transform{encr(12, 256), encr(12, 192), encr(12, 128), encr(3, 0)}}
	cbc.Transforms = append(cbc.Transforms, prfs...)
	for _, id := range []uint16{14, 13, 12, 2} { // HMAC-SHA2-512-256, -384-192, -256-128, HMAC-SHA1-96
		cbc.Transforms = append(cbc.Transforms, suite.Transform{Type: suite.TypeInteg, ID: id})
	}
	cbc.Transforms = append(cbc.Transforms, groups...)
	return []suite.Proposal{aead, cbc}
}

// discover asks the peer with every suite there is, and returns what it takes.
func (x *exam) discover() (taken suite.Proposal, ok bool) {
	offer := everything()
	group := uint16(31)
	for range 3 {
		data, spi := fullRequest(offer, group)
		if data == nil {
			return taken, false
		}
		a := x.sendTo(x.port(), data, spi, false, []time.Duration{time.Second, time.Second})
		if a.kind != ikev2Reply || a.m == nil {
			return taken, false
		}
		again := false
		for _, p := range a.m.Payloads {
			switch p := p.(type) {
			case *wire.SA:
				if o := p.Offers(); len(o) == 1 {
					o[0].Protocol = suite.IKE
					return o[0], true
				}
			case *wire.Notify:
				if n, numbered := p.Number(); numbered && p.Kind == wire.InvalidKEPayload && n != group {
					group, again = n, true
				}
			}
		}
		if !again {
			return taken, false
		}
	}
	return taken, false
}

// firstDifference names the first transform that the peer takes and none of our
// proposals has.
func firstDifference(ours []suite.Proposal, taken suite.Proposal) string {
	var best string
	most := -1
	for _, p := range ours {
		matched, why := 0, ""
		for _, typ := range []suite.Type{suite.TypeEncr, suite.TypeInteg, suite.TypePRF, suite.TypeKE} {
			theirs := taken.Of(typ)
			if len(theirs) == 0 {
				continue
			}
			has := false
			for _, t := range p.Of(typ) {
				has = has || t == theirs[0]
			}
			if !has {
				why = fmt.Sprintf("the first transform without a match is %s: the peer accepts %s, this side offers %s", typ, suite.Words(theirs), suite.Words(p.Of(typ)))
				break
			}
			matched++
		}
		if matched > most {
			most, best = matched, why
		}
	}
	return best
}

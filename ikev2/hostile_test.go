package ikev2

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"greseal/crypto/suite"
	"greseal/ikev2/wire"
)

// without removes a kind of payload.
func without(ps []wire.Payload, t wire.PayloadType) []wire.Payload {
	return slices.DeleteFunc(slices.Clone(ps), func(p wire.Payload) bool { return p.Type() == t })
}

// each changes payloads one by one.
func each[P wire.Payload](change func(P)) func([]wire.Payload) []wire.Payload {
	return func(ps []wire.Payload) []wire.Payload {
		for _, p := range ps {
			if q, ok := p.(P); ok {
				change(q)
			}
		}
		return ps
	}
}

func drop(t wire.PayloadType) func([]wire.Payload) []wire.Payload {
	return func(ps []wire.Payload) []wire.Payload { return without(ps, t) }
}

func plus(extra wire.Payload) func([]wire.Payload) []wire.Payload {
	return func(ps []wire.Payload) []wire.Payload { return append(ps, extra) }
}

// What a responder may answer to IKE_AUTH, and must not get away with: nothing
// is installed, the attempt fails with the right reason, and the peer is told.
func TestHostileAuthResponsesFailClosed(t *testing.T) {
	everything := each(func(p *wire.TS) { p.Selectors = []wire.Selector{rng("0.0.0.0", "255.255.255.255", 0)} })
	for _, c := range []struct {
		name   string
		change func([]wire.Payload) []wire.Payload
		kind   FailureKind
	}{
		{"wider selectors", everything, FailSelectors},
		{"other selectors", each(func(p *wire.TS) { p.Selectors[0] = wire.HostSelector(addr("10.7.7.7"), 47) }), FailSelectors},
		{"selectors for all protocols", each(func(p *wire.TS) { p.Selectors[0].Protocol = 0 }), FailSelectors},
		{"no TSr", drop(wire.TypeTSr), FailSelectors},
		{"transport mode unasked", plus(notify(wire.UseTransportMode)), FailMode},
		{"no SA", drop(wire.TypeSA), FailNoProposal},
		{"a proposal that was not offered", each(func(p *wire.SA) { p.Proposals[0].Transforms[0].KeyLen = 256 }), FailNoProposal},
		{"a proposal number that was not offered", each(func(p *wire.SA) { p.Proposals[0].Number = 9 }), FailNoProposal},
		{"two proposals", each(func(p *wire.SA) { p.Proposals = append(p.Proposals, p.Proposals[0]) }), FailNoProposal},
		{"a reserved SPI", each(func(p *wire.SA) { p.Proposals[0].SPI = []byte{0, 0, 0, 9} }), FailSyntax},
		{"a key exchange nobody asked for", each(func(p *wire.SA) {
			p.Proposals[0].Transforms = append(p.Proposals[0].Transforms, wire.Transform{Transform: suite.Transform{Type: suite.TypeKE, ID: 31}})
		}), FailNoProposal},
		{"wrong AUTH", each(func(p *wire.Auth) { p.Data[0] ^= 1 }), FailAuthentication},
		{"short AUTH", each(func(p *wire.Auth) { p.Data = p.Data[:4] }), FailAuthentication},
		{"empty AUTH", each(func(p *wire.Auth) { p.Data = nil }), FailAuthentication},
		{"AUTH by another method", each(func(p *wire.Auth) { p.Method = wire.AuthNull }), FailAuthentication},
		{"another identity", each(func(p *wire.ID) { p.Data = []byte{192, 0, 2, 9} }), FailAuthentication},
		{"no AUTH", drop(wire.TypeAuth), FailSyntax},
		{"no IDr", drop(wire.TypeIDr), FailSyntax},
		{"two IDr", plus(&wire.ID{Of: wire.TypeIDr, Kind: wire.IDFQDN, Data: []byte("x")}), FailSyntax},
		{"two AUTH", plus(&wire.Auth{Method: wire.AuthSharedKey}), FailSyntax},
		{"no Child SA, silently", func(ps []wire.Payload) []wire.Payload { return ps[:2] }, FailNoProposal},
		{"an unknown error", func(ps []wire.Payload) []wire.Payload { return append(ps[:2], notify(8191)) }, FailNotify},
	} {
		n, w, e := twoNodes(t, 11, nil)
		n.tamper = func(x *node, h wire.Header, ps []wire.Payload) []wire.Payload {
			if x == e && h.Exchange == wire.IKEAuth {
				return c.change(ps)
			}
			return ps
		}
		w.initiate()
		n.run(30 * time.Second)
		if len(w.in) != 0 || len(w.out) != 0 || len(w.gone) != 0 {
			t.Errorf("%s: something was installed", c.name)
		}
		if len(w.failed) != 1 || w.failed[0].Reason.Kind != c.kind {
			t.Errorf("%s: %v", c.name, w.failed)
		}
		if s := w.e.SAs("east"); len(s) != 0 || len(w.e.ids) != 0 {
			t.Errorf("%s: the initiator keeps %d IKE SAs", c.name, len(w.e.ids))
		}
		if len(e.in) != 0 || len(e.out) != 0 || len(e.e.SAs("west")) != 0 {
			t.Errorf("%s: the responder keeps its SAs", c.name)
		}
	}
}

// The same in IKE_SA_INIT, where nobody is authenticated: such answers are
// passed over, and the handshake goes on when the right one comes.
func TestHostileInitResponsesArePassedOver(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func([]wire.Payload) []wire.Payload
	}{
		{"another suite", each(func(p *wire.SA) { p.Proposals[0].Transforms[0].KeyLen = 192 })},
		{"no KE", drop(wire.TypeKE)},
		{"no nonce", drop(wire.TypeNonce)},
		{"another method", each(func(p *wire.KE) { p.Method = suite.KE_ECP_256 })},
		{"a point of low order", each(func(p *wire.KE) { clear(p.Data) })},
		{"a short value", each(func(p *wire.KE) { p.Data = p.Data[:31] })},
		{"a critical payload", plus(&wire.Unknown{Kind: 200, Critical: true})},
		{"a cookie without data", func([]wire.Payload) []wire.Payload { return []wire.Payload{notify(wire.Cookie)} }},
		{"a cookie of 65 octets", func([]wire.Payload) []wire.Payload {
			return []wire.Payload{wire.NewNotify(wire.Cookie, make([]byte, 65))}
		}},
		{"nothing at all", func([]wire.Payload) []wire.Payload { return nil }},
		{"a status notify", func([]wire.Payload) []wire.Payload { return []wire.Payload{notify(wire.InitialContact)} }},
	} {
		n, w, e := twoNodes(t, 12, nil)
		n.tamper = func(x *node, h wire.Header, ps []wire.Payload) []wire.Payload {
			if x == e && h.Exchange == wire.IKESAInit {
				return c.change(ps)
			}
			return ps
		}
		w.initiate()
		n.run(10 * time.Millisecond)
		if len(w.e.Children("east")) != 0 || len(w.failed) != 0 {
			t.Errorf("%s: taken", c.name)
		}
		n.tamper = nil // the repeated request gets the right answer
		n.run(2 * time.Second)
		if d := disagreement(w, e); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

// Rekeying with a peer that answers wrongly: what stands goes on, and the Child SA
// that the peer made is deleted.
func TestHostileRekeyResponsesKeepTheOldChildSA(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func([]wire.Payload) []wire.Payload
	}{
		{"wider selectors", each(func(p *wire.TS) { p.Selectors = []wire.Selector{rng("0.0.0.0", "255.255.255.255", 0)} })},
		{"no nonce", drop(wire.TypeNonce)},
		{"no KE", drop(wire.TypeKE)},
		{"a point of low order", each(func(p *wire.KE) { clear(p.Data) })},
		{"transport mode", plus(notify(wire.UseTransportMode))},
		{"another proposal", each(func(p *wire.SA) { p.Proposals[0].Transforms[0].KeyLen = 256 })},
	} {
		n, w, e := twoNodes(t, 13, nil)
		w.initiate()
		n.run(time.Second)
		before := w.e.Children("east")[0].SPIIn
		n.tamper = func(x *node, h wire.Header, ps []wire.Payload) []wire.Payload {
			if x == e && h.Exchange == wire.CreateChildSA {
				return c.change(ps)
			}
			return ps
		}
		w.rekeyChildren()
		n.run(n.now + 500*time.Millisecond)
		if ch := w.e.Children("east"); len(ch) != 1 || ch[0].SPIIn != before || w.carrier == 0 || len(w.in) != 1 {
			t.Errorf("%s: %s", c.name, dump(w, e))
		}
		n.tamper = nil
		n.run(n.now + 60*time.Second) // tried again
		if d := disagreement(w, e); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
		if w.e.Children("east")[0].SPIIn == before {
			t.Errorf("%s: it was not tried again", c.name)
		}
	}
}

// A request that is wrong inside is refused, and what stands stays.
func TestHostileChildRequestsAreRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func([]wire.Payload) []wire.Payload
		want   wire.NotifyType
	}{
		{"a Child SA nobody has", each(func(p *wire.Notify) { p.SPI = []byte{9, 9, 9, 9} }), wire.ChildSANotFound},
		{"other selectors", each(func(p *wire.TS) { p.Selectors[0] = wire.HostSelector(addr("10.7.7.7"), 47) }), wire.TSUnacceptable},
		{"no selectors", drop(wire.TypeTSi), wire.InvalidSyntax},
		{"no common proposal", each(func(p *wire.SA) { p.Proposals[0].Transforms[0].KeyLen = 192 }), wire.NoProposalChosen},
		{"AH", each(func(p *wire.SA) { p.Proposals[0].Protocol = suite.AH }), wire.NoProposalChosen},
		{"a reserved SPI", each(func(p *wire.SA) { p.Proposals[0].SPI = []byte{0, 0, 0, 1} }), wire.InvalidSyntax},
		{"a point of low order", each(func(p *wire.KE) { clear(p.Data) }), wire.InvalidSyntax},
	} {
		n, w, e := twoNodes(t, 14, nil)
		w.initiate()
		n.run(time.Second)
		var answer wire.NotifyType
		installed, then := len(e.in), 0
		n.tamper = func(x *node, h wire.Header, ps []wire.Payload) []wire.Payload {
			if h.Exchange == wire.CreateChildSA && answer == 0 {
				if x == w {
					return c.change(ps)
				}
				k, _ := wire.Collect(ps)
				if n := k.Error(); n != nil {
					answer, then = n.Kind, len(e.in)
				}
			}
			return ps
		}
		w.rekeyChildren()
		n.run(n.now + 3*time.Millisecond)
		if c.want == wire.InvalidSyntax {
			// Fatal: the IKE SA is gone before its answer can be read here.
			if len(e.downs) != 1 || e.downs[0].Reason == nil || len(e.in) != 0 || len(e.out) != 0 {
				t.Errorf("%s: %v", c.name, e.downs)
			}
			continue
		}
		if answer != c.want || then != installed {
			t.Errorf("%s: answered with %v", c.name, answer)
		}
	}
}

// IKE rekeying with answers that cannot be used ends the IKE SA on both sides,
// and a new one can be made.
func TestHostileIKERekeyResponsesEndTheIKESA(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func([]wire.Payload) []wire.Payload
	}{
		{"no SPI", each(func(p *wire.SA) { p.Proposals[0].SPI = make([]byte, 8) })},
		{"no nonce", drop(wire.TypeNonce)},
		{"another suite", each(func(p *wire.SA) { p.Proposals[0].Transforms[0].KeyLen = 192 })},
		{"a point of low order", each(func(p *wire.KE) { clear(p.Data) })},
	} {
		n, w, e := twoNodes(t, 15, nil)
		w.initiate()
		n.run(time.Second)
		n.tamper = func(x *node, h wire.Header, ps []wire.Payload) []wire.Payload {
			if x == e && h.Exchange == wire.CreateChildSA {
				return c.change(ps)
			}
			return ps
		}
		w.rekeyIKE()
		n.run(n.now + time.Second)
		n.tamper = nil
		if len(w.downs) != 1 || w.downs[0].Reason == nil || w.carrier != 0 {
			t.Errorf("%s: %v", c.name, w.downs)
		}
		w.initiate()
		n.run(n.now + time.Minute)
		if d := disagreement(w, e); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

// harmless is a CREATE_CHILD_SA request that its receiver refuses without
// having made anything.
var harmless = []wire.Payload{wire.NewSANotify(wire.RekeySA, suite.ESP, 0x01020304)}

// A peer that says TEMPORARY_FAILURE for ever is given up (RFC 7296 section
// 2.25), and not asked without pause.
func TestEndlessTemporaryFailureEnds(t *testing.T) {
	for _, what := range []string{"child", "IKE"} {
		n, w, e := twoNodes(t, 16, nil)
		w.initiate()
		n.run(time.Second)
		asked := 0
		n.tamper = func(x *node, h wire.Header, ps []wire.Payload) []wire.Payload {
			if h.Exchange != wire.CreateChildSA {
				return ps
			}
			if x == e {
				return []wire.Payload{notify(wire.TemporaryFailure)}
			}
			asked++
			return harmless
		}
		if what == "IKE" {
			w.rekeyIKE()
		} else {
			w.rekeyChildren()
		}
		n.run(n.now + busyTime + busyMost)
		if len(w.downs) != 1 || w.downs[0].Reason == nil || w.downs[0].Reason.Kind != FailTemporary {
			t.Errorf("%s: %v", what, w.downs)
		}
		if asked < 10 || asked > 30 {
			t.Errorf("%s: asked %d times", what, asked)
		}
	}
}

// A peer that refuses to rekey gets a new IKE SA in time.
func TestPeerThatDoesNotRekeyIsReauthenticated(t *testing.T) {
	for _, refusal := range []wire.NotifyType{wire.NoAdditionalSAs} {
		n, w, e := twoNodes(t, 17, nil)
		w.initiate()
		n.run(time.Second)
		n.tamper = func(x *node, h wire.Header, ps []wire.Payload) []wire.Payload {
			if h.Exchange != wire.CreateChildSA {
				return ps
			}
			if x == e {
				return []wire.Payload{notify(refusal)}
			}
			return harmless
		}
		before := w.e.SAs("east")[0].SPIi
		w.rekeyIKE()
		n.run(n.now + 20*time.Second)
		if d := disagreement(w, e); d != "" {
			t.Error(d)
		}
		if s := w.e.SAs("east"); len(s) == 1 && s[0].SPIi == before {
			t.Error("no new IKE SA was made")
		}
	}
}

// changeNotify flips a bit of the notifies of a type.
func changeNotify(t wire.NotifyType) func([]wire.Payload) []wire.Payload {
	return each(func(p *wire.Notify) {
		if p.Kind == t {
			p.Data[0] ^= 1
		}
	})
}

// instead answers with an error notify and nothing else but COOKIE2.
func instead(t wire.NotifyType) func([]wire.Payload) []wire.Payload {
	return func(ps []wire.Payload) []wire.Payload {
		return append(slices.DeleteFunc(slices.Clone(ps), func(p wire.Payload) bool {
			n, ok := p.(*wire.Notify)
			return !ok || n.Kind != wire.Cookie2
		}), notify(t))
	}
}

// What a peer may do and seldom does.

// reversed has the payloads the other way round (RFC 7296 section 2.5).
func reversed(ps []wire.Payload) []wire.Payload {
	ps = slices.Clone(ps)
	slices.Reverse(ps)
	return ps
}

// futureTransforms offers, beside what it does offer, algorithms that nobody knows,
// one with an attribute that nobody knows, and proposals that cannot be used at
// all (RFC 7296 section 3.3.6). A response is left as it is.
func futureTransforms(p *wire.SA) {
	if len(p.Proposals) == 0 || len(p.Proposals[0].Transforms) < 2 {
		return
	}
	first := &p.Proposals[0]
	unknown := wire.Transform{Transform: suite.Transform{Type: suite.TypeEncr, ID: 999}}
	tagged := first.Transforms[0]
	tagged.Attrs = []byte{0x80, 99, 0, 1}
	usual := first.Transforms
	first.Transforms = append([]wire.Transform{unknown, tagged}, usual...)
	p.Proposals = append(p.Proposals,
		wire.Proposal{Number: uint8(len(p.Proposals) + 1), Protocol: first.Protocol, SPI: first.SPI, Transforms: append([]wire.Transform{{Transform: suite.Transform{Type: 77, ID: 1}}}, usual...)},
		wire.Proposal{Number: uint8(len(p.Proposals) + 2), Protocol: suite.AH, SPI: []byte{9, 9, 9, 9}, Transforms: []wire.Transform{{Transform: suite.Transform{Type: suite.TypeInteg, ID: 12}}}},
		wire.Proposal{Number: uint8(len(p.Proposals) + 3), Protocol: 9, SPI: []byte{1, 2, 3}})
}

// strangeNotifies adds a status and, to a request, an error that nobody knows, the
// one with an SPI of an odd length (RFC 7296 section 3.10.1).
func strangeNotifies(ps []wire.Payload) []wire.Payload {
	return append(slices.Clone(ps),
		&wire.Notify{Kind: 40961, Protocol: suite.ESP, SPI: []byte{1, 2, 3}, Data: []byte("?")},
		wire.NewNotify(8191, nil))
}

// offerGroup offers a key exchange method in each proposal, as some do in IKE_AUTH.
func offerGroup(p *wire.SA) {
	for i := range p.Proposals {
		p.Proposals[i].Transforms = append(p.Proposals[i].Transforms, wire.Transform{Transform: suite.Transform{Type: suite.TypeKE, ID: 14}})
	}
}

// reservedBits sets all that RFC 7296 sections 3.2 to 3.15 reserve, and the
// critical bit of payloads that everybody knows, where it means nothing. AUTH
// covers an identity as it is sent, so that stays.
func reservedBits(ps []wire.Payload) []wire.Payload {
	var out []wire.Payload
	for _, p := range ps {
		b, err := p.AppendBody(nil)
		if err != nil || p.Type() == wire.TypeIDi || p.Type() == wire.TypeIDr {
			out = append(out, p)
			continue
		}
		switch p.Type() {
		case wire.TypeSA:
			b[1] = 0xff             // of the first proposal
			b[8+int(b[6])+1] = 0xff // of its first transform
			b[8+int(b[6])+5] = 0xff // and behind the transform's type
		case wire.TypeKE:
			b[2], b[3] = 0xff, 0xff
		case wire.TypeAuth, wire.TypeTSi, wire.TypeTSr:
			b[1], b[2], b[3] = 0xff, 0xff, 0xff
		}
		out = append(out, &wire.Unknown{Kind: p.Type(), Critical: true, Body: b})
	}
	return out
}

// A payload that nobody knows and that is marked as critical refuses the message
// wherever it stands: also in front of SK or SKF, which cover it (RFC 7296 sections
// 2.5 and 4, RFC 7383 section 2.5.3).
func TestCriticalPayloadInFrontOfTheSealedOneIsRefused(t *testing.T) {
	n, w, e := twoNodes(t, 3, nil)
	var said []string
	n.log = func(f string, a ...any) { said = append(said, fmt.Sprintf(f, a...)) }
	w.initiate()
	n.run(time.Second)
	s := w.e.peers[w.peer.ID].established()[0]
	for _, c := range []struct {
		sealed   wire.PayloadType
		critical bool
		answer   string
	}{
		{wire.TypeSK, true, "SK{N(UNSUPPORTED_CRITICAL_PAYLOAD payload-200)}"},
		{wire.TypeSKF, true, "SK{N(UNSUPPORTED_CRITICAL_PAYLOAD payload-200)}"},
		{wire.TypeSK, false, "SK{}"},
		{wire.TypeSKF, false, "SK{}"},
	} {
		h := s.header(wire.Informational, s.nextOut, false)
		s.nextOut++
		said = nil
		n.put(&flight{from: w, src: s.local, dst: s.remote, data: guarded(h, c.critical, c.sealed, s.keys.Out), text: "guarded"})
		n.run(n.now + 10*time.Millisecond)
		if !slices.ContainsFunc(said, func(line string) bool {
			return strings.HasSuffix(line, fmt.Sprintf("response %d: %s", h.MessageID, c.answer))
		}) {
			t.Errorf("%v, critical %v: %q", c.sealed, c.critical, said)
		}
	}
	agree(t, w, e)
}

// guarded is an empty message with an unknown payload in front of SK, or of the only
// SKF.
func guarded(h wire.Header, critical bool, sealed wire.PayloadType, k wire.Sealer) []byte {
	outside := []byte{byte(sealed), 0, 0, 4}
	if critical {
		outside[1] = 0x80
	}
	inside := []byte{0, 0, 0, 0}
	if sealed == wire.TypeSKF {
		inside = append(inside, 0, 1, 0, 1)
	}
	n := len(inside) + k.Overhead(0)
	binary.BigEndian.PutUint16(inside[2:], uint16(n))
	h.Next, h.Length = 200, uint32(wire.HeaderLen+len(outside)+n)
	b := append(append(h.Append(nil), outside...), inside...)
	b, err := k.Seal(b, b, nil)
	if err != nil {
		panic(err)
	}
	return b
}

package ikev2

import (
	"slices"
	"testing"
	"time"

	"greseal/crypto/suite"
	"greseal/ikev2/wire"
)

// What no exchange is decided by may be of any form, and what RFC 7296 has ignored
// is ignored: in each message, from either side, and the tunnel comes up, rekeys
// and lives.
func TestWhatNobodyNeedsRefusesNothing(t *testing.T) {
	raw := func(kind wire.PayloadType, body ...byte) wire.Payload { return &wire.Unknown{Kind: kind, Body: body} }
	all := func(wire.ExchangeType) bool { return true }
	not := func(xs ...wire.ExchangeType) func(wire.ExchangeType) bool {
		return func(x wire.ExchangeType) bool { return !slices.Contains(xs, x) }
	}
	protected := not(wire.IKESAInit)
	for _, c := range []struct {
		name string
		in   func(wire.ExchangeType) bool
		odd  wire.Payload
	}{
		{"CERTREQ of 91 octets", all, raw(wire.TypeCertReq, append([]byte{4}, make([]byte, 91)...)...)},
		{"empty CERTREQ", all, raw(wire.TypeCertReq)},
		{"CERTREQ of an unknown encoding", all, raw(wire.TypeCertReq, 200, 1, 2, 3)},
		{"empty CERT", all, raw(wire.TypeCert)},
		{"CERT of an unknown encoding", all, raw(wire.TypeCert, 200, 1, 2, 3)},
		{"CP with half an attribute", all, raw(wire.TypeCP, 1, 0, 0, 0, 0, 1)},
		{"CP with an attribute that is too long", all, raw(wire.TypeCP, 1, 0, 0, 0, 0, 1, 0, 9, 1)},
		{"CP of 3 octets", all, raw(wire.TypeCP, 1, 0, 0)},
		{"CP of an unknown type", all, raw(wire.TypeCP, 99, 0xff, 0xff, 0xff, 0xff, 1, 0, 0)},
		{"CP with 200 attributes", all, raw(wire.TypeCP, append([]byte{1, 0, 0, 0}, make([]byte, 800)...)...)},
		{"Delete of an unknown protocol", all, raw(wire.TypeDelete, 9, 16, 0, 1, 1, 2, 3)},
		{"Delete of AH with SPIs of 8 octets", all, raw(wire.TypeDelete, 2, 8, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8)},
		{"Delete of protocol 0", all, raw(wire.TypeDelete, 0, 0, 0, 0)},
		{"empty vendor ID", all, raw(wire.TypeVendor)},
		{"long vendor ID", all, raw(wire.TypeVendor, make([]byte, 1500)...)},
		{"unknown payload", all, raw(wire.PayloadType(201), 1, 2, 3)},
		{"empty unknown payload", all, raw(wire.PayloadType(255))},
		{"EAP", all, raw(wire.PayloadType(48), 1)},
		{"unknown status notify", all, raw(wire.TypeNotify, 0, 0, 0xa0, 0, 1, 2)},
		{"unknown notify with a protocol and an SPI of 5 octets", all, raw(wire.TypeNotify, 77, 5, 0xa0, 0, 1, 2, 3, 4, 5)},
		{"unknown notify whose SPI is not there", all, raw(wire.TypeNotify, 3, 9, 0xa0, 0, 1)},
		{"INITIAL_CONTACT with data", protected, raw(wire.TypeNotify, 1, 0, 0x40, 0, 9, 9, 9)},
		{"SET_WINDOW_SIZE of 1 octet", protected, raw(wire.TypeNotify, 1, 0, 0x40, 1, 9)},
		{"ADDITIONAL_TS_POSSIBLE", protected, raw(wire.TypeNotify, 0, 0, 0x40, 2)},
		{"IPCOMP_SUPPORTED of 1 octet", protected, raw(wire.TypeNotify, 0, 0, 0x40, 3, 9)},
		{"HTTP_CERT_LOOKUP_SUPPORTED", all, raw(wire.TypeNotify, 0, 0, 0x40, 8, 9)},
		{"ESP_TFC_PADDING_NOT_SUPPORTED", protected, raw(wire.TypeNotify, 0, 0, 0x40, 10)},
		{"NON_FIRST_FRAGMENTS_ALSO", protected, raw(wire.TypeNotify, 0, 0, 0x40, 11)},
		{"REDIRECT_SUPPORTED with data", all, raw(wire.TypeNotify, 0, 0, 0x40, 22, 1)},
		{"AUTH_LIFETIME of 3 octets", protected, raw(wire.TypeNotify, 0, 0, 0x40, 19, 1, 2, 3)},
		{"SIGNATURE_HASH_ALGORITHMS of 1 octet", all, raw(wire.TypeNotify, 0, 0, 0x40, 47, 1)},
		{"a nonce of 3 octets", not(wire.IKESAInit, wire.CreateChildSA), raw(wire.TypeNonce, 1, 2, 3)},
		{"a key exchange of 3 octets", not(wire.IKESAInit, wire.CreateChildSA, wire.IKEIntermediate), raw(wire.TypeKE, 1, 2, 3)},
		{"an identity of 3 octets", not(wire.IKEAuth), raw(wire.TypeIDi, 1, 2, 3)},
		{"an IPv4 identity of 5 octets", not(wire.IKEAuth), raw(wire.TypeIDr, 1, 0, 0, 0, 1, 2, 3, 4, 5)},
		{"an AUTH of 3 octets", not(wire.IKEAuth), raw(wire.TypeAuth, 1, 2, 3)},
		{"traffic selectors that are not there", not(wire.IKEAuth, wire.CreateChildSA), raw(wire.TypeTSi, 9, 0, 0, 0)},
		{"proposals that are none", not(wire.IKESAInit, wire.IKEAuth, wire.CreateChildSA), raw(wire.TypeSA, 1, 2, 3)},
		{"two nonces", not(wire.IKESAInit, wire.CreateChildSA), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			odd := []wire.Payload{c.odd}
			if c.odd == nil {
				odd = []wire.Payload{&wire.Nonce{Data: make([]byte, 32)}, &wire.Nonce{Data: make([]byte, 32)}}
			}
			for _, last := range []bool{true, false} {
				n, w, e := twoNodes(t, 71, func(w, e *Peer) { e.Remotes, w.Remotes = nil, nil })
				n.meant = true
				seen := map[wire.Header]bool{}
				n.tamper = func(_ *node, h wire.Header, ps []wire.Payload) []wire.Payload {
					if !c.in(h.Exchange) {
						return ps
					}
					seen[wire.Header{Exchange: h.Exchange, Flags: h.Flags & wire.FlagResponse}] = true
					if last {
						return slices.Concat(ps, odd)
					}
					return slices.Concat(odd, ps)
				}
				liveAndRekey(t, n, w, e)
				if len(seen) < 2 {
					t.Errorf("it stood in %v only", seen)
				}
			}
		})
	}
}

// liveAndRekey brings two nodes up, has each rekey both SAs, and looks that all is
// well.
func liveAndRekey(t *testing.T, n *network, w, e *node) {
	t.Helper()
	w.initiate()
	n.run(2 * time.Second)
	agree(t, w, e)
	for _, x := range []*node{w, e} {
		x.rekeyChildren()
		n.run(n.now + 6*time.Second)
		for _, s := range x.e.SAs(x.peer.ID) {
			x.do(x.e.RekeyIKE(x.time(), s.ID))
		}
		n.run(n.now + 30*time.Second)
		agree(t, w, e)
	}
	for _, x := range []*node{w, e} {
		for _, f := range x.failed {
			t.Errorf("%s: %v", x.name, f.Reason)
		}
		for _, f := range x.noted {
			t.Errorf("%s notes: %v", x.name, f.Reason)
		}
		for _, d := range x.downs {
			if d.Reason != nil {
				t.Errorf("%s: IKE SA ended: %v", x.name, d.Reason)
			}
		}
		if x.ups != 3 {
			t.Errorf("%s had %d IKE SAs", x.name, x.ups)
		}
	}
}

// Reserved fields are ignored (RFC 7296 section 3), and the critical bit of a
// payload that is understood (section 2.5).
func TestReservedFieldsAreIgnored(t *testing.T) {
	n, w, e := twoNodes(t, 72, nil)
	n.meant = true
	n.tamper = func(_ *node, _ wire.Header, ps []wire.Payload) []wire.Payload {
		out := make([]wire.Payload, len(ps))
		for i, p := range ps {
			b, err := p.AppendBody(nil)
			if err != nil {
				t.Fatal(err)
			}
			at := []int{}
			switch p := p.(type) {
			case *wire.KE:
				at = []int{2, 3}
			case *wire.Auth, *wire.TS:
				at = []int{1, 2, 3}
			case *wire.SA:
				first := 8 + len(p.Proposals[0].SPI)
				at = []int{1, first + 1, first + 5}
			}
			for _, k := range at {
				b[k] = 0xff
			}
			out[i] = &wire.Unknown{Kind: p.Type(), Critical: true, Body: b}
		}
		return out
	}
	liveAndRekey(t, n, w, e)
}

// A key length that can't be another one is no other algorithm.
func TestKeyLengthOfChaCha(t *testing.T) {
	for _, who := range []int{0, 1} {
		for _, ikeToo := range []bool{false, true} {
			n, w, e := twoNodes(t, 73, func(w, e *Peer) {
				w.ESP = []suite.Proposal{espProposal("chacha20poly1305")}
				if ikeToo {
					w.IKE = []suite.Proposal{ike("chacha20poly1305-prfsha256-x25519")}
				}
				e.ESP, e.IKE = w.ESP, w.IKE
			})
			n.meant = true
			long := []*node{w, e}[who]
			asked := 0
			n.tamper = func(x *node, _ wire.Header, ps []wire.Payload) []wire.Payload {
				ps = slices.Clone(ps)
				for i, p := range ps {
					sa, ok := p.(*wire.SA)
					if !ok || sa.Proposals[0].Transforms[0].ID != suite.ENCR_CHACHA20_POLY1305 {
						continue
					}
					if x != long {
						// Answers have it as it was offered, offers have none.
						if got := sa.Proposals[0].Transforms[0].KeyLen; got == 256 {
							asked++
						}
						continue
					}
					c := &wire.SA{Proposals: slices.Clone(sa.Proposals)}
					c.Proposals[0].Transforms = slices.Clone(c.Proposals[0].Transforms)
					c.Proposals[0].Transforms[0].KeyLen = 256
					ps[i] = c
				}
				return ps
			}
			liveAndRekey(t, n, w, e)
			if asked == 0 {
				t.Error("no answer repeats the key length that was offered")
			}
		}
	}
}

// An answer to IKE_SA_INIT that can't be used leaves a note when it comes from the
// peer, and the attempt goes on.
func TestOddAnswerToInitIsNoted(t *testing.T) {
	drop := func(kinds ...wire.PayloadType) func(ps []wire.Payload) []wire.Payload {
		return func(ps []wire.Payload) []wire.Payload {
			return slices.DeleteFunc(slices.Clone(ps), func(p wire.Payload) bool { return slices.Contains(kinds, p.Type()) })
		}
	}
	for name, change := range map[string]func(ps []wire.Payload) []wire.Payload{
		"no nonce": drop(wire.TypeNonce),
		"no KE":    drop(wire.TypeKE),
		"short nonce": func(ps []wire.Payload) []wire.Payload {
			return append(drop(wire.TypeNonce)(ps), &wire.Unknown{Kind: wire.TypeNonce, Body: []byte{1}})
		},
		"two SAs": func(ps []wire.Payload) []wire.Payload { return append(slices.Clone(ps), ps[0]) },
		"critical": func(ps []wire.Payload) []wire.Payload {
			return append(slices.Clone(ps), &wire.Unknown{Kind: 201, Critical: true})
		},
		"another method": func(ps []wire.Payload) []wire.Payload { return append(drop(wire.TypeKE)(ps), mustKE(t, 19)) },
		"nothing":        func([]wire.Payload) []wire.Payload { return nil },
	} {
		n, w, e := twoNodes(t, 74, nil)
		n.tamper = func(x *node, h wire.Header, ps []wire.Payload) []wire.Payload {
			if x == e && h.Exchange == wire.IKESAInit {
				return change(ps)
			}
			return ps
		}
		w.initiate()
		n.run(3 * time.Second)
		notes := 0
		for _, f := range w.noted {
			if f.Reason.Kind == FailSyntax {
				notes++
			}
		}
		if notes != 1 || len(w.failed) > 0 {
			t.Errorf("%s: %d notes, failed %v", name, notes, w.failed)
		}
		n.tamper = nil
		n.run(15 * time.Second)
		if len(w.e.Children("east")) == 0 {
			t.Errorf("%s: a right answer after it does not bring the tunnel up", name)
		}
	}
}

// A rekeyed Child SA that lost transport mode is said so, by either side.
func TestLostTransportModeIsNoted(t *testing.T) {
	for _, first := range []int{0, 1} {
		n, w, e := twoNodes(t, 75, func(w, e *Peer) { w.Transport, e.Transport = true, true })
		w.initiate()
		n.run(time.Second)
		n.tamper = func(_ *node, h wire.Header, ps []wire.Payload) []wire.Payload {
			return slices.DeleteFunc(slices.Clone(ps), func(p wire.Payload) bool {
				x, ok := p.(*wire.Notify)
				return ok && x.Kind == wire.UseTransportMode
			})
		}
		[]*node{w, e}[first].rekeyChildren()
		n.run(n.now + 10*time.Second)
		for _, x := range []*node{w, e} {
			if !slices.ContainsFunc(x.noted, func(f Noted) bool { return f.Reason.Kind == FailModeChanged }) {
				t.Errorf("%s says nothing of it: %v", x.name, x.noted)
			}
		}
	}
}

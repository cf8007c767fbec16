package ikev2

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"greseal/crypto/suite"
	"greseal/ikev2/selector"
	"greseal/ikev2/wire"
)

// noProposal explains why we accept none of the peer's proposals.
func (s *ikeSA) noProposal(exchange string, err error) *Failure {
	f := s.failure(FailNoProposal, exchange, "", "")
	describeNoMatch(f, err)
	return f
}

func describeNoMatch(f *Failure, err error) {
	var no *suite.NoMatch
	if !errors.As(err, &no) {
		f.Detail = err.Error()
		return
	}
	f.Ours, f.Theirs = proposalsText(no.OwnList), proposalsText(no.OfferedList)
	if no.Reason != "" {
		f.Detail = no.Reason
		return
	}
	f.Detail = fmt.Sprintf("no match for %s: we allow %s, the peer offers %s", no.Type, choices(no.Own), choices(no.Offered))
	ours := choices(slices.DeleteFunc(slices.Clone(no.Own), func(t suite.Transform) bool { return t.ID == 0 }))
	f.Remedy = fmt.Sprintf("allow %s at the peer, or one of the peer's in %s here", ours, strings.ToLower(no.Protocol.String()))
}

// choices names alternatives, with "none" for NONE.
func choices(ts []suite.Transform) string {
	out := ""
	for i, t := range ts {
		if i > 0 {
			out += ", "
		}
		if t == (suite.Transform{Type: t.Type}) {
			out += "none"
		} else {
			out += t.Word()
		}
	}
	if out == "" {
		return "none"
	}
	return out
}

// proposalsText names proposals in a sentence. A long list, such as the one that is
// offered without ike, would fill status and the events each time; the record of
// the handshake has all of it.
func proposalsText(ps []suite.Proposal) string {
	text := some(ps, func(p suite.Proposal) string { return strings.ReplaceAll(p.String(), "-KE NONE", "") })
	if len(text) <= 100 {
		return text
	}
	first, _, _ := strings.Cut(text, "-")
	if len(ps) == 1 {
		return first + " and others"
	}
	return fmt.Sprintf("%s and others, %d proposals", first, len(ps))
}

// some names the first four of a list.
func some[T any](list []T, name func(T) string) string {
	out := make([]string, 0, 5)
	for _, e := range list[:min(len(list), 4)] {
		out = append(out, name(e))
	}
	if len(list) > 4 {
		out = append(out, "…")
	}
	return strings.Join(out, ", ")
}

// kinds of the error notifies that a peer refuses with.
var notifyKinds = map[wire.NotifyType]FailureKind{
	wire.UnsupportedCriticalPayload: FailCritical,
	wire.InvalidMajorVersion:        FailMajorVersion,
	wire.InvalidSyntax:              FailSyntax,
	wire.NoProposalChosen:           FailNoProposal,
	wire.InvalidKEPayload:           FailInvalidKE,
	wire.AuthenticationFailed:       FailAuthentication,
	wire.NoAdditionalSAs:            FailNoAdditionalSA,
	wire.TSUnacceptable:             FailSelectors,
	wire.InvalidSelectors:           FailSelectors,
	wire.SinglePairRequired:         FailSelectors,
	wire.TemporaryFailure:           FailTemporary,
	wire.StateNotFound:              FailTemporary,
	wire.UnacceptableAddresses:      FailAddresses,
	wire.UnexpectedNATDetected:      FailAddresses,
}

// refusalRemedies are what helps against a refusal of the peer's, where the kind
// alone tells.
var refusalRemedies = map[FailureKind]string{
	FailSelectors:      "the peer must allow exactly these addresses with protocol 47 (on strongSwan local_ts = dynamic[gre], remote_ts = dynamic[gre])",
	FailCritical:       "update the peer's software",
	FailMajorVersion:   "set the peer to IKEv2",
	FailNoAdditionalSA: "the peer allows no further Child SA; allow rekeying there",
	FailSyntax:         "compare the two sides' software versions; report it with both logs",
	FailTemporary:      "the peer is busy with another exchange; this ends by itself",
	FailAddresses:      "a new IKE SA is made; the peer's log says why it does not follow",
	FailNotify:         "the peer's log says more",
}

// refusedBy explains an error notify of the peer's. offer is what we asked for.
func (s *ikeSA) refusedBy(n *wire.Notify, exchange string, offer []suite.Proposal, old *child) *Failure {
	kind, known := notifyKinds[n.Kind]
	if !known {
		kind = FailNotify
	}
	f := s.failure(kind, exchange, "", refusalRemedies[kind]).byPeer()
	switch kind {
	case FailNoProposal, FailInvalidKE:
		f.explainOffer(n, offer)
	case FailSelectors:
		f.Ours = s.wantedEnds(old).String()
		if s.Found() {
			f.Remedy = "there is a NAT in between, so that the peer sees other addresses: set gre_local and gre_remote on both sides, or use mode = \"transport\"; " + f.Remedy
		}
	case FailAuthentication:
		s.explainAuth(f)
	case FailCritical:
		if len(n.Data) == 1 {
			f.Theirs = "unknown payload " + wire.PayloadType(n.Data[0]).String()
		}
	case FailMajorVersion:
		f.Ours = "IKEv2"
	case FailAddresses:
		f.Detail = n.Kind.String()
		f.Ours = "new address " + s.local.Addr().String()
		if n.Kind == wire.UnexpectedNATDetected {
			f.Ours = "address " + s.local.Addr().String()
			f.Remedy = "there is a NAT in between and the peer has no NAT traversal: turn it on at the peer"
		}
	case FailNotify:
		f.Detail = n.Kind.String()
	}
	return f
}

// explainOffer explains the refusal of what we have offered.
func (f *Failure) explainOffer(n *wire.Notify, offer []suite.Proposal) {
	if f.Kind == FailInvalidKE {
		f.Ours = suite.Words(suite.Groups(offer))
		if g, ok := n.Number(); ok {
			f.Theirs = suite.Transform{Type: suite.TypeKE, ID: g}.Word()
		}
		f.Remedy = "add the peer's key exchange group here, or one of ours there"
		return
	}
	f.Ours = proposalsText(offer)
	key := "esp"
	if f.Exchange == "IKE_SA_INIT" || len(offer) > 0 && offer[0].Protocol == suite.IKE {
		key = "ike"
	}
	f.Remedy = fmt.Sprintf("allow one of these at the peer, or set %s here to what the peer allows; its log says what that is", key)
	if f.Exchange == "IKE_SA_INIT" {
		f.Remedy += "; a peer with no tunnel for our address, or with that tunnel down, answers the same"
	}
}

// explainAuth explains that the peer does not accept who we are.
func (s *ikeSA) explainAuth(f *Failure) {
	f.Ours = "identity " + s.peer.localID(s.local.Addr()).String()
	if s.peer.cfg.RemoteID.Exact().IsSet() {
		f.Ours += ", asking for " + s.peer.cfg.RemoteID.String()
	}
	f.Remedy = "compare psk on both sides, and local_id here with what the peer expects; its log says which one it was"
	if s.handshake != nil && s.handshake.ppk.mixed {
		f.Remedy = "compare psk, ppk_id and ppk on both sides, and local_id here with what the peer expects; its log says which one it was"
	}
	s.explainSigned(f)
	if s.peer.cfg.RemoteID.Exact().IsSet() {
		f.Remedy = fmt.Sprintf("check that %s, which remote_id here asks for, is the peer's own identity; ", s.peer.cfg.RemoteID) + f.Remedy
	}
}

// explainTS says what is wrong with the traffic selectors of a request and what
// would help.
func (s *ikeSA) explainTS(c *wire.Contents, old *child) (detail, remedy string) {
	w := s.wantedEnds(old)
	ours, theirs := selector.Covers(c.TSr, w.Local), selector.Covers(c.TSi, w.Remote)
	switch {
	case !ours && !anyGRE(c.TSr) || !theirs && !anyGRE(c.TSi):
		detail = "the peer does not offer protocol 47 with all ports"
		remedy = "set the peer's traffic selectors to protocol 47 (gre), all ports, on both sides"
	case !ours:
		detail = fmt.Sprintf("the peer does not offer our GRE endpoint %s", w.Local)
		remedy = fmt.Sprintf("set the peer's remote selector to %s/32 protocol 47, or gre_local here to what the peer names", w.Local)
	default:
		detail = fmt.Sprintf("the peer's GRE endpoint is not %s", w.Remote)
		remedy = fmt.Sprintf("set gre_remote here to what the peer names, or the peer's local selector to %s protocol 47", w.Remote)
	}
	if w.Local.Is6() {
		remedy = strings.Replace(remedy, "/32", "/128", 1)
	}
	if s.Found() {
		remedy = "there is a NAT in between, so that the two sides see different addresses: set gre_local and gre_remote on both sides, or use mode = \"transport\"; " + remedy
	}
	return detail, remedy
}

func anyGRE(ts *wire.TS) bool {
	for _, t := range ts.Selectors {
		if t.AllPorts() && (t.Protocol == 0 || t.Protocol == selector.GRE) {
			return true
		}
	}
	return false
}

// expired says that something reached the end of its lifetime, and why.
func (s *ikeSA) expired(what string) *Failure {
	f := s.failure(FailNotify, "CREATE_CHILD_SA",
		"the "+what+" reached the end of its lifetime before it could be rekeyed",
		"a new one is made; if this repeats, check the path to the peer, and its log for refused rekeying").byPeer()
	switch {
	case s.req != nil:
		f.Kind, f.Attempts = FailTimeout, s.req.tries
	case s.stalled != 0:
		f.Kind = FailTemporary
	}
	return f
}

// timeoutFailure says which request was never answered, and on which port.
func (s *ikeSA) timeoutFailure(r *request) *Failure {
	f := s.failure(FailTimeout, r.exchange.String(), "", "the path to the peer is broken or the peer is gone")
	f.Attempts = r.tries
	switch {
	case r.exchange == wire.IKESAInit:
		f.Remedy = fmt.Sprintf("check that %s is the peer's address, that IKE runs there, and that no firewall drops UDP %d in between", s.remote.Addr(), s.remote.Port())
	case s.remote.Port() == wire.PortNAT && s.handshake != nil && !s.handshake.followed:
		f.Detail = "IKE_SA_INIT was answered on UDP 500, and nothing has come back from UDP 4500"
		f.Remedy = "let UDP 4500 pass as UDP 500 does; a peer that refuses silently says why in its log"
		if s.NATLocal {
			f.NAT = true
			f.Detail += "; the peer sees this side behind a NAT"
			f.Remedy = "let UDP 4500 pass as UDP 500 does, in the NAT above all: neither IKE nor ESP gets by it without"
		}
		if r.exchange == wire.IKEIntermediate && !s.Fragmentation {
			f.Remedy += "; this message is also the first large one, so a path that loses IP fragments needs IKE fragmentation at the peer"
		}
	case r.exchange == wire.IKEIntermediate:
		f.Detail = "IKE_SA_INIT was answered"
		f.Remedy = "this message is the first large one: a path that loses it needs IKE fragmentation at the peer, or ike without an additional key exchange"
	case r.exchange == wire.IKEAuth:
		f.Detail = "IKE_SA_INIT was answered"
		f.Remedy = "the peer silently drops what it cannot verify: its log says why; a forged IKE_SA_INIT response has the same effect"
	}
	return f
}

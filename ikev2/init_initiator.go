package ikev2

import (
	"bytes"
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"time"

	"greseal/crypto/prf"
	"greseal/crypto/suite"
	"greseal/ikev2/fragment"
	"greseal/ikev2/keymat"
	"greseal/ikev2/recorder"
	"greseal/ikev2/wire"
)

// initiate is Engine.Initiate.
func (e *Engine) initiate(p *peer, local, remote netip.AddrPort) {
	local, remote = e.ports(local, remote)
	for _, s := range slices.Clone(p.sas) {
		if s.reachability() {
			continue
		}
		same := s.remote.Addr() == remote.Addr() && s.local.Addr() == local.Addr()
		switch {
		case s.state == stateInitiating && same,
			s.state == stateAuthenticating && same && !s.handshake.abandoned:
			return
		case s.state == stateInitiating:
			e.drop(s, nil, false)
		case s.state == stateAuthenticating:
			s.handshake.abandoned = true
		case s.inUse() && !s.espLeftBehind && !s.suspect && same:
			if s.childless() && s.req == nil {
				s.createAt = e.now
				e.markDirty(s)
			}
			return
		}
	}
	e.attempt(p, local, remote)
}

// ProbeReachability asks whether IKE is answered at an address, by an IKE_SA_INIT
// request that nothing follows. The answer is reported as Reachable, silence not at
// all.
func (e *Engine) ProbeReachability(now Time, id PeerID, local, remote netip.AddrPort) []Action {
	return e.withPeer(now, id, func(p *peer) {
		local, remote = e.ports(local, remote)
		for _, s := range slices.Clone(p.sas) {
			if s.reachability() && s.remote == remote {
				e.drop(s, nil, false)
			}
		}
		if s := e.attempt(p, local, remote); s != nil {
			s.handshake.reachability, s.handshake.abandoned = true, true
			s.handshake.deadline = e.now + reachTime
		}
	})
}

// reachability reports whether the IKE SA is no more than such a probe.
func (s *ikeSA) reachability() bool { return s.handshake != nil && s.handshake.reachability }

// reachTime is how long the answer to a reachability probe is waited for.
const reachTime = 4 * time.Second

// reached ends a reachability probe that was answered.
func (e *Engine) reached(s *ikeSA) {
	p, remote := s.peer, s.remote
	e.drop(s, nil, false)
	e.emit(Reachable{p.cfg.ID, remote})
}

// ports completes the addresses of an attempt: a remote port other than 500 is
// spoken to from the NAT port, with the non-ESP marker.
func (e *Engine) ports(local, remote netip.AddrPort) (netip.AddrPort, netip.AddrPort) {
	lp, rp := local.Port(), cmp.Or(remote.Port(), wire.PortIKE)
	if lp == 0 {
		lp = e.cfg.PortIKE
		if rp != wire.PortIKE {
			lp = e.cfg.PortNAT
		}
	}
	return netip.AddrPortFrom(local.Addr().Unmap(), lp), netip.AddrPortFrom(remote.Addr().Unmap(), rp)
}

// attempt starts an IKE SA; nil when it cannot.
func (e *Engine) attempt(p *peer, local, remote netip.AddrPort) *ikeSA {
	groups := p.groups()
	spi, err := e.newIKESPI()
	ni := drawn(&err, e.rnd.nonce)
	if err != nil || len(groups) == 0 || len(p.cfg.ESP) == 0 {
		f := &Failure{Kind: FailNoProposal, Exchange: "IKE_SA_INIT", Local: local.String(), Remote: remote.String(),
			Detail: "nothing can be proposed with what is configured and can be done here",
			Remedy: "leave ike and esp out to get the default proposals"}
		if err != nil {
			f.Kind, f.Detail, f.Remedy = FailNotify, err.Error(), ""
		}
		e.emit(Failed{p.cfg.ID, f})
		return nil
	}
	s := e.newSA(p, true, spi, 0, local, remote)
	s.Auth.Earlier = p.before && len(p.established()) == 0
	s.setEncap(p.cfg.Encap)
	s.handshake = &handshake{ni: ni, deadline: e.now + attemptTime, recorded: 1}
	group := groups[0].ID
	if slices.Contains(groups, suite.Transform{Type: suite.TypeKE, ID: p.group}) {
		group = p.group // what the peer asked for the last time
	}
	e.sendInit(s, group)
	if s.state == stateGone {
		return nil
	}
	return s
}

// sendInit sends the IKE_SA_INIT request, first or changed by a cookie or
// another key exchange method; a change of neither repeats all other payloads
// (RFC 7296 section 2.6).
func (e *Engine) sendInit(s *ikeSA, group uint16) {
	h := s.handshake
	if h.ke == nil || h.ke.Group() != group {
		ke, err := e.kex.start(group, e.rnd.r)
		if err != nil {
			e.fail(s, s.failure(FailInvalidKE, "IKE_SA_INIT", err.Error(), ""))
			return
		}
		h.ke, h.tried = ke, append(h.tried, group)
	}
	x := saInit{}
	_, ps, _ := x.payloads(e, s)
	m := wire.Message{Header: s.header(wire.IKESAInit, 0, false), Payloads: ps}
	data, err := m.Append(nil)
	if err != nil {
		e.fail(s, s.failure(FailNoProposal, "IKE_SA_INIT", err.Error(), "configure fewer proposals in ike"))
		return
	}
	e.tell(data, m.Header, ps, nil)
	e.record(s, recorder.Sent, m.Header, ps, len(data), 1, s.local, s.remote)
	h.message1 = data
	s.state = stateInitiating
	s.req, s.nextOut = nil, 0
	e.startRequest(s, wire.IKESAInit, &request{about: x}, fragment.Message{Data: [][]byte{data}})
}

// saInit is IKE_SA_INIT, which nothing protects.
type saInit struct{ lone }

func (saInit) payloads(_ *Engine, s *ikeSA) (wire.ExchangeType, []wire.Payload, bool) {
	h := s.handshake
	var ps []wire.Payload
	if h.cookie != nil {
		ps = append(ps, wire.NewNotify(wire.Cookie, h.cookie))
	}
	ps = append(ps, saPayload(s.peer.cfg.IKE, nil), &wire.KE{Method: h.ke.Group(), Data: h.ke.Public()}, &wire.Nonce{Data: h.ni})
	ps = append(ps, s.natPayloads()...)
	ps = append(ps, notify(wire.FragmentationSupported))
	if s.peer.cfg.usesPPK() {
		ps = append(ps, notify(wire.UsePPK))
	}
	if hasAddKE(s.peer.cfg.IKE) {
		ps = append(ps, notify(wire.IntermediateExchangeSupported))
	}
	if p := hashPayload(s.peer); p != nil {
		ps = append(ps, p)
	}
	return wire.IKESAInit, ps, true
}

// onInitResponse handles what claims to answer IKE_SA_INIT. It may come from
// anyone, so nothing in it ends the attempt at once.
func (e *Engine) onInitResponse(s *ikeSA, m *wire.Message, d *Datagram) {
	c, err := wire.CollectOf(m.Exchange, m.Payloads)
	if err != nil {
		e.oddAnswer(s, d, err)
		return
	}
	if t, bad := wire.UnsupportedCritical(m.Payloads); bad {
		// No response may have one (RFC 7296 section 2.5).
		e.oddAnswer(s, d, errors.New("payload of type "+t.String()+", marked as critical"))
		return
	}
	e.record(s, recorder.Received, m.Header, m.Payloads, len(m.Raw), 1, d.Local, d.Remote)
	switch {
	case s.handshake.reachability && (c.SA != nil || c.Notify(wire.Cookie) != nil || c.Notify(wire.InvalidKEPayload) != nil):
		e.reached(s)
	case s.handshake.reachability:
	case c.SA == nil || c.Error() != nil:
		e.onInitNotify(s, d, c)
	default:
		saInit{}.answer(e, s, s.req, content{Contents: c, header: m.Header, raw: m.Raw}, d)
	}
}

// answer takes a response that agrees to a proposal: the keys are made, and
// IKE_INTERMEDIATE or IKE_AUTH follows.
func (saInit) answer(e *Engine, s *ikeSA, _ *request, c content, d *Datagram) {
	h := s.handshake
	chosen, err := accepted(s.peer.cfg.IKE, c.SA)
	switch {
	case c.header.SPIr == 0 || c.KE == nil || c.Nonce == nil:
		e.oddAnswer(s, d, errors.New("it lacks its SPI, nonce or key exchange value"))
		return
	case err != nil:
		e.initRefused(s, s.failure(FailNoProposal, "IKE_SA_INIT",
			err.Error(), "the peer breaks RFC 7296 section 2.7, or someone is forging its answers"))
		return
	case chosen.KE.ID != h.ke.Group() || c.KE.Method != h.ke.Group():
		e.oddAnswer(s, d, errors.New("its key exchange method is not the one that we sent a value for"))
		return
	}
	if f := s.lacking(&chosen, c.Contents); f != nil {
		e.initRefused(s, f)
		return
	}
	shared, err := h.ke.Shared(c.KE.Data)
	if err != nil {
		e.initRefused(s, s.failure(FailInvalidKE, "IKE_SA_INIT",
			err.Error(), "the peer's key exchange value is invalid, or someone is forging its answers"))
		return
	}
	h.nr = bytes.Clone(c.Nonce.Data)
	h.message2 = bytes.Clone(c.raw)
	s.SPIr, s.Suite = c.header.SPIr, chosen
	p, err := prf.New(chosen.PRF.ID)
	if err == nil {
		s.keys, err = keymat.New(chosen, true, p.SKEYSEED(h.ni, h.nr, shared), h.ni, h.nr, s.SPIi, s.SPIr, e.rnd.r)
	}
	clear(shared)
	if err != nil {
		e.fail(s, s.failure(FailNoProposal, "IKE_SA_INIT", err.Error(), "choose other ike proposals"))
		return
	}
	s.natDetect(c.Contents, d, s.SPIr)
	h.seen = seenAs(c.Contents)
	s.Fragmentation = c.Notify(wire.FragmentationSupported) != nil
	h.signatures.learn(c.Contents, s.peer.settings(s).signs())
	e.floatPorts(s)
	e.begin(s)
	s.peer.group = chosen.KE.ID
	e.endRequest(s)
	e.proceed(s)
}

// lacking takes from a response what the suite and the configuration need beside
// it, and explains what is not there.
func (s *ikeSA) lacking(chosen *suite.Suite, c *wire.Contents) *Failure {
	h := s.handshake
	h.inter.methods = addKEs(chosen)
	if len(h.inter.methods) > 0 && c.Notify(wire.IntermediateExchangeSupported) == nil {
		f := s.failure(FailNoProposal, "IKE_SA_INIT",
			"the peer accepts an additional key exchange without IKE_INTERMEDIATE",
			"the peer breaks RFC 9370 section 2.2.1, or someone is forging its answers")
		return f
	}
	h.ppk.agreed = s.peer.cfg.usesPPK() && c.Notify(wire.UsePPK) != nil
	if s.peer.cfg.PPKRequired && !h.ppk.agreed {
		f := s.noPPK("the peer uses no post-quantum pre-shared key, which is required here", "configure ppk_id and ppk at the peer, or set ppk_required = false here")
		f.Exchange = "IKE_SA_INIT"
		return f
	}
	return nil
}

// onInitNotify handles an answer without SA: a cookie, another key exchange
// method, or an error.
func (e *Engine) onInitNotify(s *ikeSA, d *Datagram, c *wire.Contents) {
	h := s.handshake
	if n := c.Notify(wire.Cookie); n != nil {
		// A second cookie is followed as well, but forged ones must not make
		// us send without end (RFC 7296 section 2.6).
		if len(n.Data) < 1 || len(n.Data) > 64 || h.cookies >= maxCookies || bytes.Equal(n.Data, h.cookie) {
			e.stats.Malformed++
			return
		}
		h.cookies++
		h.cookie = bytes.Clone(n.Data)
		e.resendInit(s, h.ke.Group())
		return
	}
	n := c.Error()
	if n == nil {
		e.oddAnswer(s, d, errors.New("it has neither a proposal nor an error notify"))
		return
	}
	if n.Kind == wire.InvalidKEPayload {
		group, ok := n.Number()
		offered := slices.Contains(s.peer.groups(), suite.Transform{Type: suite.TypeKE, ID: group})
		if ok && offered && !slices.Contains(h.tried, group) && h.regroups < maxRegroups {
			h.regroups++
			s.peer.group = group
			e.resendInit(s, group)
			return
		}
		if ok && offered {
			return // an answer to a request we have already changed
		}
	}
	e.initRefused(s, s.refusedBy(n, "IKE_SA_INIT", s.peer.cfg.IKE, nil))
}

var errMessageID = errors.New("its message ID is not 0")

// oddAnswer drops what claims to answer IKE_SA_INIT and can't be used. If it comes from
// the peer's address it is reported: the peer may never send anything else.
func (e *Engine) oddAnswer(s *ikeSA, d *Datagram, what error) {
	e.stats.Malformed++
	if s.handshake == nil || s.handshake.reachability || d.Remote.Addr() != s.remote.Addr() {
		return
	}
	e.noteStranger(s.peer, s.failure(FailSyntax, "IKE_SA_INIT",
		"the response can't be used: "+what.Error(),
		"update the peer's software, and report it to its vendor if that does not help; or someone is forging its answers"))
}

// maxCookies and maxRegroups bound what unauthenticated answers can make us
// send at once.
const (
	maxCookies  = 4
	maxRegroups = 3
)

// resendInit sends the changed request and keeps the count of the attempt.
func (e *Engine) resendInit(s *ikeSA, group uint16) {
	tries := 0
	if s.req != nil {
		tries = s.req.tries
	}
	e.sendInit(s, group)
	if s.req != nil {
		s.req.tries += tries
	}
}

// initRefused notes an error that anyone may have sent and goes on trying for a
// while (RFC 7296 section 2.21.1).
func (e *Engine) initRefused(s *ikeSA, f *Failure) {
	h := s.handshake
	first := h.refused == nil || h.refused.Kind != f.Kind
	h.refused = f
	h.deadline = min(h.deadline, e.now+refusedTime)
	if first {
		e.note(s.peer, f)
	}
	e.markDirty(s)
}

// Initiate makes sure that an IKE SA with a Child SA to remote exists or is
// being made. Where one exists or is under way nothing happens; an attempt to
// another address is dropped; an IKE SA to another address stays until the new
// one is up.
func (e *Engine) Initiate(now Time, id PeerID, local, remote netip.AddrPort) []Action {
	return e.withPeer(now, id, func(p *peer) { e.initiate(p, local, remote) })
}

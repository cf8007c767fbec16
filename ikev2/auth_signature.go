package ikev2

import (
	"crypto/hmac"
	"errors"
	"iter"
	"slices"

	"greseal/crypto/sign"
	"greseal/ikev2/wire"
)

const sharedKeyText = "pre-shared key"

// signatures is what a handshake knows of signatures (RFC 7427).
type signatures struct {
	announced bool        // both sides sent SIGNATURE_HASH_ALGORITHMS
	hashes    []sign.Hash // in the peer's
	wantsRaw  bool        // the peer asked for a raw public key (RFC 7670)
	theirs    sign.Auth   // how the peer signed
	ownFault  error       // what a peer would find wrong with our certificate
}

// signs reports whether the two sides authenticate by signatures.
func (c *Peer) signs() bool { return c.Certificates != nil || c.RawKeys != nil }

// way says how both sides are to authenticate, for people.
func (c *Peer) way() string {
	switch {
	case c.Certificates != nil:
		return "certificates are configured here"
	case c.RawKeys != nil:
		return "raw public keys are configured here"
	}
	return "a shared key is configured here"
}

// wayRemedy is what to do at a peer that authenticates otherwise.
func (c *Peer) wayRemedy() string {
	switch {
	case c.Certificates != nil:
		return "set the peer to authenticate by a certificate"
	case c.RawKeys != nil:
		return "set the peer to authenticate by its raw public key"
	}
	return "set the peer to authenticate by a pre-shared key"
}

// hashPayload is our SIGNATURE_HASH_ALGORITHMS towards peers that may be meant,
// nil when none of them uses signatures.
func hashPayload(ps ...*peer) wire.Payload {
	signs, any := false, false
	var keys []*sign.PublicKey
	for c := range credentials(ps) {
		switch {
		case c.RawKeys != nil:
			keys = append(keys, c.RawKeys.Peer)
			signs = true
		case c.Certificates != nil:
			signs, any = true, true
		}
	}
	if !signs {
		return nil
	}
	if any {
		keys = nil
	}
	return wire.NewNotify(wire.SignatureHashAlgorithms, sign.AppendHashes(nil, sign.Announced(keys...)))
}

// credentials are all that peers may authenticate by.
func credentials(ps []*peer) iter.Seq[*Peer] {
	return func(yield func(*Peer) bool) {
		for _, p := range ps {
			if !yield(&p.cfg) || p.earlier != nil && !yield(p.earlier) {
				return
			}
		}
	}
}

// learn takes what the peer says of signatures and certificates in IKE_SA_INIT
// and IKE_AUTH. ours says that we sent SIGNATURE_HASH_ALGORITHMS.
func (g *signatures) learn(c *wire.Contents, ours bool) {
	if n := c.Notify(wire.SignatureHashAlgorithms); n != nil && ours {
		// An unreadable list is one without anything we could use.
		g.hashes, _ = sign.ParseHashes(n.Data)
		g.announced = true
	}
	for _, r := range c.CertReqs {
		g.wantsRaw = g.wantsRaw || r.Encoding == wire.CertRawKey
	}
}

// requests are the CERTREQ payloads for peers that may be meant.
func requests(ps ...*peer) []wire.Payload {
	var hashes []byte
	x509, raw := false, false
	seen := map[string]bool{}
	for c := range credentials(ps) {
		raw = raw || c.RawKeys != nil
		if c.Certificates == nil {
			continue
		}
		x509 = true
		for all := c.Certificates.Anchors.Request(); len(all) >= wire.AuthorityLen; all = all[wire.AuthorityLen:] {
			one := string(all[:wire.AuthorityLen])
			if !seen[one] && len(seen) < maxAuthorities {
				seen[one] = true
				hashes = append(hashes, one...)
			}
		}
	}
	var out []wire.Payload
	if x509 {
		out = append(out, &wire.CertReq{Encoding: wire.CertX509, Authorities: hashes})
	}
	if raw {
		out = append(out, &wire.CertReq{Encoding: wire.CertRawKey})
	}
	return out
}

// maxAuthorities bounds what the responder sends before the initiator has shown
// that it can hear us. A CERTREQ is a hint: what it leaves out may be used.
const maxAuthorities = 16

// proof is what one side sends to authenticate itself.
type proof struct {
	certs []wire.Payload
	auth  *wire.Auth
}

// prove makes our AUTH payload and the CERT payloads to go with it.
func (e *Engine) prove(s *ikeSA, p *peer, id *wire.ID) (proof, *Failure) {
	cfg := p.settings(s)
	if !cfg.signs() {
		s.Auth.Ours = sharedKeyText
		return proof{auth: &wire.Auth{Method: wire.AuthSharedKey, Data: s.authOf(s.Initiator, cfg.PSK, id)}}, nil
	}
	g := &s.handshake.signatures
	var certs []wire.Payload
	var key *sign.PrivateKey
	if c := cfg.Certificates; c != nil {
		key = c.Own.Key()
		g.ownFault = c.Own.Check(e.wall.now(e.now), identityFrom(id))
		for _, data := range c.Own.Payloads() {
			certs = append(certs, &wire.Cert{Encoding: wire.CertX509, Data: data})
		}
	} else {
		key = cfg.RawKeys.Own
		if g.wantsRaw {
			certs = append(certs, &wire.Cert{Encoding: wire.CertRawKey, Data: key.Public().SPKI()})
		}
	}
	how, err := key.Choose(sign.Support{Announced: g.announced, Hashes: g.hashes, Theirs: g.theirs})
	var data []byte
	if err == nil {
		data, err = key.Sign(how, s.signedOctets(s.Initiator, id), e.rnd.r)
	}
	if err != nil {
		return proof{}, s.certificateFailure(err)
	}
	s.Auth.Ours = how.String()
	return proof{certs, &wire.Auth{Method: wire.AuthMethod(how.Method), Data: data}}, nil
}

// wantsEAP explains a request without AUTH.
func (s *ikeSA) wantsEAP(p *peer) *Failure {
	f := s.failure(FailAuthentication, "IKE_AUTH", "the peer wants to authenticate by EAP, "+p.cfg.way(), p.cfg.wayRemedy())
	f.Theirs = "identity " + s.RemoteID.String()
	return f
}

// verify authenticates the peer by the tunnel's way and no other: a is its AUTH
// payload, id its identity, c the message with its certificates.
func (e *Engine) verify(s *ikeSA, p *peer, c *wire.Contents, a *wire.Auth, id *wire.ID) *Failure {
	cfg := p.settings(s)
	if !cfg.signs() {
		if !s.verifyAuth(a, cfg.PSK, id) {
			return s.wrongAuth(p, a)
		}
		s.Auth.Theirs = sharedKeyText
		return nil
	}
	if !sign.Method(a.Method).IsSignature() {
		return s.wrongAuth(p, a)
	}
	var key *sign.PublicKey
	var f *Failure
	if cfg.Certificates != nil {
		key, f = e.certified(s, cfg, c)
	} else {
		key, f = s.pinned(cfg, c)
	}
	if f != nil {
		return f
	}
	e.chargeSignatures(s, 1)
	g := &s.handshake.signatures
	how, err := sign.Verify(key, sign.Method(a.Method), a.Data, s.signedOctets(!s.Initiator, id), g.announced)
	if err != nil {
		f := s.certificateFailure(err)
		f.Kind = FailAuthentication
		return f
	}
	g.theirs, s.Auth.Theirs = how, how.String()
	return nil
}

// explainSigned completes the explanation of the peer's AUTHENTICATION_FAILED
// when both sides sign: what is wrong on our side, as far as it can be known.
func (s *ikeSA) explainSigned(f *Failure) {
	p := &s.peer.cfg
	switch {
	case !p.signs():
	case p.RawKeys != nil:
		f.Ours += " with the key " + p.RawKeys.Own.Public().ShortFingerprint()
		f.Remedy = "compare this fingerprint with the key the peer has for us, and local_id here with what the peer expects; its log says which one it was"
	default:
		f.Ours += " with a certificate of " + p.Certificates.Own.Certificate().Issuer().String()
		f.Remedy = "the peer must trust this authority and expect our identity; its log says what it did not accept"
		var own *sign.Error
		if s.handshake != nil && errors.As(s.handshake.signatures.ownFault, &own) {
			f.Detail, f.Remedy = own.Detail, own.Remedy
		}
	}
}

// authOf is the data of an AUTH payload with a shared key (RFC 7296 section
// 2.15), of one side of an SA, ours or the peer's:
//
//	AUTH = prf( prf(Shared Secret, "Key Pad for IKEv2"), <SignedOctets>)
func (s *ikeSA) authOf(initiator bool, psk []byte, id *wire.ID) []byte {
	padded := s.keys.PRF.Sum(psk, []byte("Key Pad for IKEv2"))
	defer clear(padded)
	return s.keys.PRF.Sum(padded, s.signedOctets(initiator, id))
}

// signedOctets are what an AUTH payload of one side covers:
//
//	SignedOctets = RealMessage | NonceData of the other side | prf(SK_p, RestOfIDPayload) [| IntAuth]
func (s *ikeSA) signedOctets(initiator bool, id *wire.ID) []byte {
	h := s.handshake
	message, nonce, skp := h.message1, h.nr, s.keys.Pi
	if !initiator {
		message, nonce, skp = h.message2, h.ni, s.keys.Pr
	}
	body, _ := id.AppendBody(nil)
	return slices.Concat(message, nonce, s.keys.PRF.Sum(skp, body), h.inter.octets())
}

// verifyAuth checks the peer's AUTH payload. An empty PSK authenticates nobody.
func (s *ikeSA) verifyAuth(a *wire.Auth, psk []byte, id *wire.ID) bool {
	if a == nil || a.Method != wire.AuthSharedKey || len(psk) == 0 {
		return false
	}
	return hmac.Equal(a.Data, s.authOf(!s.Initiator, psk, id))
}

// wrongAuth explains an AUTH payload that does not authenticate.
func (s *ikeSA) wrongAuth(p *peer, a *wire.Auth) *Failure {
	f := s.failure(FailAuthentication, "IKE_AUTH", "", "")
	f.Theirs = "identity " + s.RemoteID.String()
	if p.cfg.signs() || a.Method != wire.AuthSharedKey {
		f.Detail = "the peer authenticates by " + a.Method.String() + ", " + p.cfg.way()
		f.Remedy = p.cfg.wayRemedy()
		return f
	}
	f.Detail = "the peer's pre-shared key differs from ours"
	f.Remedy = "write the same psk on both sides; mind spaces and line endings"
	return f
}

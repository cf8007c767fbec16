package ikev2

import (
	"bytes"
	"fmt"

	"greseal/ikev2/wire"
)

// Post-quantum pre-shared keys (RFC 8784): a secret that both sides have besides
// their credentials, mixed into SK_d, SK_pi and SK_pr of a first IKE SA. An attacker
// who records the traffic and can break the key exchange one day still lacks it.

// ppkFixed is the type of a PPK_ID that is configured (section 5.1).
const ppkFixed = 2

// ppkState is what a handshake knows about it.
type ppkState struct {
	agreed bool // both sides have sent USE_PPK
	mixed  bool // the keys of the SA contain it
}

// usesPPK reports whether a post-quantum pre-shared key is configured.
func (p *Peer) usesPPK() bool { return len(p.PPK) > 0 && p.PPKID != "" }

// mixPPK changes the keys of an SA, and keeps the old ones until it is
// authenticated.
func (s *ikeSA) mixPPK(ppk []byte) error {
	err := s.keys.Mix(ppk)
	s.handshake.ppk.mixed = err == nil
	return err
}

// unmixPPK goes back to the keys without it.
func (s *ikeSA) unmixPPK() {
	if s.handshake.ppk.mixed {
		s.keys.Unmix()
		s.handshake.ppk.mixed = false
	}
}

// offerPPK mixes the key in before the initiator authenticates itself. plain is
// the authentication data without it, which goes along unless the key is
// required.
func (s *ikeSA) offerPPK(plain []byte) ([]wire.Payload, error) {
	c := &s.peer.cfg
	if err := s.mixPPK(c.PPK); err != nil {
		return nil, err
	}
	ps := []wire.Payload{wire.NewNotify(wire.PPKIdentity, append([]byte{ppkFixed}, c.PPKID...))}
	if !c.PPKRequired {
		ps = append(ps, wire.NewNotify(wire.NoPPKAuth, plain))
	}
	return ps, nil
}

// settlePPK reads, as initiator, whether the responder uses the key. It comes
// before the responder's AUTH is checked, which is made with it or without.
func (s *ikeSA) settlePPK(c *wire.Contents) *Failure {
	if s.handshake.ppk.mixed && c.Notify(wire.PPKIdentity) != nil {
		return nil
	}
	if s.peer.cfg.PPKRequired {
		return s.noPPK(fmt.Sprintf("the peer does not use the post-quantum pre-shared key %q, which is required here", s.peer.cfg.PPKID),
			"give the peer the same ppk_id and ppk, or set ppk_required = false here")
	}
	s.unmixPPK()
	return nil
}

// acceptPPK decides, as responder, between the key and none (section 3, table
// 1). The answer is the AUTH payload to verify.
func (s *ikeSA) acceptPPK(p *peer, c *wire.Contents) (*wire.Auth, *Failure) {
	cfg := &p.cfg
	id, plain := c.Notify(wire.PPKIdentity), c.Notify(wire.NoPPKAuth)
	switch {
	case !s.handshake.ppk.agreed && cfg.PPKRequired:
		return nil, s.noPPK("the peer uses no post-quantum pre-shared key, which is required here",
			"configure ppk_id and ppk at the peer, or set ppk_required = false here")
	case !s.handshake.ppk.agreed:
		return c.Auth, nil
	case id == nil:
		return nil, s.noPPK("the peer agreed to use a post-quantum pre-shared key and does not name one", "report it to the peer's vendor")
	case cfg.usesPPK() && bytes.Equal(id.Data, append([]byte{ppkFixed}, cfg.PPKID...)):
		if err := s.mixPPK(cfg.PPK); err != nil {
			return nil, s.noPPK(err.Error(), "choose other ike proposals")
		}
		return c.Auth, nil
	case cfg.PPKRequired || plain == nil:
		f := s.noPPK("the two sides name different post-quantum pre-shared keys", "set the same ppk_id and ppk on both sides")
		f.Ours, f.Theirs = "ppk_id "+ppkName(cfg.PPKID), "ppk_id "+ppkName(ppkText(id.Data))
		return nil, f
	}
	// It may go without: the peer has authenticated itself for that, too.
	return &wire.Auth{Method: c.Auth.Method, Data: plain.Data}, nil
}

// wrongPPK explains, as responder, why AUTH did not verify with the key: what
// the peer sent for the case without one tells them apart. verify checks that.
func (s *ikeSA) wrongPPK(f *Failure, c *wire.Contents, verify func(*wire.Auth) bool) *Failure {
	if !s.handshake.ppk.mixed {
		return f
	}
	s.unmixPPK()
	if plain := c.Notify(wire.NoPPKAuth); plain != nil && verify(&wire.Auth{Method: c.Auth.Method, Data: plain.Data}) {
		return s.noPPK("the peer's post-quantum pre-shared key "+ppkName(s.ppkID(c))+" differs from ours; its authentication is right", "write the same ppk on both sides; mind spaces and line endings")
	}
	f.Detail += ", or its post-quantum pre-shared key does"
	f.Remedy += "; and the same ppk"
	return f
}

func (s *ikeSA) ppkID(c *wire.Contents) string {
	if n := c.Notify(wire.PPKIdentity); n != nil {
		return ppkText(n.Data)
	}
	return ""
}

func ppkText(data []byte) string {
	if len(data) > 0 && data[0] == ppkFixed {
		return string(data[1:])
	}
	return fmt.Sprintf("of another type (%d bytes)", len(data))
}

// ppkName writes a name that came from the network, or none.
func ppkName(id string) string {
	switch {
	case id == "":
		return "none"
	case len(id) > 64:
		id = id[:64] + "…"
	}
	return fmt.Sprintf("%q", id)
}

func (s *ikeSA) noPPK(detail, remedy string) *Failure {
	return s.failure(FailAuthentication, "IKE_AUTH", detail, remedy)
}

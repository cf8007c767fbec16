package ikev2

import (
	"crypto/hmac"
	"slices"
	"time"

	"greseal/crypto/kex"
	"greseal/ikev2/wire"
)

// handshake is what an IKE SA needs only until it is authenticated.
type handshake struct {
	ke       kex.Exchange
	ni, nr   []byte
	message1 []byte // IKE_SA_INIT request and response as sent: AUTH covers them
	message2 []byte
	deadline Time

	// Initiator.
	cookie       []byte
	cookies      int      // COOKIE answers followed since the last timeout
	regroups     int      // INVALID_KE_PAYLOAD answers followed
	tried        []uint16 // key exchange methods tried
	refused      *Failure // unauthenticated error notify, the latest
	reachability bool     // a reachability probe: ends with the answer to IKE_SA_INIT; only whether there is one counts
	abandoned    bool     // closed meanwhile: delete it when it stands

	inter intermediate // additional key exchanges
	ppk   ppkState

	signatures signatures
	seen       []byte // NAT_DETECTION_DESTINATION_IP of the response

	recorded int // messages in the flight recorder, 0: it is not to be there

	// Responder.
	key      halfKey
	peerKE   []byte
	standing standing
	// Authenticated, but another peer has the tunnel.
	newcomer *newcomer
}

func (h *handshake) wipe() {
	h.ke = nil
	clear(h.ni)
	clear(h.nr)
}

// attemptTime is how long an initiator tries; refusedTime, how long it goes on
// after an error notify that anybody may have sent (RFC 7296 section 2.21.1).
const (
	attemptTime = 60 * time.Second
	refusedTime = 12 * time.Second
)

// handshakeTimeout ends an attempt that came to nothing.
func (e *Engine) handshakeTimeout(s *ikeSA) {
	f := s.handshake.refused
	if f == nil {
		if s.req != nil {
			f = s.timeoutFailure(s.req)
		} else {
			f = s.failure(FailTimeout, "IKE_SA_INIT", "", "")
		}
	}
	p, silent := s.peer, s.handshake.abandoned
	e.drop(s, nil, false)
	if p != nil && !silent {
		e.emit(Failed{p.cfg.ID, f})
	}
}

// fail ends an attempt for good.
func (e *Engine) fail(s *ikeSA, f *Failure) {
	p := s.peer
	silent := s.handshake != nil && s.handshake.abandoned
	e.drop(s, f, false)
	if p != nil && !silent {
		e.emit(Failed{p.cfg.ID, f})
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

// idPayload and identityOf turn identities into payloads and back.
func idPayload(of wire.PayloadType, i Identity) *wire.ID {
	return &wire.ID{Of: of, Kind: wire.IDKind(i.Type), Data: []byte(i.Data)}
}

func identityFrom(p *wire.ID) Identity {
	if p == nil || len(p.Data) > maxIdentity {
		return Identity{}
	}
	return Identity{Type: uint8(p.Kind), Data: string(p.Data)}
}

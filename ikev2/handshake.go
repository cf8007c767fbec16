package ikev2

import "greseal/crypto/kex"

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
	abandoned    bool     // closed meanwhile: delete it once established

	inter intermediate // additional key exchanges
	ppk   ppkState

	signatures signatures
	seen       []byte // NAT_DETECTION_DESTINATION_IP of the response
	followed   bool   // a message came after IKE_SA_INIT, whoever sent it

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

package ikev2

import (
	"testing"
	"time"

	"greseal/crypto/kex"
	"greseal/crypto/suite"
)

func postquantum(w, e *Peer) {
	w.IKE = []suite.Proposal{ike("aes128gcm16-prfsha256-x25519-mlkem768")}
	e.IKE = w.IKE
}

// halfOpenAt is the responder's IKE SA once IKE_INTERMEDIATE is done and
// IKE_AUTH is under way.
func halfOpenAt(t *testing.T, n *network, w, e *node) *ikeSA {
	t.Helper()
	w.initiate()
	for range 1000 {
		for _, s := range e.e.sas {
			if s.state == stateHalfOpen && s.handshake.inter.rounds == 1 {
				return s
			}
		}
		n.step()
	}
	t.Fatal("no IKE_INTERMEDIATE took place")
	return nil
}

func TestAuthCoversBothSidesOfIKEIntermediate(t *testing.T) {
	for name, spoil := range map[string]func(*intermediate){
		"request":    func(x *intermediate) { x.i[0] ^= 1 },
		"response":   func(x *intermediate) { x.r[0] ^= 1 },
		"message ID": func(x *intermediate) { x.rounds++ },
	} {
		t.Run(name, func(t *testing.T) {
			n, w, e := twoNodes(t, 5, postquantum)
			spoil(&halfOpenAt(t, n, w, e).handshake.inter)
			n.run(n.now + time.Second)
			if len(w.failed) != 1 || w.failed[0].Reason.Kind != FailAuthentication || len(e.e.Children("west")) != 0 {
				t.Errorf("it was not noticed: %v", w.failed)
			}
		})
	}
}

func TestIKEAuthBeforeTheLastAdditionalKeyExchangeIsRefused(t *testing.T) {
	n, w, e := twoNodes(t, 5, postquantum)
	s := halfOpenAt(t, n, w, e)
	s.handshake.inter.methods = []uint16{suite.KE_MLKEM_1024}
	n.run(n.now + time.Second)
	if len(w.failed) != 1 || w.failed[0].Reason.Kind != FailSyntax || len(e.e.sas) != 0 {
		t.Errorf("it was not refused: %v, %d IKE SAs", w.failed, len(e.e.sas))
	}
}

// What the peer must not get away with in the response.
func TestBadIKEIntermediateResponsesEndTheAttempt(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*intermediate)
		kind  FailureKind
	}{
		"another method":     {func(x *intermediate) { x.ke = otherKE(t) }, FailSyntax},
		"an impossible size": {func(x *intermediate) { x.ke = oddKE{x.ke} }, FailInvalidKE},
	} {
		t.Run(name, func(t *testing.T) {
			n, w, e := twoNodes(t, 5, postquantum)
			halfOpenAt(t, n, w, e)
			for _, s := range w.e.sas {
				if s.handshake != nil && s.handshake.inter.ke != nil {
					c.spoil(&s.handshake.inter)
				}
			}
			n.run(n.now + time.Second)
			if len(w.failed) != 1 || w.failed[0].Reason.Kind != c.kind {
				t.Errorf("failed with %v", w.failed)
			}
		})
	}
}

// A peer that stops in the middle costs the responder no more time than one
// that never comes to IKE_AUTH.
func TestHalfOpenSAIsForgottenAfterIKEIntermediate(t *testing.T) {
	n, w, e := twoNodes(t, 5, postquantum)
	halfOpenAt(t, n, w, e)
	n.filter = func(*flight) bool { return false }
	n.queue = nil
	n.run(n.now + halfOpenLife + time.Second)
	if len(e.e.sas) != 0 || e.e.Stats().HalfOpen != 0 {
		t.Errorf("%d IKE SAs are left, %d half-open", len(e.e.sas), e.e.Stats().HalfOpen)
	}
}

// A tunnel that requires an additional key exchange must not be talked out of
// it by way of another tunnel between the same addresses.
func TestSuiteWithoutAdditionalKeyExchangeIsNotTheTunnelsOwn(t *testing.T) {
	n, w, e := twoNodes(t, 5, func(w, e *Peer) {
		e.IKE = []suite.Proposal{ike("aes128gcm16-prfsha256-x25519-mlkem768")}
		e.RemoteID = pattern("192.0.2.1")
	})
	other := testPeer("lax")
	other.RemoteID = pattern("someone.example")
	e.do(e.e.SetPeer(n.now, other))
	w.initiate()
	n.run(time.Second)
	if len(w.failed) != 1 || w.failed[0].Reason.Kind != FailAuthentication || len(e.noted) != 1 || e.noted[0].Reason.Kind != FailNoProposal {
		t.Errorf("west failed with %v, east noted %v", w.failed, e.noted)
	}
}

type oddKE struct{ kex.Exchange }

func (x oddKE) Shared(peer []byte) ([]byte, error) { return x.Exchange.Shared(peer[1:]) }

func otherKE(t *testing.T) kex.Exchange {
	x, err := kex.New(suite.KE_CURVE25519, seeded(1))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

package ikev2

import (
	"strings"
	"testing"
)

func TestEveryFailureIsOneSentence(t *testing.T) {
	for k := FailTimeout; k <= FailNotify; k++ {
		f := &Failure{
			Kind: k, Exchange: "IKE_AUTH", Local: "192.0.2.1:500", Remote: "192.0.2.2:500",
			Ours: "ours", Theirs: "theirs", Detail: "the detail", Remedy: "do this", Attempts: 3,
		}
		for _, by := range []bool{false, true} {
			f.ByPeer = by
			s := f.Error()
			for _, part := range []string{"IKE_AUTH with 192.0.2.2:500: ", "the detail", "ours: ours", "theirs: theirs", "do this", "3 attempts"} {
				if !strings.Contains(s, part) {
					t.Errorf("kind %d: %q lacks %q", k, s, part)
				}
			}
			if strings.Contains(s, "\n") || strings.HasSuffix(s, "; ") || strings.Contains(s, ": :") {
				t.Errorf("kind %d: %q", k, s)
			}
		}
		if s := (&Failure{Kind: k}).Error(); len(s) < 8 {
			t.Errorf("kind %d alone: %q", k, s)
		}
	}
	if s := (&Failure{Kind: 200}).Error(); !strings.Contains(s, "refused") {
		t.Errorf("an unknown kind: %q", s)
	}
}

// What the peer refused with is said in our words, with our side's view and what
// to change.
func TestRefusalsNameTheRemedy(t *testing.T) {
	for _, c := range []struct {
		name        string
		west, east  func(*Peer)
		side        string // who reports it
		kind        FailureKind
		must        []string
		exchange    string
		atInitiator bool
	}{
		{
			name: "PSK", west: func(p *Peer) { p.PSK = []byte("other") },
			kind: FailAuthentication, must: []string{"compare psk on both sides", "identity 192.0.2.1"}, atInitiator: true,
		},
		{
			name: "PSK, seen by the responder", west: func(p *Peer) { p.PSK = []byte("other") },
			kind: FailAuthentication, must: []string{"pre-shared key differs", "192.0.2.1"},
		},
		{
			name: "identity", east: func(p *Peer) { p.RemoteID = pattern("west.example") },
			kind: FailIdentity, must: []string{"expected identity west.example", "identity 192.0.2.1", "local_id", "remote_id"},
		},
		{
			name: "ESP", east: func(p *Peer) { p.ESP = nil; p.ESP = append(p.ESP, espProposal("chacha20poly1305")) },
			kind: FailNoProposal, must: []string{"aes128gcm16", "chacha20poly1305", "no match for ENCR"},
		},
		{
			name: "selectors", east: func(p *Peer) { p.GRERemote = addr("10.9.9.9") },
			kind: FailSelectors, must: []string{"10.9.9.9", "192.0.2.1 protocol 47", "gre_remote"},
		},
		{
			name: "selectors, seen by the initiator", east: func(p *Peer) { p.GRERemote = addr("10.9.9.9") },
			kind: FailSelectors, must: []string{"192.0.2.1 protocol 47 to 192.0.2.2 protocol 47", "the peer must allow"}, atInitiator: true,
		},
	} {
		n, w, e := twoNodes(t, 5, func(a, b *Peer) {
			if c.west != nil {
				c.west(a)
			}
			if c.east != nil {
				c.east(b)
			}
		})
		w.initiate()
		n.run(1e9)
		x := e
		if c.atInitiator {
			x = w
		}
		var got []*Failure
		for _, f := range x.failed {
			got = append(got, f.Reason)
		}
		for _, f := range x.noted {
			got = append(got, f.Reason)
		}
		if len(got) != 1 || got[0].Kind != c.kind {
			t.Errorf("%s: %v", c.name, got)
			continue
		}
		for _, part := range c.must {
			if !strings.Contains(got[0].Error(), part) {
				t.Errorf("%s: %q lacks %q", c.name, got[0], part)
			}
		}
	}
}

package ikev2

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"greseal/ikev2/recorder"
	"greseal/ikev2/wire"
)

// kept is what a ring holds, counted again.
func kept(g *recorder.Ring) (n int) {
	for i := range g.Records {
		n += g.Records[i].Size()
	}
	return n
}

// Strangers, however many, push out strangers only, and the ring keeps to its
// size; what happened with a peer stays.
func TestStrangersDoNotPushHandshakesOut(t *testing.T) {
	n, w, e := twoNodes(t, 3, nil)
	w.initiate()
	n.run(time.Second)
	before := len(e.e.Handshakes(e.peer.ID))
	if before < 6 {
		t.Fatalf("%d steps of a whole handshake", before)
	}
	e.peer.Remotes = nil
	e.do(e.e.SetPeer(n.now, e.peer))
	for i := range uint64(20_000) {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 99, byte(i >> 8), byte(i)}), 500)
		n.now += 50 * time.Millisecond
		e.e.Receive(n.now, Datagram{e.local, from, initRequest(i+1, nil)})
	}
	r := &e.e.rec
	if r.Foreign.Size > recorder.Foreign || r.Foreign.Size != kept(&r.Foreign) || r.Known.Size != kept(&r.Known) || r.Known.Size > recorder.Octets-recorder.Foreign {
		t.Fatalf("%d octets of strangers (counted %d) and %d of peers are kept", r.Foreign.Size, kept(&r.Foreign), r.Known.Size)
	}
	if len(r.Foreign.Records) < 50 {
		t.Fatalf("%d records of strangers, want the latest to be there", len(r.Foreign.Records))
	}
	known := 0
	for _, s := range e.e.Handshakes("") {
		if s.IKE == 1 {
			known++
		}
	}
	if known != before {
		t.Fatalf("%d of %d steps of the handshake are left", known, before)
	}
}

// With the time a ring takes what comes and forgets the oldest.
func TestRecorderForgetsTheOldest(t *testing.T) {
	n, w, e := twoNodes(t, 4, nil)
	n.quiet()
	w.initiate()
	n.run(time.Second)
	for range 400 {
		w.rekeyChildren()
		n.run(n.now + 10*time.Second)
	}
	for _, x := range []*node{w, e} {
		g := &x.e.rec.Known
		if g.Size > g.Limit || g.Size < g.Limit/2 || g.Size != kept(g) {
			t.Errorf("%s keeps %d octets, counted %d", x.name, g.Size, kept(g))
		}
		steps := x.e.Handshakes(x.peer.ID)
		if steps[0].Exchange == "IKE_SA_INIT" {
			t.Errorf("%s still has the first message after 400 rekeyings", x.name)
		}
		for i := 1; i < len(steps); i++ {
			if steps[i].At < steps[i-1].At {
				t.Fatalf("%s: steps are out of order", x.name)
			}
		}
	}
}

// What is kept has neither keys nor nonces nor what proves an identity.
func TestRecorderKeepsNoSecret(t *testing.T) {
	n, w, e := twoNodes(t, 5, postquantum)
	var secrets [][]byte
	for _, x := range []*node{w, e} {
		x.e.onMessage = func(data []byte, _ wire.Header, outer, inner []wire.Payload) {
			x.texts[&data[0]] = ""
			for _, p := range append(outer, inner...) {
				switch p := p.(type) {
				case *wire.Nonce:
					secrets = append(secrets, p.Data)
				case *wire.KE:
					secrets = append(secrets, p.Data[:16])
				case *wire.Auth:
					secrets = append(secrets, p.Data[:16])
				}
			}
		}
	}
	w.initiate()
	n.run(time.Second)
	w.rekeyIKE()
	n.run(n.now + time.Second)
	if len(secrets) < 8 {
		t.Fatalf("only %d secrets were seen", len(secrets))
	}
	for _, x := range []*node{w, e} {
		for _, g := range []*recorder.Ring{&x.e.rec.Known, &x.e.rec.Foreign} {
			for _, r := range g.Records {
				for _, s := range append(secrets, x.peer.PSK) {
					if bytes.Contains(r.Body, s) {
						t.Fatalf("%s keeps %x of IKE SA %d", x.name, s, r.IKE)
					}
				}
			}
		}
	}
	var all strings.Builder
	for _, s := range w.e.Handshakes("") {
		all.WriteString(s.Exchange + " " + strings.Join(s.Payloads, " ") + "\n")
	}
	for _, want := range []string{"IKE_INTERMEDIATE KE(ml-kem-768, 1184 octets)", "IKE_FOLLOWUP_KE", "Nonce(32 octets)"} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("no %q in\n%s", want, all.String())
		}
	}
}

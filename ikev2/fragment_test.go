package ikev2

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"greseal/crypto/suite"
	"greseal/ikev2/fragment"
	"greseal/ikev2/keymat"
	"greseal/ikev2/wire"
)

// A request of the peer's and its response to one of ours may come at the same
// time, each in fragments. Neither disturbs the other, and what somebody without
// keys throws in between disturbs none (RFC 7383 section 2.6).
func TestFragmentsOfARequestAndOfAResponseDoNotMix(t *testing.T) {
	n, w, e := twoNodes(t, 3, func(west, east *Peer) {
		for _, p := range []*Peer{west, east} {
			p.IKE = []suite.Proposal{ike("aes128gcm16-prfsha256-modp3072")}
			p.PathMTU = 576
		}
	})
	w.initiate()
	n.run(time.Second)
	agree(t, w, e)

	n.hold = true
	take := func(from *node) (out []*flight) {
		n.run(n.now + time.Millisecond)
		for _, f := range n.held {
			if f.from == from {
				out = append(out, f)
			}
		}
		n.held = slices.DeleteFunc(n.held, func(f *flight) bool { return f.from == from })
		return out
	}
	w.rekeyChildren()
	e.rekeyChildren()
	requests, theirs := take(w), take(e)
	for _, f := range theirs {
		n.deliver(f)
	}
	responses := take(w)
	if len(requests) != 2 || len(responses) != 2 {
		t.Fatalf("%d and %d fragments", len(requests), len(responses))
	}
	sa := e.e.peers[e.peer.ID].established()[0]
	asked, expected := sa.req, sa.nextIn
	for i := range 2 {
		for _, f := range []*flight{requests[i], responses[i]} {
			for _, g := range forgeries(f) {
				n.deliver(g)
			}
			n.deliver(f)
			n.deliver(f)
		}
	}
	if sa.nextIn != expected+1 || sa.req == asked {
		t.Errorf("request read: %v, response read: %v", sa.nextIn == expected+1, sa.req != asked)
	}
	n.hold = false
	n.run(n.now + 20*time.Second)
	agree(t, w, e)
}

// forgeries are what somebody who sees a fragment but has no key makes of it:
// another number, another total, other content, nothing but the numbers.
func forgeries(f *flight) (out []*flight) {
	const number, total = 32, 34 // of an SKF payload, in a message
	forge := func(change func([]byte) []byte) {
		g := *f
		g.data = change(bytes.Clone(f.data))
		binary.BigEndian.PutUint32(g.data[24:], uint32(len(g.data)))
		binary.BigEndian.PutUint16(g.data[30:], uint16(len(g.data)-28))
		out = append(out, &g)
	}
	for _, at := range []int{number, total} {
		forge(func(b []byte) []byte { b[at+1]++; return b })
	}
	forge(func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
	forge(func(b []byte) []byte { return b[:total+2] })
	return out
}

// What of a message never came is given up with what did (RFC 7383 section 2.6):
// the IKE SA goes on, and a repetition is taken as a new one.
func TestFragmentsOfAnUnfinishedMessageAreForgotten(t *testing.T) {
	n, w, e := twoNodes(t, 3, func(west, east *Peer) {
		for _, p := range []*Peer{west, east} {
			p.IKE = []suite.Proposal{ike("aes128gcm16-prfsha256-modp3072")}
			p.PathMTU, p.DPD = 576, 0
		}
	})
	w.initiate()
	n.run(time.Second)
	n.hold = true
	w.rekeyChildren()
	n.run(n.now + time.Millisecond)
	request := n.held
	n.held, n.hold = nil, false
	n.filter = func(*flight) bool { return false }
	n.deliver(request[0])
	sa := e.e.peers[e.peer.ID].established()[0]
	n.run(n.now + fragment.Life - time.Second)
	if sa.parts.Request == nil {
		t.Error("forgotten too early")
	}
	n.run(n.now + 2*time.Second)
	if sa.parts.Request != nil {
		t.Error("not forgotten")
	}
	n.filter = nil
	n.run(n.now + 20*time.Second)
	agree(t, w, e)
}

// A request is to be repeated bit for bit (RFC 7296 section 2.1). One that is sealed
// again is answered by what the first was answered by, and done once.
func TestRequestSealedAnewIsAnsweredAgain(t *testing.T) {
	n, w, e := twoNodes(t, 3, nil)
	w.initiate()
	n.run(time.Second)
	n.filter = func(f *flight) bool { return f.from == w } // what east answers is lost
	w.rekeyChildren()
	n.run(n.now + 10*time.Millisecond)
	childSAs := len(e.e.childSAs)
	r := w.e.peers[w.peer.ID].established()[0].req
	s := w.e.peers[w.peer.ID].established()[0]
	m, err := wire.Parse(r.message.Data[0])
	if err != nil {
		t.Fatal(err)
	}
	inner, err := m.Open(s.keys.Out.(keymat.Sealer))
	if err != nil {
		t.Fatal(err)
	}
	again, err := wire.AppendSealed(nil, m.Header, inner, s.keys.Out)
	if err != nil || bytes.Equal(again, r.message.Data[0]) {
		t.Fatal("not sealed anew", err)
	}
	n.filter = nil
	before := e.e.Stats().Retransmitted
	n.put(&flight{from: w, src: s.local, dst: s.remote, data: again, text: "sealed anew"})
	n.run(n.now + 10*time.Millisecond)
	if e.e.Stats().Retransmitted != before+1 || len(e.e.childSAs) != childSAs || s.req == r {
		t.Errorf("repeated %d, %d Child SAs and %d before, answered %v", e.e.Stats().Retransmitted-before, len(e.e.childSAs), childSAs, s.req != r)
	}
	again[len(again)-1] ^= 1 // and forged it is nothing
	before = e.e.Stats().Retransmitted
	n.put(&flight{from: w, src: s.local, dst: s.remote, data: again, text: "forged"})
	n.run(n.now + 10*time.Second)
	if e.e.Stats().Retransmitted != before {
		t.Error("a forged one was answered")
	}
	agree(t, w, e)
}

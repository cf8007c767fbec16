package ikev2

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"greseal/crypto/suite"
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

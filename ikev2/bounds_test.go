package ikev2

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"greseal/crypto/kex"
	"greseal/crypto/rate"
	"greseal/crypto/suite"
	"greseal/ikev2/selector"
	"greseal/ikev2/wire"
)

func heapOctets() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// holds is what an engine holds, by number.
func holds(e *node) map[string]int {
	h := map[string]int{
		"IKE SAs": len(e.e.sas), "IKE SAs by number": len(e.e.ids), "timers": len(e.e.timers),
		"inbound SPIs": len(e.e.bySPI), "Child SAs": len(e.e.childSAs), "SAs in the datapath": len(e.in) + len(e.out),
		"reserved SPIs": len(e.e.ikeReserved) + len(e.e.espReserved), "answers kept": len(e.e.responses),
	}
	for _, p := range e.e.order {
		h["IKE SAs of a peer"] = max(h["IKE SAs of a peer"], len(p.sas))
		h["lingering"] = max(h["lingering"], len(p.lingering))
		h["outbound"] = max(h["outbound"], len(p.outs))
		for _, s := range p.sas {
			if s.mob != nil {
				h["addresses"] = max(h["addresses"], len(s.mob.others))
				h["octets of an address"] = max(h["octets of an address"], len(s.mob.seen))
			}
		}
	}
	return h
}

// bounds are those of one peer, whatever it does.
var bounds = map[string]int{
	"IKE SAs": maxSAs + 2, "IKE SAs by number": maxSAs + 2, "timers": maxSAs + maxLingering + 4,
	"inbound SPIs": maxChildren + maxSAs + maxLingering, "Child SAs": maxChildren + maxSAs + maxLingering,
	"SAs in the datapath": 2*(maxChildren+maxSAs) + maxLingering,
	"reserved SPIs":       2 * maxSAs, "answers kept": maxResponses,
	"IKE SAs of a peer": maxSAs, "lingering": maxLingering, "outbound": maxChildren + maxSAs,
	"addresses": maxOthers, "octets of an address": natHashLen,
}

// An authenticated peer that asks for the same thing again and again, and never
// deletes anything that it may keep, makes us hold no more than a fixed number of
// anything.
func TestAuthenticatedPeerIsBounded(t *testing.T) {
	rekeyIKE := func(l *liar) {
		for _, s := range l.w.e.peers["east"].established() {
			l.w.do(l.w.e.RekeyIKE(l.w.time(), s.ID))
		}
		l.n.run(l.n.now + 20*time.Millisecond)
	}
	// again makes a new IKE SA, as a peer that was started again, without a word about
	// that.
	anew := func(l *liar) {
		l.w.boot()
		l.w.quiet, l.w.e.onMessage = true, nil
		l.w.initiate()
		l.n.run(l.n.now + 20*time.Millisecond)
	}
	keepDeletes := func(l *liar) {
		l.n.tamper = func(x *node, h wire.Header, ps []wire.Payload) []wire.Payload {
			if x != l.w {
				return ps
			}
			var rest []wire.Payload
			for _, p := range ps {
				if _, del := p.(*wire.Delete); del {
					continue
				}
				if n, ok := p.(*wire.Notify); ok && n.Kind == wire.InitialContact {
					continue
				}
				rest = append(rest, p)
			}
			return rest
		}
	}
	with := func(kind wire.NotifyType, octets int) wire.Payload { return wire.NewNotify(kind, make([]byte, octets)) }
	port := uint16(1024)
	for _, c := range []struct {
		name   string
		times  int
		before func(l *liar)
		do     func(l *liar, i int)
	}{
		{"rekeys the IKE SA", 500, keepDeletes, func(l *liar, _ int) { rekeyIKE(l) }},
		{"rekeys the Child SA", 500, keepDeletes, func(l *liar, _ int) { l.w.rekeyChildren(); l.n.run(l.n.now + 8*time.Millisecond) }},
		{"rekeys the Child SA and deletes", 500, nil, func(l *liar, _ int) { l.w.rekeyChildren(); l.n.run(l.n.now + 8*time.Millisecond) }},
		{"rekeys both", 500, keepDeletes, func(l *liar, _ int) { l.w.rekeyChildren(); l.n.run(l.n.now + 8*time.Millisecond); rekeyIKE(l) }},
		{"asks for Child SAs", 1000, nil, func(l *liar, _ int) { l.childSA(l.s.local, l.w.local.Addr(), l.e.local.Addr(), nil) }},
		{"begins Child SAs in several key exchanges", 300, nil, func(l *liar, _ int) {
			tsi, tsr := selector.Payloads(l.w.local.Addr(), l.e.local.Addr())
			k := mustKE(t, 31)
			l.ask(l.s.local, wire.CreateChildSA, saPayload([]suite.Proposal{espProposal("aes128gcm16-x25519-mlkem768")}, []byte{9, 9, 8, 8}),
				&wire.Nonce{Data: make([]byte, 32)}, k, tsi, tsr)
		}},
		{"makes IKE SAs", 300, keepDeletes, func(l *liar, _ int) { anew(l) }},
		{"makes IKE SAs and rekeys them", 200, keepDeletes, func(l *liar, _ int) {
			anew(l)
			for range 8 {
				l.w.rekeyChildren()
				l.n.run(l.n.now + 8*time.Millisecond)
			}
			rekeyIKE(l)
		}},
		{"makes IKE SAs without a Child SA", 300, func(l *liar) {
			keepDeletes(l)
			l.w.peer.GRELocal = netip.MustParseAddr("10.99.0.1")
		}, func(l *liar, _ int) { anew(l) }},
		{"makes and closes IKE SAs", 1500, nil, func(l *liar, _ int) {
			anew(l)
			l.w.do(l.w.e.Close(l.w.time(), "east"))
			l.n.run(l.n.now + 20*time.Millisecond)
		}},
		{"moves", 1000, nil, func(l *liar, _ int) {
			port++
			l.ask(netip.AddrPortFrom(bystander, port), wire.Informational, notify(wire.UpdateSAAddresses))
		}},
		{"moves to where it is heard", 1000, nil, func(l *liar, _ int) {
			port++
			l.ask(netip.AddrPortFrom(l.w.local.Addr(), port), wire.Informational, notify(wire.UpdateSAAddresses))
		}},
		{"says from where it is seen", 300, nil, func(l *liar, _ int) {
			l.ask(l.s.local, wire.Informational, notify(wire.UpdateSAAddresses), with(wire.NATDetectionSourceIP, 20000), with(wire.NATDetectionDestinationIP, 20000))
		}},
		{"lists addresses", 300, nil, func(l *liar, i int) {
			ps := make([]wire.Payload, 200)
			for k := range ps {
				ps[k] = wire.NewNotify(wire.AdditionalIP4Address, binary.BigEndian.AppendUint32(nil, 0x0a000000+uint32(i*200+k)))
			}
			l.ask(l.s.local, wire.Informational, ps...)
		}},
		{"deletes what is not there", 300, nil, func(l *liar, i int) {
			d := &wire.Delete{Protocol: suite.ESP, SPIs: make([]uint32, 4000)}
			for k := range d.SPIs {
				d.SPIs[k] = uint32(1<<20 + i*4000 + k)
			}
			l.ask(l.s.local, wire.Informational, d)
		}},
		{"sends notifies", 300, nil, func(l *liar, i int) {
			l.ask(l.s.local, wire.Informational, with(wire.NotifyType(40000+i), 20000), with(wire.AuthLifetime, 4), with(wire.Cookie2, 20000))
		}},
		{"sends ESP from everywhere", 1000, nil, func(l *liar, _ int) {
			port++
			for _, c := range l.e.e.Children("west") {
				l.e.do(l.e.e.Mapped(l.e.time(), c.SPIIn, netip.AddrPortFrom(bystander, port)))
			}
		}},
		{"asks whether we live", 3000, nil, func(l *liar, _ int) { l.ask(l.s.local, wire.Informational) }},
		{"begins messages in fragments", 300, nil, func(l *liar, _ int) {
			h := l.s.header(wire.Informational, l.s.nextOut, false)
			all, err := wire.SealFragments(h, wire.TypeNotify, make([]byte, 30000), l.s.keys.Out, 16000, 4)
			if err != nil {
				t.Fatal(err)
			}
			l.n.put(&flight{from: l.w, src: l.s.local, dst: l.s.remote, data: all[0], text: "crafted", forged: true})
			l.ask(l.s.local, wire.Informational)
		}},
		{"refuses in IKE what it asks for", 300, nil, func(l *liar, _ int) {
			l.ask(l.s.local, wire.CreateChildSA, saPayload([]suite.Proposal{ike("aes256gcm16-prfsha512-ecp384")}, make([]byte, 8)), &wire.Nonce{Data: make([]byte, 32)}, mustKE(t, 20))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLiar(t, 61, func(w, e *Peer) {
				e.Remotes = nil
				e.IKE = append(e.IKE, ike("aes128gcm16-prfsha256-x25519-mlkem768"))
			})
			l.n.quiet()
			l.e.e.peers["west"].renewals = rate.Bucket{Burst: 1e9, Each: 1} // the bounds hold without
			if c.before != nil {
				c.before(l)
			}
			most := map[string]int{}
			kept := heapOctets()
			times := c.times
			if testing.Short() {
				times /= 8
			}
			for i := range times {
				c.do(l, i)
				for what, n := range holds(l.e) {
					most[what] = max(most[what], n)
				}
			}
			l.w.e = nil // its own engine is not what is measured
			l.w.texts, l.w.seen, l.w.downs, l.w.noted, l.w.failed, l.w.moved, l.w.gone = nil, nil, nil, nil, nil, nil, nil
			l.e.texts, l.e.seen, l.e.downs, l.e.noted, l.e.failed, l.e.moved, l.e.gone = nil, nil, nil, nil, nil, nil, nil
			l.s, l.n.tamper, l.n.queue = nil, nil, nil
			grown := int(heapOctets()) - int(kept)
			for what, n := range most {
				if n > bounds[what] {
					t.Errorf("%s: %d, the bound is %d", what, n, bounds[what])
				}
			}
			if grown > 4<<20 {
				t.Errorf("%d octets more are held after %d times", grown, c.times)
			}
			runtime.KeepAlive(l)
		})
	}
}

// mustKE is a key exchange payload with a fresh value.
func mustKE(t *testing.T, method uint16) *wire.KE {
	t.Helper()
	e := New(Config{Rand: seeded(uint64(method))})
	k, err := e.kex.start(method, e.rnd.r)
	if err != nil {
		t.Fatal(fmt.Errorf("method %d: %w", method, err))
	}
	return &wire.KE{Method: method, Data: k.Public()}
}

// New keys cost computing: a peer that asks for them without end is put off, and
// one that rekeys as fast as a test can want is not.
func TestNewKeysAreRationed(t *testing.T) {
	l := newLiar(t, 62, nil)
	l.n.quiet()
	made := 0
	l.e.e.kex.respond = func(method uint16, rand io.Reader, peer []byte) ([]byte, []byte, error) {
		made++
		return kex.Respond(method, rand, peer)
	}
	for range 1000 { // 20 s
		for _, s := range l.w.e.peers["east"].established() {
			s.retryAt = 0
			l.w.do(l.w.e.RekeyIKE(l.w.time(), s.ID))
		}
		l.n.run(l.n.now + 20*time.Millisecond)
	}
	if made > 300 || made < 100 {
		t.Errorf("%d key exchanges in 20 s", made)
	}
}

package ikev2

import (
	"encoding/binary"
	"testing"
	"time"

	"greseal/ikev2/wire"
)

// transparent is the protection of an IKE SA that protects nothing, so that a
// fuzzer reaches inside: it exists in tests only.
type transparent struct{}

func (transparent) Overhead(int) int { return 0 }

func (transparent) Seal(dst, _, plaintext []byte) ([]byte, error) {
	return append(dst, plaintext...), nil
}

func (transparent) Open(dst, _, sealed []byte) ([]byte, error) { return append(dst, sealed...), nil }

// fuzzStates is how many states of a conversation FuzzEngine begins in.
const fuzzStates uint8 = 12

// FuzzEngine gives both sides of an IKE SA, in every state of a conversation,
// datagrams of the fuzzer's making: spi chooses whose SPIs they carry, the
// header's message ID and flags come from the input. Nothing may panic, and what
// is kept must stay bounded.
func FuzzEngine(f *testing.F) {
	f.Add(uint8(0), uint8(0), initRequest(1, nil))
	f.Add(uint8(1), uint8(1), initRequest(7, []byte("cookie")))
	contents := [][]wire.Payload{
		nil,
		{wire.NewNotify(wire.AuthLifetime, []byte{0, 0, 0, 60})},
		{wire.NewNotify(wire.UpdateSAAddresses, nil), wire.NewNotify(wire.Cookie2, make([]byte, 16))},
		{&wire.ID{Of: wire.TypeIDi, Kind: wire.IDFQDN, Data: []byte("west")}, &wire.Auth{Method: wire.AuthSharedKey, Data: make([]byte, 32)}, wire.NewNotify(wire.InitialContact, nil)},
		{&wire.Delete{Protocol: 1}},
		{&wire.Delete{Protocol: 3, SPIs: []uint32{1, 2}}},
		{wire.NewNotify(wire.TemporaryFailure, nil)},
		{&wire.KE{Method: 36, Data: make([]byte, 1184)}, wire.NewNotify(wire.AdditionalKeyExchange, make([]byte, 8))},
		{&wire.Nonce{Data: make([]byte, 32)}, &wire.KE{Method: 31, Data: make([]byte, 32)}, saPayload(testPeer("x").IKE, make([]byte, 8))},
		{wire.NewSANotify(wire.RekeySA, 3, 1), &wire.Nonce{Data: make([]byte, 32)}, saPayload(testPeer("x").ESP, []byte{0, 1, 2, 3})},
	}
	exchanges := []wire.ExchangeType{wire.IKEAuth, wire.CreateChildSA, wire.Informational, wire.IKEIntermediate, wire.IKEFollowupKE}
	// Each state has each exchange; the contents go round.
	next := 0
	for state := range fuzzStates {
		for _, x := range exchanges {
			h := wire.Header{Exchange: x, MessageID: 2}
			b, err := wire.AppendSealed(nil, h, contents[next%len(contents)], transparent{})
			if err != nil {
				f.Fatal(err)
			}
			f.Add(state, uint8(next%8), b)
			next++
		}
		parts, err := wire.SealFragments(wire.Header{Exchange: wire.Informational, MessageID: 2}, wire.TypeNotify, make([]byte, 90), transparent{}, 96, 8)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(state, uint8(next%8), append(parts[1], parts[0]...))
	}
	f.Fuzz(func(t *testing.T, state, spi uint8, data []byte) {
		var kind func(w, e *Peer)
		if spi%8 >= 4 {
			kind = postquantum
		}
		n, w, e := twoNodes(t, uint64(state)+1, kind)
		n.quiet()
		for _, x := range n.nodes {
			x.e.kex = keyExchanges{cheapStart, cheapRespond} // only the fuzzer's input counts
		}
		w.initiate()
		switch state %= fuzzStates; state {
		case 0: // nothing but the first request
		case 1:
			n.run(time.Millisecond) // half-open
		case 2:
			n.run(2 * time.Millisecond) // IKE_AUTH sent
		default:
			n.run(time.Second)
			switch state {
			case 4:
				w.rekeyChildren()
			case 5:
				w.rekeyIKE()
			case 6:
				w.rekeyIKE()
				n.run(n.now + time.Millisecond) // the peer has answered
			case 7:
				w.do(w.e.Close(n.now, w.peer.ID))
			case 8:
				w.reauthenticate()
				n.run(n.now + 2*time.Millisecond) // a second IKE SA half-way
			case 9:
				w.reauthenticate()
				e.reauthenticate()
				n.run(n.now + 4*time.Millisecond) // two, of which one is to go
			case 10:
				w.rekeyChildren()
				e.rekeyChildren()
				n.run(n.now + time.Millisecond)
			case 11:
				w.moves("192.0.2.9")
			}
		}
		for _, x := range n.nodes {
			for _, p := range x.e.order {
				for _, s := range p.sas {
					if s.keys != nil {
						s.keys.In, s.keys.Out = transparent{}, transparent{}
					}
				}
			}
			for _, s := range x.e.half.sas {
				if s.keys == nil && s.state == stateHalfOpen && x.e.deriveHalf(s) {
					s.keys.In, s.keys.Out = transparent{}, transparent{}
				}
			}
		}
		// The input, cut into several datagrams at its own wish, to each side.
		for i := 0; len(data) > 0 && i < 4; i++ {
			size := len(data)
			if i < 3 && len(data) > 64 && data[len(data)-1]%4 == 0 {
				size = len(data) / 2
			}
			for _, x := range []*node{w, e} {
				b := addressed(x, spi, data[:size])
				x.do(x.e.Receive(n.now, Datagram{x.local, x.remote, b}))
				bounded(t, x)
			}
			data = data[size:]
		}
		n.run(n.now + 3*time.Minute)
		for _, x := range n.nodes {
			bounded(t, x)
		}
	})
}

// addressed writes the SPIs, direction, expected message ID and length of one of
// x's SAs into a datagram, as spi says.
func addressed(x *node, spi uint8, b []byte) []byte {
	b = append([]byte(nil), b...)
	if len(b) < wire.HeaderLen || spi%4 == 0 {
		return b
	}
	var sas []*ikeSA
	for id := SAID(1); id <= x.e.nextSA; id++ {
		if s := x.e.ids[id]; s != nil {
			sas = append(sas, s)
		}
	}
	if len(sas) == 0 {
		return b
	}
	s := sas[int(spi>>2)%len(sas)]
	binary.BigEndian.PutUint64(b, s.SPIi)
	binary.BigEndian.PutUint64(b[8:], s.SPIr)
	b[17] = wire.Version
	b[19] &^= byte(wire.FlagInitiator)
	if !s.Initiator {
		b[19] |= byte(wire.FlagInitiator)
	}
	binary.BigEndian.PutUint32(b[20:], s.nextIn)
	if b[19]&byte(wire.FlagResponse) != 0 && s.req != nil {
		binary.BigEndian.PutUint32(b[20:], s.req.id)
		b[18] = byte(s.req.exchange)
	}
	binary.BigEndian.PutUint32(b[24:], uint32(len(b)))
	return b
}

func bounded(t *testing.T, x *node) {
	t.Helper()
	if len(x.e.ids) > 16 || len(x.e.childSAs) > 4*maxChildren || len(x.e.dirty) != 0 {
		t.Fatalf("%s keeps %d IKE SAs and %d Child SAs", x.name, len(x.e.ids), len(x.e.childSAs))
	}
	if x.e.rec.Known.Size > x.e.rec.Known.Limit || x.e.rec.Foreign.Size > x.e.rec.Foreign.Limit || len(x.e.half.waiting) > 4 || len(x.e.responses) > 64 {
		t.Fatalf("%s keeps %d octets of records, %d half-open IKE SAs, %d responses", x.name, x.e.rec.Known.Size+x.e.rec.Foreign.Size, len(x.e.half.waiting), len(x.e.responses)+len(x.e.refusals))
	}
	for _, p := range x.e.order {
		if c := p.current(); c != nil && c.state == childGone {
			t.Fatalf("%s sends on a Child SA that is gone", x.name)
		}
	}
}

// FuzzReceive gives an engine that stands alone raw datagrams, as the Internet
// does.
func FuzzReceive(f *testing.F) {
	f.Add(initRequest(1, nil))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		e := New(Config{Rand: seeded(1)})
		e.SetPeer(0, testPeer("any"))
		for range 2 {
			for _, a := range e.Receive(0, Datagram{benchEast, benchWest, append([]byte(nil), data...)}) {
				if s, ok := a.(Send); ok && len(s.Data) > 3*len(data)+64 {
					t.Fatalf("%d octets are answered to %d", len(s.Data), len(data))
				}
			}
		}
		if len(e.ids) > 1 {
			t.Fatalf("%d SAs of one datagram", len(e.ids))
		}
	})
}

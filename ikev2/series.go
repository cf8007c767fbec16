package ikev2

import (
	"bytes"
	"time"

	"greseal/crypto/kex"
	"greseal/crypto/suite"
	"greseal/ikev2/wire"
)

// A series of additional key exchanges, as both sides of CREATE_CHILD_SA keep it
// (RFC 9370 section 2.2.4). What the initiator makes of it is in rekey_ike.go and
// create_child.go, the responder's side in followup.go.

// seriesLife is how long a responder waits for the next exchange of a series.
const seriesLife = 20 * time.Second

// series is a CREATE_CHILD_SA exchange that goes on in IKE_FOLLOWUP_KE.
type series struct {
	methods []uint16     // key exchanges that are still to come
	shared  [][]byte     // SK(0), SK(1), …
	ke      kex.Exchange // initiator: the one that is under way
	link    []byte       // ADDITIONAL_KEY_EXCHANGE: by it the responder knows its own
	ni, nr  []byte
	expires Time // responder

	childSA agreed // what was agreed on for a Child SA, without keys; or,
	ike     bool   // for an IKE SA:
	next    suite.Suite
	spiI    uint64
	spiR    uint64
}

// newSeries is nil for a suite without additional key exchanges.
func newSeries(s *suite.Suite, shared, ni, nr []byte) *series {
	methods := addKEs(s)
	if len(methods) == 0 {
		return nil
	}
	return &series{methods: methods, shared: [][]byte{shared}, ni: bytes.Clone(ni), nr: bytes.Clone(nr)}
}

func (x *series) wipe() {
	for _, b := range x.shared {
		clear(b)
	}
	x.shared, x.ke = nil, nil
}

// relink names the exchange that the responder waits for next.
func (x *series) relink(e *Engine) *wire.Notify {
	link := make([]byte, 8)
	if !e.rnd.fill(link) {
		return nil
	}
	x.link = link
	return wire.NewNotify(wire.AdditionalKeyExchange, link)
}

// hold keeps a series as responder. There is one an IKE SA: a peer that begins
// another has forgotten the last one.
func (e *Engine) hold(s *ikeSA, x *series) {
	e.release(s)
	s.pending = x
	x.expires = e.now + seriesLife
	if x.ike {
		e.ikeReserved[x.spiR] = true
	} else {
		e.espReserved[x.childSA.SPIIn] = true
	}
	e.markDirty(s)
}

// release ends the holding of a series; what it was to make is not made.
func (e *Engine) release(s *ikeSA) {
	x := s.pending
	if x == nil {
		return
	}
	if x.ike {
		delete(e.ikeReserved, x.spiR)
	} else {
		delete(e.espReserved, x.childSA.SPIIn)
	}
	x.wipe()
	s.pending = nil
	e.markDirty(s)
}

// payloads are those of the next exchange, as initiator; nil when there is no
// randomness for it.
func (x *series) payloads(e *Engine) []wire.Payload {
	ke, err := e.kex.start(x.methods[0], e.rnd.r)
	if err != nil {
		x.wipe()
		return nil
	}
	x.ke = ke
	return []wire.Payload{
		&wire.KE{Method: ke.Group(), Data: ke.Public()}, wire.NewNotify(wire.AdditionalKeyExchange, x.link),
	}
}

// maxKept bounds an opaque value of a notify that is kept, octets.
const maxKept = 1024

// linked takes the link to the next exchange from a response, which must have
// one as long as another method is due. The answer is what is wrong with it.
func (x *series) linked(c *wire.Contents) string {
	n := c.Notify(wire.AdditionalKeyExchange)
	switch {
	case len(x.methods) == 0:
		return ""
	case n == nil || len(n.Data) == 0:
		return "the response has no ADDITIONAL_KEY_EXCHANGE for the key exchange that is to follow"
	case len(n.Data) > maxKept:
		return "the response has an ADDITIONAL_KEY_EXCHANGE too long to be sent back"
	}
	x.link = bytes.Clone(n.Data)
	return ""
}

// take reads the responder's half of an exchange of the series. The answer is
// what is wrong with it.
func (x *series) take(c *wire.Contents) string {
	if c.KE == nil || c.KE.Method != x.ke.Group() {
		return "the response has no key exchange value for " + suite.Transform{Type: suite.TypeKE, ID: x.ke.Group()}.Word()
	}
	shared, err := x.ke.Shared(c.KE.Data)
	if err != nil {
		return err.Error()
	}
	x.ke, x.shared, x.methods = nil, append(x.shared, shared), x.methods[1:]
	return x.linked(c)
}

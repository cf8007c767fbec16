package doctor

import (
	"crypto/rand"
	"encoding/binary"

	"greseal/crypto/kex"
	"greseal/crypto/suite"
	"greseal/ikev2/wire"
)

// modp768 is a key exchange group that no peer accepts any more.
const modp768 = 1

// initRequest is a well-formed IKE_SA_INIT request that any responder answers
// and none keeps state for: beside the tunnel's own groups, in front, each
// proposal lists MODP-768, and the KE payload is of that group. A responder that
// likes a proposal wants another group and says INVALID_KE_PAYLOAD (RFC 7296
// section 1.2), one that likes none says NO_PROPOSAL_CHOSEN. fill bytes of
// vendor ID make it large.
func initRequest(offer []suite.Proposal, fill int) (data []byte, spi uint64) {
	var ps []suite.Proposal
	for _, p := range offer {
		q := suite.Proposal{Protocol: suite.IKE}
		for _, t := range p.Transforms {
			if t.Type < suite.TypeAddKE1 || t.Type > suite.TypeAddKE7 { // not needed to be answered
				q.Transforms = append(q.Transforms, t)
			}
		}
		q.Transforms = append(q.Transforms, suite.Transform{Type: suite.TypeKE, ID: modp768})
		ps = append(ps, q)
	}
	ke := randomOctets(96)
	ke[0] &= 0x7f // below the prime
	return request(ps, modp768, ke, fill)
}

// fullRequest is an IKE_SA_INIT request with a key exchange that can be
// accepted: the responder then names the suite it would take, and forgets the
// half-open IKE SA after a while.
func fullRequest(offer []suite.Proposal, group uint16) (data []byte, spi uint64) {
	var public []byte
	if x, err := kex.New(group, rand.Reader); err == nil {
		public = x.Public()
	} else {
		n, known := legacyGroups[group]
		if !known {
			return nil, 0
		}
		public = randomOctets(n)
		public[0] &= 0x7f
	}
	return request(offer, group, public, 0)
}

// legacyGroups are groups that greseal does not compute, with the length of a
// public value: only to find out whether a peer insists on one.
var legacyGroups = map[uint16]int{2: 128, 5: 192}

func request(ps []suite.Proposal, group uint16, ke []byte, fill int) (data []byte, spi uint64) {
	spi = binary.BigEndian.Uint64(randomOctets(8)) | 1
	sa := &wire.SA{}
	for i, p := range ps {
		sa.Proposals = append(sa.Proposals, wire.NewProposal(uint8(i+1), nil, p))
	}
	m := wire.Message{
		Header:   wire.Header{SPIi: spi, Exchange: wire.IKESAInit, Flags: wire.FlagInitiator},
		Payloads: []wire.Payload{sa, &wire.KE{Method: group, Data: ke}, &wire.Nonce{Data: randomOctets(32)}},
	}
	if fill > 0 {
		m.Payloads = append(m.Payloads, &wire.VendorID{Data: make([]byte, fill)})
	}
	data, err := m.Append(nil)
	if err != nil {
		return nil, 0
	}
	return data, spi
}

// mainMode is the first message of IKEv1's Main Mode (RFC 2408, 2409) with the
// transforms that old devices take: who answers it speaks IKEv1.
func mainMode() (data []byte, spi uint64) {
	spi = binary.BigEndian.Uint64(randomOctets(8)) | 1
	var transforms []byte
	n := 0
	for _, cipher := range [][2]uint16{{7, 256}, {7, 128}, {5, 0}} { // AES-CBC, 3DES-CBC
		for _, hash := range []uint16{4, 2} { // SHA2-256, SHA
			for _, group := range []uint16{14, 5, 2} {
				attrs := attr(1, cipher[0])
				if cipher[1] != 0 {
					attrs = append(attrs, attr(14, cipher[1])...)
				}
				for _, a := range [][2]uint16{{2, hash}, {3, 1}, {4, group}, {11, 1}, {12, 28800}} {
					attrs = append(attrs, attr(a[0], a[1])...)
				}
				n++
				t := []byte{3, 0, 0, 0, byte(n), 1, 0, 0} // more follow; KEY_IKE
				binary.BigEndian.PutUint16(t[2:], uint16(8+len(attrs)))
				transforms = append(append(transforms, t...), attrs...)
			}
		}
	}
	last := 0
	for i := 0; i < n-1; i++ {
		last += int(binary.BigEndian.Uint16(transforms[last+2:]))
	}
	transforms[last] = 0

	proposal := []byte{0, 0, 0, 0, 1, 1, 0, byte(n)} // number 1, PROTO_ISAKMP, no SPI
	binary.BigEndian.PutUint16(proposal[2:], uint16(8+len(transforms)))
	body := append([]byte{0, 0, 0, 1, 0, 0, 0, 1}, proposal...) // IPsec DOI, identity only
	body = append(body, transforms...)
	payload := []byte{0, 0, 0, 0}
	binary.BigEndian.PutUint16(payload[2:], uint16(4+len(body)))

	h := wire.Header{SPIi: spi, Next: 1, Version: 0x10, Exchange: 2}
	h.Length = uint32(wire.HeaderLen + len(payload) + len(body))
	return append(append(h.Append(nil), payload...), body...), spi
}

func attr(typ, value uint16) []byte {
	b := binary.BigEndian.AppendUint16(nil, 0x8000|typ)
	return binary.BigEndian.AppendUint16(b, value)
}

func randomOctets(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

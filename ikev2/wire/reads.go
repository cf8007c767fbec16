package wire

import (
	"encoding/binary"

	"greseal/crypto/suite"
)

// payloadSet is a set of payload types below 64.
type payloadSet uint64

func setOf(types ...PayloadType) (s payloadSet) {
	for _, t := range types {
		s |= 1 << t
	}
	return s
}

func (s payloadSet) has(t PayloadType) bool { return s>>t&1 != 0 }

// decisive are the payloads that an exchange is decided by. Only of these is a
// malformed one, or a second one, the end of the message (RFC 7296 section 2.21);
// all others are hints, or of no use here, and what can't be read of them is
// passed over. A Delete says that something is over.
var decisive = map[ExchangeType]payloadSet{
	IKESAInit:       setOf(TypeSA, TypeKE, TypeNonce),
	IKEAuth:         setOf(TypeIDi, TypeIDr, TypeAuth, TypeSA, TypeTSi, TypeTSr, TypeDelete),
	CreateChildSA:   setOf(TypeSA, TypeKE, TypeNonce, TypeTSi, TypeTSr, TypeNotify, TypeDelete),
	IKEIntermediate: setOf(TypeKE, TypeDelete),
	IKEFollowupKE:   setOf(TypeKE, TypeDelete),
	Informational:   setOf(TypeDelete),
}

// reads tells whether the exchange is decided by such a payload; one that isn't
// known is by all.
func (x ExchangeType) reads(t PayloadType) bool {
	s, known := decisive[x]
	return !known || s.has(t)
}

// passOver tells whether a malformed payload, of a type that is read or not, can
// be left out.
func passOver(read func(PayloadType) bool, t PayloadType, b []byte) bool {
	switch {
	case !read(t):
		return true
	case t == TypeDelete: // other SAs than we have
		return len(b) >= 4 && suite.Protocol(b[0]) != suite.ESP && suite.Protocol(b[0]) != suite.IKE
	case t == TypeNotify: // the only one without which a request would be another
		return len(b) >= 4 && NotifyType(binary.BigEndian.Uint16(b[2:])) != RekeySA
	case t == TypeCertReq, t == TypeCP, t == TypeCert:
		return true
	}
	return false
}

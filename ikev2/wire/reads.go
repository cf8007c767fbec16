package wire

import (
	"encoding/binary"

	"greseal/crypto/suite"
)

// reads are the payloads that an exchange is decided by. Only of these is a
// malformed one, or a second one, the end of the message (RFC 7296 section 2.21);
// all others are hints, or of no use here, and what can't be read of them is
// passed over.
func (x ExchangeType) reads(t PayloadType) bool {
	switch x {
	case IKESAInit:
		return t == TypeSA || t == TypeKE || t == TypeNonce
	case IKEAuth, CreateChildSA, IKEIntermediate, IKEFollowupKE, Informational:
		if t == TypeDelete {
			return true // it says that something is over
		}
	}
	switch x {
	case IKEAuth:
		return t == TypeIDi || t == TypeIDr || t == TypeAuth || t == TypeSA || t == TypeTSi || t == TypeTSr
	case CreateChildSA:
		return t == TypeSA || t == TypeKE || t == TypeNonce || t == TypeTSi || t == TypeTSr || t == TypeNotify
	case IKEIntermediate, IKEFollowupKE:
		return t == TypeKE
	case Informational:
		return false
	}
	return true
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

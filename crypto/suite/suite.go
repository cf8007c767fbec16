// Package suite holds the names and numbers of IKEv2 transforms (RFC 7296
// section 3.3.2 and the IANA registry "Internet Key Exchange Version 2
// Parameters"): what a proposal is, how a person writes one, and how two lists
// of proposals are matched. It computes nothing: the algorithms themselves live
// in the sibling packages kex, prf, seal and esp.
package suite

// Protocol is the protocol ID of a proposal (RFC 7296 section 3.3.1).
type Protocol uint8

// Protocols.
const (
	IKE Protocol = 1
	AH  Protocol = 2 // never proposed, never accepted; named for explanations
	ESP Protocol = 3
)

// Type is a transform type (RFC 7296 section 3.3.2, RFC 9370 section 4.1).
type Type uint8

// Transform types.
const (
	TypeEncr   Type = 1
	TypePRF    Type = 2
	TypeInteg  Type = 3
	TypeKE     Type = 4
	TypeESN    Type = 5
	TypeAddKE1 Type = 6
	TypeAddKE7 Type = 12
)

// Transform is one algorithm of one type. The zero value stands for "none".
type Transform struct {
	Type   Type
	ID     uint16
	KeyLen uint16 // key length attribute in bits, 0 when the transform has none
}

// Proposal is one proposal substructure without its SPI and number: for each
// transform type that occurs, the alternatives in order of preference. The
// order of transforms across types has no meaning.
type Proposal struct {
	Protocol   Protocol
	Transforms []Transform
}

// Suite is the outcome of a negotiation: at most one transform a type. A
// transform of type 0 was not negotiated (no INTEG with an AEAD, no KE in the
// first Child SA, …).
type Suite struct {
	Protocol Protocol
	Encr     Transform
	PRF      Transform
	Integ    Transform
	KE       Transform
	ESN      bool
	AddKE    [7]Transform
}

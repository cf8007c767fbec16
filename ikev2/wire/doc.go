// Package wire turns IKEv2 messages and payloads (RFC 7296 section 3, RFC 7383,
// RFC 9242, RFC 9370) into bytes and back. It is pure and total: no parser
// panics or reads outside its input, and each is bounded in time and memory by
// the length of its input and the limits below. It holds no keys, knows no
// algorithm and takes no decision: what a message means is for package ikev2.
//
// A datagram goes through ParseHeader (who is it for), Parse (header and the
// chain of payloads, the last of which may be an SK or SKF), Message.Open
// (authenticate, decrypt, parse the inner chain) and Collect (sort a chain by
// kind). A message to be sent goes through Message.Append when it is in the clear,
// and AppendSealed or SealFragments when it is protected.
//
// Parsing copies nothing: every []byte in a parsed payload is part of the
// buffer that was parsed, which must not be changed while the payload is used.
package wire

// Limits on what one message may hold. They are far above what any
// implementation sends and keep hostile input cheap.
const (
	MaxPayloads   = 128 // payloads in one chain
	MaxProposals  = 64  // proposals in one SA payload
	MaxTransforms = 512 // transforms in one SA payload
	MaxAttributes = 16  // attributes of one transform
	MaxCPAttrs    = 64  // attributes in one CP payload
)

package esp

import (
	"greseal/crypto/seal"
	"greseal/crypto/suite"
)

// HeaderBytes is the length of the ESP header, SPI and sequence number.
const HeaderBytes = 8

// trailerBytes are pad length and next header.
const trailerBytes = 2

// NextHeader values that mean something here (IANA protocol numbers).
const (
	NextIPv4  = 4  // tunnel mode
	NextIPv6  = 41 // tunnel mode
	NextGRE   = 47 // transport mode
	NextDummy = 59 // RFC 4303 section 2.6: to be discarded silently
)

// Supported returns nil when this package can seal and open with the pair: an
// AEAD alone, or AES-CBC with an integrity algorithm.
func Supported(encr, integ suite.Transform) error { return seal.Supported(encr, integ) }

// shape is the layout of a packet.
type shape struct {
	iv, icv int
	align   int // of payload, padding and trailer together
}

func shapeOf(encr, integ suite.Transform) shape {
	s := shape{iv: encr.IVBytes(), icv: integ.ICVBytes(), align: encr.BlockBytes()}
	if encr.IsAEAD() {
		s.icv = encr.ICVBytes()
	}
	// The trailer ends at a multiple of 4 octets, whatever the cipher asks for
	// (RFC 4303 section 2.4).
	s.align = max(s.align, 4)
	return s
}

func (s shape) head() int { return HeaderBytes + s.iv }

func (s shape) pad(n int) int {
	over := (n + trailerBytes) % s.align
	return (s.align - over) % s.align
}

func (s shape) packet(n int) int { return s.head() + n + s.pad(n) + trailerBytes + s.icv }

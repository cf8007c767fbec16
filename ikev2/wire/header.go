package wire

import (
	"encoding/binary"
	"fmt"
)

// UDP ports of IKE (RFC 7296 section 2): on the second, which ESP in UDP shares, IKE
// messages carry the non-ESP marker (RFC 3948).
const (
	PortIKE = 500
	PortNAT = 4500
)

// HeaderLen is the length of the IKE header in octets.
const HeaderLen = 28

// Version is the version octet this implementation sends: major 2, minor 0.
const Version uint8 = 0x20

// Flags are the flags of the IKE header. The other bits are sent as zero and
// ignored on receipt.
type Flags uint8

// Flags (RFC 7296 section 3.1).
const (
	FlagInitiator Flags = 0x08 // the sender is the IKE SA's original initiator
	FlagVersion   Flags = 0x10 // the sender can speak a higher major version
	FlagResponse  Flags = 0x20
)

// Header is the IKE header (RFC 7296 section 3.1).
type Header struct {
	SPIi, SPIr uint64
	Next       PayloadType // first payload; set by the Append functions
	Version    uint8       // major in the upper four bits; 0 is sent as Version
	Exchange   ExchangeType
	Flags      Flags
	MessageID  uint32
	Length     uint32 // whole message in octets; set by the Append functions
}

// Major is the major version.
func (h Header) Major() int { return int(h.Version >> 4) }

// Initiator tells whether the sender is the IKE SA's original initiator.
func (h Header) Initiator() bool { return h.Flags&FlagInitiator != 0 }

// Response tells whether this is a response.
func (h Header) Response() bool { return h.Flags&FlagResponse != 0 }

// String names exchange, direction and message ID: "IKE_AUTH request 1".
func (h Header) String() string {
	dir := "request"
	if h.Response() {
		dir = "response"
	}
	if h.Major() != 2 && h.Version != 0 {
		return fmt.Sprintf("IKE version %d.%d message", h.Version>>4, h.Version&15)
	}
	return fmt.Sprintf("%s %s %d", h.Exchange, dir, h.MessageID)
}

// ParseHeader reads the IKE header at the head of b and checks nothing but that
// it is there: the caller finds the IKE SA by its SPIs, or answers another
// major version with INVALID_MAJOR_VERSION (RFC 7296 section 2.5).
func ParseHeader(b []byte) (Header, error) {
	if len(b) < HeaderLen {
		return Header{}, &Error{Reason: fmt.Sprintf("%d octets, the header alone has %d", len(b), HeaderLen)}
	}
	return Header{
		SPIi:      binary.BigEndian.Uint64(b),
		SPIr:      binary.BigEndian.Uint64(b[8:]),
		Next:      PayloadType(b[16]),
		Version:   b[17],
		Exchange:  ExchangeType(b[18]),
		Flags:     Flags(b[19]),
		MessageID: binary.BigEndian.Uint32(b[20:]),
		Length:    binary.BigEndian.Uint32(b[24:]),
	}, nil
}

// Append appends the header as it stands; a Version of 0 becomes 2.0.
func (h Header) Append(b []byte) []byte {
	if h.Version == 0 {
		h.Version = Version
	}
	b = binary.BigEndian.AppendUint64(b, h.SPIi)
	b = binary.BigEndian.AppendUint64(b, h.SPIr)
	b = append(b, byte(h.Next), h.Version, byte(h.Exchange), byte(h.Flags))
	b = binary.BigEndian.AppendUint32(b, h.MessageID)
	return binary.BigEndian.AppendUint32(b, h.Length)
}

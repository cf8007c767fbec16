// Package gre is the GRE header of RFC 2784 with the key and sequence number of
// RFC 2890, to and from bytes, its checksum, the receiver's rule for sequence
// numbers, and the keepalives routers send each other inside GRE. It knows no
// sockets and no ESP, never allocates while parsing and never panics.
//
// Version 1 (PPTP, RFC 2637) and the source routes of RFC 1701 are refused.
package gre

import (
	"encoding/binary"
	"errors"
)

// Protocol types: EtherTypes (RFC 2784 section 2.4).
const (
	ProtoKeepalive uint16 = 0x0000 // the innermost header of a keepalive
	ProtoIPv4      uint16 = 0x0800
	ProtoTEB       uint16 = 0x6558 // transparent Ethernet bridging: a whole frame
	ProtoIPv6      uint16 = 0x86dd
)

// IPProtocol is GRE's number in an IP header.
const IPProtocol = 47

// MaxLen is the length of a header with checksum, key and sequence number.
const MaxLen = 16

// The first 16 bits.
const (
	flagChecksum = 0x8000
	flagRouting  = 0x4000
	flagKey      = 0x2000
	flagSequence = 0x1000
	// Bits 4 and 5, RFC 1701's strict source route and recursion control. RFC
	// 2784 section 2.3 has a receiver discard what sets any of bits 1 to 5; of
	// these RFC 2890 gave 2 and 3 a meaning. Bits 6 to 12 are ignored.
	flagReserved = 0x0c00
	maskVersion  = 0x0007
)

// Why Parse refused a packet.
var (
	ErrShort    = errors.New("GRE packet is shorter than its header")
	ErrVersion  = errors.New("GRE version is not 0 (version 1 is PPTP)")
	ErrReserved = errors.New("GRE header asks for source routing or sets a reserved bit")
)

// Header is a GRE header. Sequence counts packets when HasSequence; the
// checksum's value is computed over the whole packet, so it is no part of it.
type Header struct {
	Proto       uint16
	Key         uint32
	Sequence    uint32
	HasKey      bool
	HasSequence bool
	HasChecksum bool
}

// Len is the length of the header in bytes: 4 and 4 for each field it has.
func (h *Header) Len() int {
	n := 4
	if h.HasChecksum {
		n += 4
	}
	if h.HasKey {
		n += 4
	}
	if h.HasSequence {
		n += 4
	}
	return n
}

// Parse reads the header at the start of b and returns its length. The
// checksum is not verified: VerifyChecksum does that.
func Parse(b []byte) (h Header, n int, err error) {
	if len(b) < 4 {
		return h, 0, ErrShort
	}
	flags := binary.BigEndian.Uint16(b)
	if flags&maskVersion != 0 {
		return h, 0, ErrVersion
	}
	if flags&(flagRouting|flagReserved) != 0 {
		return h, 0, ErrReserved
	}
	h.Proto = binary.BigEndian.Uint16(b[2:])
	h.HasChecksum = flags&flagChecksum != 0
	h.HasKey = flags&flagKey != 0
	h.HasSequence = flags&flagSequence != 0
	n = h.Len()
	if len(b) < n {
		return Header{}, 0, ErrShort
	}
	at := 4
	if h.HasChecksum {
		at += 4
	}
	if h.HasKey {
		h.Key = binary.BigEndian.Uint32(b[at:])
		at += 4
	}
	if h.HasSequence {
		h.Sequence = binary.BigEndian.Uint32(b[at:])
	}
	return h, n, nil
}

// Put writes the header to the start of b, which has room for it, and returns
// its length. A checksum field is left zero for SetChecksum to fill when the
// payload stands behind the header.
func (h *Header) Put(b []byte) int {
	var flags uint16
	at := 4
	if h.HasChecksum {
		flags |= flagChecksum
		binary.BigEndian.PutUint32(b[at:], 0)
		at += 4
	}
	if h.HasKey {
		flags |= flagKey
		binary.BigEndian.PutUint32(b[at:], h.Key)
		at += 4
	}
	if h.HasSequence {
		flags |= flagSequence
		binary.BigEndian.PutUint32(b[at:], h.Sequence)
		at += 4
	}
	binary.BigEndian.PutUint16(b, flags)
	binary.BigEndian.PutUint16(b[2:], h.Proto)
	return at
}

// Append appends a whole packet: the header, with its checksum when it has
// one, and the payload.
func (h *Header) Append(b, payload []byte) []byte {
	start := len(b)
	var head [MaxLen]byte
	b = append(b, head[:h.Put(head[:])]...)
	b = append(b, payload...)
	if h.HasChecksum {
		SetChecksum(b[start:])
	}
	return b
}

// SetChecksum fills the zeroed checksum field of packet, a whole GRE packet
// whose header has one (RFC 2784 section 2.5).
func SetChecksum(packet []byte) {
	binary.BigEndian.PutUint16(packet[4:], ^Fold(Sum(packet, 0)))
}

// VerifyChecksum reports whether the checksum over packet, a whole GRE packet
// whose header has one, is right.
func VerifyChecksum(packet []byte) bool {
	return Fold(Sum(packet, 0)) == 0xffff
}

// Order is the receiver's rule for sequence numbers (RFC 2890 section 2.2): a
// packet that is not later than the last one delivered is discarded. The zero
// value takes any number first. Not safe for concurrent use.
type Order struct {
	next    uint32
	started bool
}

// Accept reports whether a packet with this number may be delivered, and if so
// remembers it. Numbers wrap: later means within the next 2^31.
func (o *Order) Accept(sequence uint32) bool {
	if o.started && int32(sequence-o.next) < 0 {
		return false
	}
	o.next, o.started = sequence+1, true
	return true
}

// Reset takes any number next: a peer that was restarted counts from 0 again.
func (o *Order) Reset() { *o = Order{} }

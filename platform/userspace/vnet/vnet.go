// Package vnet is what a TUN or TAP puts in front of its packets, struct
// virtio_net_hdr, and the work that the kernel leaves to whoever reads it: to cut one
// large TCP or UDP packet into segments and to fill in checksums, and the other way round
// to join packets into such a large one (Merger).
package vnet

import (
	"encoding/binary"
	"errors"

	"greseal/platform/gre"
)

// HeaderLen is the size of struct virtio_net_hdr, TUN's default.
const HeaderLen = 10

// Values of struct virtio_net_hdr (linux/virtio_net.h).
const (
	NeedsCsum = 1

	GSONone   = 0
	GSOTCP4   = 1
	GSOTCP6   = 4
	GSOUDP    = 5    // GSO_UDP_L4: equal-sized datagrams
	GSOECN    = 0x80 // flag beside TCP: CWR belongs to the first segment only
	GSONoType = 0xff
)

// Header is struct virtio_net_hdr, in the machine's byte order on the
// device.
type Header struct {
	Flags      uint8
	GSOType    uint8
	HdrLen     uint16 // a hint; the true length is parsed
	GSOSize    uint16
	CsumStart  uint16
	CsumOffset uint16
}

// Read reads the header, HeaderLen bytes.
func (h *Header) Read(b []byte) {
	h.Flags, h.GSOType = b[0], b[1]
	h.HdrLen = binary.NativeEndian.Uint16(b[2:])
	h.GSOSize = binary.NativeEndian.Uint16(b[4:])
	h.CsumStart = binary.NativeEndian.Uint16(b[6:])
	h.CsumOffset = binary.NativeEndian.Uint16(b[8:])
}

// Write writes the header, HeaderLen bytes.
func (h *Header) Write(b []byte) {
	b[0], b[1] = h.Flags, h.GSOType
	binary.NativeEndian.PutUint16(b[2:], h.HdrLen)
	binary.NativeEndian.PutUint16(b[4:], h.GSOSize)
	binary.NativeEndian.PutUint16(b[6:], h.CsumStart)
	binary.NativeEndian.PutUint16(b[8:], h.CsumOffset)
}

// EtherTypes that are looked into, and the lengths of Ethernet's headers.
const (
	etherIPv4 = gre.ProtoIPv4
	etherIPv6 = gre.ProtoIPv6
	etherVLAN = 0x8100
	etherQinQ = 0x88a8
	EtherLen  = 14
	VlanLen   = 4
)

// MaxIPLen is the length of the longest IP packet, MaxPacket that of the longest one that a
// TUN or TAP gives: with an Ethernet header and two VLAN tags.
const (
	MaxIPLen  = 65535
	MaxPacket = MaxIPLen + EtherLen + 2*VlanLen
)

const (
	IP4Len = 20
	IP6Len = 40
	TCPLen = 20
	UDPLen = 8

	ProtoTCP = 6
	ProtoUDP = 17
)

var errPacket = errors.New("packet or its vnet header is malformed")

// FindIP finds the IP header in a packet from a TUN or, with ethernet, a TAP: its
// offset and version, version 0 when there is none.
func FindIP(p []byte, ethernet bool) (at int, version uint8) {
	if ethernet {
		if len(p) < EtherLen {
			return 0, 0
		}
		typ := binary.BigEndian.Uint16(p[12:])
		at = EtherLen
		for range 2 {
			if typ != etherVLAN && typ != etherQinQ {
				break
			}
			if len(p) < at+VlanLen {
				return 0, 0
			}
			typ = binary.BigEndian.Uint16(p[at+2:])
			at += VlanLen
		}
		if typ != etherIPv4 && typ != etherIPv6 {
			return at, 0
		}
	}
	if len(p) <= at {
		return at, 0
	}
	switch v := p[at] >> 4; {
	case v == 4 && len(p) >= at+IP4Len:
		return at, 4
	case v == 6 && len(p) >= at+IP6Len:
		return at, 6
	}
	return at, 0
}

// TrafficClass is the TOS or traffic class byte of the IP header at p[at:].
func TrafficClass(p []byte, at int, version uint8) uint8 {
	switch version {
	case 4:
		return p[at+1]
	case 6:
		return p[at]<<4 | p[at+1]>>4
	}
	return 0
}

// SetIP4Sum sets the checksum of an IPv4 header, which may have options.
func SetIP4Sum(p []byte) {
	head := p[:int(p[0]&15)*4]
	clear(head[10:12])
	binary.BigEndian.PutUint16(head[10:], gre.Checksum(head))
}

package userspace

import (
	"encoding/binary"
	"errors"

	"greseal/platform/gre"
)

// vnetLen is the size of struct virtio_net_hdr, TUN's default.
const vnetLen = 10

// Values of struct virtio_net_hdr (linux/virtio_net.h).
const (
	vnetNeedsCsum = 1

	gsoNone   = 0
	gsoTCP4   = 1
	gsoTCP6   = 4
	gsoUDP    = 5    // GSO_UDP_L4: equal-sized datagrams
	gsoECN    = 0x80 // flag beside TCP: CWR belongs to the first segment only
	gsoNoType = 0xff
)

// vnetHeader is struct virtio_net_hdr, in the machine's byte order on the
// device.
type vnetHeader struct {
	flags      uint8
	gsoType    uint8
	hdrLen     uint16 // a hint; the true length is parsed
	gsoSize    uint16
	csumStart  uint16
	csumOffset uint16
}

func (h *vnetHeader) read(b []byte) {
	h.flags, h.gsoType = b[0], b[1]
	h.hdrLen = binary.NativeEndian.Uint16(b[2:])
	h.gsoSize = binary.NativeEndian.Uint16(b[4:])
	h.csumStart = binary.NativeEndian.Uint16(b[6:])
	h.csumOffset = binary.NativeEndian.Uint16(b[8:])
}

func (h *vnetHeader) write(b []byte) {
	b[0], b[1] = h.flags, h.gsoType
	binary.NativeEndian.PutUint16(b[2:], h.hdrLen)
	binary.NativeEndian.PutUint16(b[4:], h.gsoSize)
	binary.NativeEndian.PutUint16(b[6:], h.csumStart)
	binary.NativeEndian.PutUint16(b[8:], h.csumOffset)
}

// EtherTypes that are looked into.
const (
	etherIPv4 = gre.ProtoIPv4
	etherIPv6 = gre.ProtoIPv6
	etherVLAN = 0x8100
	etherQinQ = 0x88a8
	etherLen  = 14
	vlanLen   = 4
)

const (
	ip4Len = 20
	ip6Len = 40
	tcpLen = 20
	udpLen = 8

	protoTCP = 6
	protoUDP = 17
)

var errPacket = errors.New("packet or its vnet header is malformed")

// l3 finds the IP header in a packet from a TUN or, with ethernet, a TAP: its
// offset and version, version 0 when there is none.
func l3(p []byte, ethernet bool) (at int, version uint8) {
	if ethernet {
		if len(p) < etherLen {
			return 0, 0
		}
		typ := binary.BigEndian.Uint16(p[12:])
		at = etherLen
		for range 2 {
			if typ != etherVLAN && typ != etherQinQ {
				break
			}
			if len(p) < at+vlanLen {
				return 0, 0
			}
			typ = binary.BigEndian.Uint16(p[at+2:])
			at += vlanLen
		}
		if typ != etherIPv4 && typ != etherIPv6 {
			return at, 0
		}
	}
	if len(p) <= at {
		return at, 0
	}
	switch v := p[at] >> 4; {
	case v == 4 && len(p) >= at+ip4Len:
		return at, 4
	case v == 6 && len(p) >= at+ip6Len:
		return at, 6
	}
	return at, 0
}

// trafficClass is the TOS or traffic class octet of the IP header at p[at:].
func trafficClass(p []byte, at int, version uint8) uint8 {
	switch version {
	case 4:
		return p[at+1]
	case 6:
		return p[at]<<4 | p[at+1]>>4
	}
	return 0
}

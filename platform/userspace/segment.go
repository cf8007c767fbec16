package userspace

import (
	"encoding/binary"

	"greseal/platform/gre"
)

// segments cuts one packet that came from a TUN or TAP with its vnet header
// into the packets that belong on the wire: segmentation of TCP and UDP, and
// the checksums the kernel left to us. The packet itself is not changed; each
// segment is written where the caller wants it:
//
//	segs.start(&h, packet, ethernet)
//	for i := range segs.n {
//		n := segs.write(i, dst)
//	}
//
// dst has room for segs.max octets.
type segments struct {
	n   int // how many packets
	max int // octets of the largest, which is every one but perhaps the last

	h        vnetHeader
	p        []byte
	ip       int // offset of the IP header
	version  uint8
	l4       int // offset of the TCP or UDP header
	hdr      int // length of all headers
	udp      bool
	firstID  uint16 // IPv4 identification
	firstSeq uint32 // TCP sequence number
	flags    uint8  // TCP flags

	ipSum     uint32 // of the IPv4 header without length, identification, checksum
	pseudoSum uint32 // of the pseudo-header without length, and the L4 header without what changes
}

// start prepares a packet. It fails for headers that contradict the packet:
// nothing the kernel would hand out, but nothing may come of it either.
func (s *segments) start(h *vnetHeader, p []byte, ethernet bool) error {
	s.h, s.p = *h, p
	if h.gsoType&^gsoECN == gsoNone {
		s.n, s.max = 1, len(p)
		if h.flags&vnetNeedsCsum != 0 && int(h.csumStart)+int(h.csumOffset)+2 > len(p) {
			return errPacket
		}
		return nil
	}
	s.ip, s.version = l3(p, ethernet)
	s.l4 = int(h.csumStart)
	if s.version == 0 || h.flags&vnetNeedsCsum == 0 || h.gsoSize == 0 {
		return errPacket
	}
	switch s.version {
	case 4:
		if s.l4 != s.ip+int(p[s.ip]&15)*4 || s.l4 < s.ip+ip4Len {
			return errPacket
		}
	case 6: // extension headers may stand between
		if s.l4 < s.ip+ip6Len {
			return errPacket
		}
	}
	switch typ := h.gsoType &^ gsoECN; {
	case typ == gsoTCP4 && s.version == 4, typ == gsoTCP6 && s.version == 6:
		if len(p) < s.l4+tcpLen || h.csumOffset != 16 {
			return errPacket
		}
		s.udp = false
		s.hdr = s.l4 + int(p[s.l4+12]>>4)*4
		if s.hdr < s.l4+tcpLen {
			return errPacket
		}
	case typ == gsoUDP:
		if len(p) < s.l4+udpLen || h.csumOffset != 6 {
			return errPacket
		}
		s.udp = true
		s.hdr = s.l4 + udpLen
	default:
		return errPacket
	}
	payload := len(p) - s.hdr
	if payload <= 0 {
		return errPacket
	}
	size := int(h.gsoSize)
	s.n = (payload + size - 1) / size
	s.max = s.hdr + min(size, payload)
	s.prepare()
	return nil
}

// prepare sums up what all segments have in common.
func (s *segments) prepare() {
	p := s.p
	if s.version == 4 {
		head := p[s.ip:s.l4]
		s.firstID = binary.BigEndian.Uint16(head[4:])
		s.ipSum = gre.Sum(head[:2], 0)
		s.ipSum = gre.Sum(head[6:10], s.ipSum)
		s.ipSum = gre.Sum(head[12:], s.ipSum)
		s.pseudoSum = gre.Sum(head[12:20], 0)
	} else {
		s.pseudoSum = gre.Sum(p[s.ip+8:s.ip+ip6Len], 0)
	}
	l4 := p[s.l4:s.hdr]
	if s.udp {
		s.pseudoSum += protoUDP
		s.pseudoSum = gre.Sum(l4[:4], s.pseudoSum) // ports; the length changes
		return
	}
	s.pseudoSum += protoTCP
	s.firstSeq = binary.BigEndian.Uint32(l4[4:])
	s.flags = l4[13]
	s.pseudoSum = gre.Sum(l4[:4], s.pseudoSum) // ports; the sequence number changes
	s.pseudoSum = gre.Sum(l4[8:12], s.pseudoSum)
	s.pseudoSum += uint32(l4[12]) << 8 // the flags beside it change
	s.pseudoSum = gre.Sum(l4[14:16], s.pseudoSum)
	s.pseudoSum = gre.Sum(l4[18:], s.pseudoSum)
}

// TCP flags.
const (
	tcpFIN = 0x01
	tcpSYN = 0x02
	tcpRST = 0x04
	tcpPSH = 0x08
	tcpACK = 0x10
	tcpCWR = 0x80
)

// write writes packet i of n to dst and returns its length.
func (s *segments) write(i int, dst []byte) int {
	if s.h.gsoType&^gsoECN == gsoNone {
		n := copy(dst, s.p)
		if s.h.flags&vnetNeedsCsum != 0 {
			s.fillChecksum(dst[:n])
		}
		return n
	}
	size := int(s.h.gsoSize)
	payload := s.p[s.hdr+i*size:]
	last := i == s.n-1
	if !last {
		payload = payload[:size]
	}
	total := s.hdr + len(payload)
	d := dst[:total]
	copy(d, s.p[:s.hdr])
	copy(d[s.hdr:], payload)

	if s.version == 4 {
		head := d[s.ip:]
		length, id := uint16(total-s.ip), s.firstID+uint16(i)
		binary.BigEndian.PutUint16(head[2:], length)
		binary.BigEndian.PutUint16(head[4:], id)
		binary.BigEndian.PutUint16(head[10:], ^gre.Fold(s.ipSum+uint32(length)+uint32(id)))
	} else {
		binary.BigEndian.PutUint16(d[s.ip+4:], uint16(total-s.ip-ip6Len))
	}

	l4 := d[s.l4:]
	sum := s.pseudoSum + uint32(len(l4)) // of the pseudo-header
	if s.udp {
		binary.BigEndian.PutUint16(l4[4:], uint16(len(l4)))
		sum = gre.Sum(payload, sum+uint32(len(l4)))
		check := ^gre.Fold(sum)
		if check == 0 {
			check = 0xffff // 0 means "no checksum" (RFC 768)
		}
		binary.BigEndian.PutUint16(l4[6:], check)
		return total
	}
	seq := s.firstSeq + uint32(i)*uint32(size)
	flags := s.flags
	if !last {
		flags &^= tcpFIN | tcpPSH
	}
	if i > 0 {
		flags &^= tcpCWR
	}
	binary.BigEndian.PutUint32(l4[4:], seq)
	l4[13] = flags
	sum += seq>>16 + seq&0xffff + uint32(flags)
	binary.BigEndian.PutUint16(l4[16:], ^gre.Fold(gre.Sum(payload, sum)))
	return total
}

// fillChecksum computes the checksum of a single packet whose checksum field
// holds the sum of the pseudo-header.
func (s *segments) fillChecksum(p []byte) {
	start := int(s.h.csumStart)
	field := p[start+int(s.h.csumOffset):]
	check := ^gre.Fold(gre.Sum(p[start:], 0))
	if check == 0 && s.h.csumOffset == 6 {
		check = 0xffff // UDP
	}
	binary.BigEndian.PutUint16(field, check)
}

package vnet

import (
	"encoding/binary"

	"greseal/platform/gre"
)

// Segments cuts one packet that came from a TUN or TAP with its vnet header
// into the packets that belong on the wire: segmentation of TCP and UDP, and
// the checksums the kernel left to us. The packet itself is not changed; each
// segment is written where the caller wants it:
//
//	segs.Start(&h, packet, ethernet)
//	for i := range segs.N {
//		n := segs.Write(i, dst)
//	}
//
// dst has room for segs.Max bytes.
type Segments struct {
	N   int // how many packets
	Max int // bytes of the largest, which is every one but perhaps the last

	H        Header
	p        []byte
	ip       int // offset of the IP header
	version  uint8
	l4       int // offset of the TCP or UDP header
	Hdr      int // length of all headers
	udp      bool
	firstID  uint16 // IPv4 identification
	firstSeq uint32 // TCP sequence number
	flags    uint8  // TCP flags

	ipSum     uint32 // of the IPv4 header without length, identification, checksum
	pseudoSum uint32 // of the pseudo-header without length, and the L4 header without what changes
}

// Start prepares a packet. It fails for headers that contradict the packet:
// nothing the kernel would hand out, but nothing may come of it either.
func (s *Segments) Start(h *Header, p []byte, ethernet bool) error {
	s.H, s.p = *h, p
	if h.GSOType&^GSOECN == GSONone {
		s.N, s.Max = 1, len(p)
		if h.Flags&NeedsCsum != 0 && int(h.CsumStart)+int(h.CsumOffset)+2 > len(p) {
			return errPacket
		}
		return nil
	}
	s.ip, s.version = FindIP(p, ethernet)
	s.l4 = int(h.CsumStart)
	if s.version == 0 || h.Flags&NeedsCsum == 0 || h.GSOSize == 0 {
		return errPacket
	}
	switch s.version {
	case 4:
		if s.l4 != s.ip+int(p[s.ip]&15)*4 || s.l4 < s.ip+IP4Len {
			return errPacket
		}
	case 6: // extension headers may stand between
		if s.l4 < s.ip+IP6Len {
			return errPacket
		}
	}
	switch typ := h.GSOType &^ GSOECN; {
	case typ == GSOTCP4 && s.version == 4, typ == GSOTCP6 && s.version == 6:
		if len(p) < s.l4+TCPLen || h.CsumOffset != 16 {
			return errPacket
		}
		s.udp = false
		s.Hdr = s.l4 + int(p[s.l4+12]>>4)*4
		if s.Hdr < s.l4+TCPLen {
			return errPacket
		}
	case typ == GSOUDP:
		if len(p) < s.l4+UDPLen || h.CsumOffset != 6 {
			return errPacket
		}
		s.udp = true
		s.Hdr = s.l4 + UDPLen
	default:
		return errPacket
	}
	payload := len(p) - s.Hdr
	if payload <= 0 {
		return errPacket
	}
	size := int(h.GSOSize)
	s.N = (payload + size - 1) / size
	s.Max = s.Hdr + min(size, payload)
	s.prepare()
	return nil
}

// prepare sums up what all segments have in common.
func (s *Segments) prepare() {
	p := s.p
	if s.version == 4 {
		head := p[s.ip:s.l4]
		s.firstID = binary.BigEndian.Uint16(head[4:])
		s.ipSum = gre.Sum(head[:2], 0)
		s.ipSum = gre.Sum(head[6:10], s.ipSum)
		s.ipSum = gre.Sum(head[12:], s.ipSum)
		s.pseudoSum = gre.Sum(head[12:20], 0)
	} else {
		s.pseudoSum = gre.Sum(p[s.ip+8:s.ip+IP6Len], 0)
	}
	l4 := p[s.l4:s.Hdr]
	if s.udp {
		s.pseudoSum += ProtoUDP
		s.pseudoSum = gre.Sum(l4[:4], s.pseudoSum) // ports; the length changes
		return
	}
	s.pseudoSum += ProtoTCP
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
	TcpFIN = 0x01
	TcpSYN = 0x02
	TcpRST = 0x04
	TcpPSH = 0x08
	TcpACK = 0x10
	TcpCWR = 0x80
)

// Write writes packet i of n to dst and returns its length.
func (s *Segments) Write(i int, dst []byte) int {
	if s.H.GSOType&^GSOECN == GSONone {
		n := copy(dst, s.p)
		if s.H.Flags&NeedsCsum != 0 {
			s.fillChecksum(dst[:n])
		}
		return n
	}
	size := int(s.H.GSOSize)
	payload := s.p[s.Hdr+i*size:]
	last := i == s.N-1
	if !last {
		payload = payload[:size]
	}
	total := s.Hdr + len(payload)
	d := dst[:total]
	copy(d, s.p[:s.Hdr])
	copy(d[s.Hdr:], payload)

	if s.version == 4 {
		head := d[s.ip:]
		length, id := uint16(total-s.ip), s.firstID+uint16(i)
		binary.BigEndian.PutUint16(head[2:], length)
		binary.BigEndian.PutUint16(head[4:], id)
		binary.BigEndian.PutUint16(head[10:], ^gre.Fold(s.ipSum+uint32(length)+uint32(id)))
	} else {
		binary.BigEndian.PutUint16(d[s.ip+4:], uint16(total-s.ip-IP6Len))
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
		flags &^= TcpFIN | TcpPSH
	}
	if i > 0 {
		flags &^= TcpCWR
	}
	binary.BigEndian.PutUint32(l4[4:], seq)
	l4[13] = flags
	sum += seq>>16 + seq&0xffff + uint32(flags)
	binary.BigEndian.PutUint16(l4[16:], ^gre.Fold(gre.Sum(payload, sum)))
	return total
}

// fillChecksum computes the checksum of a single packet whose checksum field
// holds the sum of the pseudo-header.
func (s *Segments) fillChecksum(p []byte) {
	start := int(s.H.CsumStart)
	field := p[start+int(s.H.CsumOffset):]
	check := ^gre.Fold(gre.Sum(p[start:], 0))
	if check == 0 && s.H.CsumOffset == 6 {
		check = 0xffff // UDP
	}
	binary.BigEndian.PutUint16(field, check)
}

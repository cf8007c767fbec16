package userspace

import (
	"encoding/binary"
	"net/netip"

	"greseal/crypto/esp"
	"greseal/platform/gre"
	"greseal/platform/userspace/oversize"
	"greseal/platform/userspace/vnet"
)

// verdict is what an inbound check made of a packet.
type verdict uint8

const (
	accept verdict = iota
	wrongSelector
	malformed
	fragment // of a GRE packet with the right addresses
)

// innerGRE finds the GRE packet in the payload of a tunnel-mode ESP packet. The
// inner header must be from remote to local and carry protocol 47: the SA's
// selectors (RFC 4301 section 5.2). ecn is the inner header's.
func innerGRE(payload []byte, next uint8, local, remote netip.Addr) (packet []byte, ecn uint8, v verdict) {
	switch next {
	case esp.NextIPv4:
		if len(payload) < vnet.IP4Len || payload[0]>>4 != 4 {
			return nil, 0, malformed
		}
		head, total := int(payload[0]&15)*4, int(binary.BigEndian.Uint16(payload[2:]))
		if head < vnet.IP4Len || total < head || total > len(payload) {
			return nil, 0, malformed
		}
		if payload[9] != gre.IPProtocol ||
			netip.AddrFrom4([4]byte(payload[12:16])) != remote ||
			netip.AddrFrom4([4]byte(payload[16:20])) != local {
			return nil, 0, wrongSelector
		}
		if binary.BigEndian.Uint16(payload[6:])&0x3fff != 0 {
			return nil, payload[1] & 3, fragment
		}
		return payload[head:total], payload[1] & 3, accept
	case esp.NextIPv6:
		if len(payload) < vnet.IP6Len || payload[0]>>4 != 6 {
			return nil, 0, malformed
		}
		total := vnet.IP6Len + int(binary.BigEndian.Uint16(payload[4:]))
		if total > len(payload) {
			return nil, 0, malformed
		}
		if netip.AddrFrom16([16]byte(payload[8:24])) != remote ||
			netip.AddrFrom16([16]byte(payload[24:40])) != local {
			return nil, 0, wrongSelector
		}
		at, total, proto := fragmentHeader(payload)
		ecn = payload[1] >> 4 & 3
		switch proto {
		case gre.IPProtocol:
			return payload[at:total], ecn, accept
		case gre6Fragment:
			return nil, ecn, fragment
		case malformedChain:
			return nil, 0, malformed
		}
		return nil, 0, wrongSelector
	}
	return nil, 0, wrongSelector
}

// pieceOf reads a fragment whose header innerGRE has found right.
func pieceOf(payload []byte, next uint8) (p oversize.Piece, ok bool) {
	switch next {
	case esp.NextIPv4:
		head, total := int(payload[0]&15)*4, int(binary.BigEndian.Uint16(payload[2:]))
		field := binary.BigEndian.Uint16(payload[6:])
		p.ID = uint32(binary.BigEndian.Uint16(payload[4:]))
		p.Off, p.More = int(field&0x1fff)*8, field&0x2000 != 0
		p.Data = payload[head:total]
	case esp.NextIPv6:
		at, total, proto := fragmentHeader(payload)
		if proto != gre6Fragment {
			return p, false
		}
		field := binary.BigEndian.Uint16(payload[at+2:])
		p.V6, p.ID = true, binary.BigEndian.Uint32(payload[at+4:])
		p.Off, p.More = int(field&^7), field&1 != 0
		p.Data = payload[at+8 : total]
	}
	return p, len(p.Data) > 0 && (!p.More || len(p.Data)%8 == 0) && p.Off+len(p.Data) <= vnet.MaxIPLen
}

// What fragmentHeader may find beside a protocol number.
const (
	gre6Fragment   = -1 // a fragment header of a GRE packet
	malformedChain = -2
)

// fragmentHeader walks the extension headers of an inner IPv6 packet, whose
// length is known to be right, as far as GRE or the fragment header of a GRE
// packet. The tunnel encapsulation limit of Linux's ip6gre comes as a
// destination option (RFC 2473 section 4.1.1).
func fragmentHeader(p []byte) (at, total, proto int) {
	at, total, proto = vnet.IP6Len, vnet.IP6Len+int(binary.BigEndian.Uint16(p[4:])), int(p[6])
	for proto == 0 || proto == 60 {
		if total < at+8 {
			return at, total, malformedChain
		}
		proto, at = int(p[at]), at+8+int(p[at+1])*8
		if at > total {
			return at, total, malformedChain
		}
	}
	if proto != 44 {
		return at, total, proto
	}
	if total < at+8 {
		return at, total, malformedChain
	}
	if next := int(p[at]); next != gre.IPProtocol {
		return at, total, next
	}
	return at, total, gre6Fragment
}

// ecnDecap is RFC 6040 section 4.2: what becomes of the inner ECN field when
// the outer one was received; drop for congestion that the sender cannot hear
// of.
func ecnDecap(outer, inner uint8) (ecn uint8, drop bool) {
	const notECT, ect1, ect0, ce = 0, 1, 2, 3
	switch {
	case outer == ce && inner == notECT:
		return inner, true
	case outer == ce && inner != notECT:
		return ce, false
	case outer == ect1 && inner == ect0:
		return ect1, false
	}
	return inner, false
}

// decapECN changes the ECN field of the IP header at p[at:] by the outer one; false
// for a packet that is to be dropped.
func decapECN(p []byte, at int, version, outer uint8) bool {
	old := vnet.TrafficClass(p, at, version) & 3
	ecn, drop := ecnDecap(outer, old)
	if !drop && ecn != old {
		setECN(p, at, version, ecn)
	}
	return !drop
}

// setECN changes the ECN field of the IP header at p[at:].
func setECN(p []byte, at int, version, ecn uint8) {
	if version == 4 {
		h := p[at:]
		old := binary.BigEndian.Uint16(h)
		h[1] = h[1]&^3 | ecn
		// RFC 1624: HC' = ~(~HC + ~m + m')
		sum := uint32(^binary.BigEndian.Uint16(h[10:])) + uint32(^old) + uint32(binary.BigEndian.Uint16(h))
		binary.BigEndian.PutUint16(h[10:], ^gre.Fold(sum))
		return
	}
	p[at+1] = p[at+1]&^0x30 | ecn<<4
}

package demo

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"greseal/ikev2/wire"
)

// kind is what an observer takes a packet for.
type kind uint8

const (
	kindOther kind = iota
	kindESP        // IP protocol 50
	kindESPUDP
	kindIKE
	kindKeepalive
	kindGRE // IP protocol 47
	kindICMP
	kindQuote // an ICMP error that quotes GRE or IP in IP
	kindARP
	kinds
)

func (k kind) String() string {
	return [kinds]string{"other", "ESP", "ESP in UDP", "IKE", "NAT keepalive", "cleartext GRE", "ICMP", "ICMP error about GRE", "ARP"}[k]
}

// seen is one frame as an observer on the wire reads it: what is plain to see and
// how many bytes follow that are not.
type seen struct {
	kind             kind
	src, dst         netip.Addr
	ipBytes          int // of the outer IP header
	sport, dport     uint16
	udpBytes         int
	spi, seq         uint32
	packet           []byte // from the IP header on
	payload          []byte // behind everything that is plain to see
	outerProto       uint8
	isIPv6, fragment bool
}

// parseFrame reads an Ethernet frame. It never fails: what it cannot read is kindOther.
func parseFrame(frame []byte) seen {
	var s seen
	if len(frame) < 14 {
		return s
	}
	ether := binary.BigEndian.Uint16(frame[12:])
	p := frame[14:]
	switch ether {
	case unix.ETH_P_ARP:
		s.kind = kindARP
		return s
	case unix.ETH_P_IP:
		return lookIPv4(p)
	case unix.ETH_P_IPV6:
		return lookIPv6(p)
	}
	return s
}

func lookIPv4(p []byte) (s seen) {
	if len(p) < 20 || p[0]>>4 != 4 {
		return s
	}
	ihl, total := int(p[0]&15)*4, int(binary.BigEndian.Uint16(p[2:]))
	if ihl < 20 || ihl > len(p) || total < ihl {
		return s
	}
	p = p[:min(total, len(p))]
	s.packet, s.ipBytes, s.outerProto = p, ihl, p[9]
	s.src, s.dst = netip.AddrFrom4([4]byte(p[12:16])), netip.AddrFrom4([4]byte(p[16:20]))
	s.fragment = binary.BigEndian.Uint16(p[6:])&0x1fff != 0
	s.transport(p[ihl:])
	return s
}

func lookIPv6(p []byte) (s seen) {
	if len(p) < 40 || p[0]>>4 != 6 {
		return s
	}
	s.isIPv6, s.packet, s.ipBytes, s.outerProto = true, p, 40, p[6]
	s.src, s.dst = netip.AddrFrom16([16]byte(p[8:24])), netip.AddrFrom16([16]byte(p[24:40]))
	rest := p[40:]
	// Hop-by-hop, routing, fragment and destination options may come before.
	for range 8 {
		switch s.outerProto {
		case unix.IPPROTO_HOPOPTS, unix.IPPROTO_ROUTING, unix.IPPROTO_DSTOPTS:
			if len(rest) < 8 {
				return s
			}
			n := 8 + int(rest[1])*8
			if n > len(rest) {
				return s
			}
			s.outerProto, rest, s.ipBytes = rest[0], rest[n:], s.ipBytes+n
		case unix.IPPROTO_FRAGMENT:
			if len(rest) < 8 {
				return s
			}
			s.fragment = binary.BigEndian.Uint16(rest[2:])&^7 != 0
			s.outerProto, rest, s.ipBytes = rest[0], rest[8:], s.ipBytes+8
		default:
			s.transport(rest)
			return s
		}
	}
	return s
}

// transport reads what the IP header carries.
func (s *seen) transport(p []byte) {
	s.payload = p
	switch s.outerProto {
	case unix.IPPROTO_GRE:
		s.kind = kindGRE
	case unix.IPPROTO_ESP:
		s.kind = kindESP
		s.esp(p)
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		s.kind = kindICMP
		if !s.fragment && quotesGRE(s.outerProto, p) {
			s.kind = kindQuote
		}
	case unix.IPPROTO_UDP:
		if s.fragment || len(p) < 8 {
			return
		}
		s.udpBytes = 8
		s.sport, s.dport = binary.BigEndian.Uint16(p), binary.BigEndian.Uint16(p[2:])
		s.payload = p[8:]
		s.udp()
	}
}

// quotesGRE recognizes an ICMP or ICMPv6 error about a packet that belongs into ESP.
func quotesGRE(proto uint8, p []byte) bool {
	const header = 8
	var about uint8
	switch {
	case proto == unix.IPPROTO_ICMP && len(p) >= header+20:
		switch p[0] {
		case 3, 4, 5, 11, 12:
			about = p[header+9]
		}
	case proto == unix.IPPROTO_ICMPV6 && len(p) >= header+40 && p[0] >= 1 && p[0] <= 4:
		about = p[header+6]
	}
	return about == unix.IPPROTO_GRE || about == unix.IPPROTO_IPIP || about == unix.IPPROTO_IPV6
}

// udp tells IKE, ESP and keepalives apart (RFC 3948 section 2).
func (s *seen) udp() {
	d := s.payload
	switch {
	case s.sport == wire.PortIKE || s.dport == wire.PortIKE:
		s.kind = kindIKE
	case s.sport != wire.PortNAT && s.dport != wire.PortNAT:
	case len(d) == 1 && d[0] == 0xff:
		s.kind = kindKeepalive
	case len(d) < 8:
	case binary.BigEndian.Uint32(d) == 0:
		s.kind = kindIKE
	default:
		s.kind = kindESPUDP
		s.esp(d)
	}
}

func (s *seen) esp(p []byte) {
	if s.fragment || len(p) < 8 {
		return
	}
	s.spi, s.seq, s.payload = binary.BigEndian.Uint32(p), binary.BigEndian.Uint32(p[4:]), p[8:]
}

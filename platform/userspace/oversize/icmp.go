package oversize

import (
	"encoding/binary"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"greseal/crypto/esp"
	"greseal/crypto/rate"
	"greseal/platform/gre"
	"greseal/platform/userspace/vnet"
)

const (
	protoICMP  = 1
	protoICMP6 = 58
	icmpLen    = 8

	hopLimit = 64 // of a message
)

// Refuse writes the ICMP message that refuses p, whose IP header stands at
// p[at:], and returns its length: 0 for a packet about which no message may be
// sent. mtu is what would fit; from is the message's source, if set.
//
// RFC 1812 section 4.3.2.4 and RFC 4443 section 2.2 have a router send it from
// one of its own addresses. On this interface a packet from an own address would
// be a martian to the kernel, and fails filters of the reverse path. So the
// message comes from the router at the other end, the next hop that a trace of
// the path shows anyway, or when that is unknown from where the packet was to go:
// each is sure to be routed through this interface. The kernel's own tunnels do
// the latter for what they carry as part of a bridge.
func Refuse(dst, p []byte, at int, version uint8, mtu int, from netip.Addr) int {
	if at > 0 { // back to the frame's sender, the VLAN tags as they are
		copy(dst, p[6:12])
		copy(dst[6:], p[:6])
		copy(dst[12:], p[12:at])
	}
	ip, d := p[at:], dst[at:]
	if version == 4 {
		if !mayRefuse4(ip) {
			return 0
		}
		// As much as fits into 576 bytes (RFC 1812 section 4.3.2.3).
		quote := ip[:min(len(ip), 576-vnet.IP4Len-icmpLen)]
		n := vnet.IP4Len + icmpLen + len(quote)
		clear(d[:vnet.IP4Len+icmpLen])
		d[0], d[1] = 0x45, 0xc0|ip[1]&0x1e // section 4.3.2.5
		binary.BigEndian.PutUint16(d[2:], uint16(n))
		d[6], d[8], d[9] = 0x40, hopLimit, protoICMP
		copy(d[12:16], ip[16:20])
		if from.Is4() {
			copy(d[12:16], from.AsSlice())
		}
		copy(d[16:20], ip[12:16])
		vnet.SetIP4Sum(d)
		m := d[vnet.IP4Len:n]
		m[0], m[1] = 3, 4
		binary.BigEndian.PutUint16(m[6:], uint16(mtu))
		copy(m[icmpLen:], quote)
		binary.BigEndian.PutUint16(m[2:], gre.Checksum(m))
		return at + n
	}
	if !mayRefuse6(ip) {
		return 0
	}
	quote := ip[:min(len(ip), IPv6MinMTU-vnet.IP6Len-icmpLen)]
	n := vnet.IP6Len + icmpLen + len(quote)
	clear(d[:vnet.IP6Len+icmpLen])
	d[0], d[6], d[7] = 0x60, protoICMP6, hopLimit
	binary.BigEndian.PutUint16(d[4:], uint16(n-vnet.IP6Len))
	copy(d[8:24], ip[24:40])
	if from.Is6() {
		copy(d[8:24], from.AsSlice())
	}
	copy(d[24:40], ip[8:24])
	m := d[vnet.IP6Len:n]
	m[0] = 2
	binary.BigEndian.PutUint32(m[4:], uint32(max(mtu, IPv6MinMTU)))
	copy(m[icmpLen:], quote)
	sum := gre.Sum(d[8:vnet.IP6Len], protoICMP6+uint32(len(m)))
	binary.BigEndian.PutUint16(m[2:], ^gre.Fold(gre.Sum(m, sum)))
	return at + n
}

// mayRefuse4 is RFC 1812 section 4.3.2.7: no message about an ICMP error, a
// fragment but the first, or a packet from or to what is no single host.
func mayRefuse4(p []byte) bool {
	head := int(p[0]&15) * 4
	if head < vnet.IP4Len || head > len(p) || binary.BigEndian.Uint16(p[6:])&0x1fff != 0 {
		return false
	}
	for _, a := range []byte{p[12], p[16]} {
		if a == 0 || a == 127 || a >= 224 {
			return false
		}
	}
	if p[9] != protoICMP {
		return true
	}
	if len(p) == head {
		return false
	}
	switch p[head] {
	case 3, 4, 5, 11, 12: // unreachable, quench, redirect, time exceeded, parameter problem
		return false
	}
	return true
}

// mayRefuse6 is RFC 4443 section 2.4 (e). Its exception for packets to a
// multicast address is not used: the message would have no source.
func mayRefuse6(p []byte) bool {
	if p[8] == 0xff || p[24] == 0xff || [16]byte(p[8:24]) == [16]byte{} || [16]byte(p[24:40]) == [16]byte{} {
		return false
	}
	at, next := vnet.IP6Len, p[6]
	for next == 0 || next == 43 || next == 44 || next == 60 {
		if len(p) < at+8 {
			return true
		}
		size := int(p[at+1])*8 + 8
		if next == 44 {
			size = 8
			if binary.BigEndian.Uint16(p[at+2:])&^7 != 0 {
				return true // not the first fragment: nobody can tell
			}
		}
		next, at = p[at], at+size
	}
	// Errors have types below 128; 137 is a redirect.
	return next != protoICMP6 || len(p) > at && p[at] >= 128 && p[at] != 137
}

// MessageRate limits a link's ICMP messages (RFC 1812 section 4.3.2.8, RFC 4443
// section 2.4 (f)).
func MessageRate() rate.Bucket { return rate.Bucket{Burst: 50, Each: time.Second / 100} }

// Quote is what a router's "too big" message says about an outer packet.
type Quote struct {
	MTU      int            // what would have fitted
	Dst      netip.AddrPort // port 0 without UDP
	UDP      bool
	SPI, Seq uint32

	len int // of the packet
}

// ReadQuote reads a "too big" message as a raw socket gives it. port is our own one of
// packets in UDP. ok is false for what is not about ESP or cannot be true: an MTU below
// IPv4's least, or one that the packet would have fitted. A router older than RFC 1191
// names no MTU; that of the packet less 1 stands for it.
func ReadQuote(b []byte, v6 bool, port uint16) (q Quote, ok bool) {
	if v6 {
		ok = q.read6(b, port)
	} else {
		ok = q.read4(b, port)
	}
	if q.MTU == 0 {
		q.MTU = q.len - 1
	}
	return q, ok && q.MTU >= minMTU && q.MTU < q.len
}

// read4 reads an ICMP message with its IP header. The kernel has not verified its
// checksum yet.
func (q *Quote) read4(b []byte, port uint16) (ok bool) {
	if len(b) < vnet.IP4Len || len(b) < int(b[0]&15)*4 {
		return false
	}
	b = b[int(b[0]&15)*4:]
	if len(b) < icmpLen+vnet.IP4Len || b[0] != 3 || b[1] != 4 || gre.Fold(gre.Sum(b, 0)) != 0xffff {
		return false
	}
	q.MTU = int(binary.BigEndian.Uint16(b[6:]))
	ip := b[icmpLen:]
	head := int(ip[0]&15) * 4
	if ip[0]>>4 != 4 || head < vnet.IP4Len || len(ip) < head || binary.BigEndian.Uint16(ip[6:])&0x1fff != 0 {
		return false
	}
	q.len = int(binary.BigEndian.Uint16(ip[2:]))
	return q.esp(netip.AddrFrom4([4]byte(ip[16:20])), ip[9], ip[head:], port)
}

// read6 reads an ICMPv6 message, which the kernel has verified.
func (q *Quote) read6(b []byte, port uint16) (ok bool) {
	if len(b) < icmpLen+vnet.IP6Len || b[0] != 2 {
		return false
	}
	q.MTU = int(min(binary.BigEndian.Uint32(b[4:]), 1<<16))
	ip := b[icmpLen:]
	if ip[0]>>4 != 6 {
		return false
	}
	q.len = vnet.IP6Len + int(binary.BigEndian.Uint16(ip[4:]))
	return q.esp(netip.AddrFrom16([16]byte(ip[24:40])), ip[6], ip[vnet.IP6Len:], port)
}

// esp reads the quoted packet behind its IP header.
func (q *Quote) esp(dst netip.Addr, proto uint8, b []byte, port uint16) (ok bool) {
	to := uint16(0)
	switch {
	case proto == unix.IPPROTO_ESP:
	case proto == vnet.ProtoUDP && len(b) >= vnet.UDPLen && binary.BigEndian.Uint16(b) == port:
		q.UDP, to = true, binary.BigEndian.Uint16(b[2:])
		b = b[vnet.UDPLen:]
	default:
		return false
	}
	q.Dst = netip.AddrPortFrom(dst, to)
	q.SPI, q.Seq, ok = esp.Header(b)
	return ok
}

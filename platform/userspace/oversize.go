package userspace

import (
	"encoding/binary"
	"math"
	"net/netip"
	"time"

	"greseal/crypto/rate"
	"greseal/platform"
	"greseal/platform/gre"
	"greseal/platform/userspace/vnet"
)

// Oversize: packets that the interface takes but the path does not. The kernel
// has compared each with the interface's MTU; the path carries less when that
// MTU was configured, or is about to follow the path. As a router does:
//
//	IPv4 with DF, IPv6   dropped, and the sender is told what fits: ICMP
//	                     "fragmentation needed" (RFC 1191 section 4) and
//	                     "packet too big" (RFC 4443 section 3.2)
//	IPv4 without DF      fragmented (RFC 791 section 3.2) before GRE, so that the
//	                     outer packets travel whole
//	IPv6 up to 1280      may not be refused (RFC 8200 section 5): where the path
//	                     carries even less, it leaves in outer fragments
//
// The message is written back into the TUN, so that routing, NAT and filters
// treat it as one from behind the tunnel.

// ipv6MinMTU is what every IPv6 link carries (RFC 8200 section 5).
const ipv6MinMTU = 1280

// setLimit sets what the route carries: the largest packet as the TUN or TAP gives
// it, with its Ethernet header.
func (r *route) setLimit(link *platform.Link) {
	r.limit = math.MaxInt
	if link.MaxUnfragmented == 0 || link.IgnoreDF {
		return
	}
	r.limit = link.MaxUnfragmented
	if link.Ethernet {
		r.limit += vnet.EtherLen
	}
}

// oversize handles what was read from d and is in w.segs, of which the largest
// packet has more than r.limit bytes. The IP header stands at p[at:].
func (w *egress) oversize(d *device, sa *outSA, r *route, p []byte, at int, version uint8) {
	if version == 6 && r.wide != nil && w.segs.Max-at <= ipv6MinMTU {
		w.carry(d, sa, r.wide, p, at, version)
		return
	}
	if w.scratch == nil {
		w.scratch = make([]byte, 2*vnet.MaxPacket)
	}
	if version == 4 && !d.Ethernet && p[at+6]&0x40 == 0 {
		w.fragment(d, sa, r)
		return
	}
	d.tx.tooBig += uint64(w.segs.N)
	if version == 0 || !d.refusals.Take(time.Since(d.opened)) {
		return
	}
	first := w.scratch[:w.segs.Write(0, w.scratch[:vnet.MaxPacket])]
	answer := w.scratch[vnet.MaxPacket:]
	head := vnet.HeaderLen
	if !d.Header {
		head = 0
	}
	n := tooBig(answer[head:], first, at, version, r.limit-at, neighbor(d.link.Load(), version))
	if n == 0 {
		return
	}
	clear(answer[:head])
	_, _ = w.k.Write(d.FD, answer[:head+n])
}

// fragment sends every packet of w.segs in pieces that fit.
func (w *egress) fragment(d *device, sa *outSA, r *route) {
	all := w.segs
	packet, piece := w.scratch[:vnet.MaxPacket], w.scratch[vnet.MaxPacket:]
	for i := range all.N {
		p := packet[:all.Write(i, packet)]
		total := int(binary.BigEndian.Uint16(p[2:]))
		head := int(p[0]&15) * 4
		if head < vnet.IP4Len || total < head || total > len(p) {
			d.tx.malformed++
			continue
		}
		for off := head; off < total; {
			n := fragment4(piece, p[:total], off, r.limit)
			if n == 0 {
				d.tx.tooBig++
				break
			}
			off += n - int(piece[0]&15)*4
			if w.segs.Start(&vnet.Header{}, piece[:n], false) == nil {
				w.carry(d, sa, r, piece[:n], 0, 4)
			}
		}
	}
}

// fragment4 writes the fragment of p whose data begins at p[off:] and returns
// its length, at most limit; 0 when not even 8 bytes of data fit. A packet that
// fits is its own only fragment.
func fragment4(dst, p []byte, off, limit int) int {
	head := int(p[0]&15) * 4
	if off == head && len(p) <= limit {
		return copy(dst, p)
	}
	n := copy(dst, p[:head])
	if off > head { // the options that belong to every fragment
		n = vnet.IP4Len + copyOptions(dst[vnet.IP4Len:], p[vnet.IP4Len:head])
		dst[0] = 0x40 | byte(n/4)
	}
	data := min(limit-n, len(p)-off)
	field := binary.BigEndian.Uint16(p[6:])
	if off+data < len(p) {
		data &^= 7
		field |= 0x2000
	}
	if data <= 0 {
		return 0
	}
	n += copy(dst[n:], p[off:off+data])
	binary.BigEndian.PutUint16(dst[2:], uint16(n))
	binary.BigEndian.PutUint16(dst[6:], field+uint16((off-head)/8))
	setIP4Sum(dst)
	return n
}

// copyOptions copies the IPv4 options with the copied flag, padded to a multiple
// of 4 bytes, and returns their length.
func copyOptions(dst, options []byte) int {
	n := 0
	for len(options) > 0 && options[0] != 0 {
		size := 1
		if options[0] != 1 {
			if len(options) < 2 || int(options[1]) < 2 || int(options[1]) > len(options) {
				break
			}
			size = int(options[1])
		}
		if options[0]&0x80 != 0 {
			n += copy(dst[n:], options[:size])
		}
		options = options[size:]
	}
	for n%4 != 0 {
		dst[n] = 0 // end of options
		n++
	}
	return n
}

func setIP4Sum(p []byte) {
	head := p[:int(p[0]&15)*4]
	clear(head[10:12])
	binary.BigEndian.PutUint16(head[10:], ^gre.Fold(gre.Sum(head, 0)))
}

const (
	protoICMP  = 1
	protoICMP6 = 58
	icmpLen    = 8
)

// neighbor is the router at the other end of the link, unset when unknown.
func neighbor(link *platform.Link, version uint8) netip.Addr {
	if version == 4 {
		return link.Neighbor4
	}
	return link.Neighbor6
}

// tooBig writes the ICMP message that refuses p, whose IP header stands at
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
func tooBig(dst, p []byte, at int, version uint8, mtu int, from netip.Addr) int {
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
		d[6], d[8], d[9] = 0x40, defaultTTL, protoICMP
		copy(d[12:16], ip[16:20])
		if from.Is4() {
			copy(d[12:16], from.AsSlice())
		}
		copy(d[16:20], ip[12:16])
		setIP4Sum(d)
		m := d[vnet.IP4Len:n]
		m[0], m[1] = 3, 4
		binary.BigEndian.PutUint16(m[6:], uint16(mtu))
		copy(m[icmpLen:], quote)
		binary.BigEndian.PutUint16(m[2:], ^gre.Fold(gre.Sum(m, 0)))
		return at + n
	}
	if !mayRefuse6(ip) {
		return 0
	}
	quote := ip[:min(len(ip), ipv6MinMTU-vnet.IP6Len-icmpLen)]
	n := vnet.IP6Len + icmpLen + len(quote)
	clear(d[:vnet.IP6Len+icmpLen])
	d[0], d[6], d[7] = 0x60, protoICMP6, defaultTTL
	binary.BigEndian.PutUint16(d[4:], uint16(n-vnet.IP6Len))
	copy(d[8:24], ip[24:40])
	if from.Is6() {
		copy(d[8:24], from.AsSlice())
	}
	copy(d[24:40], ip[8:24])
	m := d[vnet.IP6Len:n]
	m[0] = 2
	binary.BigEndian.PutUint32(m[4:], uint32(max(mtu, ipv6MinMTU)))
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

// messageRate limits a link's ICMP messages (RFC 1812 section 4.3.2.8, RFC 4443
// section 2.4 (f)).
func messageRate() rate.Bucket { return rate.Bucket{Burst: 50, Each: time.Second / 100} }

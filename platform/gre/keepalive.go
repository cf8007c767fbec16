package gre

import (
	"encoding/binary"
	"net/netip"
)

// A keepalive (first Cisco's, then MikroTik's) makes the other side's plain
// forwarding answer it: inside a GRE packet goes an IP packet that is already
// addressed back to its sender and carries a GRE header of protocol type 0.
//
//	sent by A:     [IP A→B] [GRE 0x0800] [IP B→A] [GRE 0x0000]
//	returned by B:                       [IP B→A] [GRE 0x0000]
//
// B need know nothing of it: it takes off the outer part and routes the rest.
// A host refuses to forward a packet with its own source address, so what
// stands between the two must answer here.

// MaxKeepalive is the longest GRE packet, header included, that is sent back:
// what routers send have no more than a header.
const MaxKeepalive = 64

// leastLinux is the least length of a GRE packet, header included, that Linux
// takes (gre_rcv). What comes back of a keepalive is filled up to it by zeros.
const leastLinux = 12

const (
	ipv4HeaderLen = 20
	ipv6HeaderLen = 40
)

// AppendKeepalive appends a keepalive from local to remote, a whole GRE packet
// without the outer IP header. Both headers carry h's key; h's protocol type is
// not used. The addresses are of one IP version.
func AppendKeepalive(b []byte, h Header, local, remote netip.Addr) []byte {
	inner := Header{Proto: ProtoKeepalive, Key: h.Key, HasKey: h.HasKey}
	size := max(inner.Len(), leastLinux)
	var p []byte
	if local.Is4() {
		p = make([]byte, ipv4HeaderLen+size)
		p[0] = 0x45
		binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
		p[8] = 255
		p[9] = IPProtocol
		src, dst := remote.As4(), local.As4()
		copy(p[12:], src[:])
		copy(p[16:], dst[:])
		binary.BigEndian.PutUint16(p[10:], ^Fold(Sum(p[:ipv4HeaderLen], 0)))
		inner.Put(p[ipv4HeaderLen:])
		h.Proto = ProtoIPv4
	} else {
		p = make([]byte, ipv6HeaderLen+size)
		p[0] = 0x60
		binary.BigEndian.PutUint16(p[4:], uint16(size))
		p[6] = IPProtocol
		p[7] = 255
		src, dst := remote.As16(), local.As16()
		copy(p[8:], src[:])
		copy(p[24:], dst[:])
		inner.Put(p[ipv6HeaderLen:])
		h.Proto = ProtoIPv6
	}
	return h.Append(b, p)
}

// KeepaliveReply looks at the payload of a GRE packet that came from remote to
// local. When it is a keepalive it returns the GRE packet to send back, a part
// of payload. Whoever sent it must be its destination and we its source, so
// that nobody bounces packets off us to others.
func KeepaliveReply(proto uint16, payload []byte, local, remote netip.Addr) (reply []byte, ok bool) {
	var src, dst netip.Addr
	switch proto {
	case ProtoIPv4:
		if len(payload) < ipv4HeaderLen || payload[0]>>4 != 4 || payload[9] != IPProtocol {
			return nil, false
		}
		head := int(payload[0]&15) * 4
		total := int(binary.BigEndian.Uint16(payload[2:]))
		fragment := binary.BigEndian.Uint16(payload[6:])&0x3fff != 0
		if head < ipv4HeaderLen || total < head || total > len(payload) || fragment {
			return nil, false
		}
		src, dst = netip.AddrFrom4([4]byte(payload[12:16])), netip.AddrFrom4([4]byte(payload[16:20]))
		reply = payload[head:total]
	case ProtoIPv6:
		if len(payload) < ipv6HeaderLen || payload[0]>>4 != 6 || payload[6] != IPProtocol {
			return nil, false
		}
		total := ipv6HeaderLen + int(binary.BigEndian.Uint16(payload[4:]))
		if total > len(payload) {
			return nil, false
		}
		src, dst = netip.AddrFrom16([16]byte(payload[8:24])), netip.AddrFrom16([16]byte(payload[24:40]))
		reply = payload[ipv6HeaderLen:total]
	default:
		return nil, false
	}
	if src != local || dst != remote || len(reply) > MaxKeepalive {
		return nil, false
	}
	if h, _, err := Parse(reply); err != nil || h.Proto != ProtoKeepalive {
		return nil, false
	}
	return reply, true
}

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

// ProtoHuawei is the protocol type of the outer GRE header in Huawei's keepalives.
// An IPv4 packet follows as in Cisco's, and the inner header has either type.
const ProtoHuawei uint16 = 0x0004

// KeepaliveReply looks at the payload of a GRE packet that came from remote to
// local. When it is a keepalive it returns the GRE packet to send back, a part
// of payload. Whoever sent it must be its destination and we its source.
func KeepaliveReply(proto uint16, payload []byte, local, remote netip.Addr) (reply []byte, ok bool) {
	k, ok := parseKeepalive(proto, payload)
	if !ok || k.src != local || k.dst != remote {
		return nil, false
	}
	return k.reply, true
}

// RenamedKeepaliveReply is KeepaliveReply for a keepalive with other addresses. A
// router behind a NAT writes its own address into it, one that knows us behind a
// NAT the NAT's, and VeloCloud writes addresses of the inside. None of that need
// be known here: the answer goes to the peer alone, by the SA that the keepalive
// came on. One that is on its way back to us is none.
//
// It may be a user's all the same, whose own GRE runs through the tunnel: then it
// has to go on as well. theirs says that the peer itself made it, by one of the
// endpoints' addresses or since nobody has forwarded it.
func RenamedKeepaliveReply(proto uint16, payload []byte, local, remote netip.Addr) (reply []byte, theirs, ok bool) {
	k, ok := parseKeepalive(proto, payload)
	if !ok || k.src == remote || k.dst == local {
		return nil, false, false
	}
	return k.reply, k.src == local || k.dst == remote || k.ttl == 255 || proto == ProtoHuawei, true
}

// keepalive is the inside of one.
type keepalive struct {
	src, dst netip.Addr
	ttl      byte
	reply    []byte
}

func parseKeepalive(proto uint16, payload []byte) (k keepalive, ok bool) {
	switch proto {
	case ProtoIPv4, ProtoHuawei:
		if len(payload) < ipv4HeaderLen || payload[0]>>4 != 4 || payload[9] != IPProtocol {
			return k, false
		}
		head := int(payload[0]&15) * 4
		total := int(binary.BigEndian.Uint16(payload[2:]))
		fragment := binary.BigEndian.Uint16(payload[6:])&0x3fff != 0
		if head < ipv4HeaderLen || total < head || total > len(payload) || fragment {
			return k, false
		}
		k.src, k.dst = netip.AddrFrom4([4]byte(payload[12:16])), netip.AddrFrom4([4]byte(payload[16:20]))
		k.ttl, k.reply = payload[8], payload[head:total]
	case ProtoIPv6:
		if len(payload) < ipv6HeaderLen || payload[0]>>4 != 6 || payload[6] != IPProtocol {
			return k, false
		}
		total := ipv6HeaderLen + int(binary.BigEndian.Uint16(payload[4:]))
		if total > len(payload) {
			return k, false
		}
		k.src, k.dst = netip.AddrFrom16([16]byte(payload[8:24])), netip.AddrFrom16([16]byte(payload[24:40]))
		k.ttl, k.reply = payload[7], payload[ipv6HeaderLen:total]
	default:
		return k, false
	}
	if len(k.reply) > MaxKeepalive {
		return k, false
	}
	h, _, err := Parse(k.reply)
	return k, err == nil && (h.Proto == ProtoKeepalive || proto == ProtoHuawei && h.Proto == ProtoHuawei)
}

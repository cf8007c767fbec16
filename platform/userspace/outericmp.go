package userspace

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"greseal/crypto/esp"
	"greseal/platform"
	"greseal/platform/gre"
	"greseal/platform/inet"
	"greseal/platform/userspace/vnet"
)

// ICMP from the path: routers that cannot forward an outer packet because it is
// too big say so. Anybody can send such a message, so it counts only when it
// quotes an SPI of ours, the peer's address and a sequence number of the last
// packets (RFC 4301 section 8.2.1), and then it is only a hint for the search of
// the path MTU. What quotes less than the ESP header, which RFC 792 allows, is
// ignored: the search finds such paths by itself.

// recentSequence is how many of the last sequence numbers a message may quote.
const recentSequence = 1 << 16

// icmpSocket opens a raw socket that gets nothing but "too big" of one IP version.
func (d *Datapath) icmpSocket(v6 bool) (*outSocket, error) {
	ip, level, option := inet.V(v6), unix.SOL_RAW, icmpFilter
	filter := make([]byte, 4)
	binary.NativeEndian.PutUint32(filter, ^uint32(1<<3)) // blocked types as bits
	if v6 {
		level, option = unix.SOL_ICMPV6, unix.ICMPV6_FILTER
		filter = bytes.Repeat([]byte{0xff}, 32)
		binary.NativeEndian.PutUint32(filter, ^uint32(1<<2))
	}
	fd, err := ip.Socket(unix.SOCK_RAW, ip.ICMP)
	if err != nil {
		return nil, err
	}
	if err := unix.SetsockoptString(fd, level, option, string(filter)); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return &outSocket{fd: fd, v6: v6, icmp: true}, nil
}

// icmpFilter is ICMP_FILTER (linux/icmp.h).
const icmpFilter = 1

// quote is what a "too big" message says about an outer packet.
type quote struct {
	mtu int // 0: not said (routers before RFC 1191)
	dst netip.AddrPort
	udp bool
	len int // of the packet it is about
	spi uint32
	seq uint32
}

// parseTooBig4 reads an ICMP message of a raw socket, its IP header included. The
// kernel has not verified its checksum yet.
func parseTooBig4(b []byte, portNAT uint16) (q quote, ok bool) {
	if len(b) < vnet.IP4Len || len(b) < int(b[0]&15)*4 {
		return q, false
	}
	b = b[int(b[0]&15)*4:]
	if len(b) < icmpLen+vnet.IP4Len || b[0] != 3 || b[1] != 4 || gre.Fold(gre.Sum(b, 0)) != 0xffff {
		return q, false
	}
	q.mtu = int(binary.BigEndian.Uint16(b[6:]))
	ip := b[icmpLen:]
	head := int(ip[0]&15) * 4
	if ip[0]>>4 != 4 || head < vnet.IP4Len || len(ip) < head || binary.BigEndian.Uint16(ip[6:])&0x1fff != 0 {
		return q, false
	}
	q.len = int(binary.BigEndian.Uint16(ip[2:]))
	return q, q.esp(netip.AddrFrom4([4]byte(ip[16:20])), ip[9], ip[head:], portNAT)
}

// parseTooBig6 reads an ICMPv6 message, which the kernel has verified.
func parseTooBig6(b []byte, portNAT uint16) (q quote, ok bool) {
	if len(b) < icmpLen+vnet.IP6Len || b[0] != 2 {
		return q, false
	}
	mtu := binary.BigEndian.Uint32(b[4:])
	q.mtu = int(min(mtu, 1<<16))
	ip := b[icmpLen:]
	if ip[0]>>4 != 6 {
		return q, false
	}
	q.len = vnet.IP6Len + int(binary.BigEndian.Uint16(ip[4:]))
	return q, q.esp(netip.AddrFrom16([16]byte(ip[24:40])), ip[6], ip[vnet.IP6Len:], portNAT)
}

// esp reads the quoted packet behind its IP header.
func (q *quote) esp(dst netip.Addr, proto uint8, b []byte, portNAT uint16) (ok bool) {
	port := uint16(0)
	switch {
	case proto == unix.IPPROTO_ESP:
	case proto == vnet.ProtoUDP && len(b) >= vnet.UDPLen && binary.BigEndian.Uint16(b) == portNAT:
		q.udp, port = true, binary.BigEndian.Uint16(b[2:])
		b = b[vnet.UDPLen:]
	default:
		return false
	}
	q.dst = netip.AddrPortFrom(dst, port)
	q.spi, q.seq, ok = esp.Header(b)
	return ok
}

// about reports whether the quoted packet is one of the last this SA sent.
func (q *quote) about(sa *outSA) bool {
	r := sa.route.Load()
	to := peerOf(r.name[:r.nameLen])
	return sa.spi == q.spi && r.sock.udp == q.udp &&
		to.Addr().WithZone("") == q.dst.Addr() && (!q.udp || to.Port() == q.dst.Port()) &&
		uint32(sa.sealer.Sent())-q.seq < recentSequence && sa.sealer.Sent() != 0
}

// tooBigAgain is how soon the same is told again.
const tooBigAgain = time.Second

// outerTooBig handles a message of the path.
func (w *ingress) outerTooBig(v6 bool, b []byte) {
	parse := parseTooBig4
	if v6 {
		parse = parseTooBig6
	}
	q, ok := parse(b, w.portNAT)
	if ok && q.mtu == 0 {
		q.mtu = q.len - 1
	}
	// Less than IPv4's least is a lie, and so is what the packet would have
	// fitted.
	if !ok || q.mtu < minMTU || q.mtu >= q.len {
		w.noise++
		return
	}
	for _, sa := range w.outs.of(q.spi) {
		if !q.about(sa) {
			continue
		}
		if now := time.Now(); q.mtu != sa.told || now.Sub(sa.toldAt) > tooBigAgain {
			sa.told, sa.toldAt = q.mtu, now
			w.events.post(platform.Event{Kind: platform.OuterTooBig, Link: sa.link, Out: true, SPI: sa.spi, MTU: q.mtu})
		}
		return
	}
	w.noise++
}

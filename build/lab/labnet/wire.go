package labnet

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Kind is what a frame on the wire is, by what an observer can see.
type Kind string

// Kinds of frames.
const (
	GRE       Kind = "GRE"        // IP protocol 47 in the clear
	ESP       Kind = "ESP"        // IP protocol 50
	ESPinUDP  Kind = "ESP-in-UDP" // UDP 4500 without the non-ESP marker
	IKE       Kind = "IKE"        // UDP 500, or 4500 with the marker
	Keepalive Kind = "keepalive"  // the one byte of RFC 3948 section 2.3
	Quote     Kind = "ICMP error" // that quotes GRE, or a packet with an inner address
	Other     Kind = "other"
)

// inner are the networks that the scenarios use inside tunnels and nowhere else.
var inner = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("2001:db8:aa::/48"),
	netip.MustParsePrefix("2001:db8:bb::/48"), netip.MustParsePrefix("2001:db8:cc::/48"), netip.MustParsePrefix("2001:db8:dd::/48"),
}

// Packet is one IP packet as captured.
type Packet struct {
	At       time.Time
	Kind     Kind
	Src, Dst netip.Addr
	SrcPort  uint16
	DstPort  uint16
	Payload  []byte // of UDP, ESP or GRE; everything behind the IP header otherwise
	frame    []byte
}

// SPI is the first word of an ESP packet.
func (p Packet) SPI() uint32 {
	if len(p.Payload) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(p.Payload)
}

// Size is the length of the IP packet in bytes.
func (p Packet) Size() int { return len(p.frame) - 14 }

// TTL is the time to live or hop limit of the IP header.
func (p Packet) TTL() byte {
	if p.Src.Is4() {
		return p.frame[14+8]
	}
	return p.frame[14+7]
}

// Class is the TOS byte or traffic class of the IP header.
func (p Packet) Class() byte {
	if p.Src.Is4() {
		return p.frame[14+1]
	}
	return p.frame[14]<<4 | p.frame[14+1]>>4
}

// Fragment tells whether it is a fragment of an IP packet.
func (p Packet) Fragment() bool {
	ip := p.frame[14:]
	if ip[0]>>4 == 6 {
		return ip[6] == 44
	}
	return binary.BigEndian.Uint16(ip[6:])&0x3fff != 0
}

// classify takes an Ethernet frame apart as far as an observer can.
func classify(frame []byte) (Packet, bool) {
	if len(frame) < 14 {
		return Packet{}, false
	}
	p := Packet{frame: bytes.Clone(frame), Kind: Other}
	ip := p.frame[14:]
	var proto byte
	var first bool
	switch binary.BigEndian.Uint16(frame[12:]) {
	case 0x0800:
		if len(ip) < 20 || len(ip) < int(ip[0]&15)*4 {
			return p, false
		}
		p.Src, p.Dst = netip.AddrFrom4([4]byte(ip[12:16])), netip.AddrFrom4([4]byte(ip[16:20]))
		proto, first = ip[9], binary.BigEndian.Uint16(ip[6:])&0x1fff == 0
		p.Payload = ip[int(ip[0]&15)*4 : min(len(ip), max(int(binary.BigEndian.Uint16(ip[2:])), int(ip[0]&15)*4))]
	case 0x86dd:
		if len(ip) < 40 {
			return p, false
		}
		p.Src, p.Dst = netip.AddrFrom16([16]byte(ip[8:24])), netip.AddrFrom16([16]byte(ip[24:40]))
		proto, first = ip[6], true
		p.Payload = ip[40:min(len(ip), 40+int(binary.BigEndian.Uint16(ip[4:])))]
		for (proto == 0 || proto == 43 || proto == 44 || proto == 60) && len(p.Payload) >= 8 {
			size := 8
			if proto == 44 {
				first = binary.BigEndian.Uint16(p.Payload[2:])&0xfff8 == 0
			} else {
				size += int(p.Payload[1]) * 8
			}
			proto, p.Payload = p.Payload[0], p.Payload[min(size, len(p.Payload)):]
		}
	default:
		return p, false
	}
	switch {
	case proto == 47:
		p.Kind = GRE
	case proto == 50:
		p.Kind = ESP
	case first && (proto == 1 || proto == 58) && quotes(proto, p.Payload):
		p.Kind = Quote
	case proto == 17 && first && len(p.Payload) >= 8:
		p.SrcPort, p.DstPort = binary.BigEndian.Uint16(p.Payload), binary.BigEndian.Uint16(p.Payload[2:])
		p.Payload = p.Payload[8:]
		switch {
		case p.SrcPort == 500 || p.DstPort == 500:
			p.Kind = IKE
		case p.SrcPort != 4500 && p.DstPort != 4500:
		case len(p.Payload) == 1 && p.Payload[0] == 0xff:
			p.Kind = Keepalive
		case len(p.Payload) >= 4 && p.SPI() == 0:
			p.Kind = IKE
			p.Payload = p.Payload[4:]
		default:
			p.Kind = ESPinUDP
		}
	}
	return p, true
}

// quotes tells whether an ICMP or ICMPv6 message is an error about a packet that
// belongs inside: GRE, IP in IP, or with an inner address.
func quotes(proto byte, message []byte) bool {
	if len(message) < 8+20 {
		return false
	}
	kind, ip := message[0], message[8:]
	var about byte
	var src, dst netip.Addr
	switch {
	case proto == 1 && (kind == 3 || kind == 4 || kind == 5 || kind == 11 || kind == 12):
		about = ip[9]
		src, dst = netip.AddrFrom4([4]byte(ip[12:16])), netip.AddrFrom4([4]byte(ip[16:20]))
	case proto == 58 && kind >= 1 && kind <= 4 && len(ip) >= 40:
		about = ip[6]
		src, dst = netip.AddrFrom16([16]byte(ip[8:24])), netip.AddrFrom16([16]byte(ip[24:40]))
		if about == 60 && len(ip) > 40 { // destination options before GRE
			about = ip[40]
		}
	default:
		return false
	}
	return about == 47 || about == 4 || about == 41 ||
		slices.ContainsFunc(inner, func(n netip.Prefix) bool { return n.Contains(src) || n.Contains(dst) })
}

// count counts packets.
func (w *Wire) count(is func(Packet) bool) (n int) {
	for _, p := range w.Packets() {
		if is(p) {
			n++
		}
	}
	return n
}

// Count counts packets of a kind, from anybody or from one address.
func (w *Wire) Count(kind Kind, from ...string) int {
	return w.count(func(p Packet) bool {
		return p.Kind == kind && (len(from) == 0 || p.Src == netip.MustParseAddr(from[0]))
	})
}

// Since counts packets of a kind since a moment.
func (w *Wire) Since(kind Kind, since time.Time) int {
	return w.count(func(p Packet) bool { return p.Kind == kind && p.At.After(since) })
}

// Find counts packets that hold pattern anywhere.
func (w *Wire) Find(pattern []byte) int {
	return w.count(func(p Packet) bool { return bytes.Contains(p.frame, pattern) })
}

// About counts packets in the clear to or from a network since a moment.
func (w *Wire) About(network string, since time.Time) int {
	prefix := netip.MustParsePrefix(network)
	return w.count(func(p Packet) bool { return (prefix.Contains(p.Src) || prefix.Contains(p.Dst)) && p.At.After(since) })
}

// MustBeWhole fails the scenario when the capture lost a packet.
func (w *Wire) MustBeWhole() {
	w.lab.Check(w.dropped() == 0, "the capture lost %d packets", w.lost)
}

// Summary counts every kind, for messages.
func (w *Wire) Summary() string {
	count := map[Kind]int{}
	for _, p := range w.Packets() {
		count[p.Kind]++
	}
	return fmt.Sprintf("%d ESP, %d ESP-in-UDP, %d IKE, %d keepalives, %d clear GRE, %d ICMP errors about packets of the inside, %d other",
		count[ESP], count[ESPinUDP], count[IKE], count[Keepalive], count[GRE], count[Quote], count[Other])
}

// MustBeSealed fails the scenario when protocol 47, a ping's payload or an ICMP
// error that quotes what is inside was seen in the clear, when the capture lost packets, or when nothing was protected.
func (w *Wire) MustBeSealed() {
	w.MustHideGRE()
	count := w.Count(ESP) + w.Count(ESPinUDP)
	w.lab.Check(count > 0, "the wire shows no ESP at all: %s", w.Summary())
}

// MustHideGRE is MustBeSealed for scenarios in which no SA ever stands.
func (w *Wire) MustHideGRE() {
	if w.Count(GRE) > 0 {
		w.lab.Leakf("protocol 47 in the clear on the wire: %s", w.Summary())
	}
	if w.Count(Quote) > 0 {
		w.lab.Leakf("an ICMP error in the clear quotes what is inside ESP: %s", w.Summary())
	}
	if found := w.Find(PingPayload); found > 0 {
		w.lab.Leakf("the payload of a ping stands in the clear in %d packets: %s", found, w.Summary())
	}
	w.MustBeWhole()
	w.lab.Logf("wire %s: %s", w.name, w.Summary())
}

// IKETime is the time from the first IKE_SA_INIT request to the last IKE_AUTH
// response, as seen on the wire; false when they are not there.
func (w *Wire) IKETime() (time.Duration, bool) {
	const saInit, auth = 34, 35
	var first, last time.Time
	for _, p := range w.Packets() {
		if p.Kind != IKE || len(p.Payload) < 28 {
			continue
		}
		response := p.Payload[19]&0x20 != 0
		switch {
		case p.Payload[18] == saInit && !response && first.IsZero():
			first = p.At
		case p.Payload[18] == auth && response:
			last = p.At
		}
	}
	return last.Sub(first), !first.IsZero() && !last.IsZero()
}

// Exchanges counts requests of an IKE exchange type (34 IKE_SA_INIT, 35
// IKE_AUTH, 36 CREATE_CHILD_SA, 37 INFORMATIONAL) sent by an address, each
// retransmitted one once.
func (w *Wire) Exchanges(kind byte, from string) int {
	seen := map[string]bool{}
	for _, p := range w.Packets() {
		if p.Kind == IKE && len(p.Payload) >= 28 && p.Payload[18] == kind && p.Payload[19]&0x20 == 0 && p.Src == netip.MustParseAddr(from) {
			seen[string(p.Payload)] = true
		}
	}
	return len(seen)
}

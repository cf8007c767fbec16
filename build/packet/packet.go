// Package packet makes the packets that tests of the userspace datapath carry.
package packet

import (
	"bytes"
	"encoding/binary"

	"greseal/platform/gre"
)

// Spec describes a TCP or UDP packet.
type Spec struct {
	V6       bool
	UDP      bool
	Ethernet bool
	VLAN     bool
	Port     uint16
	To       uint16 // 443 when 0
	ID       uint16
	DF       bool
	TOS, TTL uint8
	Seq, Ack uint32
	Flags    uint8
	Window   uint16
	Options  []byte
	Payload  []byte
}

// Build makes a packet with right checksums.
func (s Spec) Build() []byte {
	var p []byte
	if s.Ethernet {
		p = append(p, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2)
		if s.VLAN {
			p = append(p, 0x81, 0x00, 0x00, 0x2a)
		}
		if s.V6 {
			p = append(p, 0x86, 0xdd)
		} else {
			p = append(p, 0x08, 0x00)
		}
	}
	l4 := binary.BigEndian.AppendUint16(nil, s.Port)
	if s.To == 0 {
		s.To = 443
	}
	l4 = binary.BigEndian.AppendUint16(l4, s.To)
	field := 16
	if s.UDP {
		field = 6
		l4 = binary.BigEndian.AppendUint16(l4, uint16(8+len(s.Payload)))
		l4 = append(l4, 0, 0)
	} else {
		l4 = binary.BigEndian.AppendUint32(l4, s.Seq)
		l4 = binary.BigEndian.AppendUint32(l4, s.Ack)
		l4 = append(l4, byte(5+len(s.Options)/4)<<4, s.Flags)
		l4 = binary.BigEndian.AppendUint16(l4, s.Window)
		l4 = append(l4, 0, 0, 0, 0)
		l4 = append(l4, s.Options...)
	}
	l4 = append(l4, s.Payload...)
	proto := byte(6)
	if s.UDP {
		proto = 17
	}
	ip := len(p)
	if s.V6 {
		p = append(p, 0x60|s.TOS>>4, s.TOS<<4, 0, 7)
		p = binary.BigEndian.AppendUint16(p, uint16(len(l4)))
		p = append(p, proto, s.TTL)
		p = append(p, bytes.Repeat([]byte{0xfd, 1}, 8)...)
		p = append(p, bytes.Repeat([]byte{0xfd, 2}, 8)...)
	} else {
		p = append(p, 0x45, s.TOS)
		p = binary.BigEndian.AppendUint16(p, uint16(20+len(l4)))
		p = binary.BigEndian.AppendUint16(p, s.ID)
		if s.DF {
			p = append(p, 0x40, 0)
		} else {
			p = append(p, 0, 0)
		}
		p = append(p, s.TTL, proto, 0, 0, 10, 1, 2, 3, 10, 4, 5, 6)
		binary.BigEndian.PutUint16(p[ip+10:], ^gre.Fold(gre.Sum(p[ip:], 0)))
	}
	sum := gre.Sum(l4, uint32(proto)+uint32(len(l4)))
	if s.V6 {
		sum = gre.Sum(p[ip+8:ip+40], sum)
	} else {
		sum = gre.Sum(p[ip+12:ip+20], sum)
	}
	check := ^gre.Fold(sum)
	if check == 0 && s.UDP {
		check = 0xffff
	}
	binary.BigEndian.PutUint16(l4[field:], check)
	return append(p, l4...)
}

// Stream is a TCP flow of n packets with size bytes each, which change may make into
// something else.
func Stream(n, size int, change func(i int, s *Spec)) [][]byte {
	var out [][]byte
	seq := uint32(0xffffff00) // wraps on the way
	for i := range n {
		s := Spec{Port: 1000, ID: uint16(0xfffe + i), DF: true, TTL: 64, Seq: seq, Ack: 7, Flags: 0x10, Window: 500, Payload: Pattern(size, i)}
		change(i, &s)
		seq += uint32(len(s.Payload))
		out = append(out, s.Build())
	}
	return out
}

// Pattern is n bytes that are others for each salt.
func Pattern(n, salt int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*31 + salt)
	}
	return b
}

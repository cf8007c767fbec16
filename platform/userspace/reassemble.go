package userspace

import (
	"encoding/binary"
	"math/bits"
	"time"

	"greseal/crypto/esp"
	"greseal/platform/userspace/vnet"
)

// Reassembly of GRE packets that the peer fragmented before it encrypted them,
// as routers do whose tunnel MTU is larger than what fits: in tunnel mode each
// ESP packet then holds one fragment. This is a slow path with bounded memory:
// a few datagrams at a time, the oldest gives way, and a datagram with
// overlapping fragments is dropped whole (RFC 5722).

const (
	maxReassemblies = 8
	reassemblyTime  = 15 * time.Second
	// reassemblyRoom is in front of the packet, for whatever is written there.
	reassemblyRoom = 64
)

// piece is one fragment of an inner packet.
type piece struct {
	v6   bool
	id   uint32
	off  int // bytes
	more bool
	data []byte
}

// pieceOf reads a fragment whose header innerGRE has found right.
func pieceOf(payload []byte, next uint8) (p piece, ok bool) {
	switch next {
	case esp.NextIPv4:
		head, total := int(payload[0]&15)*4, int(binary.BigEndian.Uint16(payload[2:]))
		field := binary.BigEndian.Uint16(payload[6:])
		p.id = uint32(binary.BigEndian.Uint16(payload[4:]))
		p.off, p.more = int(field&0x1fff)*8, field&0x2000 != 0
		p.data = payload[head:total]
	case esp.NextIPv6:
		at, total, proto := fragmentHeader(payload)
		if proto != gre6Fragment {
			return p, false
		}
		field := binary.BigEndian.Uint16(payload[at+2:])
		p.v6, p.id = true, binary.BigEndian.Uint32(payload[at+4:])
		p.off, p.more = int(field&^7), field&1 != 0
		p.data = payload[at+8 : total]
	}
	return p, len(p.data) > 0 && (!p.more || len(p.data)%8 == 0) && p.off+len(p.data) <= vnet.MaxIPLen
}

// reassembly is one packet in the making.
type reassembly struct {
	dev     *device
	v6      bool
	id      uint32
	begun   time.Time
	buf     []byte
	have    [(vnet.MaxIPLen/8 + 64) / 64]uint64 // blocks of 8 bytes
	blocks  int
	total   int // 0 until the last fragment has come
	ecn     uint8
	ecnMark bool
}

// reassembler belongs to an ingress worker. The zero value is ready to use.
type reassembler struct {
	slots []*reassembly
}

// add takes a fragment and returns the GRE packet when it is whole: the
// bytes from reassemblyRoom on, valid until the next call.
func (r *reassembler) add(dev *device, p *piece, ecn uint8, now time.Time) (whole []byte, outECN uint8) {
	s := r.slot(dev, p, now)
	if s == nil {
		return nil, 0
	}
	end := p.off + len(p.data)
	first, last := p.off/8, (end+7)/8
	overlap := s.total != 0 && (end > s.total || !p.more)
	for b := first; b < last && !overlap; b++ {
		overlap = s.have[b/64]&(1<<(b%64)) != 0
	}
	if overlap {
		s.dev = nil
		return nil, 0
	}
	for b := first; b < last; b++ {
		s.have[b/64] |= 1 << (b % 64)
	}
	s.blocks += last - first
	copy(s.buf[reassemblyRoom+p.off:], p.data)
	if p.off == 0 {
		s.ecn = ecn
	}
	s.ecnMark = s.ecnMark || ecn == 3
	if !p.more {
		s.total = end
		if s.beyond(last) {
			s.dev = nil
			return nil, 0
		}
	}
	if s.total == 0 || s.blocks != (s.total+7)/8 {
		return nil, 0
	}
	s.dev = nil
	if s.ecnMark { // RFC 3168 section 5.3
		s.ecn = 3
	}
	return s.buf[:reassemblyRoom+s.total], s.ecn
}

// beyond reports that blocks behind the end have come.
func (s *reassembly) beyond(end int) bool {
	n := 0
	for _, w := range s.have {
		n += bits.OnesCount64(w)
	}
	for b := range end {
		n -= int(s.have[b/64] >> (b % 64) & 1)
	}
	return n != 0
}

// slot finds the packet a fragment belongs to, or begins one.
func (r *reassembler) slot(dev *device, p *piece, now time.Time) *reassembly {
	var free *reassembly
	for _, s := range r.slots {
		if s.dev != nil && now.Sub(s.begun) > reassemblyTime {
			s.dev = nil
		}
		switch {
		case s.dev == dev && s.v6 == p.v6 && s.id == p.id:
			return s
		case s.dev == nil:
			free = s
		case free == nil || free.dev != nil && s.begun.Before(free.begun):
			free = s
		}
	}
	if (free == nil || free.dev != nil) && len(r.slots) < maxReassemblies {
		free = &reassembly{buf: make([]byte, reassemblyRoom+vnet.MaxIPLen)}
		r.slots = append(r.slots, free)
	}
	free.dev, free.v6, free.id, free.begun = dev, p.v6, p.id, now
	clear(free.have[:])
	free.blocks, free.total, free.ecn, free.ecnMark = 0, 0, 0, false
	return free
}

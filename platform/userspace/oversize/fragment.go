package oversize

import (
	"encoding/binary"
	"math/bits"
	"time"

	"golang.org/x/sys/unix"

	"greseal/crypto/esp"
	"greseal/platform/gre"
	"greseal/platform/userspace/vnet"
)

// Fragment4 writes the fragment of p whose data begins at p[off:] and returns
// its length, at most limit; 0 when not even 8 bytes of data fit. A packet that
// fits is its own only fragment.
func Fragment4(dst, p []byte, off, limit int) int {
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
	vnet.SetIP4Sum(dst)
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

// Outer fragments of IPv6 (RFC 8200 section 4.5). No router makes them, and the
// kernel makes them only where it knows of the narrow link: what the search has
// found, with ICMP dropped or not, it does not know. So where a packet inside may
// not be refused, the outer one is cut here, small enough for every path there is
// (RFC 7676 section 5), and leaves by a raw socket of the fragment header's
// number; the kernel writes the IPv6 header.

const (
	fragmentLen = 8 // of the fragment header
	// Fragment6Data is what a fragment holds at most, bytes, a multiple of 8.
	Fragment6Data = IPv6MinMTU - vnet.IP6Len - fragmentLen
)

// Cut6 is what stands in front of ESP in the packet that is cut.
type Cut6 struct {
	udp   bool
	ports [4]byte
	sum   uint32 // of the UDP pseudo-header, but for the length
}

// NewCut6 is nil for SAs over IPv4, and where the source address, which the UDP
// checksum is about, is left to the kernel. port is ours.
func NewCut6(sa *esp.ChildSA, port uint16) *Cut6 {
	local, remote := sa.Local.Addr().Unmap(), sa.Remote.Addr().Unmap()
	if !remote.Is6() || !local.Is6() || local.IsUnspecified() {
		return nil
	}
	c := &Cut6{udp: sa.Encap}
	binary.BigEndian.PutUint16(c.ports[:], port)
	binary.BigEndian.PutUint16(c.ports[2:], sa.Remote.Port())
	c.sum = gre.Sum(local.AsSlice(), gre.Sum(remote.AsSlice(), vnet.ProtoUDP))
	return c
}

// Append appends what follows the IPv6 header of the packet that is cut: an ESP packet,
// behind its UDP header if there is one.
func (c *Cut6) Append(b, packet []byte) []byte {
	if !c.udp {
		return append(b, packet...)
	}
	at := len(b)
	b = append(b, c.ports[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(vnet.UDPLen+len(packet)))
	b = append(append(b, 0, 0), packet...)
	sum := ^gre.Fold(gre.Sum(b[at:], c.sum+uint32(len(b)-at)))
	if sum == 0 {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(b[at+6:], sum)
	return b
}

// Fragment writes the fragment header and the data of whole from off on, a multiple of
// Fragment6Data, and returns their length. id is the packet's and not to be foretold
// (RFC 7739).
func (c *Cut6) Fragment(dst, whole []byte, off int, id uint32) int {
	next, end, field := uint8(unix.IPPROTO_ESP), off+Fragment6Data, uint16(off)
	if c.udp {
		next = vnet.ProtoUDP
	}
	if end < len(whole) {
		field |= 1 // more
	} else {
		end = len(whole)
	}
	dst[0], dst[1] = next, 0
	binary.BigEndian.PutUint16(dst[2:], field)
	binary.BigEndian.PutUint32(dst[4:], id)
	return fragmentLen + copy(dst[fragmentLen:], whole[off:end])
}

// Reassembly of GRE packets that the peer fragmented before it encrypted them,
// as routers do whose tunnel MTU is larger than what fits: in tunnel mode each
// ESP packet then holds one fragment. This is a slow path with bounded memory:
// a few datagrams at a time, the oldest gives way, and a datagram with
// overlapping fragments is dropped whole (RFC 5722).

const (
	maxReassemblies = 8
	reassemblyTime  = 15 * time.Second
	// Room is in front of the packet, for whatever is written there.
	Room = 64
)

// Piece is one fragment of an inner packet.
type Piece struct {
	V6   bool
	ID   uint32
	Off  int // bytes
	More bool
	Data []byte
}

// packetKey tells packets apart.
type packetKey struct {
	of int
	v6 bool
	id uint32
}

// reassembly is one packet in the making.
type reassembly struct {
	key     packetKey // unset: free
	begun   time.Time
	buf     []byte
	have    [(vnet.MaxIPLen/8 + 64) / 64]uint64 // blocks of 8 bytes
	blocks  int
	total   int // 0 until the last fragment has come
	ecn     uint8
	ecnMark bool
}

// Reassembler is for one goroutine. The zero value is ready to use.
type Reassembler struct {
	slots []*reassembly
}

// Add takes a fragment and returns the packet when it is whole: the bytes from Room on,
// valid until the next call. of is the index of the interface it came for, never 0: only
// pieces for the same one join.
func (r *Reassembler) Add(of int, p *Piece, ecn uint8, now time.Time) (whole []byte, outECN uint8) {
	s := r.slot(packetKey{of, p.V6, p.ID}, now)
	end := p.Off + len(p.Data)
	first, last := p.Off/8, (end+7)/8
	overlap := s.total != 0 && (end > s.total || !p.More)
	for b := first; b < last && !overlap; b++ {
		overlap = s.have[b/64]&(1<<(b%64)) != 0
	}
	if overlap {
		s.key = packetKey{}
		return nil, 0
	}
	for b := first; b < last; b++ {
		s.have[b/64] |= 1 << (b % 64)
	}
	s.blocks += last - first
	copy(s.buf[Room+p.Off:], p.Data)
	if p.Off == 0 {
		s.ecn = ecn
	}
	s.ecnMark = s.ecnMark || ecn == 3
	if !p.More {
		s.total = end
		if s.beyond(last) {
			s.key = packetKey{}
			return nil, 0
		}
	}
	if s.total == 0 || s.blocks != (s.total+7)/8 {
		return nil, 0
	}
	s.key = packetKey{}
	if s.ecnMark { // RFC 3168 section 5.3
		s.ecn = 3
	}
	return s.buf[:Room+s.total], s.ecn
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
func (r *Reassembler) slot(key packetKey, now time.Time) *reassembly {
	var free *reassembly
	for _, s := range r.slots {
		if s.key.of != 0 && now.Sub(s.begun) > reassemblyTime {
			s.key = packetKey{}
		}
		switch {
		case s.key == key:
			return s
		case s.key.of == 0:
			free = s
		case free == nil || free.key.of != 0 && s.begun.Before(free.begun):
			free = s
		}
	}
	if (free == nil || free.key.of != 0) && len(r.slots) < maxReassemblies {
		free = &reassembly{buf: make([]byte, Room+vnet.MaxIPLen)}
		r.slots = append(r.slots, free)
	}
	free.key, free.begun = key, now
	clear(free.have[:])
	free.blocks, free.total, free.ecn, free.ecnMark = 0, 0, 0, false
	return free
}

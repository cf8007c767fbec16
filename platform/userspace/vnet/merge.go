package vnet

import (
	"bytes"
	"encoding/binary"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"greseal/platform/gre"
)

// Merging: packets of one TCP or UDP flow that follow each other become one
// large packet with a vnet header, written to the TUN in one system call and
// cut up again by the kernel only where it must be. A packet passes through
//
//	Merger.Add      what is it, does it continue a flow that waits?
//	flow.continues  the merge rules, those of the kernel's GRO
//	Merger.flush    one writev with the payloads where they were decrypted
//
// What is merged is marked "checksum still to be computed", and the kernel then
// trusts it: so the L4 checksum of every packet is verified before it is merged.
// A packet that stays alone is written as it came and verified by the kernel.

const (
	maxFlows = 8
	// MaxSegments is how many packets a run has at most: UDP_MAX_SEGMENTS of kernels
	// before 6.9.
	MaxSegments = 64
)

// Device is a TUN or TAP.
type Device struct {
	FD       int
	Ethernet bool // a TAP
	Header   bool // packets are read and written with a vnet header

	Delivered atomic.Uint32 // packets given to it
	Refused   atomic.Uint32 // packets that it refused, as one does that is down
	Lost      func()        // is called when somebody has deleted it
}

// refused counts packets that the interface did not take.
func (d *Device) refused(e unix.Errno, n int) {
	d.Refused.Add(uint32(n))
	if e == unix.EBADFD {
		d.Lost()
	}
}

// Writer is the kernel, as far as a Merger needs it. Descriptors do not block.
type Writer interface {
	Write(fd int, b []byte) (int, unix.Errno)
	Writev(fd int, iov []unix.Iovec) (int, unix.Errno)
}

// Merger holds the flows that wait for their next packet. It is for one goroutine.
type Merger struct {
	k     Writer
	flows [maxFlows]*flow
	used  int // flows[:used] hold packets, oldest first
	iov   [MaxSegments]unix.Iovec

	Off      Kinds                          // kinds that are not merged, or that this kernel cannot take
	disabled func(kind Kinds, e unix.Errno) // called once for each kind
}

// NewMerger makes a Merger. disabled is called once for each kind of run that the kernel
// refuses, which is Off from then on.
func NewMerger(k Writer, disabled func(Kinds, unix.Errno)) *Merger {
	m := &Merger{k: k, disabled: disabled}
	for i := range m.flows {
		m.flows[i] = new(flow)
	}
	return m
}

// Kinds are the kinds of runs, as bits.
type Kinds uint8

const (
	TCP Kinds = 1 << iota
	UDP
)

// flow is one run of packets that will be written as one.
type flow struct {
	dev  *Device
	pkts [MaxSegments][]byte // each with HeaderLen bytes in front that are free
	n    int

	packetInfo        // of the first packet
	size       int    // payload of the first packet, the run's gso_size
	total      int    // IP length of the merged packet
	nextSeq    uint32 // TCP
	psh        bool   // the last packet had PSH
	closed     bool   // nothing may follow
	verified   bool   // the first packet's checksum is right
	idStep     uint16 // IPv4 identification from packet to packet, once n > 1
}

// packetInfo says where things are in a packet.
type packetInfo struct {
	ip      int
	version uint8
	l4      int
	hdr     int // length of all headers
	udp     bool
}

// shape tells what coalescing makes of a packet.
type shape uint8

const (
	foreign   shape = iota // neither TCP nor UDP: no flow can wait for it
	irregular              // perhaps TCP or UDP, but fragmented or with options: never merged
	regular
)

// inspect finds out whether p is TCP or UDP that may be merged: unfragmented,
// without IPv4 options or IPv6 extension headers, its length as its IP header
// says.
func inspect(p []byte, ethernet bool) (i packetInfo, s shape) {
	i.ip, i.version = FindIP(p, ethernet)
	var proto uint8
	s = regular
	switch i.version {
	case 4:
		h := p[i.ip:]
		if h[0] != 0x45 || binary.BigEndian.Uint16(h[6:])&0x3fff != 0 || int(binary.BigEndian.Uint16(h[2:])) != len(h) {
			s = irregular
		}
		proto, i.l4 = h[9], i.ip+IP4Len
	case 6:
		h := p[i.ip:]
		if int(binary.BigEndian.Uint16(h[4:]))+IP6Len != len(h) {
			s = irregular
		}
		proto, i.l4 = h[6], i.ip+IP6Len
	}
	switch proto {
	case ProtoTCP:
		if s == irregular || len(p) < i.l4+TCPLen {
			return i, irregular
		}
		i.hdr = i.l4 + int(p[i.l4+12]>>4)*4
		if i.hdr < i.l4+TCPLen || i.hdr > len(p) {
			return i, irregular
		}
		return i, regular
	case ProtoUDP:
		i.udp = true
		i.hdr = i.l4 + UDPLen
		if s == irregular || i.hdr > len(p) || int(binary.BigEndian.Uint16(p[i.l4+4:])) != len(p)-i.l4 {
			return i, irregular
		}
		return i, regular
	case 0, 43, 44, 60: // IPv6: options, routing, fragment; IPv4 has none of them
		if i.version == 6 {
			return i, irregular
		}
	}
	return i, foreign
}

// mergeable reports whether a packet may begin or continue a run at all.
func (i *packetInfo) mergeable(p []byte) bool {
	if len(p) == i.hdr {
		return false
	}
	if i.udp {
		// Kernels before 6.8.5 lose runs at a tunnel's socket.
		switch binary.BigEndian.Uint16(p[i.l4+2:]) {
		case 4789, 8472, 6081: // VXLAN, Linux's number for it, GENEVE
			return false
		}
		return binary.BigEndian.Uint16(p[i.l4+6:]) != 0
	}
	return p[i.l4+13]&^TcpPSH == TcpACK
}

// sameFlow compares addresses, protocol and ports.
func (f *flow) sameFlow(dev *Device, i *packetInfo, p []byte) bool {
	if f.dev != dev || f.version != i.version || f.udp != i.udp || f.ip != i.ip {
		return false
	}
	q := f.pkts[0][HeaderLen:]
	if [4]byte(p[i.l4:]) != [4]byte(q[f.l4:]) {
		return false
	}
	if f.version == 4 {
		return [8]byte(p[i.ip+12:]) == [8]byte(q[f.ip+12:])
	}
	return [32]byte(p[i.ip+8:]) == [32]byte(q[f.ip+8:])
}

// continues reports whether p, of the same flow and mergeable, may be appended:
// nothing but what segmentation restores may differ between the headers.
func (f *flow) continues(i *packetInfo, p []byte) bool {
	payload := len(p) - i.hdr
	if f.closed || f.n == MaxSegments || i.hdr != f.hdr || payload > f.size || f.total+payload > MaxIPLen {
		return false
	}
	q := f.pkts[0][HeaderLen:]
	if !bytes.Equal(p[:i.ip], q[:f.ip]) {
		return false // Ethernet and VLAN
	}
	a, b := p[i.ip:], q[f.ip:]
	if f.version == 4 {
		// TOS; flags and offset; TTL and protocol.
		if a[1] != b[1] || [4]byte(a[6:]) != [4]byte(b[6:]) {
			return false
		}
		step := binary.BigEndian.Uint16(a[4:]) - binary.BigEndian.Uint16(b[4:])
		df := b[6]&0x40 != 0
		switch {
		case f.n == 1 && step == 0 && df: // atomic datagrams need no identification (RFC 6864)
		case f.n == 1 && step == 1:
		case f.n > 1 && step == f.idStep*uint16(f.n):
		default:
			return false
		}
	} else if [4]byte(a) != [4]byte(b) || [2]byte(a[6:]) != [2]byte(b[6:]) {
		return false // class and flow label; next header and hop limit
	}
	if f.udp {
		return true
	}
	a, b = p[i.l4:i.hdr], q[f.l4:f.hdr]
	return binary.BigEndian.Uint32(a[4:]) == f.nextSeq &&
		[4]byte(a[8:]) == [4]byte(b[8:]) && // acknowledgement
		a[12] == b[12] && [2]byte(a[14:]) == [2]byte(b[14:]) && // reserved bits, window
		bytes.Equal(a[18:], b[18:]) // urgent pointer, options
}

// l4Valid verifies the TCP or UDP checksum.
func (i *packetInfo) l4Valid(p []byte) bool {
	return gre.Fold(gre.Sum(p[i.l4:], i.pseudoSum(p, len(p)-i.l4))) == 0xffff
}

// pseudoSum is the sum of the pseudo-header for an L4 length.
func (i *packetInfo) pseudoSum(p []byte, length int) uint32 {
	sum := uint32(ProtoTCP)
	if i.udp {
		sum = ProtoUDP
	}
	sum += uint32(length)
	if i.version == 4 {
		return gre.Sum(p[i.ip+12:i.ip+20], sum)
	}
	return gre.Sum(p[i.ip+8:i.ip+IP6Len], sum)
}

// Add takes one packet for dev. b is HeaderLen free bytes and the packet; it is
// kept until Flush. The packets of a flow stay in order.
func (m *Merger) Add(dev *Device, b []byte) {
	if !dev.Header {
		m.single(dev, b)
		return
	}
	p := b[HeaderLen:]
	i, s := inspect(p, dev.Ethernet)
	switch s {
	case foreign:
		m.single(dev, b)
		return
	case irregular:
		for at := m.used - 1; at >= 0; at-- {
			if m.flows[at].dev == dev {
				m.flush(at)
			}
		}
		m.single(dev, b)
		return
	}
	merge := m.Off&i.kind() == 0 && i.mergeable(p)
	for at, f := range m.flows[:m.used] {
		if !f.sameFlow(dev, &i, p) {
			continue
		}
		if merge && f.continues(&i, p) && m.append(f, &i, b) {
			return
		}
		m.flush(at)
		break
	}
	if !merge || m.Off&i.kind() != 0 {
		m.single(dev, b)
		return
	}
	if m.used == maxFlows {
		m.flush(0)
	}
	f := m.flows[m.used]
	m.used++
	f.dev, f.packetInfo = dev, i
	f.pkts[0], f.n = b, 1
	f.size, f.total = len(p)-i.hdr, len(p)-i.ip
	f.verified, f.closed = false, false
	f.track(&i, p)
}

func (i *packetInfo) kind() Kinds {
	if i.udp {
		return UDP
	}
	return TCP
}

// append verifies and appends; on a wrong checksum nothing is appended.
func (m *Merger) append(f *flow, i *packetInfo, b []byte) bool {
	if !f.verified {
		if !f.l4Valid(f.pkts[0][HeaderLen:]) {
			return false
		}
		f.verified = true
	}
	p := b[HeaderLen:]
	if !i.l4Valid(p) {
		return false
	}
	if f.n == 1 && f.version == 4 {
		f.idStep = binary.BigEndian.Uint16(p[i.ip+4:]) - binary.BigEndian.Uint16(f.pkts[0][HeaderLen+f.ip+4:])
	}
	f.pkts[f.n] = b
	f.n++
	payload := len(p) - i.hdr
	f.total += payload
	if payload < f.size {
		f.closed = true
	}
	f.track(i, p)
	return true
}

// track notes what the next packet is compared with.
func (f *flow) track(i *packetInfo, p []byte) {
	if i.udp {
		return
	}
	f.nextSeq = binary.BigEndian.Uint32(p[i.l4+4:]) + uint32(len(p)-i.hdr)
	f.psh = p[i.l4+13]&TcpPSH != 0
	if f.psh {
		f.closed = true
	}
}

// Flush writes everything that waits: the buffers are free afterwards.
func (m *Merger) Flush() {
	for _, f := range m.flows[:m.used] {
		m.write(f)
	}
	m.used = 0
}

// flush writes one flow; the others keep their order.
func (m *Merger) flush(at int) {
	f := m.flows[at]
	m.write(f)
	m.used--
	copy(m.flows[at:m.used], m.flows[at+1:])
	m.flows[m.used] = f
}

func (m *Merger) write(f *flow) {
	if f.n == 1 {
		m.single(f.dev, f.pkts[0])
		return
	}
	first := f.pkts[0]
	p := first[HeaderLen:]
	var saved [128]byte
	keep := copy(saved[:], p[:f.hdr])
	f.header(first)

	iov := m.iov[:f.n]
	iov[0].Base = &first[0]
	iov[0].SetLen(len(first))
	for k := 1; k < f.n; k++ {
		b := f.pkts[k]
		iov[k].Base = &b[HeaderLen+f.hdr]
		iov[k].SetLen(len(b) - HeaderLen - f.hdr)
	}
	_, e := m.k.Writev(f.dev.FD, iov)
	if e == 0 {
		f.dev.Delivered.Add(uint32(f.n))
		return
	}
	if e != unix.EINVAL {
		f.dev.refused(e, f.n)
		return
	}
	// The kernel takes no such run (no USO before Linux 6.2, and faults of its
	// own): each packet goes alone, now and from now on.
	if kind := f.kind(); m.Off&kind == 0 {
		m.Off |= kind
		m.disabled(kind, e)
	}
	copy(p, saved[:keep])
	for k := range f.n {
		m.single(f.dev, f.pkts[k])
	}
}

// header makes the first packet's headers those of the run.
func (f *flow) header(b []byte) {
	p := b[HeaderLen:]
	if f.version == 4 {
		binary.BigEndian.PutUint16(p[f.ip+2:], uint16(f.total))
		SetIP4Sum(p[f.ip:])
	} else {
		binary.BigEndian.PutUint16(p[f.ip+4:], uint16(f.total-IP6Len))
	}
	l4Len := f.total - (f.l4 - f.ip)
	v := Header{
		Flags:     NeedsCsum,
		HdrLen:    uint16(f.hdr),
		GSOSize:   uint16(f.size),
		CsumStart: uint16(f.l4),
	}
	l4 := p[f.l4:]
	if f.udp {
		v.GSOType, v.CsumOffset = GSOUDP, 6
		binary.BigEndian.PutUint16(l4[4:], uint16(l4Len))
	} else {
		v.GSOType, v.CsumOffset = GSOTCP4, 16
		if f.version == 6 {
			v.GSOType = GSOTCP6
		}
		if f.psh {
			l4[13] |= TcpPSH
		}
	}
	binary.BigEndian.PutUint16(l4[v.CsumOffset:], gre.Fold(f.pseudoSum(p, l4Len)))
	v.Write(b)
}

// single writes one packet as it is; the kernel verifies its checksum.
func (m *Merger) single(dev *Device, b []byte) {
	if dev.Header {
		clear(b[:HeaderLen])
	} else {
		b = b[HeaderLen:]
	}
	if _, e := m.k.Write(dev.FD, b); e != 0 {
		dev.refused(e, 1)
		return
	}
	dev.Delivered.Add(1)
}

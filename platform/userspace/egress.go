package userspace

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"greseal/platform"
	"greseal/platform/gre"
	"greseal/platform/userspace/vnet"
)

// Egress: from the links' TUN devices to the outer sockets. One egress worker
// serves some of the links, and a link has one worker, so that the packets of
// an SA leave in the order of their sequence numbers. A packet passes through
//
//	run      which devices have something to read
//	drain    read it from the TUN, with its vnet header
//	packet   find the link's SA; what the path has no room for goes through
//	         oversize.go
//	carry    reserve sequence numbers
//	segments cut it up (package vnet) straight into the outbox, behind room for
//	         ESP header, inner IP header (tunnel mode) and GRE header
//	seal     write these headers and seal in place
//	outbox   join equal sizes into runs, send all runs by one call (outbox.go)
//
// The batch is sent when nothing more is to be read, or when it is large
// enough. There is no other way for a packet out of a TUN than through seal.

// egress is one worker and what it owns.
type egress struct {
	*worker
	k      kernel
	out    *outbox
	in     []byte
	serves int       // of the loop: how many devices
	devs   []*device // by token
	active []*device // those that may have more to read
	segs   vnet.Segments

	bouncing atomic.Bool // keepalives wait to be answered

	scratch []byte // of oversize
	events  *eventQueue
}

func newEgress(k kernel, events *eventQueue) (*egress, error) {
	w, err := newWorker()
	if err != nil {
		return nil, err
	}
	return &egress{
		worker: w, k: k, events: events,
		out: newOutbox(k, w.writable),
		in:  make([]byte, vnet.HeaderLen+vnet.MaxPacket),
	}, nil
}

// addDevice and removeDevice are called by the loop. After removeDevice the
// worker does not touch the device any more.
func (w *egress) addDevice(d *device) error {
	w.serves++
	w.do(func() {
		d.token = int32(len(w.devs))
		for i, free := range w.devs {
			if free == nil {
				d.token = int32(i)
				w.devs[i] = d
				return
			}
		}
		w.devs = append(w.devs, d)
	})
	if err := w.watch(d.FD, d.token); err != nil {
		w.removeDevice(d)
		return err
	}
	return nil
}

func (w *egress) removeDevice(d *device) {
	w.serves--
	w.do(func() {
		w.unwatch(d.FD)
		w.devs[d.token] = nil
		for i, a := range w.active {
			if a == d {
				w.active = append(w.active[:i], w.active[i+1:]...)
				break
			}
		}
	})
}

// run is the worker's goroutine.
func (w *egress) run() {
	defer close(w.done)
	for {
		// With devices that are still being read, only look who else is there.
		timeout := -1
		if len(w.active) > 0 {
			timeout = 0
		}
		if timeout < 0 || len(w.devs) > 1 {
			for _, e := range w.ready(timeout) {
				if e.Fd == wakeToken {
					continue
				}
				if d := w.devs[e.Fd]; d != nil && !d.active {
					d.active = true
					w.active = append(w.active, d)
				}
			}
		}
		w.bounce()
		w.round()
		w.asked()
		if w.end {
			return
		}
	}
}

// round gives every device that has something one turn, so that a flood on one
// does not hold up the others, and sends what was collected.
func (w *egress) round() {
	kept := w.active[:0]
	for _, d := range w.active {
		if w.drain(d) {
			kept = append(kept, d)
		} else {
			d.active = false
		}
	}
	clear(w.active[len(kept):])
	w.active = kept
	w.out.flush()
}

// drain reads a device until it is empty or its turn is over, and reports
// whether there may be more.
func (w *egress) drain(d *device) bool {
	for range batch {
		n, e := w.k.read(d.FD, w.in)
		switch e {
		case 0:
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		default:
			// EBADFD: deleted. Nothing else is left to wait for here.
			w.unwatch(d.FD)
			d.gone()
			return false
		}
		w.packet(d, w.in[:n])
		if w.out.full() {
			w.out.flush()
			return true
		}
	}
	return true
}

// packet takes one packet as it was read.
func (w *egress) packet(d *device, p []byte) {
	var h vnet.Header
	if d.Header {
		if len(p) < vnet.HeaderLen {
			d.tx.malformed++
			return
		}
		h.Read(p)
		p = p[vnet.HeaderLen:]
	}
	if len(p) == 0 || w.segs.Start(&h, p, d.Ethernet) != nil {
		d.tx.malformed++
		return
	}
	sa := d.out.Load()
	if sa == nil {
		d.tx.noSA += uint64(w.segs.N)
		return
	}
	r := sa.route.Load()
	at, version := vnet.FindIP(p, d.Ethernet)
	if w.segs.Max > r.limit {
		w.oversize(d, sa, r, p, at, version)
		return
	}
	w.carry(d, sa, r, p, at, version)
}

// carry sends what w.segs holds of packet p by a route that has room for it.
func (w *egress) carry(d *device, sa *outSA, r *route, p []byte, at int, version uint8) {
	g := r.gre
	var ok bool
	if g.Proto, ok = protoOf(r.ethernet, version); !ok {
		d.tx.malformed++
		return
	}
	if mss := mssOf(at, version, r.mss4, r.mss6); mss != 0 && w.segs.N == 1 {
		clampMSS(p, at, version, mss, w.segs.H.Flags&vnet.NeedsCsum != 0)
	}
	first, n := w.reserve(sa, w.segs.N)
	if n == 0 {
		d.tx.noSA += uint64(w.segs.N)
		return
	}

	// The class of the outer header: DSCP as the link says (RFC 2983), ECN
	// always the packet's own (RFC 6040 section 4.1, normal mode).
	class := vnet.TrafficClass(p, at, version)
	tos := r.tos&^3 | class&3
	if r.tosInherit && version != 0 {
		tos = class
	}
	ttl := r.ttl
	if ttl == 0 {
		ttl = hopLimit(p, at, version)
	}
	w.seal(d, sa, r, &g, n, first, tos, ttl)
	w.limits(sa)
}

// protoOf is GRE's protocol type for what a TAP gives, or an IP packet of a TUN.
func protoOf(ethernet bool, version uint8) (proto uint16, ok bool) {
	switch {
	case ethernet:
		return gre.ProtoTEB, true
	case version == 4:
		return gre.ProtoIPv4, true
	}
	return gre.ProtoIPv6, version == 6
}

// reserve takes sequence numbers for n packets, or for as many as the SA may
// still carry. With none left the SA is over.
func (w *egress) reserve(sa *outSA, n int) (first uint64, granted int) {
	if left := sa.limits.left(&sa.count); uint64(n) > left {
		n = int(left)
	}
	if n > 0 {
		var err error
		if first, err = sa.sealer.Reserve(n); err == nil {
			return first, n
		}
	}
	w.expire(sa)
	return 0, 0
}

// limits raises the events of an SA that has carried something.
func (w *egress) limits(sa *outSA) {
	d := sa.dev
	if sa.limits.soft(&sa.count) {
		w.events.post(platform.Event{Kind: platform.SoftExpire, Link: d.name, Out: true, SPI: sa.spi})
	}
	if !sa.low && sa.sealer.Left() < lowSequence {
		sa.low = true
		w.events.post(platform.Event{Kind: platform.SequenceLow, Link: d.name, Out: true, SPI: sa.spi})
	}
	if sa.limits.hard(&sa.count) {
		w.expire(sa)
	}
}

// seal makes n segments into ESP packets in the outbox.
func (w *egress) seal(d *device, sa *outSA, r *route, g *gre.Header, n int, first uint64, tos, ttl uint8) {
	head := sa.sealer.Headroom()
	room := sa.sealer.PacketLen(r.prefix + w.segs.Max)
	for i := range n {
		slot := w.out.room(room)
		if slot == nil {
			d.tx.tooBig++
			continue
		}
		body := slot[head:]
		size := r.greLen + w.segs.Write(i, body[r.prefix:])
		r.putInner(body, size, tos, ttl, uint16(first)+uint16(i))
		if g.HasSequence {
			g.Sequence = d.greSeq
			d.greSeq++
		}
		g.Put(body[r.ipLen:])
		if g.HasChecksum {
			gre.SetChecksum(body[r.ipLen : r.ipLen+size])
		}
		size += r.ipLen
		total, err := sa.sealer.Seal(slot, size, r.next, first+uint64(i))
		if err != nil {
			d.tx.malformed++ // room was computed for the largest: not reached
			continue
		}
		sa.count.Packets++
		sa.count.Bytes += uint64(size)
		if r.cut != nil {
			w.out.cut(r, d, total, tos)
		} else {
			w.out.commit(r, d, total, tos)
		}
	}
}

// expire ends an SA at its hard limit or at the end of its sequence numbers:
// nothing more is sent on it.
func (w *egress) expire(sa *outSA) {
	sa.dev.out.CompareAndSwap(sa, nil)
	if sa.dead.CompareAndSwap(false, true) {
		w.events.post(platform.Event{Kind: platform.HardExpire, Link: sa.dev.name, Out: true, SPI: sa.spi})
	}
}

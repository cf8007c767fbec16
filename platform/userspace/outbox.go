package userspace

import (
	"encoding/binary"
	"math/rand/v2"

	"greseal/platform/userspace/oversize"
	"greseal/platform/userspace/vnet"

	"golang.org/x/sys/unix"
)

// The outbox of an egress worker: sealed packets lie one behind the other in
// one buffer; neighbours of equal size for the same path form a run, which is
// one message with UDP_SEGMENT. All runs leave by one sendmmsg.

const (
	// outboxLen holds a 64 KB packet cut into segments and sealed, behind a
	// batch that was just below flushAt.
	outboxLen = 160 << 10
	maxRuns   = 64
	flushAt   = 40 << 10 // bytes after which reading on gains nothing
	batch     = 64       // packets, likewise

	maxUDPPayload = 65507 // of one message, however it is cut
)

// run is what one message carries.
type run struct {
	route  *route
	dev    *device
	off    int
	size   int   // bytes in all
	seg    int   // bytes of each packet, the last may be shorter
	n      int   // packets
	tos    uint8 // of the outer header
	closed bool
}

type outbox struct {
	k    kernel
	buf  []byte
	used int
	runs [maxRuns]run
	n    int
	msgs [maxRuns + 1]mmsghdr // the last is for packets sent singly
	iov  [maxRuns + 1]unix.Iovec
	ctl  [maxRuns + 1][160]byte
	wide []byte            // of cut
	wait func(fd int) bool // until fd can be written; false: give up
}

func newOutbox(k kernel, wait func(int) bool) *outbox {
	return &outbox{k: k, buf: make([]byte, outboxLen), wait: wait}
}

// full reports that the batch is large enough to be sent.
func (o *outbox) full() bool { return o.used >= flushAt || o.n == maxRuns }

// room returns n bytes for a packet; what waits is sent when there are none.
// It is nil for a packet that fits into no message at all.
func (o *outbox) room(n int) []byte {
	if n > maxUDPPayload {
		return nil
	}
	if o.used+n > len(o.buf) {
		o.flush()
	}
	return o.buf[o.used : o.used+n]
}

// commit takes the packet of n bytes that was written where room said.
func (o *outbox) commit(r *route, dev *device, n int, tos uint8) {
	off := o.used
	o.used += n
	if o.n > 0 {
		last := &o.runs[o.n-1]
		if last.route == r && last.tos == tos && !last.closed && n <= last.seg &&
			last.n < vnet.MaxSegments && last.size+n <= maxUDPPayload && r.sock.gso.Load() && !r.noGSO.Load() {
			last.size += n
			last.n++
			last.closed = n < last.seg
			return
		}
		if o.n == maxRuns {
			// The packet stays where it is until its run is sent below; what
			// stands before it goes first.
			o.flushKeeping(off, n)
			off = 0
		}
	}
	o.runs[o.n] = run{route: r, dev: dev, off: off, size: n, seg: n, n: 1, tos: tos}
	o.n++
}

// cut takes the packet of n bytes that was written where room said, in outer fragments.
func (o *outbox) cut(r *route, dev *device, n int, tos uint8) {
	o.wide = r.cut.Append(o.wide[:0], o.buf[o.used:o.used+n])
	id := rand.Uint32()
	for off := 0; off < len(o.wide); off += oversize.Fragment6Data {
		o.commit(r, dev, r.cut.Fragment(o.room(oversize.IPv6MinMTU), o.wide, off, id), tos)
	}
}

// flushKeeping sends the runs and moves the packet at off to the front.
func (o *outbox) flushKeeping(off, n int) {
	o.send()
	copy(o.buf, o.buf[off:off+n])
	o.n, o.used = 0, n
}

// flush sends everything.
func (o *outbox) flush() {
	o.send()
	o.n, o.used = 0, 0
}

// send hands runs to the kernel, neighbours of one socket with one call.
func (o *outbox) send() {
	for from := 0; from < o.n; {
		sock := o.runs[from].route.sock
		to := from + 1
		for to < o.n && o.runs[to].route.sock == sock {
			to++
		}
		for i := from; i < to; i++ {
			o.message(i, &o.runs[i])
		}
		for from < to {
			sent, e := o.k.sendmmsg(sock.fd, o.msgs[from:to])
			if e == 0 {
				for i := from; i < from+sent; i++ {
					o.runs[i].dev.tx.sent += uint64(o.runs[i].n)
				}
				from += sent
				continue
			}
			switch {
			case e == unix.EINTR:
			case e == unix.EAGAIN:
				if !o.wait(sock.fd) {
					o.runs[from].dev.tx.sendErrors += uint64(o.runs[from].n)
					from++
				}
			case o.runs[from].n > 1 && gsoRefused(e):
				o.singly(&o.runs[from], e)
				from++
			default:
				o.runs[from].dev.sendFailed(e, o.runs[from].n)
				from++
			}
		}
	}
}

// gsoRefused tells errors that a run can meet where its packets would pass:
// EIO is a device that cannot compute checksums, EINVAL a segment larger than
// the path or a kernel's fault, EMSGSIZE the former in newer kernels.
func gsoRefused(e unix.Errno) bool {
	return e == unix.EIO || e == unix.EINVAL || e == unix.EMSGSIZE || e == unix.EOPNOTSUPP
}

// singly sends the packets of a refused run one by one. When all of them pass,
// it was the segmentation: that is then off for the socket, or for this path
// alone where larger packets than the path's are let pass in fragments.
func (o *outbox) singly(r *run, refused unix.Errno) {
	sock := r.route.sock
	passed := true
	for off := r.off; off < r.off+r.size; off += r.seg {
		one := run{route: r.route, off: off, size: min(r.seg, r.off+r.size-off), n: 1, tos: r.tos}
		o.message(maxRuns, &one)
		_, e := o.k.sendmmsg(sock.fd, o.msgs[maxRuns:])
		for e == unix.EINTR || e == unix.EAGAIN && o.wait(sock.fd) {
			_, e = o.k.sendmmsg(sock.fd, o.msgs[maxRuns:])
		}
		if e == 0 {
			r.dev.tx.sent++
		} else {
			r.dev.sendFailed(e, 1)
			passed = false
		}
	}
	switch {
	case !passed:
	case !r.route.df:
		r.route.noGSO.Store(true)
	default:
		sock.gsoOff(refused)
	}
}

// message fills in message i with a run.
func (o *outbox) message(i int, r *run) {
	o.iov[i].Base = &o.buf[r.off]
	o.iov[i].SetLen(r.size)
	h := &o.msgs[i].hdr
	h.Name = &r.route.name[0]
	h.Namelen = r.route.nameLen
	h.Iov = &o.iov[i]
	h.SetIovlen(1)
	ctl := &o.ctl[i]
	n := copy(ctl[:], r.route.ctl[:r.route.ctlLen])
	if r.tos != 0 {
		var value [4]byte
		binary.NativeEndian.PutUint32(value[:], uint32(r.tos))
		if r.route.sock.v6 {
			n += putControl(ctl[n:], unix.IPPROTO_IPV6, unix.IPV6_TCLASS, value[:])
		} else {
			n += putControl(ctl[n:], unix.IPPROTO_IP, unix.IP_TOS, value[:])
		}
	}
	if r.n > 1 {
		var value [2]byte
		binary.NativeEndian.PutUint16(value[:], uint16(r.seg))
		n += putControl(ctl[n:], unix.IPPROTO_UDP, unix.UDP_SEGMENT, value[:])
	}
	h.Control = nil
	if n > 0 {
		h.Control = &ctl[0]
	}
	h.SetControllen(n)
}

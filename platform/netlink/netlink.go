// Package netlink exchanges messages with the kernel (RFC 3549): requests and their
// answers, dumps, and notifications. What the messages mean is the business of
// packages rtnl and xfrm.
package netlink

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// netlinkBuffer is the most that the kernel puts into one datagram of a dump.
const netlinkBuffer = 32 << 10

// ErrInterrupted reports a dump during which the table changed: it may be incomplete
// and should be repeated.
var ErrInterrupted = errors.New("netlink dump interrupted by a change")

// Conn is one request socket, in the network namespace of the thread that
// opened it. Messages are built with package nl, but not exchanged by it, because
// XFRM requests and answers hold keys: every buffer is wiped after use, which
// the library's sockets cannot do. It is safe for concurrent use.
type Conn struct {
	mu  sync.Mutex
	fd  int
	pid uint32
	seq uint32
	buf []byte
}

// ownPorts are the netlink port ids of this process's request sockets: a notification
// that names one of them reports a change of our own.
var ownPorts struct {
	sync.RWMutex
	m map[uint32]bool
}

// OwnPort reports whether a notification's port id is that of one of our Conns.
func OwnPort(pid uint32) bool {
	ownPorts.RLock()
	defer ownPorts.RUnlock()
	return ownPorts.m[pid]
}

// Open opens a request socket of protocol proto (unix.NETLINK_ROUTE,
// unix.NETLINK_XFRM).
func Open(proto int) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	n := &Conn{fd: fd, buf: make([]byte, netlinkBuffer)}
	if err := n.setup(); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	ownPorts.Lock()
	if ownPorts.m == nil {
		ownPorts.m = make(map[uint32]bool)
	}
	ownPorts.m[n.pid] = true
	ownPorts.Unlock()
	return n, nil
}

func (n *Conn) setup() error {
	if err := unix.Bind(n.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	sa, err := unix.Getsockname(n.fd)
	if err != nil {
		return err
	}
	nsa, ok := sa.(*unix.SockaddrNetlink)
	if !ok {
		return errors.New("getsockname: not a netlink address")
	}
	n.pid = nsa.Pid
	// A lost answer must not block the caller for ever. Loading a kernel module
	// takes seconds on a slow router.
	tv := unix.Timeval{Sec: 30}
	if err := unix.SetsockoptTimeval(n.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		return err
	}
	// Both only improve error answers; kernels before 4.12 have neither.
	_ = unix.SetsockoptInt(n.fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	_ = unix.SetsockoptInt(n.fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	return nil
}

// Port is the socket's netlink port id, which notifications of what it changed
// carry.
func (n *Conn) Port() uint32 { return n.pid }

// Close closes the socket.
func (n *Conn) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fd < 0 {
		return
	}
	ownPorts.Lock()
	delete(ownPorts.m, n.pid)
	ownPorts.Unlock()
	_ = unix.Close(n.fd)
	n.fd = -1
	clear(n.buf)
}

// Do sends a request and waits for its acknowledgement.
func (n *Conn) Do(req *nl.NetlinkRequest) error {
	req.Flags |= unix.NLM_F_ACK
	return n.exchange(req, nil)
}

// Get sends a request that is answered by one message or (with NLM_F_DUMP) many, and
// calls f for each with its type and payload. The payload is wiped when f returns:
// f copies what it keeps. An error from f ends the calls, not the exchange.
func (n *Conn) Get(req *nl.NetlinkRequest, f func(typ uint16, payload []byte) error) error {
	return n.exchange(req, f)
}

// Dump reads a whole table: get asks for it with parts as the body, and parse reads
// each message of type answer, reporting whether to keep it. A dump
// that a change interrupted is repeated; if the table keeps changing, the last dump
// counts, since whoever watches the table hears of the next change.
func Dump[T any](n *Conn, get, answer uint16, parse func(payload []byte) (v T, keep bool, err error), parts ...nl.NetlinkRequestData) ([]T, error) {
	for try := 0; ; try++ {
		var all []T
		err := n.Get(Request(get, unix.NLM_F_DUMP, parts...), func(typ uint16, p []byte) error {
			if typ != answer {
				return nil
			}
			v, keep, err := parse(p)
			if err == nil && keep {
				all = append(all, v)
			}
			return err
		})
		if !errors.Is(err, ErrInterrupted) {
			return all, err
		}
		if try == 5 {
			return all, nil
		}
	}
}

// SelectInDumps has the kernel filter dumps by their requests (4.20); older ones send
// the whole table.
func (n *Conn) SelectInDumps() {
	_ = unix.SetsockoptInt(n.fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1)
}

func (n *Conn) exchange(req *nl.NetlinkRequest, f func(uint16, []byte) error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fd < 0 {
		return os.ErrClosed
	}
	n.seq++
	req.Seq = n.seq
	req.Pid = n.pid // XFRM puts it into its notifications
	msg := req.Serialize()
	defer clear(msg)
	if err := n.send(msg); err != nil {
		return err
	}
	x := exchange{seq: n.seq, many: req.Flags&unix.NLM_F_ACK != 0 || req.Flags&unix.NLM_F_DUMP == unix.NLM_F_DUMP}
	var used int
	defer func() { clear(n.buf[:used]) }()
	for {
		size, from, err := unix.Recvfrom(n.fd, n.buf, unix.MSG_TRUNC)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		used = max(used, min(size, len(n.buf)))
		if sa, ok := from.(*unix.SockaddrNetlink); !ok || sa.Pid != 0 {
			continue // not the kernel
		}
		if size > len(n.buf) {
			return fmt.Errorf("netlink answer of %d bytes: %w", size, unix.EMSGSIZE)
		}
		if done, err := x.take(n.buf[:size], f); done {
			return err
		}
	}
}

// send sends a request to the kernel.
func (n *Conn) send(msg []byte) error {
	for {
		if err := unix.Sendto(n.fd, msg, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != unix.EINTR {
			return err
		}
	}
}

// exchange is a request whose answer is awaited.
type exchange struct {
	seq         uint32
	many        bool  // more follows the first message
	err         error // of f
	interrupted bool  // the dump is not of one moment
}

// take calls f, where there is one, with each message that one read has given, until it
// fails, and reports whether the answer is complete.
func (x *exchange) take(b []byte, f func(uint16, []byte) error) (done bool, err error) {
	for len(b) >= unix.SizeofNlMsghdr {
		h, payload, next, ok := nextMessage(b)
		if !ok {
			return true, errors.New("netlink answer: malformed message")
		}
		b = next
		if h.seq != x.seq {
			continue // left over from an exchange that timed out
		}
		x.interrupted = x.interrupted || h.flags&unix.NLM_F_DUMP_INTR != 0
		switch h.typ {
		case unix.NLMSG_ERROR:
			return true, cmp.Or(ackError(h.flags, payload), x.err)
		case unix.NLMSG_DONE:
			// Linux 6.9 may send it without a payload.
			if err = cmp.Or(ackError(0, payload), x.err); err == nil && x.interrupted {
				err = ErrInterrupted
			}
			return true, err
		}
		if f != nil && x.err == nil {
			x.err = f(h.typ, payload)
		}
		if !x.many && h.flags&unix.NLM_F_MULTI == 0 {
			return true, x.err
		}
	}
	return false, nil
}

// Request starts a netlink request of type typ with flags (NLM_F_REQUEST is
// added).
func Request(typ uint16, flags int, parts ...nl.NetlinkRequestData) *nl.NetlinkRequest {
	req := &nl.NetlinkRequest{NlMsghdr: unix.NlMsghdr{
		Type: typ, Flags: unix.NLM_F_REQUEST | uint16(flags),
	}}
	req.Data = parts
	return req
}

package platform

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// netlinkBuffer is as much as the kernel ever puts in one datagram of a dump.
const netlinkBuffer = 32 << 10

// ErrInterrupted reports a dump during which the table changed: what was seen
// may be incomplete. Reading it again helps.
var ErrInterrupted = errors.New("netlink dump interrupted by a change")

// Netlink is one request socket, in the network namespace of the thread that
// opened it. Messages are built with package nl; the exchange is our own because
// XFRM requests and answers hold keys: every buffer is wiped after use, which
// the library's sockets cannot do. It may be used from several goroutines.
type Netlink struct {
	mu  sync.Mutex
	fd  int
	pid uint32
	seq uint32
	buf []byte
}

// ownPorts are the netlink port ids of this process's request sockets: changes
// whose notification names one of them were made by ourselves.
var ownPorts struct {
	sync.RWMutex
	m map[uint32]bool
}

func ownPort(pid uint32) bool {
	ownPorts.RLock()
	defer ownPorts.RUnlock()
	return ownPorts.m[pid]
}

// OpenNetlink opens a request socket of protocol proto (unix.NETLINK_ROUTE,
// unix.NETLINK_XFRM).
func OpenNetlink(proto int) (*Netlink, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	n := &Netlink{fd: fd, buf: make([]byte, netlinkBuffer)}
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

func (n *Netlink) setup() error {
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
	// A lost answer must not stop the caller for ever. Loading a kernel module
	// on the way takes seconds on a slow router.
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
func (n *Netlink) Port() uint32 { return n.pid }

// Close closes the socket.
func (n *Netlink) Close() {
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
func (n *Netlink) Do(req *nl.NetlinkRequest) error {
	req.Flags |= unix.NLM_F_ACK
	return n.exchange(req, nil)
}

// Get sends a request that is answered by messages, one or (with NLM_F_DUMP)
// many, and calls f for each with its type and payload. The payload is wiped
// when f has returned: f copies what it keeps. An error of f ends the calls, not
// the exchange.
func (n *Netlink) Get(req *nl.NetlinkRequest, f func(typ uint16, payload []byte) error) error {
	return n.exchange(req, f)
}

func (n *Netlink) exchange(req *nl.NetlinkRequest, f func(uint16, []byte) error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fd < 0 {
		return os.ErrClosed
	}
	n.seq++
	req.Seq = n.seq
	req.Pid = n.pid // XFRM names this one in its notifications
	msg := req.Serialize()
	defer clear(msg)
	for {
		err := unix.Sendto(n.fd, msg, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return err
		}
	}
	ack := req.Flags&unix.NLM_F_ACK != 0
	dump := req.Flags&unix.NLM_F_DUMP == unix.NLM_F_DUMP
	var used int
	defer func() { clear(n.buf[:used]) }()
	var ferr error
	interrupted := false
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
			return fmt.Errorf("netlink answer of %d octets: %w", size, unix.EMSGSIZE)
		}
		for rest := n.buf[:size]; len(rest) >= unix.SizeofNlMsghdr; {
			h, payload, next, ok := nextMessage(rest)
			if !ok {
				return errors.New("netlink answer: malformed message")
			}
			rest = next
			if h.seq != n.seq {
				continue // left over from an exchange that timed out
			}
			if h.flags&unix.NLM_F_DUMP_INTR != 0 {
				interrupted = true
			}
			switch h.typ {
			case unix.NLMSG_ERROR:
				if err := ackError(h.flags, payload); err != nil {
					return err
				}
				return ferr
			case unix.NLMSG_DONE:
				// Linux 6.9 may send it without a payload.
				if err := ackError(0, payload); err != nil {
					return err
				}
				if ferr == nil && interrupted {
					ferr = ErrInterrupted
				}
				return ferr
			}
			if f != nil && ferr == nil {
				ferr = f(h.typ, payload)
			}
			if !ack && !dump && h.flags&unix.NLM_F_MULTI == 0 {
				return ferr
			}
		}
	}
}

type messageHeader struct {
	typ, flags uint16
	seq, pid   uint32
}

// nextMessage splits the first netlink message off b.
func nextMessage(b []byte) (h messageHeader, payload, rest []byte, ok bool) {
	if len(b) < unix.SizeofNlMsghdr {
		return h, nil, nil, false
	}
	size := int(binary.NativeEndian.Uint32(b))
	if size < unix.SizeofNlMsghdr || size > len(b) {
		return h, nil, nil, false
	}
	h.typ = binary.NativeEndian.Uint16(b[4:])
	h.flags = binary.NativeEndian.Uint16(b[6:])
	h.seq = binary.NativeEndian.Uint32(b[8:])
	h.pid = binary.NativeEndian.Uint32(b[12:])
	return h, b[unix.SizeofNlMsghdr:size], b[min(align4(size), len(b)):], true
}

// ackError reads the errno of an NLMSG_ERROR or NLMSG_DONE payload, with the
// kernel's own words where it gave some.
func ackError(flags uint16, p []byte) error {
	if len(p) < 4 {
		return nil
	}
	code := int32(binary.NativeEndian.Uint32(p))
	if code >= 0 {
		return nil
	}
	errno := unix.Errno(-code)
	const capped, tlvs = 0x100, 0x200 // NLM_F_CAPPED, NLM_F_ACK_TLVS
	if flags&tlvs == 0 || len(p) < 4+unix.SizeofNlMsghdr {
		return errno
	}
	skip := 4 + unix.SizeofNlMsghdr
	if flags&capped == 0 {
		skip = 4 + align4(int(binary.NativeEndian.Uint32(p[4:])))
	}
	if skip < 0 || skip > len(p) {
		return errno
	}
	var text string
	_ = EachAttr(p[skip:], func(typ uint16, v []byte) error {
		if typ == nl.NLMSGERR_ATTR_MSG {
			text = cString(v)
		}
		return nil
	})
	if text == "" {
		return errno
	}
	return fmt.Errorf("%w (kernel: %s)", errno, text)
}

// EachAttr calls f for each netlink attribute in b, with the flag bits of its
// type removed.
func EachAttr(b []byte, f func(typ uint16, value []byte) error) error {
	for len(b) >= unix.SizeofRtAttr {
		size := int(binary.NativeEndian.Uint16(b))
		if size < unix.SizeofRtAttr || size > len(b) {
			return errors.New("netlink attribute: malformed")
		}
		const typeMask = 0x3fff // without NLA_F_NESTED and NLA_F_NET_BYTEORDER
		if err := f(binary.NativeEndian.Uint16(b[2:])&typeMask, b[unix.SizeofRtAttr:size]); err != nil {
			return err
		}
		b = b[min(align4(size), len(b)):]
	}
	return nil
}

func align4(n int) int { return (n + 3) &^ 3 }

func cString(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
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

// Subscription is a socket that only listens to netlink notifications.
type Subscription struct {
	file *os.File
	raw  interface {
		Read(func(uintptr) bool) error
	}
	buf    []byte
	closed atomic.Bool
}

// Subscribe opens a socket of protocol proto that is a member of the multicast
// groups, in the network namespace of the calling thread.
func Subscribe(proto int, groups ...int) (*Subscription, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto)
	if err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	for _, g := range groups {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, g); err != nil {
			_ = unix.Close(fd)
			return nil, fmt.Errorf("netlink group %d: %w", g, err)
		}
	}
	file := os.NewFile(uintptr(fd), "netlink")
	raw, err := file.SyscallConn()
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	return &Subscription{file: file, raw: raw, buf: make([]byte, netlinkBuffer)}, nil
}

// Next waits for notifications and calls f for each, with the port id of the
// socket whose request caused it (0: the kernel's own doing). unix.ENOBUFS
// means that some were lost; os.ErrClosed that Close was called. The payload is
// wiped when f has returned.
func (s *Subscription) Next(f func(typ uint16, port uint32, payload []byte)) error {
	var size int
	var from unix.Sockaddr
	var rerr error
	err := s.raw.Read(func(fd uintptr) bool {
		size, from, rerr = unix.Recvfrom(int(fd), s.buf, 0)
		return rerr != unix.EAGAIN && rerr != unix.EINTR
	})
	if s.closed.Load() {
		return os.ErrClosed
	}
	if err != nil {
		return err
	}
	if rerr != nil {
		return rerr
	}
	defer clear(s.buf[:size])
	if sa, ok := from.(*unix.SockaddrNetlink); !ok || sa.Pid != 0 {
		return nil
	}
	for rest := s.buf[:size]; len(rest) >= unix.SizeofNlMsghdr; {
		h, payload, next, ok := nextMessage(rest)
		if !ok {
			return nil
		}
		rest = next
		f(h.typ, h.pid, payload)
	}
	return nil
}

// Close ends Next.
func (s *Subscription) Close() {
	if s.closed.CompareAndSwap(false, true) {
		_ = s.file.Close()
	}
}

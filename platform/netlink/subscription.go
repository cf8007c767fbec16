package netlink

import (
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

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
// socket whose request caused it (0: the kernel itself). unix.ENOBUFS
// means that some were lost; os.ErrClosed that Close was called. The payload is
// wiped when f returns.
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

package userspace

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"greseal/platform/userspace/vnet"
)

// mmsghdr is struct mmsghdr of recvmmsg(2) and sendmmsg(2). The compiler pads
// it as C does.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32 // bytes received
}

// kernel is every system call a worker makes on its packets: the seam at which
// tests put a kernel that lacks an offload or fails at run time. All file
// descriptors are nonblocking.
type kernel interface {
	vnet.Writer
	read(fd int, b []byte) (int, unix.Errno)
	recvmmsg(fd int, m []mmsghdr) (int, unix.Errno)
	sendmmsg(fd int, m []mmsghdr) (int, unix.Errno)
	setsockopt(fd, level, opt, value int) error
	setOffload(tun int, flags int) error
	openTUN(name string, ethernet, header bool) (fd int, err error)
	manglesRuns() (release string, bad bool)
}

// linux is the kernel itself. No call on packets can block, so none is told to
// the scheduler (see worker.ready).
type linux struct{}

func (linux) read(fd int, b []byte) (int, unix.Errno) {
	n, _, e := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return int(n), e
}

func (linux) Write(fd int, b []byte) (int, unix.Errno) {
	n, _, e := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return int(n), e
}

func (linux) Writev(fd int, iov []unix.Iovec) (int, unix.Errno) {
	n, _, e := unix.RawSyscall(unix.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&iov[0])), uintptr(len(iov)))
	return int(n), e
}

func (linux) recvmmsg(fd int, m []mmsghdr) (int, unix.Errno) {
	n, _, e := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), 0, 0, 0)
	return int(n), e
}

func (linux) sendmmsg(fd int, m []mmsghdr) (int, unix.Errno) {
	n, _, e := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), 0, 0, 0)
	return int(n), e
}

func (linux) setsockopt(fd, level, opt, value int) error {
	return unix.SetsockoptInt(fd, level, opt, value)
}

func (linux) setOffload(tun int, flags int) error {
	return unix.IoctlSetInt(tun, unix.TUNSETOFFLOAD, flags)
}

func (linux) openTUN(name string, ethernet, header bool) (int, error) {
	return openTUN(name, ethernet, header)
}

func (linux) manglesRuns() (release string, bad bool) {
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		release = unix.ByteSliceToString(uts.Release[:])
	}
	return release, manglesRuns(release)
}

// manglesRuns reports whether a kernel has the fault of Linux 7.0 to 7.1.4: of a
// UDP run whose last datagram is as long as the others, which nearly all of ours
// are, it computes UDP headers and checksums wrong where the device's driver
// leaves the segmentation to it. It returns no error and nothing shows it here.
func manglesRuns(release string) bool {
	var v [3]int // major, minor, patch
	at := 0
	for _, c := range release {
		if c == '.' && at < 2 {
			at++
			continue
		}
		if c < '0' || c > '9' {
			break
		}
		v[at] = v[at]*10 + int(c-'0')
	}
	return v[0] == 7 && (v[1] == 0 || v[1] == 1 && v[2] < 5)
}

// putControl writes a control message into b and returns the bytes it takes
// with its padding. b needs no alignment.
func putControl(b []byte, level, typ int32, value []byte) int {
	h := unix.Cmsghdr{Level: level, Type: typ}
	h.SetLen(unix.CmsgLen(len(value)))
	copy(b, unsafe.Slice((*byte)(unsafe.Pointer(&h)), unsafe.Sizeof(h)))
	copy(b[unix.CmsgLen(0):], value)
	return unix.CmsgSpace(len(value))
}

// nextControl takes the first control message off b. ok is false at the end,
// and for a malformed rest.
func nextControl(b []byte) (level, typ int32, value, rest []byte, ok bool) {
	var h unix.Cmsghdr
	if len(b) < unix.CmsgLen(0) {
		return 0, 0, nil, nil, false
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&h)), unsafe.Sizeof(h)), b)
	n := int(h.Len)
	if n < unix.CmsgLen(0) || n > len(b) {
		return 0, 0, nil, nil, false
	}
	next := min(unix.CmsgSpace(n-unix.CmsgLen(0)), len(b))
	return h.Level, h.Type, b[unix.CmsgLen(0):n], b[next:], true
}

// wakeUp makes an eventfd readable.
func wakeUp(fd int) {
	_, _ = unix.Write(fd, []byte{0, 0, 0, 1, 0, 0, 0, 1}) // not zero in either byte order
}

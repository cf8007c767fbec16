package netlink

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

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
	return h, b[unix.SizeofNlMsghdr:size], b[min(Align(size), len(b)):], true
}

// ackError reads the errno of an NLMSG_ERROR or NLMSG_DONE payload, with the
// kernel's extended ACK message if there is one.
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
		skip = 4 + Align(int(binary.NativeEndian.Uint32(p[4:])))
	}
	if skip < 0 || skip > len(p) {
		return errno
	}
	var text string
	_ = EachAttr(p[skip:], func(typ uint16, v []byte) error {
		if typ == nl.NLMSGERR_ATTR_MSG {
			text = CString(v)
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
		b = b[min(Align(size), len(b)):]
	}
	return nil
}

// Uint32 reads a 32 bit attribute value in the machine's order, 0 when it is shorter.
func Uint32(v []byte) uint32 {
	if len(v) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(v)
}

// Align rounds up to a multiple of 4 bytes, as messages and attributes are padded.
func Align(n int) int { return (n + 3) &^ 3 }

// CString is the text before the first zero byte.
func CString(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

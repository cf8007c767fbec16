package labnet

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// KernelESP tells whether this machine's kernel has ESP and GRE, by making
// one of each in a namespace that is thrown away.
var KernelESP = sync.OnceValue(func() bool {
	answer := make(chan bool)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread takes the namespace with it
		answer <- unix.Unshare(unix.CLONE_NEWNET) == nil && tryKernel() == nil
	}()
	return <-answer
})

func tryKernel() error {
	local, remote := netip.MustParseAddr("192.0.2.1").AsSlice(), netip.MustParseAddr("192.0.2.2").AsSlice()
	link := &netlink.Gretun{LinkAttrs: netlink.LinkAttrs{Name: "probe"}, Local: local, Remote: remote}
	if err := netlink.LinkAdd(link); err != nil {
		return err
	}
	return netlink.XfrmStateAdd(&netlink.XfrmState{Src: local, Dst: remote, Proto: netlink.XFRM_PROTO_ESP, Mode: netlink.XFRM_MODE_TUNNEL,
		Spi: 0x1000, Aead: &netlink.XfrmStateAlgo{Name: "rfc4106(gcm(aes))", Key: make([]byte, 20), ICVLen: 128}})
}

// SendClearGRE sends one GRE packet outside ESP, to prove that the capture
// would show it. Call it through NS.Do.
func SendClearGRE(from, to string) error {
	src, dst := netip.MustParseAddr(from), netip.MustParseAddr(to)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_GRE)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: src.As4()}); err != nil {
		return err
	}
	return unix.Sendto(fd, []byte{0, 0, 8, 0, 0x45, 0, 0, 20}, 0, &unix.SockaddrInet4{Addr: dst.As4()})
}

// SendUDP sends one datagram from the namespace, from and to the same port.
// The port may be in use by a daemon there.
func SendUDP(n *NS, from, to string, port uint16, data []byte) {
	src, dst := netip.MustParseAddr(from), netip.MustParseAddr(to)
	n.Must("send a datagram", func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: src.As4()}); err != nil {
			return err
		}
		udp := binary.BigEndian.AppendUint16(nil, port)
		udp = binary.BigEndian.AppendUint16(udp, port)
		udp = binary.BigEndian.AppendUint16(udp, uint16(8+len(data)))
		udp = append(udp, 0, 0) // no checksum (RFC 768)
		return unix.Sendto(fd, append(udp, data...), 0, &unix.SockaddrInet4{Addr: dst.As4()})
	})
}

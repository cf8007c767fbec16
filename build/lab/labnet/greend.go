package labnet

import (
	"encoding/binary"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// GREOptions are the optional fields of the GRE header (RFC 2784, RFC 2890).
type GREOptions struct {
	Key      uint32
	HasKey   bool
	Sequence bool
	Checksum bool
}

// GREEnd is a GRE endpoint of the lab's own, for a peer whose kernel has none:
// a TUN device and a raw socket of protocol 47. It is written apart from
// greseal's own code on purpose: both ends sharing a mistake would agree.
//
// It sends only through the device it is bound to, such as kernel-libipsec's
// ipsec0, so it cannot be the source of clear GRE on the wire.
type GREEnd struct {
	options GREOptions
	tun     *os.File
	raw     int
	dst     unix.Sockaddr
	seq     uint32
	stop    chan struct{}
	wait    sync.WaitGroup
	once    sync.Once

	mu  sync.Mutex
	bad map[string]int // packets refused, by reason
}

// GREEnd makes the endpoint with an inner address on the new device "gre1".
// through names the device GRE packets must leave by.
func (n *NS) GREEnd(local, remote, inner, through string, o GREOptions) *GREEnd {
	g := &GREEnd{options: o, stop: make(chan struct{}), bad: map[string]int{}}
	src, dst := netip.MustParseAddr(local), netip.MustParseAddr(remote)
	n.Must("make the lab's GRE endpoint", func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		request, err := unix.NewIfreq("gre1")
		if err != nil {
			return err
		}
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
			return err
		}
		g.tun = os.NewFile(uintptr(fd), "/dev/net/tun")
		family, from := unix.AF_INET, unix.Sockaddr(nil)
		if src.Is4() {
			from, g.dst = &unix.SockaddrInet4{Addr: src.As4()}, &unix.SockaddrInet4{Addr: dst.As4()}
		} else {
			family, from, g.dst = unix.AF_INET6, &unix.SockaddrInet6{Addr: src.As16()}, &unix.SockaddrInet6{Addr: dst.As16()}
		}
		g.raw, err = unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_GRE)
		if err != nil {
			return err
		}
		if err := unix.BindToDevice(g.raw, through); err != nil {
			return err
		}
		tv := unix.NsecToTimeval(int64(50 * time.Millisecond))
		if err := unix.SetsockoptTimeval(g.raw, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
			return err
		}
		return unix.Bind(g.raw, from)
	})
	n.LinkUp("gre1")
	n.Addr("gre1", inner)
	n.MTU("gre1", 1300)
	g.wait.Add(2)
	go g.out()
	go g.in(src.Is4())
	n.lab.Defer(g.Close)
	return g
}

// Close removes the endpoint and its device.
func (g *GREEnd) Close() {
	g.once.Do(func() {
		close(g.stop)
		g.tun.Close()
		g.wait.Wait()
		unix.Close(g.raw)
	})
}

// Returned is what Bad counts a keepalive by that came back from the peer.
const Returned = "keepalive"

// Keepalive sends one GRE keepalive in Cisco's form out by a GRE interface of
// the namespace: an IPv4 packet that is addressed back to here already.
func (n *NS) Keepalive(dev, local, remote string) {
	src, dst := netip.MustParseAddr(remote).As4(), netip.MustParseAddr(local).As4()
	p := []byte{0x45, 0, 0, 24, 0, 0, 0, 0, 255, 47, 0, 0}
	p = append(append(append(p, src[:]...), dst[:]...), 0, 0, 0, 0)
	binary.BigEndian.PutUint16(p[10:], checksum(p[:20]))
	index := n.LinkIndex(dev)
	n.Must("send a GRE keepalive", func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, p, 0, &unix.SockaddrLinklayer{Protocol: 0x0008, Ifindex: index})
	})
}

// Bad tells how many packets were refused, by reason.
func (g *GREEnd) Bad() map[string]int {
	g.mu.Lock()
	defer g.mu.Unlock()
	copied := map[string]int{}
	for k, v := range g.bad {
		copied[k] = v
	}
	return copied
}

func (g *GREEnd) refuse(why string) {
	g.mu.Lock()
	g.bad[why]++
	g.mu.Unlock()
}

// out: TUN, GRE header, raw socket.
func (g *GREEnd) out() {
	defer g.wait.Done()
	packet := make([]byte, 65536)
	for {
		n, err := g.tun.Read(packet)
		if err != nil {
			return
		}
		proto := uint16(0x0800)
		if packet[0]>>4 == 6 {
			proto = 0x86dd
		}
		header := binary.BigEndian.AppendUint16([]byte{0, 0}, proto)
		if g.options.Checksum {
			header[0] |= 0x80
			header = append(header, 0, 0, 0, 0)
		}
		if g.options.HasKey {
			header[0] |= 0x20
			header = binary.BigEndian.AppendUint32(header, g.options.Key)
		}
		if g.options.Sequence {
			header[0] |= 0x10
			header = binary.BigEndian.AppendUint32(header, g.seq)
			g.seq++
		}
		whole := append(header, packet[:n]...)
		if g.options.Checksum {
			binary.BigEndian.PutUint16(whole[4:], checksum(whole))
		}
		if err := unix.Sendto(g.raw, whole, 0, g.dst); err != nil {
			g.refuse("send: " + err.Error())
		}
	}
}

// in: raw socket, GRE header checked to the letter, TUN.
func (g *GREEnd) in(v4 bool) {
	defer g.wait.Done()
	runtime.LockOSThread() // blocks in recvfrom most of the time
	buffer := make([]byte, 65536)
	for {
		select {
		case <-g.stop:
			return
		default:
		}
		n, _, err := unix.Recvfrom(g.raw, buffer, 0)
		if err != nil {
			continue
		}
		packet := buffer[:n]
		if v4 {
			packet = packet[int(packet[0]&15)*4:]
		}
		if inner, why := g.options.open(packet); why != "" {
			g.refuse(why)
		} else if v4 && len(inner) >= 24 && inner[9] == 47 {
			// A router forwards a keepalive to where it came from.
			if err := unix.Sendto(g.raw, inner[20:], 0, g.dst); err != nil {
				g.refuse("send: " + err.Error())
			}
		} else if _, err := g.tun.Write(inner); err != nil {
			g.refuse("tun: " + err.Error())
		}
	}
}

// open checks the header against the options and returns what is inside.
func (o GREOptions) open(packet []byte) (inner []byte, why string) {
	if len(packet) < 4 {
		return nil, "short"
	}
	want := byte(0)
	size := 4
	if len(packet) >= 4 && binary.BigEndian.Uint32(packet) == 0 {
		return nil, Returned
	}
	for _, field := range []struct {
		on   bool
		flag byte
	}{{o.Checksum, 0x80}, {o.HasKey, 0x20}, {o.Sequence, 0x10}} {
		if field.on {
			want |= field.flag
			size += 4
		}
	}
	switch {
	case packet[0] != want || packet[1] != 0:
		return nil, "flags"
	case len(packet) < size:
		return nil, "short"
	case o.Checksum && checksum(packet) != 0:
		return nil, "checksum"
	}
	key := 4
	if o.Checksum {
		key = 8
	}
	if o.HasKey && binary.BigEndian.Uint32(packet[key:]) != o.Key {
		return nil, "key"
	}
	if proto := binary.BigEndian.Uint16(packet[2:]); proto != 0x0800 && proto != 0x86dd {
		return nil, "protocol"
	}
	return packet[size:], ""
}

// checksum is the Internet checksum (RFC 1071), not by the code that is under test.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

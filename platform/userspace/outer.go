package userspace

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"greseal/crypto/esp"
	"greseal/platform"
	"greseal/platform/inet"
	"greseal/platform/userspace/oversize"
)

// outSocket is a socket that ESP leaves by and comes in from: the UDP socket
// of the NAT port, or a raw socket of IP protocol 50.
type outSocket struct {
	fd   int
	v6   bool
	udp  bool
	icmp bool        // hears what routers say of packets that are too big
	gso  atomic.Bool // UDP_SEGMENT works
	off  func(unix.Errno)
}

// gsoOff turns segmentation by the kernel off for good.
func (s *outSocket) gsoOff(e unix.Errno) {
	if s.gso.CompareAndSwap(true, false) {
		s.off(e)
	}
}

// sockBuffer is what the kernel may hold for us on a socket, each way. Its
// default holds three 64 KB packets.
const sockBuffer = 4 << 20

func (d *Datapath) bufferSizes(fd int) {
	for _, o := range [][2]int{{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF}, {unix.SO_SNDBUFFORCE, unix.SO_SNDBUF}} {
		if d.kernel.setsockopt(fd, unix.SOL_SOCKET, o[0], sockBuffer) != nil {
			_ = d.kernel.setsockopt(fd, unix.SOL_SOCKET, o[1], sockBuffer)
		}
	}
}

// udpSocket prepares the NAT port's socket for ESP.
func (d *Datapath) udpSocket(fd int, v6 bool) *outSocket {
	s := &outSocket{fd: fd, v6: v6, udp: true}
	family := inet.V(v6).Name
	s.off = func(e unix.Errno) { // called by workers
		d.note("UDP segmentation off (%s): the device or kernel refused it (%v); each packet is sent by itself", family, e)
	}
	d.bufferSizes(fd)
	d.receiveClass(fd, v6)
	if d.off&OffGSO == 0 {
		// Setting it to 0 changes nothing, and fails before Linux 4.18.
		if release, bad := d.kernel.manglesRuns(); bad {
			d.note("UDP segmentation off: Linux %s sends runs of equal datagrams with wrong UDP checksums on many devices, Linux 7.1.5 does not; each packet is sent by itself", release)
		} else if err := d.kernel.setsockopt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT, 0); err != nil {
			d.note("UDP segmentation off (%s): the kernel has none, Linux 4.18 does (%v)", family, err)
		} else {
			s.gso.Store(true)
		}
	}
	if d.off&OffGRO == 0 {
		if err := d.kernel.setsockopt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1); err != nil {
			d.note("UDP receive merging off (%s): the kernel has none, Linux 5.0 does (%v)", family, err)
		}
	}
	return s
}

// receiveClass asks for the outer ECN field of what comes in.
func (d *Datapath) receiveClass(fd int, v6 bool) {
	ip := inet.V(v6)
	_ = d.kernel.setsockopt(fd, ip.Level, ip.ReceiveTOS, 1)
}

// pieces says what becomes of an outer packet larger than a link of the path takes.
type pieces uint8

const (
	inOne    pieces = iota // it is dropped there: DF
	asRouted               // it is cut there, or here where the kernel knows of the link
	forLeast               // we cut it for every path there is (oversize.Cut6)
)

// rawSocket opens a socket of IP protocol 50, or for the fragments of our own
// making.
func (d *Datapath) rawSocket(v6 bool, cut pieces) (*outSocket, error) {
	ip, proto, mode, finish := inet.V(v6), unix.IPPROTO_ESP, unix.IP_PMTUDISC_PROBE, func(int) error { return nil }
	switch cut {
	case asRouted:
		mode, finish = unix.IP_PMTUDISC_DONT, deaf
	case forLeast:
		proto, finish = unix.IPPROTO_FRAGMENT, deaf
	}
	fd, err := openSocket(v6, unix.SOCK_RAW, proto, finish, [3]int{ip.Level, ip.Discover, mode}, [3]int{ip.Level, ip.PacketInfo, 1})
	if err == unix.EPERM {
		return nil, fmt.Errorf("raw ESP socket: run as root or with CAP_NET_RAW (%w)", err)
	}
	if err != nil {
		return nil, fmt.Errorf("raw ESP socket: %w", err)
	}
	d.bufferSizes(fd)
	d.receiveClass(fd, v6)
	return &outSocket{fd: fd, v6: v6}, nil
}

// openSocket opens a socket with options, each a level, a name and a value; finish does what
// else it needs. One that lacks anything is closed.
func openSocket(v6 bool, typ, proto int, finish func(fd int) error, options ...[3]int) (fd int, err error) {
	if fd, err = inet.V(v6).Socket(typ, proto); err != nil {
		return -1, err
	}
	for _, o := range options {
		if err == nil {
			err = unix.SetsockoptInt(fd, o[0], o[1], o[2])
		}
	}
	if err == nil {
		err = finish(fd)
	}
	if err != nil {
		_ = unix.Close(fd)
	}
	return fd, err
}

// deaf keeps a socket that only sends from collecting copies of what comes in.
func deaf(fd int) error {
	return inet.Filter(fd, unix.SO_ATTACH_FILTER, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K})
}

// fragmenting opens a second, deaf UDP socket with the NAT port as its source
// whose datagrams leave without DF: DF is a property of the socket, and links
// with IgnoreDF live beside others. It is bound to an address that nobody
// sends to, so that the first socket goes on to receive everything; the two may
// only share the port because both say so for as long as the bind takes.
func (d *Datapath) fragmenting(v6 bool, _ pieces) (*outSocket, error) {
	first, err := d.socketFor(true, v6, inOne)
	if err != nil {
		return nil, err
	}
	ip, at := inet.V(v6), netip.AddrFrom4([4]byte{127, 0, 0, 254})
	if v6 {
		at = netip.AddrFrom16([16]byte{0: 0x01, 15: 1}) // 100::1, discard-only (RFC 6666)
	}
	fd, err := openSocket(v6, unix.SOCK_DGRAM, 0, func(fd int) error {
		if err := deaf(fd); err != nil {
			return err
		}
		defer d.reuse(v6, 0)
		if err := d.reuse(v6, 1); err != nil {
			return err
		}
		if err := unix.Bind(fd, inet.Sockaddr(netip.AddrPortFrom(at, d.portNAT))); err != nil {
			return err
		}
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 0)
	}, [3]int{ip.Level, ip.Discover, unix.IP_PMTUDISC_DONT}, [3]int{ip.Level, ip.FreeBind, 1}, [3]int{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1})
	if err != nil {
		return nil, fmt.Errorf("UDP socket without DF: %w", err)
	}
	s := &outSocket{fd: fd, v6: v6, udp: true, off: first.off}
	s.gso.Store(first.gso.Load())
	d.bufferSizes(fd)
	return s, nil
}

// reuse sets SO_REUSEADDR on all sockets of the NAT port.
func (d *Datapath) reuse(v6 bool, on int) error {
	for _, s := range d.sockets {
		if s.udp && s.cut == inOne && s.v6 == v6 {
			if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, on); err != nil {
				return err
			}
		}
	}
	return nil
}

// socketFor finds, or opens, the socket that an SA's packets leave by.
func (d *Datapath) socketFor(encap, v6 bool, cut pieces) (*outSocket, error) {
	for _, s := range d.sockets {
		if s.udp == encap && s.v6 == v6 && s.cut == cut && !s.icmp {
			return s.outSocket, nil
		}
	}
	open := d.rawSocket
	switch {
	case encap && cut == inOne:
		return nil, fmt.Errorf("this machine has no %s: give the peer's %s address", inet.V(v6).Name, inet.V(!v6).Name)
	case encap:
		open = d.fragmenting
	}
	s, err := open(v6, cut)
	if err != nil {
		return nil, err
	}
	d.sockets = append(d.sockets, boundSocket{s, cut, true})
	if cut == inOne {
		err = d.shareRaw(s)
	}
	return s, err
}

// boundSocket is a socket with what it is chosen by.
type boundSocket struct {
	*outSocket
	cut  pieces
	ours bool // to be closed with the datapath
}

// routeOf makes the route of an outbound SA over a link.
func (d *Datapath) routeOf(sa *esp.ChildSA, link *platform.Link) (*route, error) {
	cut := inOne
	if link.IgnoreDF {
		cut = asRouted
	}
	r, err := d.routeIn(sa, link, cut)
	if err == nil && r.limit < oversize.IPv6MinMTU && link.MTU >= oversize.IPv6MinMTU && !link.Ethernet {
		wide := *link
		wide.IgnoreDF = true
		cut = asRouted
		c := oversize.NewCut6(sa, d.portNAT)
		if c != nil {
			cut = forLeast
		}
		if r.wide, err = d.routeIn(sa, &wide, cut); err == nil {
			r.wide.cut = c
		}
	}
	return r, err
}

// routeIn makes a route whose packets leave in such pieces.
func (d *Datapath) routeIn(sa *esp.ChildSA, link *platform.Link, cut pieces) (*route, error) {
	local, remote := sa.Local.Addr().Unmap(), sa.Remote.Addr().Unmap()
	udp := sa.Encap && cut != forLeast
	sock, err := d.socketFor(udp, remote.Is6(), cut)
	if err != nil {
		return nil, err
	}
	r := &route{sock: sock}
	port := uint16(0) // a raw socket takes no other
	if udp {
		port = sa.Remote.Port()
	}
	if remote.Is4() {
		binary.NativeEndian.PutUint16(r.name[:], unix.AF_INET)
		binary.BigEndian.PutUint16(r.name[2:], port)
		a := remote.As4()
		copy(r.name[4:], a[:])
		r.nameLen = unix.SizeofSockaddrInet4
	} else {
		binary.NativeEndian.PutUint16(r.name[:], unix.AF_INET6)
		binary.BigEndian.PutUint16(r.name[2:], port)
		a := remote.As16()
		copy(r.name[8:], a[:])
		if zone, err := strconv.ParseUint(remote.Zone(), 10, 32); err == nil {
			binary.NativeEndian.PutUint32(r.name[24:], uint32(zone))
		}
		r.nameLen = unix.SizeofSockaddrInet6
	}
	switch {
	case !local.IsValid() || local.IsUnspecified():
	case local.Is4():
		info := unix.Inet4Pktinfo{Spec_dst: local.As4()}
		r.control(unix.IPPROTO_IP, unix.IP_PKTINFO, unsafe.Slice((*byte)(unsafe.Pointer(&info)), unsafe.Sizeof(info)))
	default:
		info := unix.Inet6Pktinfo{Addr: local.As16()}
		r.control(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unsafe.Slice((*byte)(unsafe.Pointer(&info)), unsafe.Sizeof(info)))
	}
	if link.FWMark != 0 {
		r.controlInt(unix.SOL_SOCKET, unix.SO_MARK, link.FWMark)
	}
	// Without a TTL of its own the outer header has the system's default, in
	// transport mode too: inherited from the inside, it would let OSPF's
	// packets, which have 1, die at the first router between the peers.
	if link.TTL != 0 {
		ip := inet.Of(remote)
		r.controlInt(int32(ip.Level), int32(ip.PacketTTL), uint32(link.TTL))
	}
	r.innerHeader(sa, link)
	r.setLimit(link)
	return r, nil
}

func (r *route) control(level, typ int32, value []byte) {
	r.ctlLen += putControl(r.ctl[r.ctlLen:], level, typ, value)
}

func (r *route) controlInt(level, typ int32, value uint32) {
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], value)
	r.control(level, typ, b[:])
}

// peerOf reads a socket address the kernel wrote.
func peerOf(name []byte) netip.AddrPort {
	if len(name) < 8 {
		return netip.AddrPort{}
	}
	port := binary.BigEndian.Uint16(name[2:])
	switch binary.NativeEndian.Uint16(name) {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(name[4:])), port)
	case unix.AF_INET6:
		if len(name) >= unix.SizeofSockaddrInet6 {
			a := netip.AddrFrom16([16]byte(name[8:]))
			return netip.AddrPortFrom(inet.WithZone(a, binary.NativeEndian.Uint32(name[24:])), port)
		}
	}
	return netip.AddrPort{}
}

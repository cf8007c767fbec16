package ikesock

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"greseal/platform"
	"greseal/platform/inet"
)

// udpEncapESPInUDP is UDP_ENCAP_ESPINUDP of linux/udp.h.
const udpEncapESPInUDP = 2

// Socket is one UDP socket of IKE: nonblocking, bound to the wildcard address
// of its IP version, sending with DF and regardless of cached path MTUs
// (IP_PMTUDISC_PROBE) unless a Send says otherwise.
type Socket struct {
	FD   int
	Port uint16
	V6   bool
	NAT  bool // the NAT port: IKE carries the non-ESP marker

	mu     sync.Mutex // one sender at a time: DF is a property of the socket
	df     bool
	closed bool
}

// errNoFamily wraps the errno of a machine without an IP version.
type errNoFamily struct{ err error }

func (e errNoFamily) Error() string { return e.err.Error() }
func (e errNoFamily) Unwrap() error { return e.err }

func isNoFamily(err error) bool {
	_, ok := errors.AsType[errNoFamily](err)
	return ok
}

func openSocket(c *Config, v6, nat bool) (_ *Socket, err error) {
	s := &Socket{Port: c.PortIKE, V6: v6, NAT: nat, df: true}
	if nat {
		s.Port = c.PortNAT
	}
	what := "UDP port " + strconv.Itoa(int(s.Port))
	if v6 {
		what += " (IPv6)"
	}
	s.FD, err = inet.V(v6).Socket(unix.SOCK_DGRAM, 0)
	if err == unix.EAFNOSUPPORT {
		return nil, errNoFamily{fmt.Errorf("%s: %w", what, err)}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	defer func() {
		if err != nil {
			_ = unix.Close(s.FD)
		}
	}()
	if err = s.options(c); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	switch err = unix.Bind(s.FD, inet.V(v6).Wildcard(s.Port)); err {
	case nil:
		return s, nil
	case unix.EADDRNOTAVAIL:
		if v6 { // IPv6 is compiled in and switched off (disable_ipv6)
			return nil, errNoFamily{fmt.Errorf("%s: %w", what, err)}
		}
	case unix.EADDRINUSE:
		return nil, fmt.Errorf("%s is held by %s: stop it and keep it from starting again, two IKE daemons cannot share the port (%w)",
			what, cmp.Or(Holder(s.Port), unknown), err)
	case unix.EACCES:
		return nil, fmt.Errorf("%s: run as root or with CAP_NET_BIND_SERVICE (%w)", what, err)
	}
	return nil, fmt.Errorf("%s: %w", what, err)
}

func (s *Socket) options(c *Config) error {
	type opt struct {
		name              string
		level, opt, value int
	}
	opts := []opt{
		{"IP_PKTINFO", unix.IPPROTO_IP, unix.IP_PKTINFO, 1},
		{"IP_MTU_DISCOVER", unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE},
	}
	if s.V6 {
		opts = []opt{
			{"IPV6_V6ONLY", unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1},
			{"IPV6_RECVPKTINFO", unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1},
			{"IPV6_MTU_DISCOVER", unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE},
		}
	}
	if c.UDPEncap && s.NAT {
		opts = append(opts, opt{"UDP_ENCAP", unix.IPPROTO_UDP, unix.UDP_ENCAP, udpEncapESPInUDP})
	}
	if c.Mark != 0 {
		opts = append(opts, opt{"SO_MARK", unix.SOL_SOCKET, unix.SO_MARK, int(c.Mark)})
	}
	for _, o := range opts {
		if err := unix.SetsockoptInt(s.FD, o.level, o.opt, o.value); err != nil {
			if o.opt == unix.UDP_ENCAP && o.level == unix.IPPROTO_UDP {
				return fmt.Errorf("%s: the kernel has no ESP in UDP, load esp4 or use datapath = \"userspace\" (%w)", o.name, err)
			}
			return fmt.Errorf("%s: %w", o.name, err)
		}
	}
	return nil
}

// setDF has the following datagrams sent with DF or without. The caller holds mu.
func (s *Socket) setDF(df bool) error {
	if df == s.df {
		return nil
	}
	ip, mode := inet.V(s.V6), unix.IP_PMTUDISC_DONT
	if df {
		mode = unix.IP_PMTUDISC_PROBE
	}
	if err := ip.Set(s.FD, ip.Discover, mode); err != nil {
		return fmt.Errorf("setting DF: %w", err)
	}
	s.df = df
	return nil
}

var nonESPMarker [4]byte

// send sends one datagram. Between sends the socket has DF set, for others who send
// on it.
func (s *Socket) send(local netip.Addr, remote netip.AddrPort, data []byte, marker, df bool) (err error) {
	if len(data) > maxDatagram-40 {
		return fmt.Errorf("IKE message of %d bytes does not fit in a UDP datagram", len(data))
	}
	oob := pktinfo(local.Unmap(), s.V6)
	addr := remote.Addr().Unmap()
	zone, err := zoneID(addr)
	if err != nil {
		return err
	}
	to := inet.Sockaddr(netip.AddrPortFrom(inet.WithZone(addr, zone), remote.Port()))
	parts := [][]byte{data}
	if marker {
		parts = [][]byte{nonESPMarker[:], data}
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("sending to %s: the socket is closed", remote)
	}
	if err := s.setDF(df); err != nil {
		return err
	}
	if !df {
		defer func() { _ = s.setDF(true) }()
	}
	for {
		_, err = unix.SendmsgBuffers(s.FD, parts, oob, to, 0)
		if err != unix.EINTR {
			break
		}
	}
	switch err {
	case nil:
		return nil
	case unix.EMSGSIZE:
		return fmt.Errorf("sending %d bytes to %s: more than the interface's MTU (%w)", len(data), remote, err)
	case unix.EINVAL, unix.EADDRNOTAVAIL:
		return fmt.Errorf("sending from %s to %s: is %s an address of this machine? (%w)", local, remote, local, err)
	}
	return fmt.Errorf("sending to %s: %w", remote, err)
}

// receive reads one datagram into buf. Data points into buf.
func (s *Socket) receive(buf, oob []byte) (platform.Datagram, error) {
	n, oobn, _, from, err := unix.Recvmsg(s.FD, buf, oob, 0)
	if err != nil {
		return platform.Datagram{}, err
	}
	d := platform.Datagram{Data: buf[:n], Remote: inet.AddrPort(from)}
	if !d.Remote.IsValid() {
		return platform.Datagram{}, unix.EAFNOSUPPORT
	}
	d.Local = netip.AddrPortFrom(LocalAddr(oob[:oobn]), s.Port)
	return d, nil
}

// LocalAddr finds the address a datagram was sent to in its control messages
// (IP_PKTINFO, IPV6_PKTINFO); unset when they do not say.
func LocalAddr(oob []byte) netip.Addr {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return netip.Addr{}
	}
	for _, m := range msgs {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= unix.SizeofInet4Pktinfo:
			return netip.AddrFrom4([4]byte(m.Data[8:12])) // ipi_addr: the header's destination
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo:
			a := netip.AddrFrom16([16]byte(m.Data[:16]))
			if a.IsLinkLocalUnicast() {
				a = inet.WithZone(a, binary.NativeEndian.Uint32(m.Data[16:20]))
			}
			return a
		}
	}
	return netip.Addr{}
}

// pktinfo is the control message that chooses the source address.
func pktinfo(local netip.Addr, v6 bool) []byte {
	if !local.IsValid() || local.IsUnspecified() {
		return nil
	}
	if v6 {
		info := unix.Inet6Pktinfo{Addr: local.As16()}
		if id, err := zoneID(local); err == nil {
			info.Ifindex = id
		}
		return control(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unsafe.Pointer(&info), unsafe.Sizeof(info))
	}
	info := unix.Inet4Pktinfo{Spec_dst: local.As4()}
	return control(unix.IPPROTO_IP, unix.IP_PKTINFO, unsafe.Pointer(&info), unsafe.Sizeof(info))
}

func control(level, typ int32, data unsafe.Pointer, size uintptr) []byte {
	b := make([]byte, unix.CmsgSpace(int(size)))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = level, typ
	h.SetLen(unix.CmsgLen(int(size)))
	copy(b[unix.CmsgLen(0):], unsafe.Slice((*byte)(data), size))
	return b
}

// zoneID is the interface's number of an address's zone, 0 without one.
func zoneID(a netip.Addr) (uint32, error) {
	z := a.Zone()
	if z == "" {
		return 0, nil
	}
	if id, err := strconv.ParseUint(z, 10, 32); err == nil {
		return uint32(id), nil
	}
	var ifr *unix.Ifreq
	ifr, err := unix.NewIfreq(z)
	if err != nil {
		return 0, fmt.Errorf("zone %q: %w", z, err)
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("zone %q: %w", z, err)
	}
	defer unix.Close(fd)
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, ifr); err != nil {
		return 0, fmt.Errorf("no interface %q for address %s: %w", z, a, err)
	}
	return ifr.Uint32(), nil
}

func (s *Socket) shut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		_ = unix.Close(s.FD)
	}
}

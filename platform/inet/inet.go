// Package inet says what Linux calls the same thing in IPv4 and in IPv6, turns
// addresses of net/netip into those of system calls and back, and has the prefixes
// that are meant by words. It opens sockets and knows nothing of what is sent on them.
package inet

import (
	"encoding/binary"
	"net/netip"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Version is an IP version with Linux's numbers for it.
type Version struct {
	Name        string // "IPv4", "IPv6"
	Family      int    // of sockets, routes and addresses
	Level       int    // of the options below
	ICMP        int    // protocol number
	Discover    int    // path MTU discovery: unix.IP_PMTUDISC_DONT and so on, the same in both
	PacketInfo  int    // have the destination of what is received told
	ReceiveTOS  int    // have the traffic class of what is received told
	ReceiveErr  int    // queue ICMP errors
	FreeBind    int
	TTL         int // of what a socket sends
	PacketTTL   int // of one packet, as a control message
	XFRMPolicy  int
	Loopback    netip.Addr
	Unspecified netip.Addr
}

var (
	v4 = Version{
		Name: "IPv4", Family: unix.AF_INET, Level: unix.IPPROTO_IP, ICMP: unix.IPPROTO_ICMP,
		Discover: unix.IP_MTU_DISCOVER, PacketInfo: unix.IP_PKTINFO, ReceiveTOS: unix.IP_RECVTOS, ReceiveErr: unix.IP_RECVERR,
		FreeBind: unix.IP_FREEBIND, TTL: unix.IP_TTL, PacketTTL: unix.IP_TTL, XFRMPolicy: unix.IP_XFRM_POLICY,
		Loopback: netip.AddrFrom4([4]byte{127, 0, 0, 1}), Unspecified: netip.IPv4Unspecified(),
	}
	v6 = Version{
		Name: "IPv6", Family: unix.AF_INET6, Level: unix.IPPROTO_IPV6, ICMP: unix.IPPROTO_ICMPV6,
		Discover: unix.IPV6_MTU_DISCOVER, PacketInfo: unix.IPV6_RECVPKTINFO, ReceiveTOS: unix.IPV6_RECVTCLASS, ReceiveErr: unix.IPV6_RECVERR,
		FreeBind: unix.IPV6_FREEBIND, TTL: unix.IPV6_UNICAST_HOPS, PacketTTL: unix.IPV6_HOPLIMIT, XFRMPolicy: unix.IPV6_XFRM_POLICY,
		Loopback: netip.IPv6Loopback(), Unspecified: netip.IPv6Unspecified(),
	}
)

// Of is the version of an address; one that is not set, or an IPv4-mapped one, counts
// as IPv6.
func Of(a netip.Addr) *Version { return V(!a.Is4()) }

// V is IPv6 or IPv4.
func V(six bool) *Version {
	if six {
		return &v6
	}
	return &v4
}

// Socket opens a nonblocking socket of a type (unix.SOCK_RAW, …) and protocol. The
// error is the bare errno.
func (v *Version) Socket(typ, protocol int) (fd int, err error) {
	return unix.Socket(v.Family, typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
}

// Set sets an option of the version's level.
func (v *Version) Set(fd, option, value int) error {
	return unix.SetsockoptInt(fd, v.Level, option, value)
}

// All is the prefix of all its addresses.
func (v *Version) All() netip.Prefix { return netip.PrefixFrom(v.Unspecified, 0) }

// Wildcard is the socket address of a port of all own addresses.
func (v *Version) Wildcard(port uint16) unix.Sockaddr {
	return Sockaddr(netip.AddrPortFrom(v.Unspecified, port))
}

// Host is the prefix of one address.
func Host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// Halves splits a default route in two, which beat any other default route. Other
// prefixes come back as they are, masked.
func Halves(p netip.Prefix) []netip.Prefix {
	if p.Bits() != 0 {
		return []netip.Prefix{p.Masked()}
	}
	upper := p.Addr().AsSlice()
	clear(upper)
	upper[0] = 0x80
	return []netip.Prefix{netip.PrefixFrom(Of(p.Addr()).Unspecified, 1), netip.PrefixFrom(Addr(upper), 1)}
}

// Covered tells whether prefixes hold p: as it is, or a default route as its halves.
func Covered(p netip.Prefix, by []netip.Prefix) bool {
	missing := func(half netip.Prefix) bool { return !slices.Contains(by, half) }
	return slices.Contains(by, p) || !slices.ContainsFunc(Halves(p), missing)
}

// Plain is an address without zone, an IPv4-mapped one as IPv4.
func Plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// Addr reads an address of 4 or 16 bytes, in network order; unset for any other.
func Addr(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b)
	return a
}

// Sockaddr is the socket address of a. A zone must be an interface's number.
func Sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	zone, _ := strconv.ParseUint(a.Addr().Zone(), 10, 32)
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port()), ZoneId: uint32(zone)}
}

// AddrPort is the reverse of Sockaddr; unset when it is no address of IP.
func AddrPort(sa unix.Sockaddr) netip.AddrPort {
	switch s := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(s.Addr), uint16(s.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(WithZone(netip.AddrFrom16(s.Addr), s.ZoneId), uint16(s.Port))
	}
	return netip.AddrPort{}
}

// WithZone adds the number of an interface to a link-local address. Zones are kept as
// numbers: names would cost a lookup for each datagram.
func WithZone(a netip.Addr, ifindex uint32) netip.Addr {
	if ifindex == 0 || !a.IsLinkLocalUnicast() {
		return a
	}
	return a.WithZone(strconv.FormatUint(uint64(ifindex), 10))
}

// NetworkOrder is v as it stands in memory in network byte order (htons).
func NetworkOrder(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

// Tap opens a packet socket that sees what passes an interface both ways, as frames
// (unix.SOCK_RAW) or as packets (unix.SOCK_DGRAM), where a filter lets it.
func Tap(typ, ifindex int, filter ...unix.SockFilter) (fd int, err error) {
	if fd, err = unix.Socket(unix.AF_PACKET, typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return -1, err
	}
	if len(filter) > 0 {
		err = Filter(fd, unix.SO_ATTACH_FILTER, filter...)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: NetworkOrder(unix.ETH_P_ALL), Ifindex: ifindex})
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// Filter attaches a classic BPF program to a socket by an option such as
// unix.SO_ATTACH_FILTER.
func Filter(fd, option int, program ...unix.SockFilter) error {
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, option, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
}

// Off6 reports whether IPv6 is switched off on this machine, or missing from its kernel.
func Off6() bool {
	b, err := os.ReadFile("/proc/sys/net/ipv6/conf/all/disable_ipv6")
	return err != nil || len(b) > 0 && b[0] == '1'
}

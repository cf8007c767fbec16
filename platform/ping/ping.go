// Package ping sends ICMP echo requests and tells which were answered (RFC 792,
// RFC 4443 section 4). It counts and waits for nobody: that is its users' part.
package ping

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"greseal/platform/gre"
	"greseal/platform/inet"
)

// headerLen is that of an echo request without its payload.
const headerLen = 8

// Socket sends requests to one address. Send and Receive may run side by side.
type Socket struct {
	conn           net.PacketConn
	to             netip.Addr
	request, reply byte
	id, seq        uint16
	buf            [1 << 16]byte
}

// Open opens a socket in the network namespace of the caller's thread. Requests come
// from an address, leave by an interface, where these are set, and have DF set.
func Open(to, from netip.Addr, ifname string) (*Socket, error) {
	ip := inet.Of(to)
	if !from.IsValid() {
		from = ip.Unspecified
	}
	options := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		cerr := c.Control(func(fd uintptr) {
			err = ip.Set(int(fd), ip.Discover, unix.IP_PMTUDISC_PROBE)
			if err == nil && ifname != "" {
				err = unix.SetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE, ifname)
			}
		})
		return errors.Join(cerr, err)
	}}
	s := &Socket{to: to, request: 8, reply: 0}
	network := "ip4:"
	if to.Is6() {
		network, s.request, s.reply = "ip6:", 128, 129
	}
	conn, err := options.ListenPacket(context.Background(), network+strconv.Itoa(ip.ICMP), from.String())
	if err != nil {
		return nil, fmt.Errorf("ICMP socket: %w", errno(err))
	}
	s.conn = conn
	var id [2]byte
	_, _ = rand.Read(id[:])
	s.id = binary.BigEndian.Uint16(id[:]) | 1
	return s, nil
}

// errno is the kernel's word in an error of package net.
func errno(err error) error {
	if e, ok := errors.AsType[unix.Errno](err); ok {
		return e
	}
	return err
}

// Overhead is the length of the IP and ICMP headers of a request.
func (s *Socket) Overhead() int {
	if s.to.Is6() {
		return headerLen + 40
	}
	return headerLen + 20
}

// Send sends one request and returns its sequence number, 1 for the first. The error
// is the kernel's: no route, a blocked packet, more than the interface's MTU.
func (s *Socket) Send(payload []byte) (seq uint16, err error) {
	s.seq++
	b := make([]byte, headerLen, headerLen+len(payload))
	b[0] = s.request
	binary.BigEndian.PutUint16(b[4:], s.id)
	binary.BigEndian.PutUint16(b[6:], s.seq)
	b = append(b, payload...)
	binary.BigEndian.PutUint16(b[2:], gre.Checksum(b)) // that of ICMPv6 the kernel writes
	_, err = s.conn.WriteTo(b, &net.IPAddr{IP: s.to.AsSlice(), Zone: s.to.Zone()})
	return s.seq, errno(err)
}

// Receive waits for the next answer until a time, with the zero time for ever. The
// error wraps os.ErrDeadlineExceeded when none came, net.ErrClosed after Close. The
// payload is good until the next call.
func (s *Socket) Receive(until time.Time) (seq uint16, payload []byte, err error) {
	if err := s.conn.SetReadDeadline(until); err != nil {
		return 0, nil, err
	}
	for {
		n, from, err := s.conn.ReadFrom(s.buf[:])
		if err != nil {
			return 0, nil, err
		}
		b := s.buf[:n]
		addr, _ := from.(*net.IPAddr)
		if n < headerLen || b[0] != s.reply || binary.BigEndian.Uint16(b[4:]) != s.id || addr == nil || inet.Plain(inet.Addr(addr.IP)) != inet.Plain(s.to) {
			continue
		}
		return binary.BigEndian.Uint16(b[6:]), b[headerLen:], nil
	}
}

// Close ends a Receive.
func (s *Socket) Close() { _ = s.conn.Close() }

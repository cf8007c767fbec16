// Package ikesock is the UDP sockets of IKE: ports 500 and 4500, one socket for
// each port and IP version. It adds and strips the non-ESP marker on the NAT
// port (RFC 3948 section 2.2), drops NAT keepalives, reports the local address of
// each datagram and sends from a given one, with or without the don't-fragment bit.
// It does not parse IKE messages.
//
// Open returns Sockets whose one goroutine puts what it reads into two bounded
// inboxes, one for IKE_SA_INIT requests, which anyone can send, and one for the rest;
// what does not fit is dropped and counted. With ReadNAT false the caller reads the
// NAT port (NATSocket, Deliver): two readers of one socket would each get half.
package ikesock

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"greseal/platform"
	"greseal/platform/inet"
)

// Default ports (RFC 7296 section 2, RFC 3948 section 2).
const (
	DefaultPortIKE = 500
	DefaultPortNAT = 4500
)

// maxDatagram is more than any UDP datagram holds.
const maxDatagram = 65535

// Config says which sockets to open.
type Config struct {
	PortIKE, PortNAT uint16 // 0: 500 and 4500

	// ReadNAT lets the package read the NAT port. Otherwise the caller does.
	ReadNAT bool

	// UDPEncap has the kernel take ESP in UDP on the NAT port (RFC 3948); the
	// sockets then get IKE only. It must not be set when the caller decrypts.
	UDPEncap bool

	Mark   uint32 // SO_MARK of what is sent, 0 for none
	Inbox  int    // size of the inboxes in datagrams, 0 for 256
	Logger *slog.Logger
}

// Sockets are the open sockets of a daemon. Send, SendKeepalive and Deliver may
// be called from any goroutine.
type Sockets struct {
	config  Config
	log     *slog.Logger
	inbox   chan platform.Datagram
	opening chan platform.Datagram // IKE_SA_INIT requests
	dropped atomic.Uint64
	socks   []*Socket
	ready   *os.File // epoll's: readable when a socket is; closing it ends the reader
	done    chan struct{}
	closing atomic.Bool
	close   sync.Once
}

// Open binds the sockets in the network namespace of the calling thread and
// starts reading. Without IPv6, or without IPv4, it opens those of the other.
func Open(c Config) (*Sockets, error) {
	c.PortIKE, c.PortNAT, c.Inbox = cmp.Or(c.PortIKE, DefaultPortIKE), cmp.Or(c.PortNAT, DefaultPortNAT), cmp.Or(c.Inbox, 256)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.PortIKE == c.PortNAT {
		return nil, fmt.Errorf("IKE and NAT port are both %d: choose two different ports", c.PortIKE)
	}
	s := &Sockets{
		config:  c,
		log:     c.Logger,
		inbox:   make(chan platform.Datagram, c.Inbox),
		opening: make(chan platform.Datagram, max(c.Inbox/2, 1)),
		done:    make(chan struct{}),
	}
	var absent error
	for _, v6 := range []bool{false, true} {
		for _, nat := range []bool{false, true} {
			sock, err := openSocket(&c, v6, nat)
			if isNoFamily(err) {
				absent = err
				break
			}
			if err != nil {
				s.closeAll()
				return nil, err
			}
			s.socks = append(s.socks, sock)
		}
	}
	if len(s.socks) == 0 {
		s.closeAll()
		return nil, absent
	}
	if err := s.watch(); err != nil {
		s.closeAll()
		return nil, fmt.Errorf("waiting for the IKE sockets: %w", err)
	}
	go s.read()
	return s, nil
}

// watch makes an epoll instance of the sockets that are read here. The runtime's
// poller waits for it, so that no thread blocks in the reader and the runtime's
// monitor sleeps: waking it took 7 % of the time of a handshake.
func (s *Sockets) watch() error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	if err := unix.SetNonblock(fd, true); err != nil { // or the poller does not take it
		_ = unix.Close(fd)
		return err
	}
	s.ready = os.NewFile(uintptr(fd), "IKE sockets")
	for i, sock := range s.socks {
		if sock.NAT && !s.config.ReadNAT {
			continue
		}
		if err := unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, sock.FD, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}); err != nil {
			return err
		}
	}
	return nil
}

// Inbox delivers what Opening does not, markers stripped. It is never closed.
func (s *Sockets) IKE() <-chan platform.Datagram { return s.inbox }

// Opening delivers IKE_SA_INIT requests. They have a queue of their own, so that a
// flood of them does not disturb established IKE SAs.
func (s *Sockets) IKEOpening() <-chan platform.Datagram { return s.opening }

// Dropped counts the datagrams that found the inbox full.
func (s *Sockets) IKEDropped() uint64 { return s.dropped.Load() }

// HasIPv6 reports whether the IPv6 sockets could be opened.
func (s *Sockets) HasIPv6() bool { return s.socket(true, false) != nil }

// Listening names the open sockets, such as "0.0.0.0:500".
func (s *Sockets) Listening() []string {
	var open []string
	for _, sock := range s.socks {
		open = append(open, netip.AddrPortFrom(inet.V(sock.V6).Unspecified, sock.Port).String())
	}
	return open
}

// NATSocket is the socket of the NAT port for one IP version, nil when the
// machine does not have it.
func (s *Sockets) NATSocket(v6 bool) *Socket { return s.socket(v6, true) }

// Deliver puts a copy of a datagram, without marker, into its inbox and reports
// whether there was room.
func (s *Sockets) Deliver(d platform.Datagram) bool {
	inbox, long := s.inbox, len(d.Data) > longMessage
	if opens(d.Data) {
		inbox = s.opening
	}
	// A flood must not cost a copy per datagram, nor much memory.
	if n := len(inbox); n == cap(inbox) || long && (inbox == s.opening || n >= mostLong) {
		s.dropped.Add(1)
		return false
	}
	d.Data = append([]byte(nil), d.Data...)
	select {
	case inbox <- d:
		return true
	default:
		s.dropped.Add(1)
		return false
	}
}

// longMessage is more than nearly all IKE messages have; no more than mostLong
// messages may wait before a longer one. No IKE_SA_INIT request is as long.
const (
	longMessage = 4096
	mostLong    = 16
)

// opens reports whether a message is an IKE_SA_INIT request: the responder has no SPI
// yet (RFC 7296 section 3.1).
func opens(b []byte) bool {
	const exchange, flags, response = 18, 19, 0x20
	return len(b) > flags && b[exchange] == 34 && b[flags]&response == 0 && [8]byte(b[8:16]) == [8]byte{}
}

// Send sends one IKE message from local to remote; local's port chooses the
// socket and with it the non-ESP marker. An unset local address leaves the
// choice to the kernel.
func (s *Sockets) SendIKE(local, remote netip.AddrPort, data []byte, df bool) error {
	sock, err := s.choose(local, remote)
	if err != nil {
		return err
	}
	return sock.send(local.Addr(), remote, data, sock.NAT, df)
}

// SendKeepalive sends a NAT keepalive, the one byte 0xff (RFC 3948 section
// 2.3), from the NAT port.
func (s *Sockets) SendKeepalive(local, remote netip.AddrPort) error {
	sock, err := s.choose(local, remote)
	if err != nil {
		return err
	}
	if !sock.NAT {
		return fmt.Errorf("NAT keepalive from port %d: keepalives belong on port %d", local.Port(), s.config.PortNAT)
	}
	return sock.send(local.Addr(), remote, keepalive, false, false)
}

var keepalive = []byte{0xff}

// Close ends the reader and closes the sockets.
func (s *Sockets) Close() error {
	s.close.Do(func() {
		s.closing.Store(true)
		_ = s.ready.Close()
		<-s.done
		s.closeAll()
	})
	return nil
}

func (s *Sockets) closeAll() {
	for _, sock := range s.socks {
		sock.shut()
	}
	if s.ready != nil {
		_ = s.ready.Close()
	}
}

func (s *Sockets) socket(v6, nat bool) *Socket {
	for _, sock := range s.socks {
		if sock.V6 == v6 && sock.NAT == nat {
			return sock
		}
	}
	return nil
}

func (s *Sockets) choose(local, remote netip.AddrPort) (*Socket, error) {
	var nat bool
	switch local.Port() {
	case s.config.PortIKE:
	case s.config.PortNAT:
		nat = true
	default:
		return nil, fmt.Errorf("no IKE socket has port %d: it is %d or %d", local.Port(), s.config.PortIKE, s.config.PortNAT)
	}
	v6 := remote.Addr().Is6() && !remote.Addr().Is4In6()
	if sock := s.socket(v6, nat); sock != nil {
		return sock, nil
	}
	if v6 {
		return nil, errors.New("this machine has no IPv6: give the peer's IPv4 address")
	}
	return nil, errors.New("this machine has no IPv4: give the peer's IPv6 address")
}

// read is the one reader: it waits for its sockets, drains those that are ready, and
// ends when the epoll instance is closed.
func (s *Sockets) read() {
	defer close(s.done)
	conn, err := s.ready.SyscallConn()
	var events [4]unix.EpollEvent
	buf := make([]byte, maxDatagram)
	oob := make([]byte, 256)
	for err == nil {
		n := 0
		err = conn.Read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events[:], 0)
			return n > 0
		})
		for _, e := range events[:max(n, 0)] {
			s.drain(s.socks[e.Fd], buf, oob)
		}
	}
	if !s.closing.Load() {
		s.log.Error("cannot wait for the IKE sockets: restart the daemon", "error", err)
	}
}

// drain reads a socket until it is empty, at most 64 datagrams so that the
// others get their turn.
func (s *Sockets) drain(sock *Socket, buf, oob []byte) {
	for range 64 {
		d, err := sock.receive(buf, oob)
		if err == unix.EAGAIN {
			return
		}
		if err != nil {
			// An ICMP error of an earlier datagram; reading it has cleared it.
			s.log.Debug("IKE socket", "port", sock.Port, "error", err)
			continue
		}
		var ok bool
		if d.Data, ok = Strip(d.Data, sock.NAT); ok {
			s.Deliver(d)
		}
	}
}

// Strip takes the non-ESP marker off a datagram of the NAT port and reports
// whether an IKE message remains: keepalives and ESP are not one.
func Strip(data []byte, nat bool) ([]byte, bool) {
	if !nat {
		return data, len(data) > 0
	}
	if len(data) <= 4 || data[0]|data[1]|data[2]|data[3] != 0 {
		return nil, false
	}
	return data[4:], true
}

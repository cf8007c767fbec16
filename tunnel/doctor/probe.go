package doctor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"greseal/ikev2/wire"
	"greseal/platform/inet"
)

// kind is the result of a probe.
type kind uint8

const (
	silent      kind = iota // nothing came back
	refused                 // ICMP: nothing listens on that port
	prohibited              // ICMP: administratively prohibited
	unreachable             // ICMP or the kernel: no route, or no such host
	unsendable              // the kernel did not send it
	stranger                // something that is no answer to the probe
	v1Reply                 // an IKE message of version 1
	ikev2Reply              // an IKEv2 answer to the probe
)

// answer is what came back on a probe.
type answer struct {
	kind   kind
	to     netip.AddrPort
	from   netip.AddrPort // of a datagram
	router netip.Addr     // who sent the ICMP error; unset when this machine's kernel made it up
	err    error          // unsendable
	tries  int
	took   time.Duration
	size   int           // of the probe's UDP payload
	raw    []byte        // stranger: its beginning
	m      *wire.Message // ikev2Reply
	header wire.Header   // v1Reply and ikev2Reply
}

// probe is a datagram that asks for an answer.
type probe struct {
	local      netip.Addr
	to         netip.AddrPort
	mark       uint32
	data       []byte
	spi        uint64 // of the initiator, that the answer repeats
	marker     bool   // non-ESP marker in front (RFC 3948 section 2.2)
	fragmented bool   // larger than the path: let the kernel fragment it
	pauses     []time.Duration
}

// patience is how long a probe waits after each try: long enough in all for the
// kernel to find that the next hop is not there, which takes 3 s.
var patience = []time.Duration{400 * time.Millisecond, 700 * time.Millisecond, 1000 * time.Millisecond, 1200 * time.Millisecond}

// send sends the probe from a port of its own until something comes back or the
// patience ends. The answer is never nil.
func (p probe) send(ctx context.Context) *answer {
	a := &answer{to: p.to, size: len(p.data)}
	fd, err := p.open()
	if err != nil {
		a.kind, a.err = unsendable, err
		return a
	}
	defer unix.Close(fd)
	data := p.data
	if p.marker {
		data = append(make([]byte, 4), p.data...)
	}
	pauses := p.pauses
	if pauses == nil {
		pauses = patience
	}
	begin := time.Now()
	defer func() { a.took = time.Since(begin) }()
	for _, pause := range pauses {
		if ctx.Err() != nil {
			return a
		}
		a.tries++
		if err := unix.Sendto(fd, data, 0, inet.Sockaddr(p.to)); err != nil {
			if a.router, a.kind = hint(fd, err); a.kind != silent {
				a.err = err
				return a
			}
		}
		end := time.Now().Add(pause)
		for {
			ms := int(time.Until(end) / time.Millisecond)
			if ms <= 0 {
				break
			}
			fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			if _, err := unix.Poll(fds, min(ms, 100)); err != nil && err != unix.EINTR {
				break
			}
			if fds[0].Revents&unix.POLLERR != 0 {
				if router, k := errorQueue(fd); k != silent {
					a.kind, a.router = k, router
					if k == refused || a.tries == len(pauses) {
						return a
					}
				}
			}
			if fds[0].Revents&unix.POLLIN != 0 && p.read(fd, a) {
				return a
			}
			if ctx.Err() != nil {
				return a
			}
		}
	}
	return a
}

func (p probe) open() (fd int, err error) {
	ip := inet.Of(p.to.Addr())
	if fd, err = ip.Socket(unix.SOCK_DGRAM, 0); err != nil {
		return -1, fmt.Errorf("UDP socket: %w", err)
	}
	fail := func(err error) (int, error) {
		unix.Close(fd)
		return -1, err
	}
	_ = ip.Set(fd, ip.ReceiveErr, 1) // without it a refusal looks like silence
	if p.fragmented {
		if err := ip.Set(fd, ip.Discover, unix.IP_PMTUDISC_DONT); err != nil {
			return fail(err)
		}
	}
	if p.mark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(p.mark)); err != nil {
			return fail(fmt.Errorf("fwmark %d: %w", p.mark, err))
		}
	}
	if p.local.IsValid() {
		if err := unix.Bind(fd, inet.Sockaddr(netip.AddrPortFrom(p.local, 0))); err != nil {
			return fail(fmt.Errorf("come from %s: %w", p.local, err))
		}
	}
	return fd, nil
}

// read takes datagrams until one answers the probe. What does not is only kept
// until something better comes.
func (p probe) read(fd int, a *answer) bool {
	buf := make([]byte, 65536)
	for {
		n, sa, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT)
		if err != nil {
			return false
		}
		from, b := inet.AddrPort(sa), buf[:n]
		if p.marker && len(b) >= 4 && binary.BigEndian.Uint32(b) == 0 {
			b = b[4:]
		}
		h, err := wire.ParseHeader(b)
		switch {
		case err == nil && h.SPIi == p.spi && h.Major() == 1:
			a.kind, a.from, a.header, a.raw = v1Reply, from, h, append([]byte(nil), b...)
			return true
		case err == nil && h.SPIi == p.spi && h.Major() >= 2 && h.Response():
			a.kind, a.from, a.header = ikev2Reply, from, h
			a.m, _ = wire.Parse(append([]byte(nil), b...))
			return true
		}
		a.kind, a.from, a.raw = stranger, from, append([]byte(nil), b[:min(len(b), 24)]...)
	}
}

// hint sorts an error of sendto: ICMP errors of earlier tries come back there
// too.
func hint(fd int, err error) (router netip.Addr, k kind) {
	if router, k := errorQueue(fd); k != silent {
		return router, k
	}
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return router, refused
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETUNREACH):
		return router, unreachable
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOBUFS):
		return router, silent
	}
	return router, unsendable
}

// extendedErr is struct sock_extended_err (linux/errqueue.h).
type extendedErr struct {
	Errno              uint32
	Origin, Type, Code uint8
	_                  uint8
	Info, Data         uint32
}

const (
	originLocal = 1 // SO_EE_ORIGIN_LOCAL
	originICMP  = 2
	originICMP6 = 3
)

// errorQueue reads what ICMP had to say about the probe (ip(7), IP_RECVERR).
func errorQueue(fd int) (router netip.Addr, k kind) {
	buf, oob := make([]byte, 512), make([]byte, 512)
	for {
		_, n, _, _, err := unix.Recvmsg(fd, buf, oob, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
		if err != nil {
			return router, k
		}
		messages, err := unix.ParseSocketControlMessage(oob[:n])
		if err != nil {
			return router, k
		}
		for _, m := range messages {
			v4 := m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_RECVERR
			v6 := m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_RECVERR
			if !v4 && !v6 || len(m.Data) < int(unsafe.Sizeof(extendedErr{})) {
				continue
			}
			e := *(*extendedErr)(unsafe.Pointer(&m.Data[0]))
			if e.Origin == originICMP || e.Origin == originICMP6 {
				router = offender(m.Data[unsafe.Sizeof(e):])
			}
			k = meaning(e)
		}
	}
}

// meaning of an ICMP error (RFC 792, 1812 section 5.2.7.1, 4443 section 3.1).
func meaning(e extendedErr) kind {
	switch {
	case e.Origin == originICMP && e.Type == 3:
		switch e.Code {
		case 2, 3:
			return refused
		case 9, 10, 13:
			return prohibited
		case 4:
			return silent // too big: the kernel sees to it
		}
		return unreachable
	case e.Origin == originICMP6 && e.Type == 1:
		switch e.Code {
		case 4:
			return refused
		case 1, 5, 6:
			return prohibited
		}
		return unreachable
	case e.Errno == uint32(unix.EHOSTUNREACH), e.Errno == uint32(unix.ENETUNREACH):
		return unreachable
	}
	return silent
}

// offender is the address behind an extended error: who sent the ICMP message.
func offender(b []byte) netip.Addr {
	if len(b) < 8 {
		return netip.Addr{}
	}
	switch binary.NativeEndian.Uint16(b) {
	case unix.AF_INET:
		return inet.Addr(b[4:8])
	case unix.AF_INET6:
		if len(b) >= 24 {
			return inet.Addr(b[8:24]).Unmap()
		}
	}
	return netip.Addr{}
}

package ikesock

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// fragmentSize is the longest fragment that SendIKEFragmented makes: what every IPv4
// host accepts (RFC 791 section 3.1).
const fragmentSize = 576

// SendIKEFragmented sends an IKE message in IP fragments (RFC 791 section 3.2) of at most
// 576 bytes, through a raw socket: the kernel does not fragment what fits its own
// interface, and routers further on may drop silently what is too large for them. Over
// IPv6 it is sent as it is, without DF.
func (s *Sockets) SendIKEFragmented(local, remote netip.AddrPort, data []byte) error {
	if !remote.Addr().Unmap().Is4() || !local.Addr().Unmap().Is4() {
		return s.SendIKE(local, remote, data, false)
	}
	datagram := udp4(local, remote, local.Port() == s.config.PortNAT, data)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return fmt.Errorf("sending in fragments: %w", err)
	}
	defer unix.Close(fd)
	if s.config.Mark != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(s.config.Mark)); err != nil {
			return fmt.Errorf("sending in fragments: %w", err)
		}
	}
	to := &unix.SockaddrInet4{Addr: remote.Addr().Unmap().As4()}
	for _, p := range split4(local.Addr(), remote.Addr(), datagram) {
		if err := unix.Sendto(fd, p, 0, to); err != nil {
			return fmt.Errorf("sending in fragments to %s: %w", remote, err)
		}
	}
	return nil
}

// udp4 is a UDP datagram over IPv4 with its checksum.
func udp4(local, remote netip.AddrPort, marker bool, data []byte) []byte {
	n := 8 + len(data)
	if marker {
		n += len(nonESPMarker)
	}
	b := make([]byte, 8, n)
	binary.BigEndian.PutUint16(b, local.Port())
	binary.BigEndian.PutUint16(b[2:], remote.Port())
	binary.BigEndian.PutUint16(b[4:], uint16(n))
	if marker {
		b = append(b, nonESPMarker[:]...)
	}
	b = append(b, data...)
	src, dst := local.Addr().Unmap().As4(), remote.Addr().Unmap().As4()
	pseudo := append(append(src[:], dst[:]...), 0, unix.IPPROTO_UDP, byte(n>>8), byte(n))
	sum := uint32(0)
	for _, part := range [][]byte{pseudo, b} {
		for i := 0; i < len(part); i += 2 {
			sum += uint32(part[i]) << 8
			if i+1 < len(part) {
				sum += uint32(part[i+1])
			}
		}
	}
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	check := ^uint16(sum)
	if check == 0 {
		check = 0xffff
	}
	binary.BigEndian.PutUint16(b[6:], check)
	return b
}

// split4 splits a datagram into IPv4 fragments, at least two. The kernel fills in
// header checksums.
func split4(local, remote netip.Addr, datagram []byte) [][]byte {
	var id [2]byte
	_, _ = rand.Read(id[:]) // crypto/rand never fails
	id[1] |= 1              // the kernel replaces 0
	chunk := min((fragmentSize-20)&^7, (len(datagram)/2+7)&^7)
	var out [][]byte
	src, dst := local.Unmap().As4(), remote.Unmap().As4()
	for at := 0; at < len(datagram); at += chunk {
		part := datagram[at:min(at+chunk, len(datagram))]
		p := make([]byte, 20, 20+len(part))
		p[0], p[8], p[9] = 0x45, 64, unix.IPPROTO_UDP
		binary.BigEndian.PutUint16(p[2:], uint16(20+len(part)))
		copy(p[4:6], id[:])
		field := uint16(at / 8)
		if at+chunk < len(datagram) {
			field |= 0x2000
		}
		binary.BigEndian.PutUint16(p[6:], field)
		copy(p[12:], src[:])
		copy(p[16:], dst[:])
		out = append(out, append(p, part...))
	}
	return out
}

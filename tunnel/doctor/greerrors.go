package doctor

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"greseal/platform/inet"
)

// GREErrors listens for ICMP errors about GRE packets from this side of a tunnel to
// the other. The peer's kernel sends them, in the clear, when a packet comes out of ESP and
// no GRE interface takes it: whoever sees such a packet has decrypted it, so ESP
// passes. Nobody proves who sends them; they only keep from a conclusion.
type GREErrors struct {
	fd            int
	local, remote netip.Addr
}

// ListenGREErrors begins to listen; local and remote are the GRE endpoints.
func ListenGREErrors(local, remote netip.Addr) (*GREErrors, error) {
	ip := inet.Of(local)
	fd, err := ip.Socket(unix.SOCK_RAW, ip.ICMP)
	if err != nil {
		return nil, fmt.Errorf("ICMP socket: %w", err)
	}
	return &GREErrors{fd, local, remote}, nil
}

// Close ends it. A nil one may be closed, too.
func (g *GREErrors) Close() {
	if g != nil {
		unix.Close(g.fd)
	}
}

// Came counts those that have come since the last time.
func (g *GREErrors) Came() (n int) {
	if g == nil {
		return 0
	}
	buf := make([]byte, 256)
	for range 4096 {
		got, _, err := unix.Recvfrom(g.fd, buf, unix.MSG_DONTWAIT)
		if err != nil {
			break
		}
		if aboutGRE(buf[:got], g.local, g.remote) {
			n++
		}
	}
	return n
}

// aboutGRE reports whether an ICMP message, for IPv4 with its IP header, says that a GRE
// packet from local to remote had no receiver.
func aboutGRE(b []byte, local, remote netip.Addr) bool {
	if local.Is6() {
		const head = 8
		if len(b) < head+40 || b[0] != 1 && b[0] != 4 || b[head]>>4 != 6 {
			return false // 1: unreachable; 4: parameter problem, unknown next header
		}
		q := b[head:]
		return q[6] == unix.IPPROTO_GRE && inet.Addr(q[8:24]) == local && inet.Addr(q[24:40]) == remote
	}
	if len(b) < 20 {
		return false
	}
	n := int(b[0]&15) * 4
	if n < 20 || len(b) < n+8+20 {
		return false
	}
	b = b[n:]
	q := b[8:]
	const protocolUnreachable, portUnreachable = 2, 3
	return b[0] == 3 && (b[1] == protocolUnreachable || b[1] == portUnreachable) && q[0]>>4 == 4 &&
		q[9] == unix.IPPROTO_GRE && inet.Addr(q[12:16]) == local && inet.Addr(q[16:20]) == remote
}

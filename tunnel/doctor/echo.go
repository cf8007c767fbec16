package doctor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"greseal/platform/gre"
	"greseal/platform/inet"
	"greseal/platform/rtnl"
)

// pinger sends ICMP echo requests through one interface, with DF set and
// whatever size the interface takes.
type pinger struct {
	fd   int
	v6   bool
	to   netip.Addr
	id   uint16
	seq  uint16
	size map[uint16]int // of the requests sent, by sequence number
}

func newPinger(ifname string, to netip.Addr) (*pinger, error) {
	p := &pinger{v6: to.Is6(), to: to, size: make(map[uint16]int), id: binary.BigEndian.Uint16(randomOctets(2)) | 1}
	ip := inet.Of(to)
	fd, err := ip.Socket(unix.SOCK_RAW, ip.ICMP)
	if err != nil {
		return nil, fmt.Errorf("ICMP socket: %w", err)
	}
	p.fd = fd
	if err := errors.Join(
		ip.Set(fd, ip.Discover, unix.IP_PMTUDISC_PROBE),
		unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, ifname),
	); err != nil {
		p.close()
		return nil, fmt.Errorf("ICMP socket on %s: %w", ifname, err)
	}
	return p, nil
}

func (p *pinger) close() { unix.Close(p.fd) }

// header is the length of the IP and ICMP headers of a request.
func (p *pinger) header() int {
	if p.v6 {
		return 48
	}
	return 28
}

// ask sends one request whose IP packet has size octets.
func (p *pinger) ask(size int) error {
	p.seq++
	b := make([]byte, max(size-p.header(), 0)+8)
	b[0] = 8
	if p.v6 {
		b[0] = 128
	}
	binary.BigEndian.PutUint16(b[4:], p.id)
	binary.BigEndian.PutUint16(b[6:], p.seq)
	for i := 8; i < len(b); i++ {
		b[i] = byte(i)
	}
	if !p.v6 { // the kernel writes that of ICMPv6
		binary.BigEndian.PutUint16(b[2:], gre.Checksum(b))
	}
	if err := unix.Sendto(p.fd, b, 0, inet.Sockaddr(netip.AddrPortFrom(p.to, 0))); err != nil {
		return err
	}
	p.size[p.seq] = len(b) - 8 + p.header()
	return nil
}

// answers collects the sizes that were answered, until all were or time is up.
func (p *pinger) answers(limit time.Duration) (sizes []int) {
	buf := make([]byte, 65536)
	end := time.Now().Add(limit)
	for len(p.size) > 0 {
		ms := int(time.Until(end) / time.Millisecond)
		if ms <= 0 {
			break
		}
		fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, ms); err != nil && err != unix.EINTR {
			break
		}
		for {
			n, _, err := unix.Recvfrom(p.fd, buf, unix.MSG_DONTWAIT)
			if err != nil {
				break
			}
			if seq, ok := p.reply(buf[:n]); ok {
				if size, asked := p.size[seq]; asked {
					sizes = append(sizes, size)
					delete(p.size, seq)
				}
			}
		}
	}
	clear(p.size) // what comes later is late
	return sizes
}

// reply is the sequence number of an echo reply to one of our requests.
func (p *pinger) reply(b []byte) (uint16, bool) {
	want := byte(129)
	if !p.v6 {
		want = 0
		if len(b) < 20 {
			return 0, false
		}
		if n := int(b[0]&15) * 4; n <= len(b) {
			b = b[n:]
		}
	}
	if len(b) < 8 || b[0] != want || binary.BigEndian.Uint16(b[4:]) != p.id {
		return 0, false
	}
	return binary.BigEndian.Uint16(b[6:]), true
}

// echoes is what small echo requests through the tunnel came to, with the
// counters that moved meanwhile.
type echoes struct {
	target             netip.Addr // unset: no address of the peer's inside is known
	sent, answered     int
	refused            int  // ICMP errors of the peer about what came out of ESP
	silent             bool // none was, and the peer answers no more on the IKE SA either
	err                error
	rose               counters // of the kernel
	outSAs, inSAs      uint64   // packets that left and came in on the Child SAs
	inEver             uint64   // packets that ever came in on these SAs
	inLink, inLinkEver uint64   // packets that the interface took in: meanwhile, and ever
	keyDrops           uint64
	greDrops           uint64
	integrity          uint64
	replay             uint64
	selector           uint64
}

// ping sends small echo requests through the tunnel, once an examination.
func (x *exam) ping() *echoes {
	if x.pinged != nil {
		return x.pinged
	}
	e := &echoes{target: x.target()}
	x.pinged = e
	if !e.target.IsValid() {
		return e
	}
	p, err := newPinger(x.name(), e.target)
	if err != nil {
		e.err = err
		return e
	}
	defer p.close()
	before, was, took := x.now, readCounters(), x.received()
	refusals := x.greErrors()
	defer refusals.Close()
	for range 5 {
		if err := p.ask(84); err != nil {
			e.err = err
			continue
		}
		e.sent++
		e.answered += len(p.answers(500 * time.Millisecond))
		if x.ctx.Err() != nil || e.answered >= 2 {
			break
		}
	}
	e.refused = refusals.Came()
	if e.sent > 0 && e.answered == 0 {
		heard, err := x.Daemon.CheckLiveness(x.ctx)
		e.silent = err != nil || !heard
	}
	e.rose = readCounters().since(was)
	e.inLinkEver = x.received()
	e.inLink = e.inLinkEver - took
	if x.refresh() == nil {
		a, b := &before.Tunnel, &x.now.Tunnel
		e.outSAs = b.Out.Packets - a.Out.Packets
		e.inSAs = b.In.Packets - a.In.Packets
		if b.Child != nil {
			e.inEver = b.Child.PacketsIn
		}
		e.keyDrops = x.now.Drops.Key
		e.greDrops = x.now.Drops.GRE
		e.integrity = b.Drops.Integrity - a.Drops.Integrity
		e.replay = b.Drops.Replay - a.Drops.Replay
		e.selector = b.Drops.Selector - a.Drops.Selector
	}
	return e
}

// greErrors listens for the peer's, nil where that cannot be.
func (x *exam) greErrors() *GREErrors {
	o := &x.now.Tunnel.Outside
	local, err1 := netip.ParseAddr(o.GRELocal)
	remote, err2 := netip.ParseAddr(o.GRERemote)
	if err1 != nil || err2 != nil {
		return nil
	}
	g, _ := ListenGREErrors(local, remote)
	return g
}

// received is how many packets the tunnel's interface has taken in.
func (x *exam) received() uint64 {
	l, err := rtnl.LinkByName(x.net.Netlink(), x.name())
	if err != nil {
		return 0
	}
	return l.Stats.RxPackets
}

// passes reports whether packets go both ways.
func (e *echoes) passes() bool { return e.answered > 0 }

// target is the address to ping inside: as asked for, or the only other host of
// a network that the interface has an address in.
func (x *exam) target() netip.Addr {
	if x.Target.IsValid() {
		return x.Target
	}
	return Inside(x.Tunnel.Address)
}

// Inside is the address of the other side inside the tunnel, as far as those of
// this side tell: unset unless a network has exactly two hosts.
func Inside(own []netip.Prefix) netip.Addr {
	for _, p := range own {
		if a := other(p); a.IsValid() {
			return a
		}
	}
	return netip.Addr{}
}

// Echo sends one small echo request out by an interface and reports whether it
// was answered within 0.7 s.
func Echo(ifname string, to netip.Addr) (answered bool, err error) {
	p, err := newPinger(ifname, to)
	if err != nil {
		return false, err
	}
	defer p.close()
	if err := p.ask(84); err != nil {
		return false, err
	}
	return len(p.answers(700*time.Millisecond)) > 0, nil
}

// other is the other host of a network with exactly two.
func other(p netip.Prefix) netip.Addr {
	left := p.Addr().BitLen() - p.Bits()
	b := p.Addr().AsSlice()
	last := len(b) - 1
	switch {
	case left == 1:
		b[last] ^= 1
	case left == 2 && b[last]&3 == 1, left == 2 && b[last]&3 == 2:
		b[last] ^= 3
	default:
		return netip.Addr{}
	}
	return inet.Addr(b)
}

package doctor

import (
	"fmt"
	"net/netip"
	"time"

	"greseal/platform/inet"
	"greseal/platform/ping"
	"greseal/platform/rtnl"
)

// pinger sends ICMP echo requests of chosen sizes through one interface.
type pinger struct {
	*ping.Socket
	size map[uint16]int // of the requests sent, by sequence number
}

func newPinger(ifname string, to netip.Addr) (*pinger, error) {
	s, err := ping.Open(to, netip.Addr{}, ifname)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ifname, err)
	}
	return &pinger{s, make(map[uint16]int)}, nil
}

// ask sends one request whose IP packet has size bytes.
func (p *pinger) ask(size int) error {
	payload := make([]byte, max(size-p.Overhead(), 0))
	for i := range payload {
		payload[i] = byte(i)
	}
	seq, err := p.Send(payload)
	if err == nil {
		p.size[seq] = len(payload) + p.Overhead()
	}
	return err
}

// answers collects the sizes that were answered, until all were or time is up.
func (p *pinger) answers(limit time.Duration) (sizes []int) {
	end := time.Now().Add(limit)
	for len(p.size) > 0 {
		seq, _, err := p.Receive(end)
		if err != nil {
			break
		}
		if size, asked := p.size[seq]; asked {
			sizes = append(sizes, size)
			delete(p.size, seq)
		}
	}
	clear(p.size) // what comes later is late
	return sizes
}

// echoes is what small echo requests through the tunnel came to, with the
// counters that moved meanwhile.
type echoes struct {
	target             netip.Addr // unset: no address of the peer's inside is known
	sent, answered     int
	refused            int  // ICMP errors of the peer about what came out of ESP
	silent             bool // none was, and the peer no longer answers on the IKE SA either
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
	if !x.target().IsValid() {
		x.Target = x.neighbour()
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
	defer p.Close()
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

// untaken reports whether packets came out of ESP and the interface took none of them.
func (e *echoes) untaken() bool {
	return !e.passes() && (e.inEver > 0 && e.inLinkEver == 0 || e.inSAs > 0 && e.inLink == 0)
}

// target is the address to ping inside: as asked for, or the only other host of
// a network that the interface has an address in.
func (x *exam) target() netip.Addr {
	if x.Target.IsValid() {
		return x.Target
	}
	return Inside(x.Tunnel.Address)
}

// neighbour is the first other host of an inside network of many hosts, if it answers: a
// peer most often has that address, and where it hasn't, silence means nothing.
func (x *exam) neighbour() netip.Addr {
	for _, p := range x.Tunnel.Address {
		first := p.Masked().Addr().Next()
		if first == p.Addr() {
			first = first.Next()
		}
		if p.Addr().BitLen()-p.Bits() < 2 || !p.Contains(first) || x.isLocal(first) {
			continue
		}
		if answered, err := Echo(x.name(), first); err == nil && answered {
			return first
		}
	}
	return netip.Addr{}
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
	defer p.Close()
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

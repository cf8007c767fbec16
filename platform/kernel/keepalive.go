package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"greseal/platform"
	"greseal/platform/gre"
	"greseal/platform/inet"
	"greseal/platform/rtnl"
	"greseal/platform/xfrm"
)

// Keepalives in GRE. One from the peer comes out of the GRE interface as a
// packet from one of our own addresses, which the kernel drops as a martian
// unless accept_local is set, for the interface and for all. A packet socket with a
// filter for keepalives receives it before that, and a raw socket sends the answer. To
// XFRM the answer has no key, so the socket has a policy of its own: that of the
// tunnel, or one that blocks while there is no SA. Between IPv6 endpoints a kernel that
// forwards may answer as well: IPv6 has no martians.

// echoer answers the keepalives of one GRE interface and sends our own.
type echoer struct {
	endpoints
	index   int
	mark    uint32
	packets *os.File     // packet socket
	raw     int          // raw socket of protocol 47 for the answers, which receives nothing
	under   *xfrm.Policy // that of raw; nil: it may send nothing
	count   *keepaliveCount
}

type keepaliveCount struct{ returned, answered atomic.Uint64 }

// followKeepalives has the keepalives of an interface answered after it was made or
// changed. An Ethernet interface has none.
func (d *Datapath) followKeepalives(dev *device, l platform.Link) {
	want := endpoints{l.Name, inet.Plain(l.Local), dev.remote}
	have := d.echoers[l.Name]
	if have != nil && have.endpoints == want && have.index == dev.index && have.mark == l.FWMark {
		return
	}
	count := new(keepaliveCount)
	if have != nil {
		count = have.count
		d.dropEchoer(l.Name)
	}
	if l.Ethernet || !want.local.IsValid() || !l.Remote.IsValid() {
		return
	}
	e := &echoer{endpoints: want, index: dev.index, mark: l.FWMark, raw: -1, count: count}
	if err := e.open(); err != nil {
		e.close()
		d.note("GRE keepalives of the peer are not answered: " + err.Error())
		return
	}
	d.echoers[l.Name] = e
	d.wg.Add(1)
	go func() {
		defer d.wg.Done()
		e.run()
	}()
}

func (d *Datapath) dropEchoer(link string) {
	if e := d.echoers[link]; e != nil {
		e.close()
		delete(d.echoers, link)
	}
}

func (e *echoer) open() error {
	if err := e.openRaw(); err != nil {
		return fmt.Errorf("open a raw socket: %w", err)
	}
	fd, err := inet.Tap(unix.SOCK_DGRAM, e.index, keepaliveFilter()...)
	if err != nil {
		return fmt.Errorf("listen on the interface: %w", err)
	}
	// Skip outgoing packets; kernels before 4.20 leave that to the filter.
	_ = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
	e.packets = os.NewFile(uintptr(fd), "packet socket")
	return nil
}

// openRaw opens the socket that sends. It is connected to this machine itself, so that
// it receives only GRE from there and not a copy of every packet of the tunnel.
func (e *echoer) openRaw() (err error) {
	ip := inet.Of(e.local)
	if e.raw, err = ip.Socket(unix.SOCK_RAW, xfrm.ProtoGRE); err != nil {
		return err
	}
	if e.mark != 0 {
		if err := unix.SetsockoptInt(e.raw, unix.SOL_SOCKET, unix.SO_MARK, int(e.mark)); err != nil {
			return err
		}
	}
	return errors.Join(
		e.protect(nil),
		ip.Set(e.raw, ip.TTL, 255),
		unix.Bind(e.raw, host(e.local)),
		unix.Connect(e.raw, host(ip.Loopback)),
	)
}

// protect puts what the raw socket sends under the tunnel's outbound policy, or
// blocks it.
func (e *echoer) protect(p *xfrm.Policy) error {
	if p != nil && e.under != nil && *p == *e.under {
		return nil
	}
	ip := inet.Of(e.local)
	own := xfrm.Policy{Dir: xfrm.DirOut, Src: inet.Host(e.local), Dst: inet.Host(e.remote), Proto: xfrm.ProtoGRE, Action: xfrm.ActionBlock}
	if p != nil {
		own = *p
		own.Keyed, own.Key = false, 0
	}
	if err := unix.SetsockoptString(e.raw, ip.Level, ip.XFRMPolicy, string(own.Encode())); err != nil {
		return fmt.Errorf("put GRE keepalives under the policy %s: %w", own, err)
	}
	e.under = p
	return nil
}

// host is where a raw socket is bound or sends to.
func host(a netip.Addr) unix.Sockaddr { return inet.Sockaddr(netip.AddrPortFrom(a, 0)) }

// close ends run.
func (e *echoer) close() {
	if e.packets != nil {
		_ = e.packets.Close()
	} else if e.raw >= 0 {
		_ = unix.Close(e.raw)
	}
}

// run answers until the packet socket is closed.
func (e *echoer) run() {
	defer unix.Close(e.raw)
	conn, err := e.packets.SyscallConn()
	if err != nil {
		return
	}
	buf := make([]byte, 256)
	for {
		var n int
		var from unix.Sockaddr
		var rerr error
		err := conn.Read(func(fd uintptr) bool {
			n, from, rerr = unix.Recvfrom(int(fd), buf, 0)
			return rerr != unix.EAGAIN
		})
		if err != nil {
			return // closed
		}
		if ll, ok := from.(*unix.SockaddrLinklayer); ok && rerr == nil {
			e.take(ll.Protocol, buf[:n])
		}
	}
}

// take handles a packet that came out of the interface, of a protocol type in
// network order.
func (e *echoer) take(proto uint16, packet []byte) {
	proto = inet.NetworkOrder(proto)
	if proto == gre.ProtoKeepalive {
		e.count.returned.Add(1)
		return
	}
	answer, ok := gre.KeepaliveReply(proto, packet, e.local, e.remote)
	if !ok {
		answer, _, ok = gre.RenamedKeepaliveReply(proto, packet, e.local, e.remote)
	}
	if ok && unix.Sendto(e.raw, answer, 0, host(e.remote)) == nil {
		e.count.answered.Add(1)
	}
}

// SendGREKeepalive sends one. Between IPv4 endpoints the packet that is to come back is
// sent out of the interface, and the kernel puts it into GRE as any other. An IPv6
// interface takes none from its own remote address: there the whole GRE packet is built
// here, without a sequence number.
func (d *Datapath) SendGREKeepalive(link string) error {
	e, dev := d.echoers[link], d.links[link]
	if e == nil || dev == nil {
		return fmt.Errorf("GRE keepalive of %s: %w", link, rtnl.ErrNoLink)
	}
	var err error
	h := gre.Header{Key: dev.want.Key, HasKey: dev.want.HasKey}
	if e.local.Is4() {
		err = e.give(gre.AppendKeepalive(nil, h, e.local, e.remote)[h.Len():])
	} else {
		h.HasChecksum = dev.want.Checksum
		err = unix.Sendto(e.raw, gre.AppendKeepalive(nil, h, e.local, e.remote), 0, host(e.remote))
	}
	if err != nil {
		return fmt.Errorf("GRE keepalive of %s: %w", link, err)
	}
	return nil
}

// give sends an IPv4 packet out of the interface.
func (e *echoer) give(packet []byte) error {
	conn, err := e.packets.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	err = conn.Control(func(fd uintptr) {
		serr = unix.Sendto(int(fd), packet, 0, &unix.SockaddrLinklayer{Protocol: inet.NetworkOrder(gre.ProtoIPv4), Ifindex: e.index})
	})
	return errors.Join(err, serr)
}

// GREKeepalives counts those of a link.
func (d *Datapath) GREKeepalives(link string) platform.GREKeepalives {
	e := d.echoers[link]
	if e == nil {
		return platform.GREKeepalives{}
	}
	return platform.GREKeepalives{Returned: e.count.returned.Load(), Answered: e.count.answered.Load()}
}

// keepaliveFilter is a classic BPF program over packets from the network header
// on: those that come in as protocol type 0, and short IP packets of protocol 47.
func keepaliveFilter() []unix.SockFilter {
	const (
		load                   = unix.BPF_LD | unix.BPF_ABS
		ldWord, ldHalf, ldByte = load | unix.BPF_W, load | unix.BPF_H, load | unix.BPF_B
		jump                   = unix.BPF_JMP | unix.BPF_JA
		jumpEqual, jumpGreater = unix.BPF_JMP | unix.BPF_JEQ, unix.BPF_JMP | unix.BPF_JGT
		ret                    = unix.BPF_RET
		protoOfPacket          = 0xfffff000 // SKF_AD_OFF + SKF_AD_PROTOCOL
		typeOfPacket           = 0xfffff004 // SKF_AD_PKTTYPE
	)
	return []unix.SockFilter{
		{Code: ldWord, K: typeOfPacket},
		{Code: jumpEqual, K: unix.PACKET_OUTGOING, Jt: 14}, // to the refusal
		{Code: ldWord, K: protoOfPacket},
		{Code: jumpEqual, K: uint32(gre.ProtoKeepalive), Jt: 11}, // to the acceptance
		{Code: jumpEqual, K: uint32(gre.ProtoHuawei), Jt: 2},
		{Code: jumpEqual, K: uint32(gre.ProtoIPv4), Jt: 1},
		{Code: jumpEqual, K: uint32(gre.ProtoIPv6), Jt: 4, Jf: 9},
		{Code: ldHalf, K: 2}, // IPv4: total length, protocol
		{Code: jumpGreater, K: 60 + gre.MaxKeepalive, Jt: 7},
		{Code: ldByte, K: 9},
		{Code: jump, K: 3},
		{Code: ldHalf, K: 4}, // IPv6: payload length, next header
		{Code: jumpGreater, K: gre.MaxKeepalive, Jt: 3},
		{Code: ldByte, K: 6},
		{Code: jumpEqual, K: xfrm.ProtoGRE, Jf: 1},
		{Code: ret, K: 256},
		{Code: ret, K: 0},
	}
}

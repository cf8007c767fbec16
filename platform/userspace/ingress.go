package userspace

import (
	"encoding/binary"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"greseal/crypto/esp"
	"greseal/platform"
	"greseal/platform/gre"
	"greseal/platform/ikesock"
	"greseal/platform/userspace/oversize"
	"greseal/platform/userspace/vnet"
)

// Ingress: from the outer sockets to the links' TUN devices. The ingress workers
// are the only readers of UDP 4500 and of the raw ESP sockets; what a peer sends
// goes to one of them (share.go). A packet passes through
//
//	run      which sockets have something
//	receive  one recvmmsg into fixed buffers; the kernel may have merged equal
//	         datagrams of one sender (UDP_GRO)
//	message  cut these up again; take out keepalives and IKE (RFC 3948)
//	packet   find the SA by its SPI, lock its device, check the window, open in
//	         place, check the inner header against the selectors (RFC 4301
//	         section 5.2)
//	deliver  take off GRE; key, checksum, sequence, protocol type; ECN;
//	         answer keepalives (keepalive.go)
//	merge    join packets of a flow (package vnet) and write them to the TUN
//
// Everything received by one call is written before the buffers are used again.
// There is no other way for a packet into a TUN than through packet, and an SA
// leads to its own link alone: tunnels between the same endpoints, told apart by
// their GRE keys, may be of different peers.

const (
	recvMessages = 32
	recvLen      = 65536
	recvControl  = 128

	// Of large messages only a few are read at once: what was copied is then
	// still in the cache when it is opened.
	recvLarge = 2
	largeFrom = 16 << 10
)

// ingress is one worker and what it owns.
type ingress struct {
	*worker
	k       kernel
	sas     *spiTable
	merge   *vnet.Merger
	outs    *spiTable
	events  *eventQueue
	ike     *ikesock.Sockets
	portNAT uint16
	socks   []*outSocket // by token

	locked *device // whose lock the worker has
	pieces oversize.Reassembler

	buf  []byte
	msgs [recvMessages]mmsghdr
	iov  [recvMessages]unix.Iovec
	name [recvMessages][28]byte
	ctl  [recvMessages][recvControl]byte

	large bool // the last messages were

	found   uint64 // packets of an SA
	unknown uint64 // packets with an SPI that is nobody's
	noise   uint64 // datagrams that are nothing at all
}

// message is what is known of one datagram, or of a run of them.
type message struct {
	sock   *outSocket
	remote netip.AddrPort
	ctl    []byte
	gso    int   // bytes of each datagram in the run, 0: it is one
	ecn    uint8 // of the outer header
	local  netip.Addr
}

func newIngress(d *Datapath, merge *vnet.Merger) (*ingress, error) {
	w, err := newWorker()
	if err != nil {
		return nil, err
	}
	in := &ingress{
		worker: w, k: d.kernel, sas: &d.sas, outs: &d.sending, events: d.events, ike: d.Sockets, portNAT: d.portNAT, merge: merge,
		buf: make([]byte, recvMessages*recvLen),
	}
	for i := range in.msgs {
		in.iov[i].Base = &in.buf[i*recvLen]
		in.iov[i].SetLen(recvLen)
		h := &in.msgs[i].hdr
		h.Name = &in.name[i][0]
		h.Control = &in.ctl[i][0]
		h.Iov = &in.iov[i]
		h.SetIovlen(1)
	}
	return in, nil
}

// addSocket is called by the loop.
func (w *ingress) addSocket(s *outSocket) error {
	var token int32
	w.do(func() {
		token = int32(len(w.socks))
		w.socks = append(w.socks, s)
	})
	return w.watch(s.fd, token)
}

// run is the worker's goroutine.
func (w *ingress) run() {
	defer close(w.done)
	for {
		for _, e := range w.ready(-1) {
			if e.Fd == wakeToken {
				continue
			}
			// A few calls for each socket while it is flooded, so that none
			// holds up the others for long.
			for range 4 {
				if !w.receive(w.socks[e.Fd]) {
					break
				}
			}
		}
		w.asked()
		if w.end {
			return
		}
	}
}

// receive reads and handles one batch, and reports whether there may be more.
func (w *ingress) receive(s *outSocket) bool {
	msgs := w.msgs[:]
	if w.large {
		msgs = msgs[:recvLarge]
	}
	for i := range msgs {
		h := &msgs[i].hdr
		h.Namelen = uint32(len(w.name[i]))
		h.SetControllen(recvControl)
	}
	n, e := w.k.recvmmsg(s.fd, msgs)
	w.large = e == 0 && n > 0 && msgs[0].n >= largeFrom
	if e != 0 {
		// EAGAIN, or an ICMP error of an earlier packet, cleared by reading it.
		return e == unix.EINTR
	}
	for i := range n {
		h := &msgs[i].hdr
		m := message{
			sock:   s,
			remote: peerOf(w.name[i][:min(int(h.Namelen), len(w.name[i]))]),
			ctl:    w.ctl[i][:min(int(h.Controllen), recvControl)],
		}
		w.message(&m, w.buf[i*recvLen:i*recvLen+int(msgs[i].n)])
	}
	w.merge.Flush()
	w.unlock()
	return n == len(msgs)
}

// unlock gives up the lock of the device whose packets came last.
func (w *ingress) unlock() {
	if w.locked != nil {
		w.locked.mu.Unlock()
		w.locked = nil
	}
}

// message handles one datagram or a run of equal ones.
func (w *ingress) message(m *message, b []byte) {
	for rest := m.ctl; ; {
		level, typ, value, next, ok := nextControl(rest)
		if !ok {
			break
		}
		rest = next
		switch {
		case level == unix.IPPROTO_UDP && typ == unix.UDP_GRO && len(value) >= 4:
			m.gso = int(binary.NativeEndian.Uint32(value))
		case level == unix.IPPROTO_IP && typ == unix.IP_TOS && len(value) >= 1:
			m.ecn = value[0] & 3
		case level == unix.IPPROTO_IPV6 && typ == unix.IPV6_TCLASS && len(value) >= 4:
			m.ecn = uint8(binary.NativeEndian.Uint32(value)) & 3
		}
	}
	if m.sock.icmp {
		w.outerTooBig(m.sock.v6, b)
		return
	}
	if !m.sock.udp {
		if !m.sock.v6 { // raw IPv4 sockets give the outer header too
			if len(b) < vnet.IP4Len || len(b) < int(b[0]&15)*4 {
				w.noise++
				return
			}
			m.local = netip.AddrFrom4([4]byte(b[16:20]))
			b = b[int(b[0]&15)*4:]
		}
		w.packet(m, b)
		return
	}
	size := m.gso
	if size <= 0 || size > len(b) {
		size = len(b)
	}
	for len(b) > 0 {
		one := b[:min(size, len(b))]
		b = b[len(one):]
		w.datagram(m, one)
	}
}

// datagram sorts one datagram of the NAT port: ESP, IKE or a keepalive
// (RFC 3948 section 2). The kernel may have put any of them into one run.
func (w *ingress) datagram(m *message, b []byte) {
	switch {
	case len(b) == 1 && b[0] == 0xff:
	case len(b) <= 4:
		w.noise++
	case b[0]|b[1]|b[2]|b[3] == 0:
		w.ike.Deliver(platform.Datagram{
			Local:  netip.AddrPortFrom(m.to(), w.portNAT),
			Remote: m.remote,
			Data:   b[4:],
		})
	default:
		w.packet(m, b)
	}
}

// to is the address the message was sent to.
func (m *message) to() netip.Addr {
	if !m.local.IsValid() {
		m.local = ikesock.LocalAddr(m.ctl)
	}
	return m.local
}

// packet handles one ESP packet.
func (w *ingress) packet(m *message, b []byte) {
	spi, _, ok := esp.Header(b)
	if !ok {
		w.noise++
		return
	}
	sa := w.sas.inbound(spi)
	if sa == nil {
		w.unknown++
		return
	}
	w.found++
	// One lock at a time, kept for as long as packets of the same link follow.
	if w.locked == nil || w.locked != sa.dev.Load() {
		w.unlock()
		w.locked = sa.lock()
	}
	if sa.dead {
		w.unknown++
		return
	}
	p, err := sa.opener.Open(b, sa.window)
	switch err {
	case nil:
	case esp.ErrReplay:
		sa.count.Replay++
		return
	case esp.ErrIntegrity:
		sa.count.Integrity++
		return
	default:
		sa.count.Malformed++
		return
	}
	w.authenticated(m, sa)
	if p.Next == esp.NextDummy {
		return
	}
	packet, ecn, v := sa.inner(m, p)
	switch v {
	case wrongSelector:
		sa.count.Selector++
		return
	case malformed:
		sa.count.Malformed++
		return
	}
	sa.count.Packets++
	sa.count.Bytes += uint64(len(p.Payload))
	if sa.limits.soft(&sa.count) {
		w.events.post(platform.Event{Kind: platform.SoftExpire, Link: w.locked.name, SPI: sa.spi})
	}
	if sa.limits.hard(&sa.count) {
		sa.dead = true
		w.events.post(platform.Event{Kind: platform.HardExpire, Link: w.locked.name, SPI: sa.spi})
	}
	if v == fragment {
		w.fragment(sa, &p, ecn)
		return
	}
	// The GRE packet lies in b behind at least an ESP header and an IV: what
	// stands there is dead, and has room for a vnet header.
	w.deliver(sa, b[:sa.opener.Headroom()+len(p.Payload)], len(packet), ecn)
}

// fragment handles a fragment of a GRE packet, and the packet with the last.
func (w *ingress) fragment(sa *inSA, p *esp.Packet, ecn uint8) {
	piece, ok := pieceOf(p.Payload, p.Next)
	if !ok {
		sa.count.Malformed++
		return
	}
	whole, ecn := w.pieces.Add(w.locked.index, &piece, ecn, time.Now())
	if whole == nil {
		return
	}
	w.deliver(sa, whole, len(whole)-oversize.Room, ecn)
	w.merge.Flush() // before the buffer is used again
}

// authenticated notes what only a packet that proved genuine may change.
func (w *ingress) authenticated(m *message, sa *inSA) {
	if !sa.started {
		sa.started = true
		// A peer that was started again counts its GRE packets from 0.
		w.locked.order.Reset()
		if sa.watch {
			w.events.post(platform.Event{Kind: platform.FirstUse, Link: w.locked.name, SPI: sa.spi})
		}
	}
	if m.sock.udp && m.remote != sa.Remote && m.remote != sa.mapped && sa.Encap {
		sa.mapped = m.remote
		w.events.post(platform.Event{Kind: platform.Mapping, Link: w.locked.name, SPI: sa.spi, Remote: m.remote})
	}
}

// inner does the inbound check of RFC 4301 section 5.2 and finds the GRE
// packet: in tunnel mode behind the inner header, in transport mode the outer
// header's addresses stand for it. Behind a NAT these are the NAT's, and the
// packet's being genuine stands for them.
func (sa *inSA) inner(m *message, p esp.Packet) (packet []byte, ecn uint8, v verdict) {
	if !sa.Transport {
		packet, ecn, v = innerGRE(p.Payload, p.Next, sa.GRELocal, sa.GRERemote)
		if v != accept && v != fragment {
			return nil, 0, v
		}
		var drop bool
		if ecn, drop = ecnDecap(m.ecn, ecn); drop {
			return nil, 0, malformed
		}
		return packet, ecn, v
	}
	if p.Next != gre.IPProtocol {
		return nil, 0, wrongSelector
	}
	if !m.sock.udp && (m.remote.Addr() != sa.GRERemote || m.to() != sa.GRELocal) {
		return nil, 0, wrongSelector
	}
	return p.Payload, m.ecn, accept
}

// deliver takes GRE off the last n bytes of b and hands on what was inside.
func (w *ingress) deliver(sa *inSA, b []byte, n int, ecn uint8) {
	d := w.locked
	link := d.link.Load()
	packet := b[len(b)-n:]
	h, head, err := gre.Parse(packet)
	if err != nil {
		sa.count.Malformed++
		return
	}
	if drop := d.refuses(link, &h, packet); drop != nil {
		*drop++
		return
	}
	user := packet[head:]
	if !d.Ethernet && w.keepalive(sa, d, h.Proto, user) {
		return
	}
	at, version := vnet.FindIP(user, d.Ethernet)
	if proto, ok := protoOf(d.Ethernet, version); !ok || h.Proto != proto || d.Ethernet && len(user) < vnet.EtherLen {
		d.rx.protocol++
		return
	}
	if ecn != 0 && version != 0 && !decapECN(user, at, version, ecn) {
		d.rx.ecn++
		return
	}
	if mss := mssOf(at, version, link.MSS4, link.MSS6); mss != 0 {
		clampMSS(user, at, version, mss, false)
	}
	w.merge.Add(&d.Device, b[len(b)-len(user)-vnet.HeaderLen:])
}

// refuses is the counter of what speaks against a GRE packet, nil when nothing does.
func (d *device) refuses(link *platform.Link, h *gre.Header, packet []byte) *uint64 {
	switch {
	case h.HasKey != link.HasKey || h.HasKey && h.Key != link.Key:
		return &d.rx.key
	case h.HasChecksum && !gre.VerifyChecksum(packet):
		return &d.rx.checksum
	// Packets without a number may stand between those with one.
	case link.Sequence && h.HasSequence && !d.order.Accept(h.Sequence):
		return &d.rx.sequence
	}
	return nil
}

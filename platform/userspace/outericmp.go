package userspace

import (
	"bytes"
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"

	"greseal/platform"
	"greseal/platform/inet"
	"greseal/platform/userspace/oversize"
)

// ICMP from the path: routers that cannot forward an outer packet because it is
// too big say so. Anybody can send such a message, so it counts only when it
// quotes an SPI of ours, the peer's address and a sequence number of the last
// packets (RFC 4301 section 8.2.1), and then it is only a hint for the search of
// the path MTU. What quotes less than the ESP header, which RFC 792 allows, is
// ignored: the search finds such paths by itself.

// recentSequence is how many of the last sequence numbers a message may quote.
const recentSequence = 1 << 16

// icmpSocket opens a raw socket that gets nothing but "too big" of one IP version.
func (d *Datapath) icmpSocket(v6 bool) (*outSocket, error) {
	ip, level, option := inet.V(v6), unix.SOL_RAW, icmpFilter
	filter := make([]byte, 4)
	binary.NativeEndian.PutUint32(filter, ^uint32(1<<3)) // blocked types as bits
	if v6 {
		level, option = unix.SOL_ICMPV6, unix.ICMPV6_FILTER
		filter = bytes.Repeat([]byte{0xff}, 32)
		binary.NativeEndian.PutUint32(filter, ^uint32(1<<2))
	}
	fd, err := openSocket(v6, unix.SOCK_RAW, ip.ICMP, func(fd int) error {
		return unix.SetsockoptString(fd, level, option, string(filter))
	})
	if err != nil {
		return nil, err
	}
	return &outSocket{fd: fd, v6: v6, icmp: true}, nil
}

// icmpFilter is ICMP_FILTER (linux/icmp.h).
const icmpFilter = 1

// sent reports whether the quoted packet is one of the last this SA sent.
func (sa *outSA) sent(q *oversize.Quote) bool {
	r := sa.route.Load()
	to := peerOf(r.name[:r.nameLen])
	return sa.spi == q.SPI && r.sock.udp == q.UDP &&
		to.Addr().WithZone("") == q.Dst.Addr() && (!q.UDP || to.Port() == q.Dst.Port()) &&
		uint32(sa.sealer.Sent())-q.Seq < recentSequence && sa.sealer.Sent() != 0
}

// tooBigAgain is how soon the same is told again.
const tooBigAgain = time.Second

// outerTooBig handles a message of the path.
func (w *ingress) outerTooBig(v6 bool, b []byte) {
	q, ok := oversize.ReadQuote(b, v6, w.portNAT)
	if !ok {
		w.noise++
		return
	}
	for _, e := range w.outs.of(q.SPI) {
		sa := e.out
		if !sa.sent(&q) {
			continue
		}
		if now := time.Now(); q.MTU != sa.told || now.Sub(sa.toldAt) > tooBigAgain {
			sa.told, sa.toldAt = q.MTU, now
			w.events.post(platform.Event{Kind: platform.OuterTooBig, Link: sa.link, Out: true, SPI: sa.spi, MTU: q.MTU})
		}
		return
	}
	w.noise++
}

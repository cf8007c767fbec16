package userspace

import (
	"encoding/binary"
	"math"
	"net/netip"
	"time"

	"greseal/platform"
	"greseal/platform/userspace/oversize"
	"greseal/platform/userspace/vnet"
)

// Oversize: packets that the interface takes but the path does not. The kernel
// has compared each with the interface's MTU; the path carries less when that
// MTU was configured, or is about to follow the path. As a router does:
//
//	IPv4 with DF, IPv6   dropped, and the sender is told what fits: ICMP
//	                     "fragmentation needed" (RFC 1191 section 4) and
//	                     "packet too big" (RFC 4443 section 3.2)
//	IPv4 without DF      fragmented (RFC 791 section 3.2) before GRE, so that the
//	                     outer packets travel whole
//	IPv6 up to 1280      may not be refused (RFC 8200 section 5): where the path
//	                     carries even less, it leaves in outer fragments
//
// The message is written back into the TUN, so that routing, NAT and filters
// treat it as one from behind the tunnel.

// setLimit sets what the route carries: the largest packet as the TUN or TAP gives
// it, with its Ethernet header.
func (r *route) setLimit(link *platform.Link) {
	r.limit = math.MaxInt
	if link.MaxUnfragmented == 0 || link.IgnoreDF {
		return
	}
	r.limit = link.MaxUnfragmented
	if link.Ethernet {
		r.limit += vnet.EtherLen
	}
}

// oversize handles what was read from d and is in w.segs, of which the largest
// packet has more than r.limit bytes. The IP header stands at p[at:].
func (w *egress) oversize(d *device, sa *outSA, r *route, p []byte, at int, version uint8) {
	if version == 6 && r.wide != nil && w.segs.Max-at <= oversize.IPv6MinMTU {
		w.carry(d, sa, r.wide, p, at, version)
		return
	}
	if w.scratch == nil {
		w.scratch = make([]byte, 2*vnet.MaxPacket)
	}
	if version == 4 && !d.Ethernet && p[at+6]&0x40 == 0 {
		w.fragment(d, sa, r)
		return
	}
	d.tx.tooBig += uint64(w.segs.N)
	if version == 0 || !d.refusals.Take(time.Since(d.opened)) {
		return
	}
	first := w.scratch[:w.segs.Write(0, w.scratch[:vnet.MaxPacket])]
	answer := w.scratch[vnet.MaxPacket:]
	head := vnet.HeaderLen
	if !d.Header {
		head = 0
	}
	n := oversize.Refuse(answer[head:], first, at, version, r.limit-at, neighbor(d.link.Load(), version))
	if n == 0 {
		return
	}
	clear(answer[:head])
	_, _ = w.k.Write(d.FD, answer[:head+n])
}

// fragment sends every packet of w.segs in pieces that fit.
func (w *egress) fragment(d *device, sa *outSA, r *route) {
	all := w.segs
	packet, piece := w.scratch[:vnet.MaxPacket], w.scratch[vnet.MaxPacket:]
	for i := range all.N {
		p := packet[:all.Write(i, packet)]
		total := int(binary.BigEndian.Uint16(p[2:]))
		head := int(p[0]&15) * 4
		if head < vnet.IP4Len || total < head || total > len(p) {
			d.tx.malformed++
			continue
		}
		for off := head; off < total; {
			n := oversize.Fragment4(piece, p[:total], off, r.limit)
			if n == 0 {
				d.tx.tooBig++
				break
			}
			off += n - int(piece[0]&15)*4
			if w.segs.Start(&vnet.Header{}, piece[:n], false) == nil {
				w.carry(d, sa, r, piece[:n], 0, 4)
			}
		}
	}
}

// neighbor is the router at the other end of the link, unset when unknown.
func neighbor(link *platform.Link, version uint8) netip.Addr {
	if version == 4 {
		return link.Neighbor4
	}
	return link.Neighbor6
}

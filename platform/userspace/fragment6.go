package userspace

import (
	"encoding/binary"
	"math/rand/v2"

	"golang.org/x/sys/unix"

	"greseal/crypto/esp"
	"greseal/platform/gre"
	"greseal/platform/userspace/vnet"
)

// Outer fragments of IPv6 (RFC 8200 section 4.5). No router makes them, and the
// kernel makes them only where it knows of the narrow link: what the search has
// found, with ICMP dropped or not, it does not know. So where a packet inside may
// not be refused (oversize.go), the outer one is cut here, small enough for every
// path there is (RFC 7676 section 5), and leaves by a raw socket of the fragment
// header's number; the kernel writes the IPv6 header.

const (
	fragmentLen = 8 // of the fragment header
	// fragmentMost is what a fragment holds at most, bytes, a multiple of 8.
	fragmentMost = ipv6MinMTU - vnet.IP6Len - fragmentLen
)

// cut6 is what stands in front of ESP in the packet that is cut.
type cut6 struct {
	udp   bool
	ports [4]byte
	sum   uint32 // of the UDP pseudo-header, but for the length
}

// newCut6 is nil for SAs over IPv4, and where the source address, which the UDP
// checksum is about, is left to the kernel.
func newCut6(sa *esp.ChildSA, port uint16) *cut6 {
	local, remote := sa.Local.Addr().Unmap(), sa.Remote.Addr().Unmap()
	if !remote.Is6() || !local.Is6() || local.IsUnspecified() {
		return nil
	}
	c := &cut6{udp: sa.Encap}
	binary.BigEndian.PutUint16(c.ports[:], port)
	binary.BigEndian.PutUint16(c.ports[2:], sa.Remote.Port())
	c.sum = gre.Sum(local.AsSlice(), gre.Sum(remote.AsSlice(), vnet.ProtoUDP))
	return c
}

// cut takes the packet of n bytes that was written where room said, in pieces.
func (o *outbox) cut(r *route, dev *device, n int, tos uint8) {
	whole, next := o.wide[:0], uint8(unix.IPPROTO_ESP)
	if r.cut.udp {
		next = vnet.ProtoUDP
		whole = append(whole, r.cut.ports[:]...)
		whole = binary.BigEndian.AppendUint16(whole, uint16(vnet.UDPLen+n))
		whole = append(whole, 0, 0)
	}
	whole = append(whole, o.buf[o.used:o.used+n]...)
	o.wide = whole
	if r.cut.udp {
		sum := ^gre.Fold(gre.Sum(whole, r.cut.sum+uint32(len(whole))))
		if sum == 0 {
			sum = 0xffff
		}
		binary.BigEndian.PutUint16(whole[6:], sum)
	}
	id := rand.Uint32() // not to be foretold (RFC 7739)
	for off := 0; off < len(whole); off += fragmentMost {
		piece := whole[off:min(off+fragmentMost, len(whole))]
		field := uint16(off)
		if off+len(piece) < len(whole) {
			field |= 1 // more
		}
		f := o.room(fragmentLen + len(piece))
		f[0], f[1] = next, 0
		binary.BigEndian.PutUint16(f[2:], field)
		binary.BigEndian.PutUint32(f[4:], id)
		copy(f[fragmentLen:], piece)
		o.commit(r, dev, len(f), tos)
	}
}

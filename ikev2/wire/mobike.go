package wire

import (
	"encoding/binary"
	"net/netip"
)

// NoNATs is the data of NO_NATS_ALLOWED: the addresses and ports that the packet
// was sent from and to, 12 octets for IPv4 and 36 for IPv6 (RFC 4555 section
// 4.2.6).
func NoNATs(source, destination netip.AddrPort) []byte {
	b := append(source.Addr().Unmap().AsSlice(), destination.Addr().Unmap().AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, source.Port())
	return binary.BigEndian.AppendUint16(b, destination.Port())
}

// Address is that of an ADDITIONAL_IP4_ADDRESS or ADDITIONAL_IP6_ADDRESS; ok is
// false for another type of notify and for another length.
func (p *Notify) Address() (a netip.Addr, ok bool) {
	want := 0
	switch p.Kind {
	case AdditionalIP4Address:
		want = 4
	case AdditionalIP6Address:
		want = 16
	}
	if want == 0 || len(p.Data) != want {
		return a, false
	}
	return netip.AddrFromSlice(p.Data)
}

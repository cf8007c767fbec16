package wire

import (
	"crypto/sha1"
	"encoding/binary"
	"net/netip"
)

// NATDetectionHash is the data of NAT_DETECTION_SOURCE_IP and
// NAT_DETECTION_DESTINATION_IP: SHA-1 over the SPIs in the order of the header,
// address and port (RFC 7296 section 2.23). Of the request of an IKE_SA_INIT
// exchange, the responder's SPI is zero. An IPv4-mapped address is hashed as
// IPv4; a zone is not hashed.
func NATDetectionHash(spiI, spiR uint64, a netip.AddrPort) [sha1.Size]byte {
	b := make([]byte, 0, 8+8+16+2)
	b = binary.BigEndian.AppendUint64(b, spiI)
	b = binary.BigEndian.AppendUint64(b, spiR)
	b = append(b, a.Addr().Unmap().AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, a.Port())
	return sha1.Sum(b)
}

package wire

import "encoding/binary"

// IntAuth is the content of an IKE_INTERMEDIATE message as the AUTH payloads
// cover it, the chunks A and P of RFC 9242 section 3.3.2: the message as it
// would be without IV, padding and integrity check value and without
// fragmentation. h is the message's header, or that of any of its fragments.
func (c Content) IntAuth(h Header) []byte {
	n := genericLen + len(c.Plain)
	h.Next, h.Length = TypeSK, uint32(HeaderLen+n)
	b := h.Append(make([]byte, 0, HeaderLen+n))
	b = append(b, byte(c.First), c.Reserved)
	b = binary.BigEndian.AppendUint16(b, uint16(n))
	return append(b, c.Plain...)
}

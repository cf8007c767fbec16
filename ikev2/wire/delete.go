package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"

	"greseal/crypto/suite"
)

// Delete is the Delete payload (RFC 7296 section 3.11). For an IKE SA it has no
// SPI: the SA is the one that carries it.
type Delete struct {
	Protocol suite.Protocol
	SPIs     []uint32 // the sender's inbound SPIs of ESP or AH
}

// Type is TypeDelete.
func (*Delete) Type() PayloadType { return TypeDelete }

func parseDelete(_ PayloadType, b []byte) (Payload, error) {
	p := &Delete{Protocol: suite.Protocol(b[0])}
	size, count := int(b[1]), int(binary.BigEndian.Uint16(b[2:]))
	b = b[4:]
	switch p.Protocol {
	case suite.IKE:
		if size != 0 || count != 0 || len(b) != 0 {
			return nil, syntaxf(TypeDelete, "an IKE SA is deleted without SPI")
		}
	case suite.ESP, suite.AH:
		if size != 4 || len(b) != 4*count {
			return nil, syntaxf(TypeDelete, "%d SPIs of %d octets in %d octets", count, size, len(b))
		}
	default:
		return nil, syntaxf(TypeDelete, "unknown protocol %d", p.Protocol)
	}
	if count > 0 {
		p.SPIs = make([]uint32, count)
		for i := range p.SPIs {
			p.SPIs[i] = binary.BigEndian.Uint32(b[4*i:])
		}
	}
	return p, nil
}

// AppendBody appends protocol, SPI size, number of SPIs and the SPIs.
func (p *Delete) AppendBody(b []byte) ([]byte, error) {
	switch {
	case len(p.SPIs) > math.MaxUint16:
		return nil, errors.New("too many SPIs")
	case p.Protocol == suite.IKE && len(p.SPIs) != 0:
		return nil, errors.New("an IKE SA is deleted without SPI")
	}
	size := byte(4)
	if p.Protocol == suite.IKE {
		size = 0
	}
	b = append(b, byte(p.Protocol), size)
	b = binary.BigEndian.AppendUint16(b, uint16(len(p.SPIs)))
	for _, s := range p.SPIs {
		b = binary.BigEndian.AppendUint32(b, s)
	}
	return b, nil
}

// String is "D(IKE)" or "D(ESP 0a0b0c0d …)".
func (p *Delete) String() string {
	var s strings.Builder
	s.WriteString("D(" + p.Protocol.String())
	for i, spi := range p.SPIs {
		if i == 8 {
			fmt.Fprintf(&s, " and %d more", len(p.SPIs)-i)
			break
		}
		fmt.Fprintf(&s, " %08x", spi)
	}
	s.WriteString(")")
	return s.String()
}

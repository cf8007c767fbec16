package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// CPKind is the type of a configuration exchange (RFC 7296 section 3.15).
type CPKind uint8

// Configuration types.
const (
	CPRequest CPKind = 1
	CPReply   CPKind = 2
	CPSet     CPKind = 3
	CPAck     CPKind = 4
)

var cpNames = [...]string{
	CPRequest: "CFG_REQUEST",
	CPReply:   "CFG_REPLY",
	CPSet:     "CFG_SET",
	CPAck:     "CFG_ACK",
}

// String is the RFC's name.
func (k CPKind) String() string { return named(cpNames[:], k, "CFG type") }

// CPAttr is one configuration attribute.
type CPAttr struct {
	Type  uint16 // 15 bits
	Value []byte
}

// CP is the Configuration payload (RFC 7296 section 3.15).
type CP struct {
	Kind  CPKind
	Attrs []CPAttr
}

// Type is TypeCP.
func (*CP) Type() PayloadType { return TypeCP }

func parseCP(_ PayloadType, b []byte) (Payload, error) {
	p := &CP{Kind: CPKind(b[0])}
	for b = b[4:]; len(b) > 0; {
		if len(p.Attrs) == MaxCPAttrs {
			return nil, syntaxf(TypeCP, "more than %d attributes", MaxCPAttrs)
		}
		if len(b) < 4 {
			return nil, syntaxf(TypeCP, "%d octets after the last attribute", len(b))
		}
		n := 4 + int(binary.BigEndian.Uint16(b[2:]))
		if n > len(b) {
			return nil, syntaxf(TypeCP, "attribute of %d octets, %d are left", n, len(b))
		}
		p.Attrs = append(p.Attrs, CPAttr{Type: binary.BigEndian.Uint16(b) & 0x7fff, Value: b[4:n:n]})
		b = b[n:]
	}
	return p, nil
}

// AppendBody appends type, three reserved octets and the attributes.
func (p *CP) AppendBody(b []byte) ([]byte, error) {
	b = append(b, byte(p.Kind), 0, 0, 0)
	for _, a := range p.Attrs {
		if a.Type > 0x7fff || len(a.Value) > math.MaxUint16 {
			return nil, errors.New("attribute type or length out of range")
		}
		b = binary.BigEndian.AppendUint16(b, a.Type)
		b = binary.BigEndian.AppendUint16(b, uint16(len(a.Value)))
		b = append(b, a.Value...)
	}
	return b, nil
}

func (p *CP) String() string { return fmt.Sprintf("CP(%s, %d attributes)", p.Kind, len(p.Attrs)) }

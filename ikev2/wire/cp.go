package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
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

// String is the RFC's name.
func (k CPKind) String() string {
	switch k {
	case CPRequest:
		return "CFG_REQUEST"
	case CPReply:
		return "CFG_REPLY"
	case CPSet:
		return "CFG_SET"
	case CPAck:
		return "CFG_ACK"
	}
	return "CFG type " + strconv.Itoa(int(k))
}

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

func parseCP(b []byte) (*CP, error) {
	if len(b) < 4 {
		return nil, syntaxf(TypeCP, "body has %d octets, at least 4 are needed", len(b))
	}
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

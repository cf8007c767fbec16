package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"greseal/crypto/suite"
)

// Notify is the Notify payload (RFC 7296 section 3.10).
type Notify struct {
	Kind     NotifyType
	Protocol suite.Protocol // 0 unless SPI names an SA
	SPI      []byte
	Data     []byte
}

// NewNotify is a notify about the IKE SA or the message at hand.
func NewNotify(t NotifyType, data []byte) *Notify { return &Notify{Kind: t, Data: data} }

// NewSANotify is a notify about an ESP SA, such as REKEY_SA, INVALID_SPI in its
// authenticated form and CHILD_SA_NOT_FOUND.
func NewSANotify(t NotifyType, p suite.Protocol, spi uint32) *Notify {
	return &Notify{Kind: t, Protocol: p, SPI: binary.BigEndian.AppendUint32(nil, spi)}
}

// NewNumberNotify is a notify whose data is one number of two octets, such as
// the wanted method of INVALID_KE_PAYLOAD (RFC 7296 section 1.2).
func NewNumberNotify(t NotifyType, n uint16) *Notify {
	return &Notify{Kind: t, Data: binary.BigEndian.AppendUint16(nil, n)}
}

// Type is TypeNotify.
func (*Notify) Type() PayloadType { return TypeNotify }

func parseNotify(_ PayloadType, b []byte) (Payload, error) {
	p := &Notify{Protocol: suite.Protocol(b[0]), Kind: NotifyType(binary.BigEndian.Uint16(b[2:]))}
	n := int(b[1])
	if b = b[4:]; n > len(b) {
		return nil, syntaxf(TypeNotify, "SPI size %d, %d octets are left", n, len(b))
	}
	if n > 0 {
		p.SPI = b[:n:n]
	}
	p.Data = b[n:]
	return p, nil
}

// AppendBody appends protocol, SPI size, type, SPI and data.
func (p *Notify) AppendBody(b []byte) ([]byte, error) {
	if len(p.SPI) > math.MaxUint8 {
		return nil, errors.New("SPI longer than 255 octets")
	}
	b = append(b, byte(p.Protocol), byte(len(p.SPI)))
	b = binary.BigEndian.AppendUint16(b, uint16(p.Kind))
	return append(append(b, p.SPI...), p.Data...), nil
}

// SPI32 is the SPI of an ESP or AH SA, 0 when there is none.
func (p *Notify) SPI32() uint32 {
	if len(p.SPI) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(p.SPI)
}

// Number is data that consists of one number of two octets.
func (p *Notify) Number() (uint16, bool) {
	if len(p.Data) != 2 {
		return 0, false
	}
	return binary.BigEndian.Uint16(p.Data), true
}

// String is "N(COOKIE)", "N(REKEY_SA ESP 0a0b0c0d)", "N(INVALID_KE_PAYLOAD 19)";
// data of other types is not shown.
func (p *Notify) String() string {
	s := ""
	if len(p.SPI) > 0 {
		s = fmt.Sprintf(" %s %s", p.Protocol, hexShort(p.SPI))
	}
	switch p.Kind {
	case InvalidKEPayload:
		if n, ok := p.Number(); ok {
			s += fmt.Sprintf(" %d", n)
		}
	case UnsupportedCriticalPayload:
		if len(p.Data) == 1 {
			s += " " + PayloadType(p.Data[0]).String()
		}
	}
	return fmt.Sprintf("N(%s%s)", p.Kind, s)
}

package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"

	"greseal/crypto/suite"
)

// Values of the Last Substruc fields (RFC 7296 sections 3.3.1 and 3.3.2).
const (
	lastSubstruc   = 0
	moreProposals  = 2
	moreTransforms = 3
)

// attrKeyLength is the Key Length attribute in its only format, TV (RFC 7296
// section 3.3.5): the AF bit, then type 14.
const attrKeyLength = 0x8000 | 14

// Transform is a transform substructure (RFC 7296 section 3.3.2).
type Transform struct {
	suite.Transform
	// Unusable is set by the parser when an attribute was not understood: this
	// transform must not be chosen, others of its type may (RFC 7296 section
	// 3.3.6).
	Unusable bool
	// Attrs are the attributes as received, of an Unusable transform only; a
	// transform that has them is written with them.
	Attrs []byte
}

// Proposal is a proposal substructure (RFC 7296 section 3.3.1).
type Proposal struct {
	Number     uint8
	Protocol   suite.Protocol
	SPI        []byte // 8 octets for IKE when rekeying, else none; 4 for ESP
	Transforms []Transform
}

// NewProposal numbers a proposal and gives it its SPI.
func NewProposal(number uint8, spi []byte, p suite.Proposal) Proposal {
	w := Proposal{Number: number, Protocol: p.Protocol, SPI: spi, Transforms: make([]Transform, len(p.Transforms))}
	for i, t := range p.Transforms {
		w.Transforms[i].Transform = t
	}
	return w
}

// Offer is the proposal for a chooser. In the place of each transform that must
// not be chosen stands suite.Unusable of its type, which matches nothing.
func (p *Proposal) Offer() suite.Proposal {
	o := suite.Proposal{Protocol: p.Protocol, Transforms: make([]suite.Transform, len(p.Transforms))}
	for i, t := range p.Transforms {
		if o.Transforms[i] = t.Plain(); t.Unusable {
			o.Transforms[i] = suite.Unusable(t.Type)
		}
	}
	return o
}

// Echo writes the transforms of an answer as they were offered (RFC 7296 section
// 3.3.6).
func (p *Proposal) Echo(answer *Proposal) {
	for i := range answer.Transforms {
		to := &answer.Transforms[i].Transform
		for _, t := range p.Transforms {
			if !t.Unusable && t.Plain() == *to {
				*to = t.Transform
				break
			}
		}
	}
}

// SPI32 is the SPI of an ESP or AH proposal, 0 for others.
func (p *Proposal) SPI32() uint32 {
	if len(p.SPI) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(p.SPI)
}

// SPI64 is the SPI of an IKE proposal, 0 when it has none.
func (p *Proposal) SPI64() uint64 {
	if len(p.SPI) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(p.SPI)
}

// SA is the Security Association payload (RFC 7296 section 3.3).
type SA struct{ Proposals []Proposal }

// Offers are the proposals for a chooser, in their order.
func (p *SA) Offers() []suite.Proposal {
	out := make([]suite.Proposal, len(p.Proposals))
	for i := range p.Proposals {
		out[i] = p.Proposals[i].Offer()
	}
	return out
}

// Type is TypeSA.
func (*SA) Type() PayloadType { return TypeSA }

func parseSA(_ PayloadType, b []byte) (Payload, error) {
	p := &SA{}
	transforms := 0
	for more := true; more; {
		if len(p.Proposals) == MaxProposals {
			return nil, syntaxf(TypeSA, "more than %d proposals", MaxProposals)
		}
		if len(b) < 8 {
			return nil, syntaxf(TypeSA, "%d octets left, a proposal has at least 8", len(b))
		}
		n := int(binary.BigEndian.Uint16(b[2:]))
		if n < 8 || n > len(b) {
			return nil, syntaxf(TypeSA, "proposal length %d, %d octets are left", n, len(b))
		}
		switch {
		case b[0] == lastSubstruc && n == len(b):
			more = false
		case b[0] == moreProposals && n < len(b):
		default:
			return nil, syntaxf(TypeSA, "last substruc field %d of a proposal with %d octets after it", b[0], len(b)-n)
		}
		pr, err := parseProposal(b[:n])
		if err != nil {
			return nil, err
		}
		if transforms += len(pr.Transforms); transforms > MaxTransforms {
			return nil, syntaxf(TypeSA, "more than %d transforms", MaxTransforms)
		}
		p.Proposals = append(p.Proposals, pr)
		b = b[n:]
	}
	return p, nil
}

// parseProposal reads a proposal substructure whose length has been checked.
func parseProposal(b []byte) (Proposal, error) {
	p := Proposal{Number: b[4], Protocol: suite.Protocol(b[5])}
	spi, count := int(b[6]), int(b[7])
	b = b[8:]
	if spi > len(b) {
		return p, syntaxf(TypeSA, "SPI size %d, %d octets are left", spi, len(b))
	}
	if !spiSizeFits(p.Protocol, spi) {
		return p, syntaxf(TypeSA, "SPI of %d octets for protocol %s", spi, p.Protocol)
	}
	if spi > 0 {
		p.SPI = b[:spi:spi]
	}
	b = b[spi:]
	if count*8 > len(b) {
		return p, syntaxf(TypeSA, "%d transforms announced in %d octets", count, len(b))
	}
	if count > 0 {
		p.Transforms = make([]Transform, count)
	}
	for i := range p.Transforms {
		if len(b) < 8 {
			return p, syntaxf(TypeSA, "%d transforms announced, %d found", count, i)
		}
		n := int(binary.BigEndian.Uint16(b[2:]))
		if n < 8 || n > len(b) {
			return p, syntaxf(TypeSA, "transform length %d, %d octets are left", n, len(b))
		}
		want := byte(moreTransforms)
		if i == count-1 {
			want = lastSubstruc
		}
		if b[0] != want {
			return p, syntaxf(TypeSA, "last substruc field %d in transform %d of %d", b[0], i+1, count)
		}
		t := &p.Transforms[i]
		t.Type, t.ID = suite.Type(b[4]), binary.BigEndian.Uint16(b[6:])
		if err := t.parseAttrs(b[8:n:n]); err != nil {
			return p, err
		}
		b = b[n:]
	}
	if len(b) != 0 {
		return p, syntaxf(TypeSA, "%d octets after the last transform", len(b))
	}
	return p, nil
}

// parseAttrs reads a transform's attributes. The only one that is understood is
// one Key Length that is not zero.
func (t *Transform) parseAttrs(attrs []byte) error {
	for b, i := attrs, 0; len(b) > 0; i++ {
		if i == MaxAttributes {
			return syntaxf(TypeSA, "more than %d attributes in a transform", MaxAttributes)
		}
		if len(b) < 4 {
			return syntaxf(TypeSA, "%d octets after the last attribute", len(b))
		}
		typ, v, n := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:]), 4
		if typ&0x8000 == 0 {
			n += int(v)
		}
		if n > len(b) {
			return syntaxf(TypeSA, "attribute of %d octets, %d are left", n, len(b))
		}
		if typ != attrKeyLength || v == 0 || i > 0 {
			t.Unusable = true
		} else {
			t.KeyLen = v
		}
		b = b[n:]
	}
	if t.Unusable {
		t.Attrs = attrs
	}
	return nil
}

// spiSizeFits tells whether an SPI of n octets can be one of the protocol's
// (RFC 7296 section 3.3.1). Proposals for unknown protocols are kept, so that a
// chooser passes over them.
func spiSizeFits(p suite.Protocol, n int) bool {
	switch p {
	case suite.IKE:
		return n == 0 || n == 8
	case suite.AH, suite.ESP:
		return n == 4
	}
	return true
}

// AppendBody appends the proposals.
func (p *SA) AppendBody(b []byte) ([]byte, error) {
	if len(p.Proposals) == 0 {
		return nil, errors.New("no proposal")
	}
	for i := range p.Proposals {
		last := byte(moreProposals)
		if i == len(p.Proposals)-1 {
			last = lastSubstruc
		}
		var err error
		if b, err = p.Proposals[i].append(b, last); err != nil {
			return nil, fmt.Errorf("proposal %d: %w", p.Proposals[i].Number, err)
		}
	}
	return b, nil
}

func (p *Proposal) append(b []byte, last byte) ([]byte, error) {
	if len(p.SPI) > math.MaxUint8 || !spiSizeFits(p.Protocol, len(p.SPI)) {
		return nil, fmt.Errorf("SPI of %d octets for protocol %s", len(p.SPI), p.Protocol)
	}
	if len(p.Transforms) > math.MaxUint8 {
		return nil, errors.New("more than 255 transforms")
	}
	start := len(b)
	b = append(b, last, 0, 0, 0, p.Number, byte(p.Protocol), byte(len(p.SPI)), byte(len(p.Transforms)))
	b = append(b, p.SPI...)
	for i, t := range p.Transforms {
		more := byte(moreTransforms)
		if i == len(p.Transforms)-1 {
			more = lastSubstruc
		}
		at := len(b)
		b = append(b, more, 0, 0, 0, byte(t.Type), 0)
		b = binary.BigEndian.AppendUint16(b, t.ID)
		switch {
		case len(t.Attrs) > 0:
			b = append(b, t.Attrs...)
		case t.KeyLen != 0:
			b = binary.BigEndian.AppendUint16(b, attrKeyLength)
			b = binary.BigEndian.AppendUint16(b, t.KeyLen)
		}
		if len(b)-at > math.MaxUint16 {
			return nil, errors.New("transform longer than 65535 octets")
		}
		binary.BigEndian.PutUint16(b[at+2:], uint16(len(b)-at))
	}
	if len(b)-start > math.MaxUint16 {
		return nil, errors.New("longer than 65535 octets")
	}
	binary.BigEndian.PutUint16(b[start+2:], uint16(len(b)-start))
	return b, nil
}

// String shows protocol, SPI and transforms:
// "1 ESP 0a0b0c0d: ENCR_AES_GCM_16-256, Extended Sequence Numbers".
func (p *Proposal) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s", p.Number, p.Protocol)
	if len(p.SPI) > 0 {
		fmt.Fprintf(&b, " %s", hexShort(p.SPI))
	}
	for i, t := range p.Transforms {
		if b.Len() > maxLine {
			fmt.Fprintf(&b, " and %d more", len(p.Transforms)-i)
			break
		}
		sep := ","
		if i == 0 {
			sep = ":"
		}
		s := t.Transform
		if t.Unusable {
			s = suite.Unusable(t.Type)
		}
		fmt.Fprintf(&b, "%s %s", sep, s)
	}
	return b.String()
}

func (p *SA) String() string {
	var b strings.Builder
	b.WriteString("SA(")
	for i := range p.Proposals {
		if i > 0 {
			b.WriteString("; ")
		}
		if b.Len() > maxLine {
			fmt.Fprintf(&b, "and %d more", len(p.Proposals)-i)
			break
		}
		b.WriteString(p.Proposals[i].String())
	}
	b.WriteString(")")
	return b.String()
}

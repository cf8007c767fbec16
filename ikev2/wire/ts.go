package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"
)

// Traffic selector types (RFC 7296 section 3.13.1).
const (
	tsIPv4Range = 7
	tsIPv6Range = 8
)

// Selector is one traffic selector: a range of addresses, a protocol, a range
// of ports (RFC 7296 section 3.13.1).
type Selector struct {
	Protocol    uint8      // 0: any
	PortFirst   uint16     // with 65535 and 0 in Last: OPAQUE
	PortLast    uint16     // inclusive
	First, Last netip.Addr // inclusive, of one family
}

// HostSelector is the selector for one address and one protocol, all ports.
func HostSelector(a netip.Addr, protocol uint8) Selector {
	return Selector{Protocol: protocol, PortLast: math.MaxUint16, First: a, Last: a}
}

// AllPorts tells whether the selector covers every port.
func (s Selector) AllPorts() bool { return s.PortFirst == 0 && s.PortLast == math.MaxUint16 }

// Host returns the address of a selector that covers exactly one.
func (s Selector) Host() (netip.Addr, bool) { return s.First, s.First.IsValid() && s.First == s.Last }

// Covers tells whether the selector contains all traffic of address a and the
// protocol: a in the range, that protocol or any, all ports.
func (s Selector) Covers(a netip.Addr, protocol uint8) bool {
	return s.AllPorts() && (s.Protocol == 0 || s.Protocol == protocol) &&
		a.BitLen() == s.First.BitLen() && s.First.Compare(a) <= 0 && a.Compare(s.Last) <= 0
}

// String is "192.0.2.1 protocol 47", "10.0.0.0-10.0.0.255 protocol 6 port 80".
func (s Selector) String() string {
	var b strings.Builder
	b.WriteString(s.First.String())
	if s.First != s.Last {
		b.WriteString("-" + s.Last.String())
	}
	if s.Protocol != 0 {
		fmt.Fprintf(&b, " protocol %d", s.Protocol)
	}
	switch {
	case s.AllPorts():
	case s.PortFirst == math.MaxUint16 && s.PortLast == 0:
		b.WriteString(" port opaque")
	case s.PortFirst == s.PortLast:
		fmt.Fprintf(&b, " port %d", s.PortFirst)
	default:
		fmt.Fprintf(&b, " port %d-%d", s.PortFirst, s.PortLast)
	}
	return b.String()
}

// TS is a Traffic Selector payload, TSi or TSr (RFC 7296 section 3.13).
type TS struct {
	Of        PayloadType // TypeTSi or TypeTSr
	Selectors []Selector
	// Skipped counts received selectors of a type not understood (Fibre
	// Channel, security label); they are left out of Selectors.
	Skipped int
}

// Type is TypeTSi or TypeTSr.
func (p *TS) Type() PayloadType { return p.Of }

func parseTS(t PayloadType, b []byte) (Payload, error) {
	p := &TS{Of: t}
	count := int(b[0])
	b = b[4:]
	p.Selectors = make([]Selector, 0, min(count, len(b)/16))
	for i := 0; i < count; i++ {
		if len(b) < 4 {
			return nil, syntaxf(t, "%d selectors announced, %d found", count, i)
		}
		n := int(binary.BigEndian.Uint16(b[2:]))
		if n < 4 || n > len(b) {
			return nil, syntaxf(t, "selector length %d, %d octets are left", n, len(b))
		}
		alen := 0
		switch b[0] {
		case tsIPv4Range:
			alen = 4
		case tsIPv6Range:
			alen = 16
		}
		if alen == 0 {
			p.Skipped++
			b = b[n:]
			continue
		}
		if n != 8+2*alen {
			return nil, syntaxf(t, "selector of type %d has length %d, must be %d", b[0], n, 8+2*alen)
		}
		first, _ := netip.AddrFromSlice(b[8 : 8+alen])
		last, _ := netip.AddrFromSlice(b[8+alen : n])
		p.Selectors = append(p.Selectors, Selector{
			Protocol:  b[1],
			PortFirst: binary.BigEndian.Uint16(b[4:]),
			PortLast:  binary.BigEndian.Uint16(b[6:]),
			First:     first,
			Last:      last,
		})
		b = b[n:]
	}
	if len(b) != 0 {
		return nil, syntaxf(t, "%d octets after the last selector", len(b))
	}
	return p, nil
}

// AppendBody appends the selectors; those skipped are not written.
func (p *TS) AppendBody(b []byte) ([]byte, error) {
	if len(p.Selectors) > math.MaxUint8 {
		return nil, errors.New("more than 255 selectors")
	}
	b = append(b, byte(len(p.Selectors)), 0, 0, 0)
	for _, s := range p.Selectors {
		kind, n := byte(tsIPv4Range), uint16(16)
		if s.First.Is6() {
			kind, n = tsIPv6Range, 40
		}
		if !s.First.IsValid() || s.First.BitLen() != s.Last.BitLen() {
			return nil, fmt.Errorf("selector %s has no address range", s)
		}
		b = append(b, kind, s.Protocol)
		b = binary.BigEndian.AppendUint16(b, n)
		b = binary.BigEndian.AppendUint16(b, s.PortFirst)
		b = binary.BigEndian.AppendUint16(b, s.PortLast)
		b = append(b, s.First.AsSlice()...)
		b = append(b, s.Last.AsSlice()...)
	}
	return b, nil
}

func (p *TS) String() string {
	var b strings.Builder
	b.WriteString(p.Of.String() + "(")
	for i, s := range p.Selectors {
		if i > 0 {
			b.WriteString(", ")
		}
		if i == 8 {
			fmt.Fprintf(&b, "and %d more", len(p.Selectors)-i)
			break
		}
		b.WriteString(s.String())
	}
	b.WriteString(")")
	return b.String()
}

// Package mtu is the arithmetic of what fits: how large an inner packet may be
// so that GRE, ESP, UDP encapsulation and the outer header still fit into the
// MTU of the path. It computes; it sends nothing and asks no system.
//
// Sources: RFC 4303 section 2 (ESP), RFC 3948 section 2.1 (UDP encapsulation),
// RFC 2784 and 2890 (GRE). Fit gives the largest inner packet with the sum line
// by line; Wire is its reverse, the outer packet that an inner one becomes.
package mtu

import (
	"fmt"

	"greseal/crypto/suite"
	"greseal/platform/inet"
)

// Params is what the sizes depend on.
type Params struct {
	Outer   int  // MTU of the path between the two outer addresses, bytes
	OuterV6 bool // the outer addresses are IPv6
	InnerV6 bool // the GRE endpoints are IPv6; counts in tunnel mode only

	Encr, Integ suite.Transform // Integ is the zero value with an AEAD
	Transport   bool            // ESP transport mode: no second IP header
	Encap       bool            // UDP encapsulation

	GREKey, GRESeq, GRECsum bool
	Ethernet                bool // frames inside (gretap): the MTU is that of the frame's payload
}

// Line is one step of the sum. The Bytes of all lines add up to Result.MTU.
type Line struct {
	Name  string
	Bytes int // negative for what is taken away
}

// Result is an MTU and how it is computed.
type Result struct {
	MTU   int // largest inner IP packet, bytes
	MSS4  int // largest TCP segment inside IPv4
	MSS6  int // largest TCP segment inside IPv6
	Lines []Line
}

// Header sizes in bytes.
const (
	ipv4Header     = 20
	ipv6Header     = 40
	udpHeader      = 8
	espHeader      = 8 // SPI and sequence number
	espTrailer     = 2 // pad length and next header
	espAlign       = 4 // RFC 4303 section 2.4: the trailer ends on 4 bytes
	greHeader      = 4
	greOption      = 4 // each of key, sequence number, checksum (with Reserved1)
	ethernetHeader = 14
	tcpHeader      = 20
)

// Fit computes the largest inner packet. It fails for an algorithm it does not
// know and for a path too small to carry anything.
func Fit(p Params) (Result, error) {
	block, err := p.block()
	if err != nil {
		return Result{}, err
	}
	var r Result
	take := func(name string, n int) {
		if n == 0 {
			return
		}
		r.MTU += n
		r.Lines = append(r.Lines, Line{name, n})
	}
	take("path MTU", p.Outer)
	take("outer "+inet.V(p.OuterV6).Name+" header", -ipHeader(p.OuterV6))
	if p.Encap {
		take("UDP header", -udpHeader)
	}
	take("ESP header", -espHeader)
	take("ESP IV", -p.Encr.IVBytes())
	take("ESP ICV", -p.icv())
	if rest := r.MTU % block; r.MTU > 0 && rest != 0 {
		take(fmt.Sprintf("padding to a multiple of %d", block), -rest)
	}
	take("ESP trailer", -espTrailer)
	if !p.Transport {
		take("inner "+inet.V(p.InnerV6).Name+" header", -ipHeader(p.InnerV6))
	}
	take("GRE header", -greHeader)
	for _, o := range p.options() {
		take("GRE "+o, -greOption)
	}
	if p.Ethernet {
		take("Ethernet header", -ethernetHeader)
	}
	if r.MTU < 68 {
		return Result{}, fmt.Errorf("a path MTU of %d leaves no room for a packet inside; it must be at least %d here", p.Outer, p.Outer-r.MTU+68)
	}
	r.MSS4 = r.MTU - ipv4Header - tcpHeader
	r.MSS6 = r.MTU - ipv6Header - tcpHeader
	return r, nil
}

// Wire is the length of the outer packet that carries an inner one of n bytes,
// its IP header included.
func Wire(p Params, n int) (int, error) {
	block, err := p.block()
	if err != nil {
		return 0, err
	}
	if p.Ethernet {
		n += ethernetHeader
	}
	n += greHeader + greOption*len(p.options())
	if !p.Transport {
		n += ipHeader(p.InnerV6)
	}
	n += espTrailer
	n += (block - n%block) % block
	n += espHeader + p.Encr.IVBytes() + p.icv()
	if p.Encap {
		n += udpHeader
	}
	return n + ipHeader(p.OuterV6), nil
}

// block is the multiple to which payload and trailer are padded.
func (p Params) block() (int, error) {
	switch b := p.Encr.BlockBytes(); {
	case b == 0:
		return 0, fmt.Errorf("the size of %v is not known", p.Encr)
	case !p.Encr.IsAEAD() && p.Integ.ICVBytes() == 0:
		return 0, fmt.Errorf("the size of %v is not known without an integrity algorithm", p.Encr)
	default:
		return max(b, espAlign), nil
	}
}

func (p Params) icv() int {
	if p.Encr.IsAEAD() {
		return p.Encr.ICVBytes()
	}
	return p.Integ.ICVBytes()
}

func (p Params) options() []string {
	var out []string
	if p.GREKey {
		out = append(out, "key")
	}
	if p.GRESeq {
		out = append(out, "sequence number")
	}
	if p.GRECsum {
		out = append(out, "checksum")
	}
	return out
}

func ipHeader(v6 bool) int {
	if v6 {
		return ipv6Header
	}
	return ipv4Header
}

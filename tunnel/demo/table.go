package demo

import (
	"fmt"
	"strings"
)

// visibility prints one captured ESP packet: what an observer reads in it, and
// what was looked for behind that and not found.
func (r *report) visibility(s *seen, t *tally, iv, dataBytes int) {
	r.note("One packet of %d bytes as captured between the two, left to right:", len(s.packet))
	r.printf("\n   %-29s  %s\n", "bytes on the wire", "what an observer reads there")
	rows := func(b []byte, most int, text ...string) {
		for i := 0; i < len(b) && i < most || i/10 < len(text); i += 10 {
			hex, say := "", ""
			if i < len(b) && i < most {
				hex = fmt.Sprintf("% x", b[i:min(i+10, len(b), most)])
			}
			if i/10 < len(text) {
				say = text[i/10]
			}
			r.printf("   %s\n", strings.TrimRight(fmt.Sprintf("%-29s  %s", hex, say), " "))
		}
	}
	p := s.packet
	rows(p[:s.ipBytes], s.ipBytes, fmt.Sprintf("outer IPv4: %s to", s.src), fmt.Sprintf("%s, protocol %d", s.dst, s.outerProto))
	p = p[s.ipBytes:]
	if s.udpBytes > 0 {
		rows(p[:s.udpBytes], s.udpBytes, fmt.Sprintf("UDP: port %d to %d", s.sport, s.dport))
		p = p[s.udpBytes:]
	}
	rows(p[:8], 8, fmt.Sprintf("ESP: SPI %08x, sequence number %d", s.spi, s.seq))
	iv = min(iv, len(s.payload))
	rows(s.payload[:iv], iv, "ESP: initialization vector, public")
	hidden := s.payload[iv:]
	rows(hidden, 30, fmt.Sprintf("nothing: %d bytes of ciphertext and ICV;", len(hidden)),
		"no address, no protocol, no port,", "no length, no text")
	if len(hidden) > 30 {
		r.printf("   ... and %d more\n", len(hidden)-30)
	}

	r.printf("\n   %-21s %-8s %s\n", "layer", "visible", fmt.Sprintf("found in %d frames of both links", t.packets))
	row := func(layer, visible, found string) { r.printf("   %-21s %-8s %s\n", layer, visible, found) }
	row(fmt.Sprintf("user data, %d bytes", dataBytes), answer(t.found[needleText] > 0), fmt.Sprintf("its text: %d times", t.found[needleText]))
	row("inner IPv4 header", answer(t.found[needleInner] > 0), fmt.Sprintf("its addresses: %d times", t.found[needleInner]))
	row("GRE header", answer(t.found[needleGRE]+t.kinds[kindGRE] > 0), fmt.Sprintf("its bytes: %d times; protocol 47: %d", t.found[needleGRE], t.kinds[kindGRE]))
	row("ESP header", "yes", "SPI, sequence number, vector; no more")
	if s.udpBytes > 0 {
		row("outer IPv4 and UDP", "yes", fmt.Sprintf("%s:%d, %s:%d", s.src, s.sport, s.dst, s.dport))
	} else {
		row("outer IPv4", "yes", fmt.Sprintf("%s, %s", s.src, s.dst))
	}
}

func answer(yes bool) string {
	if yes {
		return "YES"
	}
	return "no"
}

package wire

import (
	"encoding/hex"
	"strconv"
	"strings"
)

// String is the message in one line: exchange, direction, message ID and the
// names of its payloads, as in RFC 7296 section 1.2:
//
//	IKE_SA_INIT request 0: SA KE Ni N(NAT_DETECTION_SOURCE_IP)
//	IKE_AUTH response 1: SK
func (m *Message) String() string { return Describe(m.Header, m.Payloads, nil) }

// Describe is Message.String for a message whose inner payloads are known as
// well: "IKE_AUTH request 1: SK{IDi AUTH SA TSi TSr}". It holds no secret.
func Describe(h Header, outer, inner []Payload) string {
	var b strings.Builder
	b.WriteString(h.String())
	b.WriteString(":")
	for _, p := range outer {
		b.WriteString(" " + short(p, h.Response()))
		if t := p.Type(); (t == TypeSK || t == TypeSKF) && inner != nil {
			b.WriteString("{")
			for i, q := range inner {
				if i > 0 {
					b.WriteString(" ")
				}
				b.WriteString(short(q, h.Response()))
			}
			b.WriteString("}")
		}
	}
	return b.String()
}

// short names a payload as RFC 7296 section 1.2 does.
func short(p Payload, response bool) string {
	switch p := p.(type) {
	case *Nonce:
		if response {
			return "Nr"
		}
		return "Ni"
	case *Notify:
		return p.String()
	case *Delete:
		return p.String()
	case *SKF:
		return p.String()
	}
	return p.Type().String()
}

// maxLine is where the line of an SA payload ends in "and … more".
const maxLine = 1024

// shownOctets bounds what of a peer's free octets gets into a line.
const shownOctets = 64

// printable is peer-chosen text made safe for one line of a log or terminal.
func printable(b []byte) string {
	more := ""
	if len(b) > shownOctets {
		b, more = b[:shownOctets], "…"
	}
	q := strconv.QuoteToASCII(string(b))
	return q[1:len(q)-1] + more
}

// hexShort is the head of b in hex.
func hexShort(b []byte) string {
	if len(b) > 20 {
		return hex.EncodeToString(b[:20]) + "…"
	}
	return hex.EncodeToString(b)
}

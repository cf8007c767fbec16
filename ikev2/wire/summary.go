package wire

import (
	"encoding/binary"
	"fmt"
)

// A summary is what may be shown of a message's payloads, packed for keeping:
// for each payload its type, how many octets of its body were kept, how many it
// has, and those kept. Nonces, key exchange values, AUTH, certificates and the
// data of notifies are no more than their lengths.

const (
	summaryHead = 1 + 2 + 2
	keptSA      = 1024
	keptTS      = 4 + 8*40 // as many selectors as are printed
	keptID      = 4 + shownOctets
	keptDelete  = 4 + 8*4
)

// AppendSummary appends the summary of payloads to b, at most limit octets of
// it; payloads that no longer fit are left out, and whole is false.
func AppendSummary(b []byte, ps []Payload, limit int) (out []byte, whole bool) {
	end := len(b) + limit
	for _, p := range ps {
		at := len(b)
		b = append(b, byte(p.Type()), 0, 0, 0, 0)
		var size int
		b, size = appendShown(b, p)
		if len(b) > end || len(b)-at-summaryHead > size {
			return b[:at], false
		}
		binary.BigEndian.PutUint16(b[at+1:], uint16(len(b)-at-summaryHead))
		binary.BigEndian.PutUint16(b[at+3:], uint16(min(size, 0xffff)))
	}
	return b, true
}

// appendShown appends the head of a payload's body that may be shown, and
// returns the length of the body.
func appendShown(b []byte, p Payload) ([]byte, int) {
	keep := 0
	switch p := p.(type) {
	case *SA:
		keep = keptSA
	case *TS:
		keep = keptTS
	case *ID:
		keep = keptID
	case *Delete:
		keep = keptDelete
	case *VendorID:
		return append(b, p.Data[:min(len(p.Data), shownOctets)]...), len(p.Data)
	case *Notify:
		shown := Notify{Kind: p.Kind, Protocol: p.Protocol, SPI: p.SPI[:min(len(p.SPI), 8)]}
		if p.Kind == InvalidKEPayload || p.Kind == UnsupportedCriticalPayload {
			shown.Data = p.Data[:min(len(p.Data), 2)]
		}
		b, _ = shown.AppendBody(b)
		return b, 4 + len(shown.SPI) + len(p.Data)
	case *KE:
		return binary.BigEndian.AppendUint16(b, p.Method), 4 + len(p.Data)
	case *Auth:
		return append(b, byte(p.Method)), 4 + len(p.Data)
	case *Cert:
		return append(b, byte(p.Encoding)), 1 + len(p.Data)
	case *CertReq:
		return append(b, byte(p.Encoding)), 1 + len(p.Authorities)
	case *Nonce:
		return b, len(p.Data)
	case *Unknown:
		return b, len(p.Body)
	}
	if keep == 0 {
		return b, 0
	}
	at := len(b)
	whole, err := p.AppendBody(b)
	if err != nil {
		return b, 0
	}
	return whole[:min(len(whole), at+keep)], len(whole) - at
}

// SummaryLines are the payloads of a summary, each as its String says:
// "KE(Curve25519, 32 octets)"; an SA has a line for each proposal.
func SummaryLines(b []byte) []string {
	out := []string{}
	for len(b) >= summaryHead {
		t := PayloadType(b[0])
		kept, size := int(binary.BigEndian.Uint16(b[1:])), int(binary.BigEndian.Uint16(b[3:]))
		b = b[summaryHead:]
		if kept > len(b) || kept > size {
			break
		}
		// What was not kept reads as zeros, of which only the number is shown.
		body := make([]byte, size)
		copy(body, b[:kept])
		b = b[kept:]
		p, err := parseBody(t, false, body)
		if err != nil || t == TypeCP {
			out = append(out, fmt.Sprintf("%s(%d octets)", t, size))
			continue
		}
		sa, ok := p.(*SA)
		if !ok {
			out = append(out, p.String())
			continue
		}
		for i := range sa.Proposals {
			out = append(out, "SA proposal "+sa.Proposals[i].String())
		}
	}
	return out
}

package wire

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Payload is one payload without its generic header. The set of types is
// closed: *SA, *KE, *ID, *Cert, *CertReq, *Auth, *Nonce, *Notify, *Delete,
// *VendorID, *TS, *CP, *SK, *SKF, and *Unknown for everything else.
type Payload interface {
	Type() PayloadType
	// AppendBody appends what follows the generic payload header.
	AppendBody([]byte) ([]byte, error)
	// String is one line for logs; it never holds keys, nonces, key exchange
	// values, cookies, or authentication data, and no control characters.
	String() string
}

// Message is an IKE message: its header and the payloads outside SK, with an SK
// or SKF, if there is one, as the last.
type Message struct {
	Header
	Payloads []Payload
	// Raw is the message as received; the payloads point into it.
	Raw []byte
}

// genericLen is the length of the generic payload header.
const genericLen = 4

// criticalBit is the C bit in the second octet of the generic payload header.
const criticalBit = 0x80

// Parse reads one IKE message, which must fill b exactly. A malformed payload that
// its exchange has no use for becomes an *Unknown. It returns an *Error
// when b is not an IKEv2 message; one of another major version, IKEv1 among
// them, has Notify InvalidMajorVersion. An unknown payload with the critical
// bit set is no error here: see UnsupportedCritical.
func Parse(b []byte) (*Message, error) {
	h, err := ParseHeader(b)
	if err != nil {
		return nil, err
	}
	if h.Major() != 2 {
		return nil, &Error{Notify: InvalidMajorVersion, Reason: fmt.Sprintf("major version %d, only 2 is spoken", h.Major())}
	}
	if uint64(h.Length) != uint64(len(b)) {
		return nil, syntaxf(0, "length field says %d, datagram has %d octets", h.Length, len(b))
	}
	ps, err := parseChain(h.Next, b[HeaderLen:], true, h.Exchange.reads)
	if err != nil {
		return nil, err
	}
	return &Message{Header: h, Payloads: ps, Raw: b}, nil
}

// ParsePayloadsOf reads the chain of payloads inside an SK payload (or of several
// SKF put together) of a message of exchange x: b is the plaintext without
// padding, first the SK's Next Payload field. SK and SKF do not nest.
func ParsePayloadsOf(x ExchangeType, first PayloadType, b []byte) ([]Payload, error) {
	return parseChain(first, b, false, x.reads)
}

// parseChain walks a chain that must fill b exactly. Each step takes at least
// four octets, so it ends.
func parseChain(next PayloadType, b []byte, outer bool, read func(PayloadType) bool) ([]Payload, error) {
	ps := []Payload{}
	for next != NoNext {
		t := next
		if len(ps) == MaxPayloads {
			return nil, syntaxf(0, "more than %d payloads", MaxPayloads)
		}
		if len(b) < genericLen {
			return nil, syntaxf(t, "%d octets left, the generic header has %d", len(b), genericLen)
		}
		n := int(binary.BigEndian.Uint16(b[2:]))
		if n < genericLen || n > len(b) {
			return nil, syntaxf(t, "length field says %d, %d octets are left", n, len(b))
		}
		reserved := b[1]
		next = PayloadType(b[0])
		body := b[genericLen:n:n]
		b = b[n:]
		var p Payload
		var err error
		if t == TypeSK || t == TypeSKF {
			if !outer {
				return nil, syntaxf(t, "inside an encrypted payload")
			}
			// RFC 7296 section 3.14: it is the last, and its Next Payload
			// field names the first one inside.
			if len(b) != 0 {
				return nil, syntaxf(t, "%d octets follow, it must be the last payload", len(b))
			}
			if t == TypeSK {
				p = &SK{First: next, Reserved: reserved, Sealed: body}
			} else {
				p, err = parseSKF(next, reserved, body)
			}
			next = NoNext
		} else {
			p, err = parseBody(t, reserved&criticalBit != 0, body)
			if err != nil && passOver(read, t, body) {
				p, err = &Unknown{Kind: t, Critical: reserved&criticalBit != 0, Body: body}, nil
			}
		}
		if err != nil {
			return nil, err
		}
		ps = append(ps, p)
	}
	if len(b) != 0 {
		return nil, syntaxf(0, "%d octets after the last payload", len(b))
	}
	return ps, nil
}

// bodies are the payloads that are read: how, and what their bodies have at least,
// octets.
var bodies = [...]struct {
	least int
	parse func(PayloadType, []byte) (Payload, error)
}{
	TypeSA:      {0, parseSA},
	TypeKE:      {4, parseKE},
	TypeIDi:     {4, parseID},
	TypeIDr:     {4, parseID},
	TypeCert:    {0, parseCert},
	TypeCertReq: {0, parseCertReq},
	TypeAuth:    {4, parseAuth},
	TypeNonce:   {0, parseNonce},
	TypeNotify:  {4, parseNotify},
	TypeDelete:  {4, parseDelete},
	TypeVendor:  {0, parseVendorID},
	TypeTSi:     {4, parseTS},
	TypeTSr:     {4, parseTS},
	TypeCP:      {4, parseCP},
}

func parseBody(t PayloadType, critical bool, b []byte) (Payload, error) {
	if int(t) >= len(bodies) || bodies[t].parse == nil {
		return &Unknown{Kind: t, Critical: critical, Body: b}, nil
	}
	if least := bodies[t].least; len(b) < least {
		return nil, syntaxf(t, "body has %d octets, at least %d are needed", len(b), least)
	}
	return bodies[t].parse(t, b)
}

// Append appends the message, with Next and Length computed and every other
// field of the header as it stands.
func (m *Message) Append(b []byte) ([]byte, error) {
	start := len(b)
	h := m.Header
	h.Next = firstType(m.Payloads)
	b = h.Append(b)
	b, err := AppendPayloads(b, m.Payloads)
	if err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint32(b[start+24:], uint32(len(b)-start))
	return b, nil
}

func firstType(ps []Payload) PayloadType {
	if len(ps) == 0 {
		return NoNext
	}
	return ps[0].Type()
}

// AppendPayloads appends a chain of payloads with their generic headers; the
// type of the first is the caller's to write. The critical bit is clear, as
// RFC 7296 section 2.5 has it for the types it defines.
func AppendPayloads(b []byte, ps []Payload) ([]byte, error) {
	for i, p := range ps {
		next, flags := firstType(ps[i+1:]), byte(0)
		switch e := p.(type) {
		case *SK:
			if i != len(ps)-1 {
				return nil, fmt.Errorf("write %s payload: it must be the last", p.Type())
			}
			next, flags = e.First, e.Reserved
		case *SKF:
			if i != len(ps)-1 {
				return nil, fmt.Errorf("write %s payload: it must be the last", p.Type())
			}
			next, flags = e.First, e.Reserved
		case *Unknown:
			if e.Critical {
				flags = criticalBit
			}
		}
		start := len(b)
		var err error
		b, err = p.AppendBody(append(b, byte(next), flags, 0, 0))
		if err != nil {
			return nil, fmt.Errorf("write %s payload: %w", p.Type(), err)
		}
		n := len(b) - start
		if n > math.MaxUint16 {
			return nil, fmt.Errorf("write %s payload: %d octets, at most %d fit", p.Type(), n, math.MaxUint16)
		}
		binary.BigEndian.PutUint16(b[start+2:], uint16(n))
	}
	return b, nil
}

// UnsupportedCritical returns the type of the first payload that has the
// critical bit set and is of a type not understood, which refuses the whole
// message with UNSUPPORTED_CRITICAL_PAYLOAD (RFC 7296 section 2.5).
func UnsupportedCritical(ps []Payload) (PayloadType, bool) {
	for _, p := range ps {
		if u, ok := p.(*Unknown); ok && u.Critical && !u.Kind.understood() {
			return u.Kind, true
		}
	}
	return 0, false
}

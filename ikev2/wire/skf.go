package wire

import (
	"encoding/binary"
	"fmt"
)

// SKF is the Encrypted and Authenticated Fragment payload (RFC 7383 section
// 2.5).
type SKF struct {
	First         PayloadType // type of the first payload inside, in fragment 1; else 0
	Reserved      byte        // second octet of the generic header as received, see Content
	Number, Total uint16      // 1 <= Number <= Total
	Sealed        []byte      // IV, ciphertext, integrity check value
}

// Type is TypeSKF.
func (*SKF) Type() PayloadType { return TypeSKF }

// parseSKF reads the body. Wrong numbers mean a message that is discarded in
// silence (RFC 7383 section 2.6), so the error has no notify.
func parseSKF(first PayloadType, reserved byte, b []byte) (*SKF, error) {
	if len(b) < 4 {
		return nil, syntaxf(TypeSKF, "body has %d octets, at least 4 are needed", len(b))
	}
	p := &SKF{First: first, Reserved: reserved, Sealed: b[4:]}
	p.Number, p.Total = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	if p.Number == 0 || p.Number > p.Total {
		return nil, &Error{Payload: TypeSKF, Reason: fmt.Sprintf("fragment %d of %d", p.Number, p.Total)}
	}
	return p, nil
}

// AppendBody appends fragment number, total and what is sealed.
func (p *SKF) AppendBody(b []byte) ([]byte, error) {
	return append(p.numbers(b), p.Sealed...), nil
}

func (p *SKF) numbers(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, p.Number)
	return binary.BigEndian.AppendUint16(b, p.Total)
}

// String is "SKF(2/3)".
func (p *SKF) String() string { return fmt.Sprintf("SKF(%d/%d)", p.Number, p.Total) }

// SKF returns the message's SKF payload, nil when it has none.
func (m *Message) SKF() *SKF {
	if n := len(m.Payloads); n > 0 {
		if p, ok := m.Payloads[n-1].(*SKF); ok {
			return p
		}
	}
	return nil
}

// DecryptFragment authenticates and decrypts the SKF payload and returns this
// fragment's share of the plaintext.
func (m *Message) DecryptFragment(o Opener) ([]byte, error) {
	p := m.SKF()
	if p == nil {
		return nil, ErrNotSealed
	}
	chunk, err := o.Open(nil, m.aad(p.Sealed), p.Sealed)
	if err != nil {
		return nil, fmt.Errorf("open SKF payload: %w", err)
	}
	return chunk, nil
}

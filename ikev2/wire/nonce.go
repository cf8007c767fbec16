package wire

import "fmt"

// Bounds of a nonce in octets (RFC 7296 section 3.9).
const (
	MinNonce = 16
	MaxNonce = 256
)

// Nonce is the Nonce payload, Ni or Nr (RFC 7296 section 3.9).
type Nonce struct {
	Data []byte // MinNonce to MaxNonce octets
}

// Type is TypeNonce.
func (*Nonce) Type() PayloadType { return TypeNonce }

func parseNonce(_ PayloadType, b []byte) (Payload, error) {
	p := &Nonce{Data: b}
	if err := p.check(); err != nil {
		return nil, syntaxf(TypeNonce, "%v", err)
	}
	return p, nil
}

func (p *Nonce) check() error {
	if n := len(p.Data); n < MinNonce || n > MaxNonce {
		return fmt.Errorf("%d octets, must be %d to %d", n, MinNonce, MaxNonce)
	}
	return nil
}

// AppendBody appends the nonce; it fails when its length is out of bounds.
func (p *Nonce) AppendBody(b []byte) ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	return append(b, p.Data...), nil
}

func (p *Nonce) String() string { return fmt.Sprintf("Nonce(%d octets)", len(p.Data)) }

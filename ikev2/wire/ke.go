package wire

import (
	"encoding/binary"
	"fmt"
)

// KE is the Key Exchange payload (RFC 7296 section 3.4, RFC 9370).
type KE struct {
	Method uint16 // transform ID of type KE
	Data   []byte
}

// Type is TypeKE.
func (*KE) Type() PayloadType { return TypeKE }

func parseKE(b []byte) (*KE, error) {
	if len(b) < 4 {
		return nil, syntaxf(TypeKE, "body has %d octets, at least 4 are needed", len(b))
	}
	return &KE{Method: binary.BigEndian.Uint16(b), Data: b[4:]}, nil
}

// AppendBody appends method, two reserved octets and the data.
func (p *KE) AppendBody(b []byte) ([]byte, error) {
	b = binary.BigEndian.AppendUint16(b, p.Method)
	return append(append(b, 0, 0), p.Data...), nil
}

func (p *KE) String() string { return fmt.Sprintf("KE(method %d, %d octets)", p.Method, len(p.Data)) }

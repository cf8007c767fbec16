package wire

import (
	"encoding/binary"
	"fmt"
	"strings"

	"greseal/crypto/suite"
)

// KE is the Key Exchange payload (RFC 7296 section 3.4, RFC 9370).
type KE struct {
	Method uint16 // transform ID of type KE
	Data   []byte
}

// Type is TypeKE.
func (*KE) Type() PayloadType { return TypeKE }

func parseKE(_ PayloadType, b []byte) (Payload, error) {
	return &KE{Method: binary.BigEndian.Uint16(b), Data: b[4:]}, nil
}

// AppendBody appends method, two reserved octets and the data.
func (p *KE) AppendBody(b []byte) ([]byte, error) {
	b = binary.BigEndian.AppendUint16(b, p.Method)
	return append(append(b, 0, 0), p.Data...), nil
}

// String is "KE(Curve25519, 32 octets)".
func (p *KE) String() string {
	method := suite.Transform{Type: suite.TypeKE, ID: p.Method}.String()
	return fmt.Sprintf("KE(%s, %d octets)", strings.TrimPrefix(method, "KE "), len(p.Data))
}

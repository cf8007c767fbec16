package wire

import (
	"fmt"
)

// AuthMethod is an authentication method (RFC 7296 section 3.8).
type AuthMethod uint8

// Authentication methods.
const (
	AuthRSA       AuthMethod = 1
	AuthSharedKey AuthMethod = 2
	AuthECDSA256  AuthMethod = 9  // RFC 4754
	AuthECDSA384  AuthMethod = 10 // RFC 4754
	AuthECDSA521  AuthMethod = 11 // RFC 4754
	AuthNull      AuthMethod = 13 // RFC 7619
	AuthSignature AuthMethod = 14 // RFC 7427
)

var methodNames = [...]string{
	AuthRSA:       "RSA signature",
	AuthSharedKey: "shared key",
	3:             "DSS signature",
	AuthECDSA256:  "ECDSA P-256",
	AuthECDSA384:  "ECDSA P-384",
	AuthECDSA521:  "ECDSA P-521",
	12:            "secure password",
	AuthNull:      "NULL",
	AuthSignature: "digital signature",
}

// String names the method.
func (m AuthMethod) String() string { return named(methodNames[:], m, "method") }

// Auth is the Authentication payload (RFC 7296 section 3.8).
type Auth struct {
	Method AuthMethod
	Data   []byte
}

// Type is TypeAuth.
func (*Auth) Type() PayloadType { return TypeAuth }

func parseAuth(_ PayloadType, b []byte) (Payload, error) {
	return &Auth{Method: AuthMethod(b[0]), Data: b[4:]}, nil
}

// AppendBody appends method, three reserved octets and the data.
func (p *Auth) AppendBody(b []byte) ([]byte, error) {
	return append(append(b, byte(p.Method), 0, 0, 0), p.Data...), nil
}

func (p *Auth) String() string { return fmt.Sprintf("AUTH(%s)", p.Method) }

package wire

import (
	"fmt"
	"strconv"
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

// String names the method.
func (m AuthMethod) String() string {
	switch m {
	case AuthRSA:
		return "RSA signature"
	case AuthSharedKey:
		return "shared key"
	case 3:
		return "DSS signature"
	case AuthECDSA256:
		return "ECDSA P-256"
	case AuthECDSA384:
		return "ECDSA P-384"
	case AuthECDSA521:
		return "ECDSA P-521"
	case 12:
		return "secure password"
	case AuthNull:
		return "NULL"
	case AuthSignature:
		return "digital signature"
	}
	return "method " + strconv.Itoa(int(m))
}

// Auth is the Authentication payload (RFC 7296 section 3.8).
type Auth struct {
	Method AuthMethod
	Data   []byte
}

// Type is TypeAuth.
func (*Auth) Type() PayloadType { return TypeAuth }

func parseAuth(b []byte) (*Auth, error) {
	if len(b) < 4 {
		return nil, syntaxf(TypeAuth, "body has %d octets, at least 4 are needed", len(b))
	}
	return &Auth{Method: AuthMethod(b[0]), Data: b[4:]}, nil
}

// AppendBody appends method, three reserved octets and the data.
func (p *Auth) AppendBody(b []byte) ([]byte, error) {
	return append(append(b, byte(p.Method), 0, 0, 0), p.Data...), nil
}

func (p *Auth) String() string { return fmt.Sprintf("AUTH(%s)", p.Method) }

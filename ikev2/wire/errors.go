package wire

import "fmt"

// Error says why bytes are not an acceptable message, and what the RFC has the
// receiver answer once it may answer at all.
type Error struct {
	// Notify is the error notify that fits, 0 when the message must be
	// dropped without an answer.
	Notify NotifyType
	// Payload is the payload at fault, 0 for the header or the chain itself.
	Payload PayloadType
	Reason  string
}

func (e *Error) Error() string {
	if e.Payload == 0 {
		return "malformed IKE message: " + e.Reason
	}
	return fmt.Sprintf("malformed IKE message: %s payload: %s", e.Payload, e.Reason)
}

// syntaxf makes the INVALID_SYNTAX error of RFC 7296 section 3.10.1.
func syntaxf(t PayloadType, format string, a ...any) error {
	return &Error{Notify: InvalidSyntax, Payload: t, Reason: fmt.Sprintf(format, a...)}
}

package config

import (
	"crypto/subtle"
	"fmt"
	"log/slog"
)

// Secret is a pre-shared key that does not show itself: every way of printing,
// logging or marshalling it gives a fixed word. The zero value is "not set".
type Secret struct{ bytes []byte }

// NewSecret takes over b, which the caller must not keep.
func NewSecret(b []byte) Secret { return Secret{b} }

const redacted = "[secret]"

// Bytes gives the secret itself, raw, without any decoding. It is valid until
// Wipe and must not be changed.
func (s Secret) Bytes() []byte { return s.bytes }

// IsSet says whether there is a secret.
func (s Secret) IsSet() bool { return len(s.bytes) > 0 }

// Equal compares two secrets in constant time for a given length.
func (s Secret) Equal(o Secret) bool { return subtle.ConstantTimeCompare(s.bytes, o.bytes) == 1 }

// Wipe overwrites the secret and unsets it. Copies of s share the bytes and
// are overwritten too.
func (s *Secret) Wipe() {
	clear(s.bytes)
	s.bytes = nil
}

func (s Secret) String() string {
	if !s.IsSet() {
		return ""
	}
	return redacted
}

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return s.String() }

// Format implements fmt.Formatter for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText implements encoding.TextMarshaler, and with it JSON and TOML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

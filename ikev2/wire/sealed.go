package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Sealer protects the content of SK and SKF payloads in one direction of an
// IKE SA.
type Sealer interface {
	// Overhead is by how many octets Seal makes a plaintext of n octets
	// longer: IV, padding, pad length and integrity check value.
	Overhead(n int) int
	// Seal appends IV, ciphertext and integrity check value to dst and
	// returns the result. aad is the message from its first octet to the last
	// before the IV: the associated data of an AEAD (RFC 5282 section 5.1),
	// the head of what an integrity algorithm covers (RFC 7296 section 3.14).
	// aad may be a part of dst.
	Seal(dst, aad, plaintext []byte) ([]byte, error)
}

// Opener is the reverse of Sealer.
type Opener interface {
	// Open authenticates aad and sealed (IV, ciphertext and integrity check
	// value), appends the plaintext without padding to dst and returns it.
	// dst and sealed do not overlap.
	Open(dst, aad, sealed []byte) ([]byte, error)
}

// SK is the Encrypted and Authenticated payload (RFC 7296 section 3.14).
type SK struct {
	First    PayloadType // type of the first payload inside
	Reserved byte        // second octet of the generic header as received, see Content
	Sealed   []byte      // IV, ciphertext, integrity check value
}

// Type is TypeSK.
func (*SK) Type() PayloadType { return TypeSK }

// AppendBody appends what is sealed.
func (p *SK) AppendBody(b []byte) ([]byte, error) { return append(b, p.Sealed...), nil }

func (p *SK) String() string { return fmt.Sprintf("SK(%d octets)", len(p.Sealed)) }

// ErrNotSealed is returned by Open for a message without an SK payload.
var ErrNotSealed = errors.New("message has no SK payload")

// SK returns the message's SK payload, nil when it has none.
func (m *Message) SK() *SK {
	if n := len(m.Payloads); n > 0 {
		if p, ok := m.Payloads[n-1].(*SK); ok {
			return p
		}
	}
	return nil
}

// aad is the part of a parsed message before its sealed region, which is the
// message's end.
func (m *Message) aad(sealed []byte) []byte {
	n := len(m.Raw) - len(sealed)
	return m.Raw[:n:n]
}

// Content is what an SK payload holds, or what those of all fragments of a
// message hold together, authenticated and decrypted.
type Content struct {
	First PayloadType // type of the first payload
	Plain []byte      // the chain of payloads, without padding
	// Reserved is the second octet of the SK payload's generic header. It
	// means nothing, but IntAuth covers it as it was sent.
	Reserved byte
}

// Payloads parses the chain.
func (c Content) Payloads() ([]Payload, error) { return c.PayloadsOf(0) }

// PayloadsOf parses the chain, of a message of exchange x.
func (c Content) PayloadsOf(x ExchangeType) ([]Payload, error) {
	return ParsePayloadsOf(x, c.First, c.Plain)
}

// Decrypt authenticates and decrypts the SK payload of a parsed message. The
// message stays as it is.
func (m *Message) Decrypt(o Opener) (Content, error) {
	p := m.SK()
	if p == nil {
		return Content{}, ErrNotSealed
	}
	plain, err := o.Open(nil, m.aad(p.Sealed), p.Sealed)
	if err != nil {
		return Content{}, fmt.Errorf("open SK payload: %w", err)
	}
	return Content{First: p.First, Plain: plain, Reserved: p.Reserved}, nil
}

// Open authenticates and decrypts the SK payload and parses the payloads
// inside. An *Error means that the message is authentic but malformed; any
// other error, that it is to be dropped in silence.
func (m *Message) Open(o Opener) ([]Payload, error) {
	c, err := m.Decrypt(o)
	if err != nil {
		return nil, err
	}
	return c.PayloadsOf(m.Exchange)
}

// AppendSealed appends a message whose only payload is an SK holding inner.
func AppendSealed(b []byte, h Header, inner []Payload, s Sealer) ([]byte, error) {
	plain, err := AppendPayloads(nil, inner)
	if err != nil {
		return nil, err
	}
	return AppendSealedBytes(b, h, firstType(inner), plain, s)
}

// AppendSealedBytes is AppendSealed for a chain that is already encoded.
func AppendSealedBytes(b []byte, h Header, first PayloadType, plain []byte, s Sealer) ([]byte, error) {
	return appendProtected(b, h, TypeSK, nil, first, plain, s)
}

// appendProtected writes header, SK or SKF generic header, what stands before
// the IV (prefix: the fragment numbers of an SKF), and the sealed plaintext.
// The lengths are authenticated, so they are known before sealing.
func appendProtected(b []byte, h Header, t PayloadType, prefix []byte, first PayloadType, plain []byte, s Sealer) ([]byte, error) {
	start := len(b)
	sealed := len(plain) + s.Overhead(len(plain))
	n := genericLen + len(prefix) + sealed
	if n > math.MaxUint16 {
		return nil, fmt.Errorf("write %s payload: %d octets, at most %d fit", t, n, math.MaxUint16)
	}
	h.Next, h.Length = t, uint32(HeaderLen+n)
	if need := HeaderLen + n; cap(b)-len(b) < need {
		b = append(make([]byte, 0, len(b)+need), b...)
	}
	b = h.Append(b)
	b = append(b, byte(first), 0)
	b = binary.BigEndian.AppendUint16(b, uint16(n))
	b = append(b, prefix...)
	out, err := s.Seal(b, b[start:], plain)
	if err != nil {
		return nil, fmt.Errorf("seal %s payload: %w", t, err)
	}
	if len(out)-len(b) != sealed {
		return nil, fmt.Errorf("seal %s payload: %d octets instead of %d", t, len(out)-len(b), sealed)
	}
	return out, nil
}

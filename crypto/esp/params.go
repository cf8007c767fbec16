// Package esp is the ESP packet of RFC 4303 in memory: header, padding,
// sequence numbers (32 bit and extended), the anti-replay window of RFC 6479,
// and sealing and opening in place. It knows no sockets, no IKE and no GRE.
package esp

import (
	"fmt"
	"log/slog"

	"greseal/crypto/suite"
)

// Params is everything one direction of a Child SA needs to be installed in a
// datapath, and the only form in which ESP keys are passed: made by ikev2, handed on
// unread by tunnel, owned and wiped by the datapath.
type Params struct {
	SPI   uint32          // network value, 256 and above
	Encr  suite.Transform // ENCR, with its key length
	Integ suite.Transform // INTEG, zero for an AEAD
	ESN   bool            // extended (64 bit) sequence numbers
	// Key is the encryption key as taken from KEYMAT (RFC 7296 section 2.17):
	// for AES-GCM the key and then the 4 octet salt (RFC 4106 section 8.1),
	// for ChaCha20-Poly1305 32 octets and then the 4 octet salt (RFC 7634
	// section 3), for AES-CBC the key alone.
	Key []byte
	// AuthKey is the integrity key, empty for an AEAD.
	AuthKey []byte
}

// Wipe overwrites the keys. The caller no longer owns p afterwards. What a Sealer
// or Opener made of them lives as long as these: the standard library's ciphers
// can't be wiped, and making them for each packet costs too much.
func (p *Params) Wipe() {
	clear(p.Key)
	clear(p.AuthKey)
}

// String names the SA without its keys.
func (p Params) String() string {
	return fmt.Sprintf("ESP SPI %08x", p.SPI)
}

// Format keeps every fmt verb, %#v included, from printing the keys.
func (p Params) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(p.String())) }

// LogValue keeps slog from printing the keys.
func (p Params) LogValue() slog.Value { return slog.StringValue(p.String()) }

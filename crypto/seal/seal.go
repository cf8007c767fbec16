// Package seal protects IKE messages: the Encrypted payload of RFC 7296 section
// 3.14 with AES-CBC and HMAC (encrypt, then MAC over the whole message), and of
// RFC 5282 and RFC 7634 section 3 with an AEAD; the Encrypted Fragment payload
// of RFC 7383 is the same with four more octets of header.
//
// It works on a whole message in place and knows of its structure one thing
// only: where the body of the Encrypted payload begins. Before it stand, with
// their final values, the IKE header, any payloads in the clear, the generic header
// of the SK payload and, in a fragment, the fragment numbers: all of that is
// authenticated. The body runs to the end of the message.
package seal

import (
	"crypto/cipher"
	"crypto/hmac"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"slices"

	"greseal/crypto/suite"
)

// ErrIntegrity says that a message does not carry the right integrity check
// value: it was changed on its way, is forged, or the two sides' keys differ.
var ErrIntegrity = errors.New("the integrity check value is wrong")

// ErrFormat says that the body of the Encrypted payload can't be one: too
// short, not whole blocks, or, behind a right check value, padding that is
// longer than the body.
var ErrFormat = errors.New("malformed Encrypted payload")

// Cipher is the protection of one direction of an IKE SA. It is not safe for
// concurrent use.
type Cipher struct {
	encr, integ suite.Transform
	iv, icv     int

	// Ciphers and MAC are made from the keys for each message: what is computed
	// from a key takes twenty times its room, the messages of an IKE SA are few,
	// and Go cannot overwrite what lies in the standard library's objects. So an IKE
	// SA that is idle, or gone, has its keys in these two places alone.
	key, authKey []byte
	nonce        [NonceBytes]byte
	counter      uint64 // of the next IV of an AEAD
	rand         io.Reader
}

// New returns the protection of one direction, with SK_ei and SK_ai or with
// SK_er and SK_ar. The keys may be wiped afterwards. rand yields the IVs of
// AES-CBC; those of an AEAD are a counter, which can't repeat under one key
// (RFC 5282 section 4).
func New(encr, integ suite.Transform, key, authKey []byte, rand io.Reader) (*Cipher, error) {
	if err := Supported(encr, integ); err != nil {
		return nil, err
	}
	c := &Cipher{encr: encr, integ: integ, rand: rand, iv: encr.IVBytes(), icv: encr.ICVBytes()}
	if encr.IsAEAD() {
		_, salt, err := AEAD(encr, key)
		if err != nil {
			return nil, err
		}
		copy(c.nonce[:], salt[:])
	} else {
		if err := errors.Join(checkKey(encr, key), checkKey(integ, authKey)); err != nil {
			return nil, err
		}
		c.icv = integ.ICVBytes()
	}
	c.key, c.authKey = slices.Clone(key), slices.Clone(authKey)
	return c, nil
}

// Wipe overwrites the keys; the Cipher is of no use any more. What the standard
// library computed from them for a message is garbage since, and stays in memory
// until Go uses that again.
func (c *Cipher) Wipe() {
	clear(c.key)
	clear(c.authKey)
	clear(c.nonce[:])
	c.key, c.authKey = nil, nil
}

// BodyLen is the length of the body that n octets of payloads become: IV,
// payloads, padding, pad length and integrity check value.
func (c *Cipher) BodyLen(n int) int {
	return c.iv + n + 1 + c.padding(n) + c.icv
}

// MaxPayloads is the largest n with BodyLen(n) <= body, or -1.
func (c *Cipher) MaxPayloads(body int) int {
	room := body - c.iv - c.icv
	if room < 1 {
		return -1
	}
	return room - room%c.encr.BlockBytes() - 1
}

// padding fills the last block of CBC together with the pad length octet. An
// AEAD needs none (RFC 5282 section 3).
func (c *Cipher) padding(n int) int {
	block := c.encr.BlockBytes()
	return (block - (n+1)%block) % block
}

// Seal appends the body made of payloads to head and returns the whole message.
// head already names the message's final length (len(head) +
// BodyLen(len(payloads))) in its IKE header and SK payload header. When head
// has the capacity nothing is allocated for the message; payloads may then lie
// right behind head in the same array.
func (c *Cipher) Seal(head, payloads []byte) ([]byte, error) {
	n, pad := len(payloads), c.padding(len(payloads))
	start := len(head)
	msg := slices.Grow(head, c.BodyLen(n))[:start+c.BodyLen(n)]
	text := msg[start+c.iv : len(msg)-c.icv]
	copy(text, payloads)
	clear(text[n:])
	text[len(text)-1] = byte(pad)

	iv := msg[start : start+c.iv]
	if c.encr.IsAEAD() {
		aead, _, err := AEAD(c.encr, c.key)
		if err != nil {
			clear(text)
			return nil, err
		}
		if c.counter == ^uint64(0) {
			return nil, errors.New("the IVs of this IKE SA are used up; rekey it")
		}
		binary.BigEndian.PutUint64(iv, c.counter)
		c.counter++
		copy(c.nonce[4:], iv)
		aead.Seal(text[:0], c.nonce[:], text, msg[:start])
		return msg, nil
	}
	block, mac, err := c.blockAndMAC()
	if err == nil {
		if _, err = io.ReadFull(c.rand, iv); err != nil {
			err = fmt.Errorf("randomness for an IV: %w", err)
		}
	}
	if err != nil {
		clear(text)
		return nil, err
	}
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(text, text)
	sum(mac, msg[len(msg)-c.icv:], msg[:len(msg)-c.icv])
	return msg, nil
}

func (c *Cipher) blockAndMAC() (cipher.Block, hash.Hash, error) {
	block, err := Block(c.encr, c.key)
	if err != nil {
		return nil, nil, err
	}
	mac, err := MAC(c.integ, c.authKey)
	return block, mac, err
}

// sum writes the truncated MAC of data to icv.
func sum(mac hash.Hash, icv, data []byte) {
	mac.Write(data)
	var full [64]byte
	copy(icv, mac.Sum(full[:0]))
}

// Open checks and decrypts in place the body that begins at start and returns
// the payloads, which lie in msg. Padding of any length and content is taken
// (RFC 7296 section 3.14). After an error the body may be overwritten.
func (c *Cipher) Open(msg []byte, start int) ([]byte, error) {
	if start < 0 || start > len(msg) {
		return nil, fmt.Errorf("%w: it begins behind the end of the message", ErrFormat)
	}
	body := msg[start:]
	length := len(body) - c.iv - c.icv
	if length < 1 || length%c.encr.BlockBytes() != 0 {
		return nil, fmt.Errorf("%w: a body of %d octets with %s", ErrFormat, len(body), c.encr)
	}
	iv, text := body[:c.iv], body[c.iv:c.iv+length]
	if c.encr.IsAEAD() {
		aead, _, err := AEAD(c.encr, c.key)
		if err != nil {
			return nil, err
		}
		var nonce [NonceBytes]byte
		copy(nonce[:], c.nonce[:4])
		copy(nonce[4:], iv)
		if _, err := aead.Open(text[:0], nonce[:], body[c.iv:], msg[:start]); err != nil {
			return nil, ErrIntegrity
		}
	} else {
		block, mac, err := c.blockAndMAC()
		if err != nil {
			return nil, err
		}
		var want [64]byte
		icv := want[:c.icv]
		sum(mac, icv, msg[:len(msg)-c.icv])
		if !hmac.Equal(icv, body[c.iv+length:]) {
			return nil, ErrIntegrity
		}
		cipher.NewCBCDecrypter(block, iv).CryptBlocks(text, text)
	}
	pad := int(text[length-1])
	if pad+1 > length {
		return nil, fmt.Errorf("%w: %d octets of padding in %d", ErrFormat, pad, length)
	}
	n := length - pad - 1
	return text[:n:n], nil
}

// String names the algorithms without the keys.
func (c *Cipher) String() string {
	if c.encr.IsAEAD() {
		return c.encr.String()
	}
	return c.encr.String() + " with " + c.integ.String()
}

// Format keeps every fmt verb from printing the keys.
func (c *Cipher) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(c.String())) }

// LogValue keeps slog from printing the keys.
func (c *Cipher) LogValue() slog.Value { return slog.StringValue(c.String()) }

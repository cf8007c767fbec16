package esp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"

	"greseal/crypto/seal"
)

// What is wrong with a packet. These are plain values, so that a flood of bad
// packets costs no memory.
var (
	ErrMalformed = errors.New("malformed ESP packet")
	ErrReplay    = errors.New("the packet was received before, or is older than the anti-replay window")
	ErrIntegrity = errors.New("the integrity check value is wrong")
)

// Opener opens the packets of one inbound SA. It is for one goroutine at a
// time.
type Opener struct {
	spi uint32
	esn bool
	shape
	block int // of the cipher: ciphertext is a multiple of it

	aead  cipher.AEAD
	nonce [seal.NonceBytes]byte
	aad   [12]byte

	cbc  ivSetter
	mac  hash.Hash
	sum  [64]byte
	high [4]byte
}

// Packet is an opened packet.
type Packet struct {
	Payload []byte // part of the packet that was opened
	Next    uint8  // next header
	Seq     uint64 // with its high half, if the SA has extended sequence numbers
	// TFC is the number of octets of traffic flow confidentiality padding
	// (RFC 4303 section 2.7) that were removed after an inner IP packet.
	TFC int
}

// Header returns the SPI and the 32 bits of the sequence number that are sent.
// ok is false when packet is too short for both, or when the SPI is 0, which
// is never on the wire (RFC 4303 section 2.1).
func Header(packet []byte) (spi, seq uint32, ok bool) {
	if len(packet) < HeaderBytes {
		return 0, 0, false
	}
	spi = binary.BigEndian.Uint32(packet)
	return spi, binary.BigEndian.Uint32(packet[4:]), spi != 0
}

// NewOpener prepares an SA for opening. The keys of p are not kept and may be
// wiped.
func NewOpener(p Params) (*Opener, error) {
	if err := Supported(p.Encr, p.Integ); err != nil {
		return nil, err
	}
	o := &Opener{spi: p.SPI, esn: p.ESN, shape: shapeOf(p.Encr, p.Integ), block: p.Encr.BlockBytes()}
	if p.Encr.IsAEAD() {
		aead, salt, err := seal.AEAD(p.Encr, p.Key)
		if err != nil {
			return nil, err
		}
		o.aead = aead
		copy(o.nonce[:], salt[:])
		return o, nil
	}
	block, mac, err := blockAndMAC(p)
	if err != nil {
		return nil, err
	}
	o.mac = mac
	o.cbc, err = lasting(cipher.NewCBCDecrypter(block, make([]byte, aes.BlockSize)))
	return o, err
}

// SPI is the SA's.
func (o *Opener) SPI() uint32 { return o.spi }

// Headroom is where the payload begins in a packet, in octets.
func (o *Opener) Headroom() int { return o.head() }

// Open opens a packet in place. The anti-replay window is checked before anything
// is computed and updated after the integrity check has passed. The error is one
// of ErrMalformed, ErrReplay and ErrIntegrity; the packet's content is then
// lost. Open allocates nothing.
//
// A payload of next header 59 is a dummy: the caller drops it in silence
// (RFC 4303 section 2.6).
func (o *Opener) Open(packet []byte, w *Window) (Packet, error) {
	spi, low, ok := Header(packet)
	if !ok || spi != o.spi {
		return Packet{}, ErrMalformed
	}
	seq := uint64(low)
	if o.esn {
		seq = w.Infer(low)
	}
	if !w.Check(seq) {
		return Packet{}, ErrReplay
	}
	text, err := o.decrypt(packet, seq)
	if err != nil {
		return Packet{}, err
	}
	// Whatever is wrong with the content, the packet is authentic and its
	// sequence number is used.
	w.Update(seq)
	return unwrap(text, seq)
}

// decrypt checks the ICV and returns the plaintext with padding and trailer.
func (o *Opener) decrypt(packet []byte, seq uint64) ([]byte, error) {
	head := o.head()
	end := len(packet) - o.icv
	if length := end - head; length < trailerBytes || length%o.block != 0 {
		return nil, ErrMalformed
	}
	iv, text := packet[HeaderBytes:head], packet[head:end]
	if o.aead != nil {
		copy(o.nonce[4:], iv)
		_, err := o.aead.Open(text[:0], o.nonce[:], packet[head:], associated(&o.aad, o.spi, seq, o.esn))
		if err != nil {
			return nil, ErrIntegrity
		}
		return text, nil
	}
	icv := integrity(o.mac, &o.sum, &o.high, packet[:end], seq, o.esn)[:o.icv]
	if !hmac.Equal(icv, packet[end:]) {
		return nil, ErrIntegrity
	}
	o.cbc.SetIV(iv)
	o.cbc.CryptBlocks(text, text)
	return text, nil
}

// unwrap removes padding, trailer and traffic flow confidentiality padding.
func unwrap(text []byte, seq uint64) (Packet, error) {
	p := Packet{Next: text[len(text)-1], Seq: seq}
	pad := int(text[len(text)-2])
	n := len(text) - trailerBytes - pad
	if n < 0 {
		return Packet{}, ErrMalformed
	}
	// RFC 4303 section 2.4 has the receiver check the padding.
	for i, b := range text[n : n+pad] {
		if b != byte(i+1) {
			return Packet{}, ErrMalformed
		}
	}
	p.Payload = text[:n:n]
	// TFC padding can only follow a payload that carries its own length, an inner
	// IP packet. One whose length is wrong stays as it is.
	if length := ipLength(p.Next, p.Payload); length > 0 && length < n {
		p.TFC = n - length
		p.Payload = p.Payload[:length:length]
	}
	return p, nil
}

// ipLength is the length that an inner IP header claims, 0 when there is none.
func ipLength(next uint8, b []byte) int {
	switch {
	case next == NextIPv4 && len(b) >= 20 && b[0]>>4 == 4:
		if n := int(binary.BigEndian.Uint16(b[2:])); n >= 20 {
			return n
		}
	case next == NextIPv6 && len(b) >= 40 && b[0]>>4 == 6:
		return 40 + int(binary.BigEndian.Uint16(b[4:]))
	}
	return 0
}

// String names the SA without its keys.
func (o *Opener) String() string { return Params{SPI: o.spi}.String() }

// Format keeps every fmt verb from printing the keys.
func (o *Opener) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(o.String())) }

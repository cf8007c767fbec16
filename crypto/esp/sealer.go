package esp

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"greseal/crypto/seal"
)

// ErrRoom says that a buffer is too short for the packet.
var ErrRoom = errors.New("the buffer has no room for the ESP packet")

// Sealer seals the packets of one outbound SA. Sequence may be shared; the rest
// is for one goroutine.
//
// A packet is built in place, in the buffer of its payload:
//
//	| SPI | sequence number | IV | payload | padding | pad length | next header | ICV |
//	|<------- Headroom -------->|<-- n --->|<---------------- tail ------------------>|
//
// An AEAD authenticates SPI and sequence number (with extended sequence numbers
// all 64 bits of it, RFC 4106 section 5) and the encrypted part. HMAC runs
// over everything before the ICV, and then over the high half of an extended
// sequence number, which is not sent (RFC 4303 section 2.2.1).
type Sealer struct {
	*Sequence

	spi uint32
	esn bool
	shape

	aead  cipher.AEAD
	nonce [seal.NonceBytes]byte
	aad   [12]byte

	cbc     ivSetter
	ivMaker cipher.Block
	mac     hash.Hash
	sum     [64]byte
	high    [4]byte
}

// ivSetter is implemented by the standard library's CBC modes; by it one of them serves
// all packets.
type ivSetter interface {
	cipher.BlockMode
	SetIV(iv []byte)
}

// NewSealer prepares an SA for sealing. The keys of p are not kept and may be
// wiped. rand is read once, for AES-CBC only.
func NewSealer(p Params, rand io.Reader) (*Sealer, error) {
	if err := Supported(p.Encr, p.Integ); err != nil {
		return nil, err
	}
	s := &Sealer{Sequence: newSequence(p.ESN), spi: p.SPI, esn: p.ESN, shape: shapeOf(p.Encr, p.Integ)}
	if p.Encr.IsAEAD() {
		aead, salt, err := seal.AEAD(p.Encr, p.Key)
		if err != nil {
			return nil, err
		}
		s.aead = aead
		copy(s.nonce[:], salt[:])
		return s, nil
	}
	block, mac, err := blockAndMAC(p)
	if err != nil {
		return nil, err
	}
	s.mac = mac
	if s.cbc, err = lasting(cipher.NewCBCEncrypter(block, make([]byte, aes.BlockSize))); err != nil {
		return nil, err
	}
	// IVs must be unpredictable (RFC 3602 section 3). Rather than reading random
	// bytes for each packet, encrypt the sequence number by a block cipher with a
	// random key of its own, which never repeats one.
	var key [16]byte
	defer clear(key[:])
	if _, err := io.ReadFull(rand, key[:]); err != nil {
		return nil, fmt.Errorf("randomness for IVs: %w", err)
	}
	s.ivMaker, err = aes.NewCipher(key[:])
	return s, err
}

func blockAndMAC(p Params) (cipher.Block, hash.Hash, error) {
	block, err := seal.Block(p.Encr, p.Key)
	if err != nil {
		return nil, nil, err
	}
	mac, err := seal.MAC(p.Integ, p.AuthKey)
	return block, mac, err
}

func lasting(mode cipher.BlockMode) (ivSetter, error) {
	m, ok := mode.(ivSetter)
	if !ok {
		return nil, errors.New("this Go's AES-CBC can't be reused for a second packet")
	}
	return m, nil
}

// SPI is the SA's.
func (s *Sealer) SPI() uint32 { return s.spi }

// Headroom is where the payload begins in the buffer given to Seal, in octets.
func (s *Sealer) Headroom() int { return s.head() }

// PacketLen is the length of the packet that n octets of payload become.
func (s *Sealer) PacketLen(n int) int { return s.packet(n) }

// Seal makes the n octets at buf[Headroom():] into a packet, which begins at buf[0],
// and returns its length. seq was reserved from Sequence and
// must not be used twice: with an AEAD it is the IV. Seal allocates nothing.
func (s *Sealer) Seal(buf []byte, n int, next uint8, seq uint64) (int, error) {
	if n < 0 || s.packet(n) > len(buf) {
		return 0, ErrRoom
	}
	iv := buf[HeaderBytes:s.head()]
	if s.aead != nil {
		binary.BigEndian.PutUint64(iv, seq)
	} else {
		clear(iv)
		binary.BigEndian.PutUint64(iv[8:], seq)
		s.ivMaker.Encrypt(iv, iv)
	}
	return s.sealWithIV(buf, n, next, seq), nil
}

// sealWithIV is Seal after the IV was written in its place.
func (s *Sealer) sealWithIV(buf []byte, n int, next uint8, seq uint64) int {
	head, end := s.head(), s.packet(n)-s.icv
	binary.BigEndian.PutUint32(buf, s.spi)
	binary.BigEndian.PutUint32(buf[4:], uint32(seq))
	// Padding is 1, 2, 3, … (RFC 4303 section 2.4).
	pad := buf[head+n : end-trailerBytes]
	for i := range pad {
		pad[i] = byte(i + 1)
	}
	buf[end-2], buf[end-1] = byte(len(pad)), next

	text := buf[head:end]
	if s.aead != nil {
		copy(s.nonce[4:], buf[HeaderBytes:head])
		s.aead.Seal(text[:0], s.nonce[:], text, associated(&s.aad, s.spi, seq, s.esn))
		return end + s.icv
	}
	s.cbc.SetIV(buf[HeaderBytes:head])
	s.cbc.CryptBlocks(text, text)
	copy(buf[end:end+s.icv], integrity(s.mac, &s.sum, &s.high, buf[:end], seq, s.esn))
	return end + s.icv
}

// associated builds the additional authenticated data of an AEAD (RFC 4106
// section 5, RFC 7634 section 2.1).
func associated(aad *[12]byte, spi uint32, seq uint64, esn bool) []byte {
	binary.BigEndian.PutUint32(aad[:], spi)
	if !esn {
		binary.BigEndian.PutUint32(aad[4:], uint32(seq))
		return aad[:8]
	}
	binary.BigEndian.PutUint64(aad[4:], seq)
	return aad[:12]
}

// integrity computes the untruncated MAC into sum.
func integrity(mac hash.Hash, sum *[64]byte, high *[4]byte, packet []byte, seq uint64, esn bool) []byte {
	mac.Reset()
	mac.Write(packet)
	if esn {
		binary.BigEndian.PutUint32(high[:], uint32(seq>>32))
		mac.Write(high[:])
	}
	return mac.Sum(sum[:0])
}

// String names the SA without its keys.
func (s *Sealer) String() string { return Params{SPI: s.spi}.String() }

// Format keeps every fmt verb from printing the keys.
func (s *Sealer) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// Package cookie makes and checks the cookies of IKE_SA_INIT (RFC 7296 section
// 2.6), by which an initiator shows that it receives at its address before a
// responder does anything for it.
package cookie

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"net/netip"
	"time"
)

// Jar makes cookies without keeping any state for them (RFC 7296 section
// 2.6): the number of the secret, then a MAC over Ni, the address and SPIi. The
// key exchange value is left out, so that a cookie also serves the request that
// follows INVALID_KE_PAYLOAD (section 2.6.1). The zero value is ready for use; it is
// not safe for concurrent use.
type Jar struct {
	secrets [2][32]byte // the current one and the one before
	number  byte
	made    time.Duration
	filled  int
}

const (
	Life   = 60 * time.Second // of a secret; the one before is still good
	length = 1 + 16
)

// Make returns a fresh cookie, nil when there is no randomness.
func (j *Jar) Make(now time.Duration, rand io.Reader, spiI uint64, ni []byte, from netip.Addr) []byte {
	if j.filled == 0 || now-j.made >= Life {
		j.secrets[1] = j.secrets[0]
		if _, err := io.ReadFull(rand, j.secrets[0][:]); err != nil {
			return nil
		}
		if j.filled > 0 && now-j.made >= 2*Life {
			j.filled = 0 // what was before is too old
		}
		j.filled = min(j.filled+1, 2)
		j.number++
		j.made = now
	}
	return j.cookie(0, spiI, ni, from)
}

func (j *Jar) cookie(which int, spiI uint64, ni []byte, from netip.Addr) []byte {
	mac := hmac.New(sha256.New, j.secrets[which][:])
	var spi [8]byte
	binary.BigEndian.PutUint64(spi[:], spiI)
	mac.Write(spi[:])
	a := from.As16()
	mac.Write(a[:])
	mac.Write(ni)
	return mac.Sum([]byte{j.number - byte(which)})[:length]
}

// Valid tells whether a cookie is one of ours for this request.
func (j *Jar) Valid(now time.Duration, cookie []byte, spiI uint64, ni []byte, from netip.Addr) bool {
	if len(cookie) != length || j.filled == 0 || now-j.made >= 2*Life {
		return false
	}
	which := int(j.number - cookie[0])
	return which < j.filled && hmac.Equal(cookie, j.cookie(which, spiI, ni, from))
}

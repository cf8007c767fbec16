package ikev2

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"time"
)

// halfKey knows a repeated IKE_SA_INIT request again: by all of it (RFC 7296
// section 2.1), since two peers behind one NAT may choose the same SPI.
type halfKey [16]byte

func halfKeyOf(datagram []byte) (k halfKey) {
	sum := sha256.Sum256(datagram)
	copy(k[:], sum[:])
	return k
}

// cookieJar makes cookies without keeping any state for them (RFC 7296 section
// 2.6): the number of the secret, then a MAC over Ni, the address and SPIi. The
// key exchange value is left out, so that a cookie also serves the request that
// follows INVALID_KE_PAYLOAD (section 2.6.1).
type cookieJar struct {
	secrets [2][32]byte // the current one and the one before
	number  byte
	made    Time
	filled  int
}

const (
	cookieLife = 60 * time.Second // of a secret; the one before is still good
	cookieLen  = 1 + 16
)

// make returns a fresh cookie, nil when there is no randomness.
func (j *cookieJar) make(now Time, r random, spiI uint64, ni []byte, from netip.Addr) []byte {
	if j.filled == 0 || now-j.made >= cookieLife {
		j.secrets[1] = j.secrets[0]
		if !r.fill(j.secrets[0][:]) {
			return nil
		}
		if j.filled > 0 && now-j.made >= 2*cookieLife {
			j.filled = 0 // what was before is too old
		}
		j.filled = min(j.filled+1, 2)
		j.number++
		j.made = now
	}
	return j.cookie(0, spiI, ni, from)
}

func (j *cookieJar) cookie(which int, spiI uint64, ni []byte, from netip.Addr) []byte {
	mac := hmac.New(sha256.New, j.secrets[which][:])
	var spi [8]byte
	binary.BigEndian.PutUint64(spi[:], spiI)
	mac.Write(spi[:])
	a := from.As16()
	mac.Write(a[:])
	mac.Write(ni)
	return mac.Sum([]byte{j.number - byte(which)})[:cookieLen]
}

// valid tells whether a cookie is one of ours for this request.
func (j *cookieJar) valid(now Time, cookie []byte, spiI uint64, ni []byte, from netip.Addr) bool {
	if len(cookie) != cookieLen || j.filled == 0 || now-j.made >= 2*cookieLife {
		return false
	}
	which := int(j.number - cookie[0])
	return which < j.filled && hmac.Equal(cookie, j.cookie(which, spiI, ni, from))
}

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

// Bounds of what unauthenticated requests can make us keep.
const (
	halfOpenLife   = 20 * time.Second // without IKE_AUTH
	cookieFrom     = 32               // half-open SAs from which on cookies are asked for
	cookieFromHere = 4                // the same, of one address
	halfOpenMax    = 1024
	halfOpenHere   = 24
)

// halfOpen counts the IKE SAs of a responder that wait for IKE_AUTH, and finds
// them by their request. An SA stays findable for a while once it is
// authenticated, so that a late repetition of its request starts nothing new.
type halfOpen struct {
	count int
	here  map[netip.Addr]int
	sas   map[halfKey]*ikeSA
	done  []doneHalf // authenticated, in the order they are forgotten
}

type doneHalf struct {
	key   halfKey
	until Time
}

// source is what limits are kept by: an address, or an IPv6 network of /64.
func source(a netip.Addr) netip.Addr {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// enter counts a new half-open SA.
func (h *halfOpen) enter(s *ikeSA) {
	if h.sas == nil {
		h.sas, h.here = map[halfKey]*ikeSA{}, map[netip.Addr]int{}
	}
	h.count++
	h.here[source(s.remote.Addr())]++
	h.sas[s.shake.key] = s
}

// leave ends the counting: IKE_AUTH came, and until then repetitions of the
// request are known; or it did not, with until 0. It must be called while
// s.remote still is what it was.
func (h *halfOpen) leave(s *ikeSA, until Time) {
	if until == 0 {
		delete(h.sas, s.shake.key)
	} else {
		h.done = append(h.done, doneHalf{s.shake.key, until})
	}
	h.count--
	src := source(s.remote.Addr())
	if h.here[src]--; h.here[src] <= 0 {
		delete(h.here, src)
	}
}

// forget ends the memory of authenticated SAs' requests.
func (h *halfOpen) forget(now Time) {
	for len(h.done) > 0 && h.done[0].until <= now {
		delete(h.sas, h.done[0].key)
		h.done = h.done[1:]
	}
}

// admission is what is done with a new IKE_SA_INIT request.
type admission uint8

const (
	admit admission = iota
	askCookie
	turnAway
)

// admission decides by how much is half-open already; proved says that the
// request came with a valid cookie.
func (h *halfOpen) admission(from netip.Addr, proved bool) admission {
	here := h.here[source(from)]
	switch {
	case !proved && (h.count >= cookieFrom || here >= cookieFromHere):
		return askCookie
	case h.count >= halfOpenMax || here >= halfOpenHere:
		return turnAway
	}
	return admit
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

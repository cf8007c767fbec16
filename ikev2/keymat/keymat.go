// Package keymat holds the keys of an IKE SA and derives those of its Child SAs
// (RFC 7296 sections 2.14, 2.17 and 2.18, RFC 8784 section 3). It knows the key
// derivation and nothing of exchanges; who calls it has agreed on a suite and has
// the shared secrets. Keys print as nothing and are wiped when they are over.
package keymat

import (
	"fmt"
	"io"

	"greseal/crypto/esp"
	"greseal/crypto/prf"
	"greseal/crypto/seal"
	"greseal/crypto/suite"
	"greseal/ikev2/wire"
)

// Keys are the secrets of one IKE SA (RFC 7296 section 2.14).
type Keys struct {
	PRF    prf.PRF
	D      []byte      // SK_d
	Pi, Pr []byte      // SK_pi and SK_pr, until both sides are authenticated
	Out    wire.Sealer // what we send
	In     wire.Opener // what we receive

	unmixed [3][]byte // SK_d', SK_pi' and SK_pr': without the post-quantum pre-shared key
}

// New splits SKEYSEED's expansion for an IKE SA; rand is for the ciphers' IVs. It
// wipes skeyseed. It fails where an algorithm of the suite is not known.
func New(s suite.Suite, initiator bool, skeyseed, ni, nr []byte, spiI, spiR uint64, rand io.Reader) (*Keys, error) {
	defer clear(skeyseed)
	p, err := prf.New(s.PRF.ID)
	if err != nil {
		return nil, err
	}
	all, err := p.IKEKeys(s, skeyseed, ni, nr, spiI, spiR)
	if err != nil {
		return nil, err
	}
	i, err := seal.New(s.Encr, s.Integ, all.Ei, all.Ai, rand)
	if err != nil {
		all.Wipe()
		return nil, err
	}
	r, err := seal.New(s.Encr, s.Integ, all.Er, all.Ar, rand)
	if err != nil {
		all.Wipe()
		return nil, err
	}
	clear(all.Ei)
	clear(all.Er)
	clear(all.Ai)
	clear(all.Ar)
	// SK_d outlives the others; a copy lets them be freed.
	k := &Keys{PRF: p, D: append([]byte(nil), all.D...), Pi: all.Pi, Pr: all.Pr, Out: Sealer{i}, In: Sealer{r}}
	clear(all.D)
	if !initiator {
		k.Out, k.In = Sealer{r}, Sealer{i}
	}
	return k, nil
}

// Next derives the SKEYSEED of the IKE SA that comes of this one, by its PRF (RFC
// 7296 section 2.18, RFC 9370 section 2.2.2):
//
//	SKEYSEED = prf(SK_d, shared | Ni | Nr | additional…)
func (k *Keys) Next(shared, ni, nr []byte, additional ...[]byte) []byte {
	return k.PRF.NextSKEYSEED(k.D, shared, ni, nr, additional...)
}

// Mix mixes a post-quantum pre-shared key in, and keeps the keys without it until
// both sides are authenticated (RFC 8784 section 3):
//
//	SK_d = prf+ (PPK, SK_d'), SK_pi = prf+ (PPK, SK_pi'), SK_pr = prf+ (PPK, SK_pr')
func (k *Keys) Mix(ppk []byte) error {
	was := [3][]byte{k.D, k.Pi, k.Pr}
	var out [3][]byte
	for i, old := range was {
		var err error
		if out[i], err = k.PRF.Plus(ppk, len(old), old); err != nil {
			return err
		}
	}
	k.unmixed = was
	k.D, k.Pi, k.Pr = out[0], out[1], out[2]
	return nil
}

// Unmix goes back to the keys without it, after Mix.
func (k *Keys) Unmix() {
	for _, b := range [][]byte{k.D, k.Pi, k.Pr} {
		clear(b)
	}
	k.D, k.Pi, k.Pr = k.unmixed[0], k.unmixed[1], k.unmixed[2]
	k.unmixed = [3][]byte{}
}

// Authenticated wipes what only AUTH payloads need.
func (k *Keys) Authenticated() {
	for _, b := range append([][]byte{k.Pi, k.Pr}, k.unmixed[:]...) {
		clear(b)
	}
	k.Pi, k.Pr, k.unmixed = nil, nil, [3][]byte{}
}

// Wipe ends the keys.
func (k *Keys) Wipe() {
	k.Authenticated()
	clear(k.D)
	k.D = nil
	for _, s := range []any{k.Out, k.In} {
		if s, ok := s.(Sealer); ok { // what a test has made transparent has no key
			s.c.Wipe()
		}
	}
}

// String and Format keep the secrets out of every output.
func (k *Keys) String() string             { return "IKE SA keys" }
func (k *Keys) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("IKE SA keys")) }

// Sealer fits crypto/seal to wire.Sealer and wire.Opener.
type Sealer struct{ c *seal.Cipher }

// NewSealer returns a Sealer of a cipher.
func NewSealer(c *seal.Cipher) Sealer { return Sealer{c} }

// Overhead is by how many bytes n bytes of plaintext grow.
func (s Sealer) Overhead(n int) int { return s.c.BodyLen(n) - n }

// Seal appends the sealed plaintext to dst (wire.Sealer).
func (s Sealer) Seal(dst, aad, plaintext []byte) ([]byte, error) {
	if len(aad) == len(dst) {
		return s.c.Seal(dst, plaintext)
	}
	out, err := s.c.Seal(append([]byte(nil), aad...), plaintext)
	if err != nil {
		return nil, err
	}
	return append(dst, out[len(aad):]...), nil
}

// Open appends the plaintext to dst (wire.Opener).
func (s Sealer) Open(dst, aad, sealed []byte) ([]byte, error) {
	// Opening works in place and spoils what is not authentic.
	msg := make([]byte, 0, len(aad)+len(sealed))
	msg = append(append(msg, aad...), sealed...)
	plain, err := s.c.Open(msg, len(aad))
	if err != nil {
		return nil, err
	}
	if dst == nil {
		return plain, nil
	}
	return append(dst, plain...), nil
}

// ChildKeys derives both directions of a Child SA (RFC 7296 section 2.17).
// initiator is our role in the exchange that makes it; shared is empty without
// a key exchange and is wiped; additional are the secrets of IKE_FOLLOWUP_KE (RFC
// 9370 section 2.2.4).
func (k *Keys) ChildKeys(s suite.Suite, initiator bool, shared, ni, nr []byte, spiIn, spiOut uint32, additional ...[]byte) (in, out *esp.Params, err error) {
	defer clear(shared)
	ck, err := k.PRF.ChildKeys(s, k.D, shared, ni, nr, additional...)
	if err != nil {
		return nil, nil, err
	}
	in = &esp.Params{SPI: spiIn, Encr: s.Encr, Integ: s.Integ, ESN: s.ESN, Key: ck.Er, AuthKey: ck.Ar}
	out = &esp.Params{SPI: spiOut, Encr: s.Encr, Integ: s.Integ, ESN: s.ESN, Key: ck.Ei, AuthKey: ck.Ai}
	if !initiator {
		in.Key, out.Key = out.Key, in.Key
		in.AuthKey, out.AuthKey = out.AuthKey, in.AuthKey
	}
	return in, out, nil
}

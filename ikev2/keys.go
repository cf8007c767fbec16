package ikev2

import (
	"fmt"

	"greseal/crypto/esp"
	"greseal/crypto/prf"
	"greseal/crypto/seal"
	"greseal/crypto/suite"
	"greseal/ikev2/wire"
)

// keys are the secrets of one IKE SA (RFC 7296 section 2.14). They print as
// nothing.
type keys struct {
	prf    prf.PRF
	d      []byte      // SK_d
	pi, pr []byte      // SK_pi and SK_pr, until both sides are authenticated
	out    wire.Sealer // what we send
	in     wire.Opener // what we receive
}

// newKeys splits SKEYSEED's expansion for an SA. It wipes skeyseed.
func (e *Engine) newKeys(s suite.Suite, initiator bool, skeyseed, ni, nr []byte, spiI, spiR uint64) (*keys, error) {
	defer clear(skeyseed)
	p, err := prf.New(s.PRF.ID)
	if err != nil {
		return nil, err
	}
	all, err := p.IKEKeys(s, skeyseed, ni, nr, spiI, spiR)
	if err != nil {
		return nil, err
	}
	i, err := seal.New(s.Encr, s.Integ, all.Ei, all.Ai, e.rnd.r)
	if err != nil {
		all.Wipe()
		return nil, err
	}
	r, err := seal.New(s.Encr, s.Integ, all.Er, all.Ar, e.rnd.r)
	if err != nil {
		all.Wipe()
		return nil, err
	}
	clear(all.Ei)
	clear(all.Er)
	clear(all.Ai)
	clear(all.Ar)
	// SK_d outlives the others; a copy lets them be freed.
	k := &keys{prf: p, d: append([]byte(nil), all.D...), pi: all.Pi, pr: all.Pr, out: sealer{i}, in: sealer{r}}
	clear(all.D)
	if !initiator {
		k.out, k.in = sealer{r}, sealer{i}
	}
	return k, nil
}

// authenticated wipes what only AUTH payloads need.
func (k *keys) authenticated() {
	clear(k.pi)
	clear(k.pr)
	k.pi, k.pr = nil, nil
}

func (k *keys) wipe() {
	k.authenticated()
	clear(k.d)
	k.d = nil
	for _, s := range []any{k.out, k.in} {
		if s, ok := s.(sealer); ok { // what a test has made transparent has no key
			s.c.Wipe()
		}
	}
}

// String and Format keep the secrets out of every output.
func (k *keys) String() string             { return "IKE SA keys" }
func (k *keys) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("IKE SA keys")) }

// sealer fits crypto/seal to wire.Sealer and wire.Opener.
type sealer struct{ c *seal.Cipher }

func (s sealer) Overhead(n int) int { return s.c.BodyLen(n) - n }

func (s sealer) Seal(dst, aad, plaintext []byte) ([]byte, error) {
	if len(aad) == len(dst) {
		return s.c.Seal(dst, plaintext)
	}
	out, err := s.c.Seal(append([]byte(nil), aad...), plaintext)
	if err != nil {
		return nil, err
	}
	return append(dst, out[len(aad):]...), nil
}

func (s sealer) Open(dst, aad, sealed []byte) ([]byte, error) {
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

// childKeys derives both directions of a pair (RFC 7296 section 2.17).
// initiator is our role in the exchange that makes it; shared is empty without
// a key exchange and is wiped; additional are the secrets of IKE_FOLLOWUP_KE (RFC
// 9370 section 2.2.4).
func (k *keys) childKeys(s suite.Suite, initiator bool, shared, ni, nr []byte, spiIn, spiOut uint32, additional ...[]byte) (in, out *esp.Params, err error) {
	defer clear(shared)
	ck, err := k.prf.ChildKeys(s, k.d, shared, ni, nr, additional...)
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

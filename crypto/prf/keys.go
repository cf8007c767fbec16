package prf

import (
	"encoding/binary"
	"fmt"
	"log/slog"

	"greseal/crypto/suite"
)

// IKEKeys are the seven secrets of an IKE SA (RFC 7296 section 2.14). An AEAD
// has no Ai and Ar, and Ei and Er hold key and salt.
type IKEKeys struct {
	D, Ai, Ar, Ei, Er, Pi, Pr []byte
}

// IKEKeys derives and splits them:
//
//	{SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr}
//	              = prf+ (SKEYSEED, Ni | Nr | SPIi | SPIr)
//
// s is the suite of this IKE SA and p its PRF.
func (p PRF) IKEKeys(s suite.Suite, skeyseed, ni, nr []byte, spii, spir uint64) (*IKEKeys, error) {
	if len(skeyseed) == 0 {
		return nil, errShort
	}
	encr, integ, size := s.EncrKeyBytes(), s.IntegKeyBytes(), p.Size()
	if encr == 0 || integ == 0 && !s.IsAEAD() {
		return nil, fmt.Errorf("no key length known for the IKE suite %s", s)
	}
	var spis [16]byte
	binary.BigEndian.PutUint64(spis[:8], spii)
	binary.BigEndian.PutUint64(spis[8:], spir)
	all, err := p.Plus(skeyseed, 3*size+2*integ+2*encr, ni, nr, spis[:])
	if err != nil {
		return nil, err
	}
	next := splitter(all)
	return &IKEKeys{
		D:  next(size),
		Ai: next(integ), Ar: next(integ),
		Ei: next(encr), Er: next(encr),
		Pi: next(size), Pr: next(size),
	}, nil
}

// ChildKeys are the keys of a pair of ESP SAs. i is the initiator of the
// exchange that made them, not of the IKE SA: its outbound SA takes Ei and Ai.
type ChildKeys struct {
	Ei, Ai, Er, Ar []byte
}

// ChildKeys splits KEYMAT: the keys of the SA from the initiator to the
// responder come first, and of each SA the encryption key before the integrity
// key (RFC 7296 section 2.17). shared is empty without a key exchange of its
// own. p is the PRF of the IKE SA, s the suite of the Child SA.
func (p PRF) ChildKeys(s suite.Suite, skd, shared, ni, nr []byte, additional ...[]byte) (*ChildKeys, error) {
	if len(skd) == 0 {
		return nil, errShort
	}
	encr, integ := s.EncrKeyBytes(), s.IntegKeyBytes()
	if encr == 0 || integ == 0 && !s.IsAEAD() {
		return nil, fmt.Errorf("no key length known for the ESP suite %s", s)
	}
	all, err := p.KEYMAT(skd, 2*encr+2*integ, shared, ni, nr, additional...)
	if err != nil {
		return nil, err
	}
	next := splitter(all)
	return &ChildKeys{
		Ei: next(encr), Ai: next(integ),
		Er: next(encr), Ar: next(integ),
	}, nil
}

// splitter cuts pieces off, each with a capacity of its own so that nothing
// appended to one reaches the next.
func splitter(all []byte) func(n int) []byte {
	return func(n int) []byte {
		if n == 0 {
			return nil
		}
		piece := all[:n:n]
		all = all[n:]
		return piece
	}
}

// Wipe overwrites the keys.
func (k *IKEKeys) Wipe() {
	for _, b := range [][]byte{k.D, k.Ai, k.Ar, k.Ei, k.Er, k.Pi, k.Pr} {
		clear(b)
	}
}

// Wipe overwrites the keys.
func (k *ChildKeys) Wipe() {
	for _, b := range [][]byte{k.Ei, k.Ai, k.Er, k.Ar} {
		clear(b)
	}
}

// Keys print as their kind and nothing else, whatever the verb.

const (
	redactedIKE   = "IKE SA keys"
	redactedChild = "Child SA keys"
)

func (k IKEKeys) String() string               { return redactedIKE }
func (k IKEKeys) Format(f fmt.State, _ rune)   { _, _ = f.Write([]byte(redactedIKE)) }
func (k IKEKeys) LogValue() slog.Value         { return slog.StringValue(redactedIKE) }
func (k ChildKeys) String() string             { return redactedChild }
func (k ChildKeys) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redactedChild)) }
func (k ChildKeys) LogValue() slog.Value       { return slog.StringValue(redactedChild) }

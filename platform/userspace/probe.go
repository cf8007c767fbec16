package userspace

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"

	"greseal/crypto/esp"
	"greseal/crypto/suite"
)

// Supports returns nil when package esp computes the pair right on this machine:
// a CPU's or emulator's fault shows here and not as a tunnel that drops
// everything. Each pair is computed once.
func (d *Datapath) Supports(encr, integ suite.Transform) error {
	pair := [2]suite.Transform{encr, integ}
	if err, known := d.probed[pair]; known {
		return err
	}
	err := probe(encr, integ, esp.KnownAnswerFor)
	if d.probed == nil {
		d.probed = map[[2]suite.Transform]error{}
	}
	d.probed[pair] = err
	return err
}

func probe(encr, integ suite.Transform, answer func(encr, integ suite.Transform, esn bool) (esp.KnownAnswer, bool)) error {
	if err := esp.Supported(encr, integ); err != nil {
		return err
	}
	for _, esn := range []bool{false, true} {
		k, ok := answer(encr, integ, esn)
		if !ok {
			return fmt.Errorf("%s: no known answer to test it with", algorithm(encr, integ))
		}
		if err := compare(&k); err != nil {
			return fmt.Errorf("%s is computed wrongly on this machine (%w): leave it out of esp", algorithm(encr, integ), err)
		}
	}
	return nil
}

func compare(k *esp.KnownAnswer) error {
	opener, err := esp.NewOpener(k.Params)
	if err != nil {
		return err
	}
	p, err := opener.Open(bytes.Clone(k.Wire), new(esp.Window))
	if err != nil {
		return err
	}
	if p.Next != k.Next || !bytes.Equal(p.Payload, k.Payload) {
		return errors.New("the known packet opens to something else")
	}
	sealer, err := esp.NewSealer(k.Params, rand.Reader)
	if err != nil {
		return err
	}
	b := make([]byte, sealer.PacketLen(len(k.Payload)))
	copy(b[sealer.Headroom():], k.Payload)
	if _, err := sealer.Seal(b, len(k.Payload), k.Next, 1); err != nil {
		return err
	}
	// An AEAD's packet is a function of its sequence number; CBC's IV is random.
	if k.Params.Encr.IsAEAD() && !bytes.Equal(b, k.Wire) {
		return errors.New("the known packet is sealed to something else")
	}
	p, err = opener.Open(b, new(esp.Window))
	if err != nil || !bytes.Equal(p.Payload, k.Payload) {
		return fmt.Errorf("what is sealed does not open: %v", err)
	}
	return nil
}

func algorithm(encr, integ suite.Transform) string {
	if encr.IsAEAD() {
		return encr.String()
	}
	return encr.String() + " with " + integ.String()
}

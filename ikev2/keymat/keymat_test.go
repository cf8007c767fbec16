package keymat

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"greseal/crypto/suite"
)

// sides are the keys of both sides of one IKE SA.
func sides(t *testing.T) (i, r *Keys, s suite.Suite) {
	t.Helper()
	p, err := suite.ParseIKE("aes128gcm16-prfsha256-x25519")
	if err != nil {
		t.Fatal(err)
	}
	if s, _, err = suite.Choose([]suite.Proposal{p}, []suite.Proposal{p}); err != nil {
		t.Fatal(err)
	}
	make := func(initiator bool) *Keys {
		k, err := New(s, initiator, bytes.Repeat([]byte{7}, 32), []byte("ni"), []byte("nr"), 1, 2, rand.NewChaCha8([32]byte{}))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	return make(true), make(false), s
}

func TestEachSideOpensWhatTheOtherSeals(t *testing.T) {
	i, r, _ := sides(t)
	for _, way := range []struct{ from, to *Keys }{{i, r}, {r, i}} {
		body, err := way.from.Out.Seal([]byte("head"), []byte("head"), []byte("content"))
		if err != nil {
			t.Fatal(err)
		}
		plain, err := way.to.In.Open(nil, []byte("head"), body[4:])
		if err != nil || string(plain) != "content" {
			t.Errorf("%q, %v", plain, err)
		}
		if _, err := way.from.In.Open(nil, []byte("head"), body[4:]); err == nil {
			t.Error("a side opens what it has sealed itself")
		}
	}
}

func TestChildKeysOfBothSidesFit(t *testing.T) {
	i, r, _ := sides(t)
	p, err := suite.ParseESP("aes128gcm16")
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := suite.Choose([]suite.Proposal{p}, []suite.Proposal{p})
	if err != nil {
		t.Fatal(err)
	}
	inI, outI, err := i.ChildKeys(s, true, nil, []byte("ni"), []byte("nr"), 256, 257)
	if err != nil {
		t.Fatal(err)
	}
	inR, outR, err := r.ChildKeys(s, false, nil, []byte("ni"), []byte("nr"), 257, 256)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(inI.Key, outR.Key) || !bytes.Equal(outI.Key, inR.Key) || bytes.Equal(inI.Key, outI.Key) {
		t.Error("the keys of the two sides do not fit")
	}
	if inI.SPI != outR.SPI || outI.SPI != inR.SPI {
		t.Error("the SPIs of the two sides do not fit")
	}
}

func TestUnmixGivesTheKeysBeforeMix(t *testing.T) {
	k, _, _ := sides(t)
	before := [][]byte{bytes.Clone(k.D), bytes.Clone(k.Pi), bytes.Clone(k.Pr)}
	if err := k.Mix([]byte("a post-quantum preshared key")); err != nil {
		t.Fatal(err)
	}
	for n, b := range [][]byte{k.D, k.Pi, k.Pr} {
		if bytes.Equal(b, before[n]) {
			t.Errorf("key %d is not changed", n)
		}
	}
	k.Unmix()
	for n, b := range [][]byte{k.D, k.Pi, k.Pr} {
		if !bytes.Equal(b, before[n]) {
			t.Errorf("key %d does not come back", n)
		}
	}
}

func TestKeysAreWipedAndNeverPrinted(t *testing.T) {
	k, _, _ := sides(t)
	if err := k.Mix([]byte("a post-quantum preshared key")); err != nil {
		t.Fatal(err)
	}
	if out := fmt.Sprintf("%v %+v %#v %s %x", k, k, k, k, k); out != "IKE SA keys IKE SA keys IKE SA keys IKE SA keys IKE SA keys" {
		t.Errorf("printed: %s", out)
	}
	all := [][]byte{k.D, k.Pi, k.Pr, k.unmixed[0], k.unmixed[1], k.unmixed[2]}
	k.Wipe()
	for n, b := range all {
		if !bytes.Equal(b, make([]byte, len(b))) {
			t.Errorf("key %d is left", n)
		}
	}
}

package ikev2

import (
	"bytes"
	"crypto/sha256"
	"io"

	"greseal/crypto/kex"
	"greseal/crypto/suite"
)

// cheapKE is a key exchange that keeps nothing secret, for simulations, whose
// time real ones would fill: the shared secret is a hash of both public values,
// which have the lengths of the real ones.
type cheapKE struct {
	group  uint16
	public []byte
}

func (k *cheapKE) Group() uint16  { return k.group }
func (k *cheapKE) Public() []byte { return k.public }

func (k *cheapKE) Shared(peer []byte) ([]byte, error) {
	a, b := k.public, peer
	if bytes.Compare(b, a) < 0 {
		a, b = b, a
	}
	sum := sha256.Sum256(append(bytes.Clone(a), b...))
	return sum[:], nil
}

func cheapValue(length int, r io.Reader) ([]byte, error) {
	public := make([]byte, length)
	_, err := io.ReadFull(r, public[:min(length, 32)])
	return public, err
}

func cheapStart(group uint16, r io.Reader) (kex.Exchange, error) {
	public, err := cheapValue(kex.PublicLen(group), r)
	return &cheapKE{group, public}, err
}

func cheapRespond(group uint16, r io.Reader, peer []byte) (public, shared []byte, err error) {
	length := kex.PublicLen(group)
	if group == suite.KE_MLKEM_768 {
		length = 1088
	}
	if public, err = cheapValue(length, r); err != nil {
		return nil, nil, err
	}
	shared, err = (&cheapKE{group, public}).Shared(peer)
	return public, shared, err
}

// countStarts counts the key exchanges that are begun.
func countStarts(n *int, start func(uint16, io.Reader) (kex.Exchange, error)) func(uint16, io.Reader) (kex.Exchange, error) {
	return func(method uint16, r io.Reader) (kex.Exchange, error) {
		*n++
		return start(method, r)
	}
}

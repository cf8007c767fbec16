package ikev2

import (
	"bytes"

	"greseal/crypto/sign"
	"greseal/ikev2/wire"
)

// pinned is the peer's configured key. A key that the peer sends proves nothing
// by itself; when it is another one, saying so helps more than a signature that
// does not verify.
func (s *ikeSA) pinned(p *Peer, c *wire.Contents) (*sign.PublicKey, *Failure) {
	key := p.RawKeys.Peer
	for _, sent := range c.Certs {
		if sent.Encoding != wire.CertRawKey || bytes.Equal(sent.Data, key.SPKI()) {
			continue
		}
		theirs := "one that cannot be read"
		if k, err := sign.ParsePublicKey(sent.Data); err == nil {
			theirs = k.ShortFingerprint()
		}
		f := s.failure(FailAuthentication, "IKE_AUTH",
			"the peer's public key is not the configured one",
			"copy the peer's public key to peer_raw_key here, over a channel that nobody can tamper with")
		f.Ours, f.Theirs = "peer_raw_key "+key.ShortFingerprint(), "key "+theirs
		return nil, f
	}
	s.Auth.Key = key.Fingerprint()
	return key, nil
}

package peerconf

import (
	"encoding/pem"
	"time"

	"greseal/crypto/sign/cert"
)

// keyFile is a file that a script brings along, or that has to be there before.
type keyFile struct{ path, text string }

// proof is how the two ends authenticate, in swanctl.conf's words: lines of the
// sections local and remote, and the files they need below its folder.
type proof struct {
	local, remote   []string
	brought, needed []keyFile // of the needed ones, text says what goes in
}

func swanProof(s *side) proof {
	c := s.Credentials
	own, ca := s.label+".pem", s.label+"-ca.pem"
	key := keyFile{"private/" + own, "the private key of the other side"}
	switch {
	case c.Own != nil:
		p := proof{
			local:  []string{"auth = pubkey", "certs = " + own},
			remote: []string{"auth = pubkey", "cacerts = " + ca},
			needed: []keyFile{{"x509/" + own, "the certificate of the other side"}, key},
		}
		if text := s.authority(); text != "" {
			p.brought = []keyFile{{"x509ca/" + ca, text}}
		} else {
			p.needed = append(p.needed, keyFile{"x509ca/" + ca, "the authority of greseal's certificate"})
		}
		return p
	case c.RawOwn != nil && c.RawPeer != nil:
		return proof{
			local:   []string{"auth = pubkey", "pubkeys = " + own},
			remote:  []string{"auth = pubkey", "pubkeys = " + s.label + "-greseal.pem"},
			brought: []keyFile{{"pubkey/" + own, string(c.RawPeer.PEM())}, {"pubkey/" + s.label + "-greseal.pem", string(c.RawOwn.Public().PEM())}},
			needed:  []keyFile{key},
		}
	}
	return proof{local: []string{"auth = psk"}, remote: []string{"auth = psk"}}
}

// authority is the anchor of greseal's own certificate, in PEM, if it is one of
// those that the peer's must come from; else "".
func (s *side) authority() string {
	var all []*cert.Certificate
	for _, raw := range s.Credentials.Own.Payloads() {
		if c, err := cert.Parse(raw); err == nil {
			all = append(all, c)
		}
	}
	if len(all) == 0 || s.Credentials.Anchors == nil {
		return ""
	}
	chain, err := s.Credentials.Anchors.Verify(all[0], all[1:], cert.Options{Time: time.Now()})
	if err != nil {
		return ""
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: chain[len(chain)-1].Raw()}))
}

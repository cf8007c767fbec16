package ikev2

import (
	"errors"
	"time"

	"greseal/crypto/sign"
	"greseal/crypto/sign/cert"
	"greseal/ikev2/wire"
)

// certified finds the key that the peer's certificate gives to its identity: a
// path to an anchor, and a name that is what the peer claims to be.
func (e *Engine) certified(s *ikeSA, p *Peer, c *wire.Contents) (*sign.PublicKey, *Failure) {
	cs := p.Certificates
	leaf, others, err := received(c.Certs)
	e.chargeSignatures(s, 1+len(others))
	if err != nil {
		return nil, s.certificateFailure(err)
	}
	chain, err := cs.Anchors.Verify(leaf, others, cert.Options{Time: e.wall.now(e.now), CRLs: cs.CRLs})
	if err == nil {
		err = leaf.CheckIdentity(s.RemoteID, "the peer's")
	}
	if err == nil && !p.RemoteID.Matches(s.RemoteID) {
		// A peer may call itself by another of its names (RFC 7296 section
		// 3.5, RFC 4945 section 3.1); the one we expect must be in its
		// certificate.
		err = leaf.CheckPattern(p.RemoteID)
	}
	var key *sign.PublicKey
	if err == nil {
		key, err = leaf.PublicKey()
	}
	if err != nil {
		return nil, s.certificateFailure(err)
	}
	s.Auth.Subject, s.Auth.Issuer, s.Auth.Expires = leaf.Subject().String(), leaf.Issuer().String(), chain.Expires()
	return key, nil
}

// received reads the peer's certificates. The first is the one that
// authenticates it (RFC 7296 section 3.6); others that cannot be read are passed
// over, since a path may be found without them.
func received(payloads []*wire.Cert) (leaf *cert.Certificate, others []*cert.Certificate, err error) {
	seen := 0
	for _, p := range payloads {
		if p.Encoding != wire.CertX509 {
			continue
		}
		if seen++; seen > cert.MaxReceived {
			break
		}
		c, err := cert.Parse(p.Data)
		switch {
		case leaf == nil && err != nil:
			return nil, nil, err
		case leaf == nil:
			leaf = c
		case err == nil:
			others = append(others, c)
		}
	}
	switch {
	case leaf != nil:
		return leaf, others, nil
	case len(payloads) > 0:
		return nil, nil, &sign.Error{Reason: sign.Unsupported, Detail: "the peer sent " + payloads[0].Encoding.String() + " instead of a certificate", Remedy: "set the peer to send its X.509 certificate itself"}
	}
	return nil, nil, &sign.Error{Reason: sign.UnknownIssuer, Detail: "the peer sent no certificate", Remedy: "set the peer to send its certificate always (on strongSwan send_cert = always)"}
}

// certificateFailure explains an error about keys, certificates and signatures.
func (s *ikeSA) certificateFailure(err error) *Failure {
	f := s.failure(FailCertificate, "IKE_AUTH", "", "")
	if s.RemoteID.IsSet() {
		f.Theirs = "identity " + s.RemoteID.String()
	}
	var known *sign.Error
	if errors.As(err, &known) {
		f.Detail, f.Remedy = known.Detail, known.Remedy
	} else {
		f.Detail = err.Error()
	}
	return f
}

// SetWall tells the engine what time it is, for certificates (contract 7): wall
// is the wall time at now, already set right when the clock was never set.
// Without it no certificate is accepted.
func (e *Engine) SetWall(now Time, wall time.Time) { e.wall = wallClock{wall, now} }

// wallClock is the wall time as SetWall said it.
type wallClock struct {
	wall time.Time
	at   Time
}

// now is the wall time, zero when it is not known.
func (c wallClock) now(now Time) time.Time {
	if c.wall.IsZero() {
		return time.Time{}
	}
	return c.wall.Add(now - c.at)
}

// chargeSignatures takes what verifying signatures of an initiator costs, that is
// let go on in any case: its half-open SA was paid for.
func (e *Engine) chargeSignatures(s *ikeSA, n int) {
	if !s.Initiator && s.handshake != nil {
		e.half.charge(e.now, &s.handshake.standing, float64(n)*signatureCost)
	}
}

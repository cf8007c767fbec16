package doctor

import (
	"errors"
	"fmt"
	"time"

	"greseal/crypto/sign"
	"greseal/crypto/sign/cert"
	"greseal/crypto/sign/id"
	"greseal/ikev2"
)

// renewal is how long before the end of a certificate it is worth a word.
const renewal = 14 * 24 * time.Hour

// checkCertificates judges the own certificate by its dates, usages and name, the
// authorities by their dates, and repeats what was found wrong with the peer's.
func checkCertificates(x *exam) Step {
	k := &x.Tunnel.Credentials
	f := x.failure()
	if k.Own == nil {
		if f != nil && f.Kind == ikev2.FailCertificate {
			return x.told()
		}
		return skip("not used: the tunnel authenticates by " + map[bool]string{true: "raw public keys", false: "a pre-shared key"}[k.RawOwn != nil])
	}
	now := x.now.Wall
	if err := k.Own.Check(now, x.ownIdentity()); err != nil {
		s := certificateFault(err, "the own one, of "+x.Tunnel.Cert)
		if x.now.up() {
			s.Verdict = Warning // until the peers authenticate again
		}
		return s
	}
	var gone, good int
	var lastErr error
	for _, a := range k.Anchors.Certificates() {
		if err := a.CheckTime(now); err != nil {
			gone, lastErr = gone+1, err
		} else {
			good++
		}
	}
	switch {
	case good == 0 && gone > 0:
		return certificateFault(lastErr, "of the authorities in ca")
	case f != nil && f.Kind == ikev2.FailCertificate:
		return x.told().and(x.odd("", "ca")...)
	}
	if odd := x.odd("", "ca"); len(odd) > 0 {
		return warn("mend ca, if peers need what is wrong there", odd...)
	}
	says := describe("the own one", k.Own.Certificate())
	if x.now.up() && x.now.Tunnel.Peer.AuthDetail != "" {
		says = append(says, "the peer: "+x.now.Tunnel.Peer.AuthDetail)
	}
	if _, end := k.Own.Certificate().Validity(); end.Sub(now) < renewal {
		return warn("renew it in time: a tunnel that restarts after that stays down", says...)
	}
	if gone > 0 {
		return warn("take it out of ca, or renew it", append(says, lastErr.Error())...)
	}
	return fine(says...)
}

// ownIdentity is what we say we are.
func (x *exam) ownIdentity() id.ID {
	if x.Tunnel.LocalID != "" {
		if own, err := ikev2.ParseIdentity(x.Tunnel.LocalID); err == nil {
			return own
		}
	}
	return x.Tunnel.Credentials.Own.Identity()
}

func certificateFault(err error, whose string) Step {
	var known *sign.Error
	if errors.As(err, &known) {
		return fault(known.Remedy, whose+": "+known.Detail)
	}
	return fault("replace it", whose+": "+err.Error())
}

func describe(whose string, c *cert.Certificate) []string {
	_, end := c.Validity()
	return []string{fmt.Sprintf("%s is of %s, issued by %s, valid until %s", whose, c.Subject(), c.Issuer(), end.UTC().Format("2006-01-02"))}
}

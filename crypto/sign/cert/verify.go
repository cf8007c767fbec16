package cert

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"greseal/crypto/sign"
	"greseal/crypto/sign/dn"
	"greseal/crypto/sign/id"
)

// Bounds of what a peer can make us do.
const (
	// MaxReceived is how many certificates of one peer are looked at.
	MaxReceived = 12
	maxPath     = 8 // certificates in a path, anchor and peer included
	maxPaths    = 8 // tried for one peer
)

// Options are what Verify goes by.
type Options struct {
	// Time is the wall time, already set right when the clock was never set.
	Time time.Time
	// CRLs are the configured revocation lists; nil means that none are
	// configured and revocation is not checked. With lists, every certificate
	// below the anchor needs a current one from its issuer.
	CRLs *CRLs
}

// Chain is a verified path: the peer's certificate first, the anchor last.
type Chain []*Certificate

// Leaf is the peer's certificate.
func (c Chain) Leaf() *Certificate { return c[0] }

// Expires is when the first certificate of the path expires.
func (c Chain) Expires() time.Time {
	t := c[0].std.NotAfter
	for _, cert := range c[1:] {
		if cert.std.NotAfter.Before(t) {
			t = cert.std.NotAfter
		}
	}
	return t
}

// Verify finds a path from leaf over others (what the peer sent besides, in any
// order) to an anchor, and has crypto/x509 judge it: signatures, times, the right
// to issue, path lengths, name constraints, policies (RFC 5280 section 6). Usages
// and revocation are checked here. Signatures are checked from the anchor down,
// so no key is used that is not vouched for. It does not say that leaf is who the
// peer claims to be: that is CheckIdentity. The error is an *sign.Error.
func (a *Anchors) Verify(leaf *Certificate, others []*Certificate, o Options) (Chain, error) {
	if o.Time.IsZero() {
		return nil, &sign.Error{Reason: sign.NoClock, Detail: "the time is not known, so no certificate can be judged", Remedy: "set the clock"}
	}
	if len(others)+1 > MaxReceived {
		return nil, &sign.Error{Reason: sign.TooLarge, Detail: fmt.Sprintf("the peer sent %d certificates, more than %d", len(others)+1, MaxReceived), Remedy: "let it send the path to its authority and nothing else"}
	}
	if err := leaf.checkUse(); err != nil {
		return nil, err
	}
	s := search{anchors: a, others: others, options: o}
	s.extend(Chain{leaf})
	switch {
	case s.found != nil:
		return s.found, nil
	case s.best != nil:
		return nil, s.best
	}
	// No path at all: say where the longest one ended.
	return nil, a.unknown(s.end)
}

func (a *Anchors) unknown(end *Certificate) error {
	remedy := "add that authority to ca, or let the peer send the intermediate certificates between it and one of ours"
	switch {
	case len(a.certs) == 0:
		remedy = "name a file with the authority's certificate in ca"
	case end.SelfSigned():
		remedy = "add that certificate to ca, if it is the right one"
	}
	return &sign.Error{
		Reason: sign.UnknownIssuer,
		Detail: fmt.Sprintf("certificate %s is issued by %q, which is not trusted here (ca has %s)", end, dn.Format(end.std.RawIssuer), a.listed()),
		Remedy: remedy,
	}
}

func (a *Anchors) listed() string {
	out := "none"
	for n, c := range a.certs {
		switch {
		case n == 0:
			out = c.String()
		case n == 4:
			return out + fmt.Sprintf(" and %d more", len(a.certs)-n)
		default:
			out += ", " + c.String()
		}
	}
	return out
}

// search walks from the leaf upwards by names.
type search struct {
	anchors *Anchors
	others  []*Certificate
	options Options

	paths, steps int
	found        Chain
	best         error // of the path that failed last in the order of the checks
	bestRank     int
	end          *Certificate // of the longest walk that found no issuer
	endLength    int
}

func (s *search) extend(path Chain) {
	top := path[len(path)-1]
	if s.found != nil || s.paths >= maxPaths || s.steps >= 256 {
		return
	}
	s.steps++
	if s.anchors.contains(top) {
		s.try(path)
		return
	}
	for _, issuer := range issuers(top, s.anchors.certs) {
		if s.found == nil && s.paths < maxPaths && len(path) < maxPath && !slices.ContainsFunc(path, issuer.same) {
			s.try(append(slices.Clip(path), issuer))
		}
	}
	before := s.paths
	for _, issuer := range issuers(top, s.others) {
		if len(path) < maxPath-1 && !slices.ContainsFunc(path, issuer.same) {
			s.extend(append(slices.Clip(path), issuer))
		}
	}
	if s.paths == before && len(path) > s.endLength {
		s.end, s.endLength = top, len(path)
	}
}

// same: one certificate or two for the same name and key.
func (c *Certificate) same(o *Certificate) bool {
	return c.subjectKey == o.subjectKey && (bytes.Equal(c.std.Raw, o.std.Raw) || c.key != nil && o.key != nil && c.key.Equal(o.key))
}

// issuers are those of the certificates that have the name of c's issuer, the
// ones with its key identifier first.
func issuers(c *Certificate, among []*Certificate) []*Certificate {
	var out, rest []*Certificate
	for _, o := range among {
		switch {
		case o.subjectKey != c.issuerKey:
		case c.std.AuthorityKeyId != nil && bytes.Equal(c.std.AuthorityKeyId, o.std.SubjectKeyId):
			out = append(out, o)
		default:
			rest = append(rest, o)
		}
	}
	return append(out, rest...)
}

// Ranks of the checks, in their order: the explanation of the path that got
// furthest is the one to give.
const (
	rankSignature = iota + 1
	rankAuthority
	rankTime
	rankRevocation
)

func (s *search) try(path Chain) {
	s.paths++
	rank, err := s.check(path)
	if err == nil {
		s.found = slices.Clone(path)
		return
	}
	if rank > s.bestRank {
		s.best, s.bestRank = err, rank
	}
}

// check judges one path. The keys of the authorities are vouched for before
// crypto/x509 uses them; what it refuses is then explained, and nothing that it
// refuses is let through.
func (s *search) check(path Chain) (rank int, err error) {
	for i := len(path) - 2; i >= 0; i-- {
		if err = path[i].signable(path[i+1]); err == nil && i > 0 {
			err = path[i].signedBy(path[i+1])
		}
		if err != nil {
			return rankSignature, err
		}
	}
	if _, err := path[0].PublicKey(); err != nil {
		return rankSignature, err
	}
	refused := path.judge(s.options.Time)
	if refused != nil && len(path) > 1 {
		if err := path[0].signedBy(path[1]); err != nil {
			return rankSignature, err
		}
	}
	if err := path.checkAuthorities(); err != nil {
		return rankAuthority, err
	}
	if err := path.explain(refused); err != nil {
		return rankAuthority, err
	}
	for _, c := range path {
		if err := c.CheckTime(s.options.Time); err != nil {
			return rankTime, err
		}
	}
	if refused != nil {
		return rankAuthority, &sign.Error{Reason: sign.NotAuthority, Detail: fmt.Sprintf("certificate %s has no path that holds: %v", path[0], refused), Remedy: "let another authority issue it"}
	}
	if s.options.CRLs != nil {
		for i := len(path) - 2; i >= 0; i-- {
			if err := s.options.CRLs.check(path[i], path[i+1], s.options.Time); err != nil {
				return rankRevocation, err
			}
		}
	}
	return 0, nil
}

// judge is crypto/x509's verdict on exactly this path. It compares names byte by
// byte, so each certificate is shown with its issuer's name as the issuer has it:
// that they mean the same is known.
func (path Chain) judge(now time.Time) error {
	anchor := len(path) - 1
	o := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	o.Roots.AddCert(path[anchor].std)
	for i := anchor - 1; i > 0; i-- {
		o.Intermediates.AddCert(path[i].below(path[i+1]))
	}
	leaf := path[0].std
	if anchor > 0 {
		leaf = path[0].below(path[1])
	}
	chains, err := leaf.Verify(o)
	if err == nil && !slices.ContainsFunc(chains, func(c []*x509.Certificate) bool { return len(c) == len(path) }) {
		err = errors.New("some of its authorities did not issue the next one")
	}
	return err
}

func (c *Certificate) below(issuer *Certificate) *x509.Certificate {
	shown := *c.std
	shown.RawIssuer = issuer.std.RawSubject
	return &shown
}

// explain gives crypto/x509's refusals by names and policies their sentence; nil
// for all others.
func (path Chain) explain(refused error) error {
	var invalid x509.CertificateInvalidError
	if !errors.As(refused, &invalid) {
		return nil
	}
	switch invalid.Reason {
	case x509.CANotAuthorizedForThisName:
		return &sign.Error{Reason: sign.NameConstraint, Detail: fmt.Sprintf("certificate %s, or one above it, has a name that %s may not certify (name constraints): %s", path[0], path.limited(), invalid.Detail),
			Remedy: "let an authority issue it that may, or leave that name out"}
	case x509.NoValidChains:
		return &sign.Error{Reason: sign.NotAuthority, Detail: fmt.Sprintf("certificate %s lacks the certificate policies that its authorities insist on", path[0]), Remedy: "issue it with one of their policies"}
	}
	return nil
}

// checkAuthorities says which authority of a path may not do what it did.
func (path Chain) checkAuthorities() error {
	for i, c := range path {
		if i > 0 {
			if err := c.mayIssue(i-1, i == len(path)-1); err != nil {
				return err
			}
		}
		if u := c.std.UnhandledCriticalExtensions; len(u) > 0 {
			return &sign.Error{Reason: sign.CriticalUnknown, Detail: "certificate " + c.String() + " has extension " + u[0].String() + ", which must be obeyed and is not understood here", Remedy: "issue it without that extension, or let an authority issue the peer's certificate that has none"}
		}
		for j, lower := range path[:i] {
			// Self-issued certificates in the middle are not held to
			// constraints (RFC 5280 section 6.1.4 b).
			if j > 0 && lower.SelfSigned() {
				continue
			}
			if err := lower.checkLimits(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// signable reports whether the issuer's key can have made the signature, and may.
func (c *Certificate) signable(issuer *Certificate) error {
	switch {
	case issuer.keyErr != nil:
		return about(issuer, issuer.keyErr)
	case c.algorithmErr != nil:
		return about(c, c.algorithmErr)
	case c.algorithm.Hash == sign.SHA1:
		return about(c, &sign.Error{Reason: sign.WeakHash, Detail: "it is signed with SHA1, which can be forged", Remedy: "issue it anew with SHA2-256"})
	case issuer.key.Makes(c.algorithm) != nil:
		return notSigned(c, issuer)
	}
	return nil
}

// signedBy checks the signature with the issuer's key.
func (c *Certificate) signedBy(issuer *Certificate) error {
	if err := c.signable(issuer); err != nil {
		return err
	}
	if issuer.key.VerifySignature(c.algorithm, c.std.RawTBSCertificate, c.std.Signature) != nil {
		return notSigned(c, issuer)
	}
	return nil
}

func notSigned(c, issuer *Certificate) error {
	return &sign.Error{
		Reason: sign.BadSignature,
		Detail: fmt.Sprintf("certificate %s is not signed by the key of %s that we have", c, issuer),
		Remedy: "if that authority has a new key, put its new certificate into ca, or issue the certificate anew",
	}
}

// MayIssue reports whether it is an authority's, at its owner's word where the
// certificate says nothing.
func (c *Certificate) MayIssue() bool { return c.mayIssue(0, true) == nil }

// mayIssue checks the right to issue with below authorities in between.
func (c *Certificate) mayIssue(below int, anchor bool) error {
	bad := func(why, remedy string) error {
		return &sign.Error{Reason: sign.NotAuthority, Detail: "certificate " + c.String() + " " + why, Remedy: remedy}
	}
	switch {
	// Before version 3 nothing says who is an authority; an anchor of that
	// kind is taken at its owner's word.
	case c.std.Version == 3 && !c.std.IsCA || c.std.Version < 3 && !anchor:
		return bad("has issued another but is not that of an authority (basic constraints)", "let an authority issue the certificate")
	case !c.mayBeUsed(x509.KeyUsageCertSign):
		return bad("has issued another but is not for issuing (key usage)", "issue the authority's certificate with key usage keyCertSign")
	case c.std.BasicConstraintsValid && c.std.MaxPathLen >= 0 && below > c.std.MaxPathLen:
		return bad(fmt.Sprintf("allows %d authorities below it, and there are %d (path length)", c.std.MaxPathLen, below), "let an authority further up issue the certificate")
	case !c.forIKE():
		return bad("is that of an authority for other purposes (extended key usage)", "let an authority for all purposes issue the certificate")
	}
	return nil
}

// CheckTime reports whether the certificate is valid at a time: an *sign.Error
// with NotYetValid or Expired.
func (c *Certificate) CheckTime(now time.Time) error {
	switch {
	case now.Before(c.std.NotBefore):
		return &sign.Error{
			Reason: sign.NotYetValid,
			Detail: fmt.Sprintf("certificate %s is not valid before %s, and the clock here says %s", c, stamp(c.std.NotBefore), stamp(now)),
			Remedy: "set the clock here, or that of the machine that issued it",
		}
	case now.After(c.std.NotAfter):
		return &sign.Error{
			Reason: sign.Expired,
			Detail: fmt.Sprintf("certificate %s has been expired since %s, and the clock here says %s", c, stamp(c.std.NotAfter), stamp(now)),
			Remedy: "renew it, or set the clock here",
		}
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// CheckPattern reports whether one of the leaf's names fits a pattern; which
// names it has when none does.
func (c *Certificate) CheckPattern(p id.Pattern) error {
	if slices.ContainsFunc(c.Identities(), func(i id.ID) bool { return p.Matches(i) && c.Has(i) }) {
		return nil
	}
	return &sign.Error{
		Reason: sign.NameMismatch,
		Detail: fmt.Sprintf("expected is %s, and the peer's certificate has the names %s", p, c.listed()),
		Remedy: "set remote_id to one of these, or issue the certificate with the expected name",
	}
}

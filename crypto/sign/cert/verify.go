package cert

import (
	"bytes"
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
	t := c[0].notAfter
	for _, cert := range c[1:] {
		if cert.notAfter.Before(t) {
			t = cert.notAfter
		}
	}
	return t
}

// Verify finds a path from leaf over others (what the peer sent besides, in any
// order) to an anchor, and checks all of it: signatures, times, the right to
// issue, path lengths, name constraints, usages, revocation (RFC 5280 section
// 6). Signatures are checked from the anchor down, so no key is used that is not
// vouched for. It does not say that leaf is who the peer claims to be: that is
// CheckIdentity. The error is an *sign.Error.
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
		Detail: fmt.Sprintf("certificate %s is issued by %q, which is not trusted here (ca has %s)", end, dn.Format(end.issuer), a.listed()),
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
	return c.subjectKey == o.subjectKey && (bytes.Equal(c.raw, o.raw) || c.key != nil && o.key != nil && c.key.Equal(o.key))
}

// issuers are those of the certificates that have the name of c's issuer, the
// ones with its key identifier first.
func issuers(c *Certificate, among []*Certificate) []*Certificate {
	var out, rest []*Certificate
	for _, o := range among {
		switch {
		case o.subjectKey != c.issuerKey:
		case c.authorityKeyID != nil && bytes.Equal(c.authorityKeyID, o.subjectKeyID):
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

func (s *search) check(path Chain) (rank int, err error) {
	for i := len(path) - 2; i >= 0; i-- {
		if err := path[i].signedBy(path[i+1]); err != nil {
			return rankSignature, err
		}
	}
	if _, err := path[0].PublicKey(); err != nil {
		return rankSignature, err
	}
	below := 0 // certificates under an authority that count for its path length
	for i, c := range path {
		if i > 0 {
			if err := c.mayIssue(below, i == len(path)-1); err != nil {
				return rankAuthority, err
			}
			if !c.SelfSigned() {
				below++
			}
		}
		if c.critical != "" {
			return rankAuthority, &sign.Error{Reason: sign.CriticalUnknown, Detail: "certificate " + c.String() + " has extension " + c.critical + ", which must be obeyed and is not understood here", Remedy: "issue it without that extension, or let an authority issue the peer's certificate that has none"}
		}
		if c.constraints == nil {
			continue
		}
		for j, lower := range path[:i] {
			// Self-issued certificates in the middle are not held to
			// constraints (RFC 5280 section 6.1.4 b).
			if j > 0 && lower.SelfSigned() {
				continue
			}
			if err := c.constraints.check(lower, c); err != nil {
				return rankAuthority, err
			}
		}
	}
	for _, c := range path {
		if err := c.CheckTime(s.options.Time); err != nil {
			return rankTime, err
		}
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

// signedBy checks the signature with the issuer's key.
func (c *Certificate) signedBy(issuer *Certificate) error {
	switch {
	case issuer.keyErr != nil:
		return about(issuer, issuer.keyErr)
	case c.algorithmErr != nil:
		return about(c, c.algorithmErr)
	case c.algorithm.Hash == sign.SHA1:
		return about(c, &sign.Error{Reason: sign.WeakHash, Detail: "it is signed with SHA1, which can be forged", Remedy: "issue it anew with SHA2-256"})
	}
	err := issuer.key.VerifySignature(c.algorithm, c.tbs, c.signature)
	if err == nil {
		return nil
	}
	return &sign.Error{
		Reason: sign.BadSignature,
		Detail: fmt.Sprintf("certificate %s is not signed by the key of %s that we have", c, issuer),
		Remedy: "if that authority has a new key, put its new certificate into ca, or issue the certificate anew",
	}
}

// mayIssue checks the right to issue with below authorities in between.
func (c *Certificate) mayIssue(below int, anchor bool) error {
	bad := func(why, remedy string) error {
		return &sign.Error{Reason: sign.NotAuthority, Detail: "certificate " + c.String() + " " + why, Remedy: remedy}
	}
	switch {
	// Before version 3 nothing says who is an authority; an anchor of that
	// kind is taken at its owner's word.
	case c.version == 3 && !c.ca || c.version < 3 && !anchor:
		return bad("has issued another but is not that of an authority (basic constraints)", "let an authority issue the certificate")
	case c.hasUsage && c.usage&keyCertSign == 0:
		return bad("has issued another but is not for issuing (key usage)", "issue the authority's certificate with key usage keyCertSign")
	case c.maxPath >= 0 && below > c.maxPath:
		return bad(fmt.Sprintf("allows %d authorities below it, and there are %d (path length)", c.maxPath, below), "let an authority further up issue the certificate")
	case !c.forIKE():
		return bad("is that of an authority for other purposes (extended key usage)", "let an authority for all purposes issue the certificate")
	}
	return nil
}

// CheckTime reports whether the certificate is valid at a time: an *sign.Error
// with NotYetValid or Expired.
func (c *Certificate) CheckTime(now time.Time) error {
	switch {
	case now.Before(c.notBefore):
		return &sign.Error{
			Reason: sign.NotYetValid,
			Detail: fmt.Sprintf("certificate %s is not valid before %s, and the clock here says %s", c, stamp(c.notBefore), stamp(now)),
			Remedy: "set the clock here, or that of the machine that issued it",
		}
	case now.After(c.notAfter):
		return &sign.Error{
			Reason: sign.Expired,
			Detail: fmt.Sprintf("certificate %s has been expired since %s, and the clock here says %s", c, stamp(c.notAfter), stamp(now)),
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

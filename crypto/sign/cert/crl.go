package cert

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/cryptobyte"
	der "golang.org/x/crypto/cryptobyte/asn1"

	"greseal/crypto/sign"
	"greseal/crypto/sign/dn"
)

// MaxCRLFile bounds a file of revocation lists in bytes; a list is held in
// memory as it is.
const MaxCRLFile = 4 << 20

// CRL is a certificate revocation list (RFC 5280 section 5): a complete one of
// one issuer. Delta, indirect and partitioned lists are refused. It is read here
// and not by crypto/x509, which refuses version 1 (openssl ca -gencrl makes it by
// default) and takes 22 times the list's size in memory.
type CRL struct {
	tbs, issuer            []byte
	algorithm              sign.Algorithm
	signature              []byte
	thisUpdate, nextUpdate time.Time
	entries                cryptobyte.String // checked when it was read
	count                  int

	verified atomic.Pointer[sign.PublicKey] // the key its signature was right for
}

// Issuer is the issuer's name as text.
func (l *CRL) Issuer() string { return dn.Format(l.issuer) }

// Updates are the times the list was made and the next one is due.
func (l *CRL) Updates() (this, next time.Time) { return l.thisUpdate, l.nextUpdate }

// Len is the number of revoked certificates.
func (l *CRL) Len() int { return l.count }

// CRLs are the configured revocation lists.
type CRLs struct{ lists []*CRL }

// Lists are the lists in the order they were given.
func (s *CRLs) Lists() []*CRL { return s.lists }

func badCRL(reason sign.Reason, what, remedy string) error {
	return &sign.Error{Reason: reason, Detail: "the revocation list " + what, Remedy: remedy}
}

// NewCRLs reads the contents of crl files: PEM ("X509 CRL", several in one
// file), or one list in DER. With no file at all it still stands for a policy
// that needs lists.
func NewCRLs(files ...[]byte) (*CRLs, error) {
	s := &CRLs{}
	for _, f := range files {
		if len(f) > MaxCRLFile {
			return nil, badCRL(sign.TooLarge, fmt.Sprintf("has more than %d bytes", MaxCRLFile), "let the authority leave out expired certificates")
		}
		if len(f) > 0 && f[0] == byte(der.SEQUENCE) {
			l, err := ParseCRL(f)
			if err != nil {
				return nil, err
			}
			s.lists = append(s.lists, l)
			continue
		}
		found := false
		for rest := f; ; {
			var block *pem.Block
			if block, rest = pem.Decode(rest); block == nil {
				break
			}
			if block.Type != "X509 CRL" && block.Type != "CRL" {
				continue
			}
			l, err := ParseCRL(block.Bytes)
			if err != nil {
				return nil, err
			}
			s.lists, found = append(s.lists, l), true
		}
		if !found {
			return nil, &sign.Error{Reason: sign.Malformed, Detail: "the file holds no revocation list", Remedy: "it must have -----BEGIN X509 CRL----- in it, or be a list in DER"}
		}
	}
	return s, nil
}

// ParseCRL reads a revocation list in DER.
func ParseCRL(raw []byte) (*CRL, error) {
	l := &CRL{}
	in := cryptobyte.String(bytes.Clone(raw))
	var signed, algorithm cryptobyte.String
	if !in.ReadASN1(&signed, der.SEQUENCE) || !in.Empty() ||
		!signed.ReadASN1Element((*cryptobyte.String)(&l.tbs), der.SEQUENCE) || !signed.ReadASN1Element(&algorithm, der.SEQUENCE) ||
		!signed.ReadASN1BitStringAsBytes(&l.signature) || !signed.Empty() {
		return nil, malformedCRL()
	}
	var err error
	if l.algorithm, err = sign.ParseAlgorithm(algorithm); err != nil {
		return nil, prefixed("the revocation list", err)
	}
	extensions, err := l.readTBS(algorithm)
	if err == nil {
		err = l.checkEntries()
	}
	if err == nil {
		err = l.checkExtensions(extensions)
	}
	if err != nil {
		return nil, err
	}
	return l, nil
}

func malformedCRL() error {
	return badCRL(sign.Malformed, "is malformed", "get it from the authority again")
}

// readTBS reads what is signed and returns the extensions.
func (l *CRL) readTBS(algorithm []byte) (extensions cryptobyte.String, err error) {
	in := cryptobyte.String(l.tbs)
	var inner cryptobyte.String
	version := 0 // the default, version 1
	if !in.ReadASN1(&in, der.SEQUENCE) || in.PeekASN1Tag(der.INTEGER) && (!in.ReadASN1Integer(&version) || version != 1) ||
		!in.ReadASN1Element(&inner, der.SEQUENCE) || !bytes.Equal(inner, algorithm) ||
		!in.ReadASN1Element((*cryptobyte.String)(&l.issuer), der.SEQUENCE) || !dn.Valid(l.issuer) || !readTime(&in, &l.thisUpdate) {
		return nil, malformedCRL()
	}
	if !isTime(in) {
		return nil, badCRL(sign.Malformed, "of "+l.Issuer()+" does not say when the next one is due", "let the authority write nextUpdate into it")
	}
	ok := readTime(&in, &l.nextUpdate) && in.ReadOptionalASN1(&l.entries, nil, der.SEQUENCE)
	if version == 1 {
		ok = ok && in.ReadOptionalASN1(&extensions, nil, context(0).Constructed()) &&
			(extensions == nil || extensions.ReadASN1(&extensions, der.SEQUENCE))
	}
	if !ok || !in.Empty() {
		return nil, malformedCRL()
	}
	return extensions, nil
}

// checkEntries reads each entry, and counts them.
func (l *CRL) checkEntries() error {
	for rest := l.entries; !rest.Empty(); l.count++ {
		switch e, ok := nextEntry(&rest); {
		case !ok:
			return malformedCRL()
		case e.partial != "":
			return l.part(e.partial)
		case e.critical != "":
			return badCRL(sign.CriticalUnknown, "of "+l.Issuer()+" has an entry with the critical extension "+e.critical+", which is not understood here", "let the authority make a list without it")
		}
	}
	return nil
}

func (l *CRL) checkExtensions(list cryptobyte.String) error {
	critical, partial, ok := extensionsOf(list, partialLists)
	switch {
	case !ok:
		return malformedCRL()
	case partial != "":
		return l.part(partial)
	case critical != "":
		return badCRL(sign.CriticalUnknown, "of "+l.Issuer()+" has the critical extension "+critical+", which is not understood here", completeList)
	}
	return nil
}

func isTime(in cryptobyte.String) bool {
	return in.PeekASN1Tag(der.UTCTime) || in.PeekASN1Tag(der.GeneralizedTime)
}

func readTime(in *cryptobyte.String, t *time.Time) bool {
	if in.PeekASN1Tag(der.UTCTime) {
		return in.ReadASN1UTCTime(t)
	}
	return in.ReadASN1GeneralizedTime(t)
}

const completeList = "use the authority's complete list: one, of all its certificates and for all reasons"

// part says that a list is not a complete one, by which of its extensions.
func (l *CRL) part(what string) error {
	return badCRL(sign.CriticalUnknown, "of "+l.Issuer()+" is no complete one: "+what, completeList)
}

// What makes a list other than a complete one of its issuer, by OID. RFC 5280
// (5.2.4, 5.2.5, 5.3.3) wants these extensions critical; a list is no more
// complete when its issuer forgot that.
var (
	partialLists = map[string]string{
		"\x55\x1d\x1b": "it is a delta to another list (extension 2.5.29.27)",
		"\x55\x1d\x1c": "its issuing distribution point (extension 2.5.29.28) makes it one for some certificates or reasons only, or of several authorities",
	}
	partialEntries = map[string]string{
		"\x55\x1d\x1d": "it has entries of other authorities (extension 2.5.29.29)",
	}
)

// extensionsOf reads extensions and returns the first critical one, of which none
// is understood here, and what the first of those in partial means.
func extensionsOf(list cryptobyte.String, partial map[string]string) (critical, found string, ok bool) {
	for !list.Empty() {
		oid, _, must, ok := nextExtension(&list)
		if !ok {
			return "", "", false
		}
		if found == "" {
			found = partial[string(oid)]
		}
		if must && critical == "" {
			critical = dotted(oid)
		}
	}
	return critical, found, true
}

func nextExtension(list *cryptobyte.String) (oid, value cryptobyte.String, critical, ok bool) {
	var ext cryptobyte.String
	ok = list.ReadASN1(&ext, der.SEQUENCE) && ext.ReadASN1(&oid, der.OBJECT_IDENTIFIER) &&
		(!ext.PeekASN1Tag(der.BOOLEAN) || ext.ReadASN1Boolean(&critical)) &&
		ext.ReadASN1(&value, der.OCTET_STRING) && ext.Empty()
	return oid, value, critical, ok
}

// dotted writes the contents of an OID.
func dotted(oid []byte) string {
	var o x509.OID
	if o.UnmarshalBinary(oid) != nil {
		return "#" + fmt.Sprintf("%x", oid)
	}
	return o.String()
}

// oidReason is the contents of the OID of the reasonCode of an entry;
// removeFromCRL is the code that only deltas have (RFC 5280 section 5.3.1).
const (
	oidReason     = "\x55\x1d\x15"
	removeFromCRL = 8
)

type entry struct {
	serial   []byte            // contents of the INTEGER
	since    cryptobyte.String // the element
	reason   int
	critical string // a critical extension, none of which is understood here
	partial  string // why a list with this entry is no complete one
}

// nextEntry reads an entry without allocating: there can be many.
func nextEntry(in *cryptobyte.String) (e entry, ok bool) {
	var body, serial, list cryptobyte.String
	if !in.ReadASN1(&body, der.SEQUENCE) || !body.ReadASN1(&serial, der.INTEGER) || !shortest(serial) ||
		!isTime(body) || !body.ReadAnyASN1Element(&e.since, nil) {
		return e, false
	}
	e.serial = serial
	if body.Empty() {
		return e, true
	}
	if !body.ReadASN1(&list, der.SEQUENCE) || !body.Empty() {
		return e, false
	}
	if e.critical, e.partial, ok = extensionsOf(list, partialEntries); !ok {
		return e, false
	}
	for !list.Empty() {
		oid, value, _, _ := nextExtension(&list)
		if string(oid) != oidReason {
			continue
		}
		if !value.ReadASN1Enum(&e.reason) || !value.Empty() {
			return e, false
		}
		if e.reason == removeFromCRL {
			e.partial = "it takes certificates off another list, as deltas do (reason removeFromCRL)"
		}
	}
	return e, true
}

// shortest reports whether these are the contents of an INTEGER in its one form.
func shortest(b []byte) bool {
	return len(b) == 1 || len(b) > 1 && !(b[0] == 0 && b[1] < 0x80 || b[0] == 0xff && b[1] >= 0x80)
}

// reasons are the CRLReasons of RFC 5280 section 5.3.1.
var reasons = [...]string{
	"no reason given", "its key was compromised", "its authority was compromised", "its holder's affiliation changed",
	"it was superseded", "its holder ceased operation", "it is on hold", "", "", "its privilege was withdrawn", "an authority was compromised",
}

// check looks a certificate up in the newest current list of its issuer. No such
// list is a refusal: who configured lists wants them used.
func (s *CRLs) check(c, issuer *Certificate, now time.Time) error {
	var best *CRL
	var why error
	for _, l := range s.lists {
		if dn.Key(l.issuer) != issuer.subjectKey {
			continue
		}
		if err := l.current(issuer, now); err != nil {
			why = err
			continue
		}
		if best == nil || l.thisUpdate.After(best.thisUpdate) {
			best = l
		}
	}
	if best == nil {
		if why == nil {
			why = &sign.Error{
				Reason: sign.NoRevocation,
				Detail: fmt.Sprintf("certificate %s: crl has no revocation list of its issuer %s", c, issuer),
				Remedy: "add that authority's list to crl, or leave crl out to trust without lists",
			}
		}
		return why
	}
	for rest := best.entries; !rest.Empty(); {
		e, ok := nextEntry(&rest)
		if !ok {
			break // it was read whole when it was parsed
		}
		if !sameSerial(e.serial, c.serial) {
			continue
		}
		reason := "reason " + fmt.Sprint(e.reason)
		if e.reason >= 0 && e.reason < len(reasons) && reasons[e.reason] != "" {
			reason = reasons[e.reason]
		}
		when := "an unknown date"
		var since time.Time
		if readTime(&e.since, &since) {
			when = stamp(since)
		}
		return &sign.Error{
			Reason: sign.Revoked,
			Detail: fmt.Sprintf("certificate %s (number %s) was revoked on %s: %s", c, c.Serial(), when, reason),
			Remedy: "its holder needs a new certificate",
		}
	}
	return nil
}

// sameSerial compares serial numbers as authorities write them: some forget the
// byte that keeps a large one from being negative, at times in the certificate
// only.
func sameSerial(a, b []byte) bool {
	return bytes.Equal(bytes.TrimPrefix(a, []byte{0}), bytes.TrimPrefix(b, []byte{0}))
}

// current reports whether the list is the issuer's and for this time.
func (l *CRL) current(issuer *Certificate, now time.Time) error {
	no := func(why, remedy string) error {
		return &sign.Error{Reason: sign.NoRevocation, Detail: "the revocation list of " + issuer.String() + " " + why, Remedy: remedy}
	}
	const renew = "get the authority's present list, or leave crl out to trust without lists"
	switch {
	case issuer.key == nil:
		return about(issuer, issuer.keyErr)
	case !issuer.mayBeUsed(x509.KeyUsageCRLSign):
		return no("is not one it may make (key usage)", "issue the authority's certificate with key usage cRLSign")
	case l.algorithm.Hash == sign.SHA1:
		return no("is signed with SHA1, which can be forged", "let the authority sign it with SHA2-256")
	case now.Before(l.thisUpdate):
		return no(fmt.Sprintf("was made on %s, and the clock here says %s", stamp(l.thisUpdate), stamp(now)), "set the clock here")
	case now.After(l.nextUpdate):
		return no(fmt.Sprintf("is out of date: the next one was due on %s, and the clock here says %s", stamp(l.nextUpdate), stamp(now)), renew)
	}
	// A list is signed once and looked at for each handshake.
	if k := l.verified.Load(); k != nil && k.Equal(issuer.key) {
		return nil
	}
	if issuer.key.VerifySignature(l.algorithm, l.tbs, l.signature) != nil {
		return no("is not signed by the key we have of it", renew)
	}
	l.verified.Store(issuer.key)
	return nil
}

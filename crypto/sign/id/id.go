// Package id holds the identities of IKE (RFC 7296 section 3.5) and the patterns
// a responder expects them to fit: text to identity and back, equality, and which
// of several patterns is the most specific one.
package id

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"greseal/crypto/sign/dn"
)

// Identification types.
const (
	IPv4   uint8 = 1
	FQDN   uint8 = 2
	RFC822 uint8 = 3
	IPv6   uint8 = 5
	DN     uint8 = 9
	KeyID  uint8 = 11
)

// maxLen bounds an identity in octets; a DN in DER may have this much too.
const maxLen = 2048

// ID is an identity. The zero value is "not set".
type ID struct {
	Type uint8
	Data string // the identification data, raw octets
}

// IsSet reports whether the identity says anything.
func (i ID) IsSet() bool { return i.Type != 0 }

// Addr is the identity of an address, unset for an invalid one.
func Addr(a netip.Addr) ID {
	a = a.Unmap()
	switch {
	case a.Is4():
		b := a.As4()
		return ID{IPv4, string(b[:])}
	case a.Is6():
		b := a.As16()
		return ID{IPv6, string(b[:])}
	}
	return ID{}
}

// Addr is the address of an address identity.
func (i ID) Addr() (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice([]byte(i.Data))
	return a, ok && (i.Type == IPv4 && a.Is4() || i.Type == IPv6 && a.Is6())
}

// Parse reads an identity as a person writes it:
//
//	192.0.2.1, 2001:db8::1         an address
//	gw.example.net                 a domain name (ID_FQDN)
//	@gw                            the same, for names that look like something else
//	ops@example.net                a mail address (ID_RFC822_ADDR)
//	C=CH, O=example, CN=moon       a distinguished name (ID_DER_ASN1_DN)
//	keyid:branch-7                 opaque octets (ID_KEY_ID) from text
//	@#0a1b2c                       opaque octets (ID_KEY_ID) from hexadecimal
//
// The prefixes fqdn:, email: and dn: force a type.
func Parse(s string) (ID, error) {
	switch {
	case s == "":
		return ID{}, errors.New("the identity is empty; write an address, a host name, a mail address or a distinguished name")
	case !utf8.ValidString(s):
		return ID{}, fmt.Errorf("the identity %q is no UTF-8 text; write keyid octets as @# and hexadecimal", s[:min(len(s), 64)])
	case len(s) > maxLen:
		return ID{}, fmt.Errorf("the identity is longer than %d octets; shorten it", maxLen)
	}
	if kind, rest, ok := strings.Cut(s, ":"); ok {
		switch strings.ToLower(kind) {
		case "fqdn":
			return text(FQDN, rest)
		case "email", "rfc822":
			return text(RFC822, rest)
		case "keyid":
			return text(KeyID, rest)
		case "dn", "asn1dn":
			return name(rest)
		}
	}
	if a, err := netip.ParseAddr(s); err == nil {
		if a.Zone() != "" {
			return ID{}, fmt.Errorf("identity %q: an address with a zone names no host elsewhere; write it without %%%s", s, a.Zone())
		}
		return Addr(a), nil
	}
	if rest, ok := strings.CutPrefix(s, "@#"); ok {
		raw, err := hex.DecodeString(rest)
		if err != nil || len(raw) == 0 {
			return ID{}, fmt.Errorf("identity %q: after @# an even number of hex digits must follow", s)
		}
		return ID{KeyID, string(raw)}, nil
	}
	if rest, ok := strings.CutPrefix(s, "@@"); ok {
		return text(RFC822, rest)
	}
	if rest, ok := strings.CutPrefix(s, "@"); ok {
		return text(FQDN, rest)
	}
	// A name has an "=" before any "@"; a mail address has no "=" before its own.
	switch eq, at := strings.IndexByte(s, '='), strings.IndexByte(s, '@'); {
	case eq >= 0 && (at < 0 || eq < at):
		return name(s)
	case at >= 0:
		return text(RFC822, s)
	}
	return text(FQDN, s)
}

func name(s string) (ID, error) {
	b, err := dn.Parse(s)
	if err != nil {
		return ID{}, err
	}
	return ID{DN, string(b)}, nil
}

func text(typ uint8, s string) (ID, error) {
	if s == "" {
		return ID{}, errors.New("the identity has no text after its prefix; write for example fqdn:gw.example.net")
	}
	if typ != KeyID {
		for _, r := range s {
			if r == ' ' || dn.Hidden(r) {
				return ID{}, fmt.Errorf("identity %q contains a space or control character; remove it, or write keyid:… for opaque text", s)
			}
		}
	}
	return ID{typ, s}, nil
}

// String writes the identity so that Parse and ParsePattern read it back where that
// is possible; foreign octets are escaped.
func (i ID) String() string {
	switch i.Type {
	case 0:
		return "any"
	case IPv4, IPv6:
		if a, ok := i.Addr(); ok {
			return a.String()
		}
	case FQDN, RFC822:
		if !printable(i.Data) {
			break
		}
		if p, err := ParsePattern(i.Data); err == nil && p == Exact(i) {
			return i.Data
		}
		if i.Type == FQDN {
			return "fqdn:" + i.Data
		}
		return "email:" + i.Data
	case DN:
		if dn.Valid([]byte(i.Data)) && !dn.Empty([]byte(i.Data)) {
			return dn.Format([]byte(i.Data))
		}
	case KeyID:
		if printable(i.Data) {
			return "keyid:" + i.Data
		}
		return "@#" + hex.EncodeToString([]byte(i.Data[:min(len(i.Data), 64)]))
	}
	return fmt.Sprintf("type %d:%s", i.Type, hex.EncodeToString([]byte(i.Data[:min(len(i.Data), 64)])))
}

func printable(s string) bool {
	for _, r := range s {
		if r == ' ' || dn.Hidden(r) {
			return false
		}
	}
	return s != ""
}

// Equal compares identities as RFC 7296 section 3.5 and RFC 4301 section 4.4.3.1
// do: domain names, and the domain of a mail address, without regard to (ASCII)
// case, distinguished names attribute by attribute, everything else octet by
// octet.
func (i ID) Equal(o ID) bool {
	if i.Type != o.Type {
		return false
	}
	switch i.Type {
	case FQDN:
		return lower(i.Data) == lower(o.Data)
	case RFC822:
		return mailbox(i.Data) == mailbox(o.Data)
	case DN:
		return dn.Equal([]byte(i.Data), []byte(o.Data))
	}
	return i.Data == o.Data
}

// lower makes ASCII letters small and leaves all else, so that no two foreign
// letters fall together.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// mailbox makes the domain of a mail address small.
func mailbox(s string) string {
	at := strings.LastIndexByte(s, '@')
	return s[:at+1] + lower(s[at+1:])
}

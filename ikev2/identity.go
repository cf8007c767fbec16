package ikev2

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Identification types (RFC 7296 section 3.5).
const (
	IDIPv4   uint8 = 1
	IDFQDN   uint8 = 2
	IDRFC822 uint8 = 3
	IDIPv6   uint8 = 5
	IDDN     uint8 = 9
	IDKeyID  uint8 = 11
)

// Identity is an IKE identity (RFC 7296 section 3.5). The zero value is "not
// set".
type Identity struct {
	Type uint8  // ID type: 1 IPv4, 2 FQDN, 3 RFC 822 address, 5 IPv6, 9 DN, 11 KEY_ID
	Data string // the identification data, raw octets
}

// IsSet tells whether the identity says anything.
func (i Identity) IsSet() bool { return i.Type != 0 }

// AddrIdentity is the identity of an address, unset for an invalid one.
func AddrIdentity(a netip.Addr) Identity {
	a = a.Unmap()
	switch {
	case a.Is4():
		b := a.As4()
		return Identity{IDIPv4, string(b[:])}
	case a.Is6():
		b := a.As16()
		return Identity{IDIPv6, string(b[:])}
	}
	return Identity{}
}

// ParseIdentity reads an identity as a person writes it:
//
//	192.0.2.1, 2001:db8::1     an address
//	gw.example.net             a domain name (ID_FQDN)
//	@gw                        the same, for names that look like something else
//	ops@example.net            a mail address (ID_RFC822_ADDR)
//	keyid:branch-7             opaque octets (ID_KEY_ID) from text
//	@#0a1b2c                   opaque octets (ID_KEY_ID) from hex
//
// The prefixes fqdn: and email: force a type.
func ParseIdentity(s string) (Identity, error) {
	switch {
	case s == "":
		return Identity{}, errors.New("the identity is empty; write an address, a host name or a mail address")
	case len(s) > maxIdentity:
		return Identity{}, fmt.Errorf("the identity is longer than %d octets; shorten it", maxIdentity)
	}
	if kind, rest, ok := strings.Cut(s, ":"); ok {
		switch strings.ToLower(kind) {
		case "fqdn":
			return identityOf(IDFQDN, rest)
		case "email", "rfc822":
			return identityOf(IDRFC822, rest)
		case "keyid":
			return identityOf(IDKeyID, rest)
		}
	}
	if a, err := netip.ParseAddr(s); err == nil {
		if a.Zone() != "" {
			return Identity{}, fmt.Errorf("identity %q: an address with a zone names no host elsewhere; write it without %%%s", s, a.Zone())
		}
		return AddrIdentity(a), nil
	}
	if rest, ok := strings.CutPrefix(s, "@#"); ok {
		raw, err := hex.DecodeString(rest)
		if err != nil || len(raw) == 0 {
			return Identity{}, fmt.Errorf("identity %q: after @# an even number of hex digits must follow", s)
		}
		return Identity{IDKeyID, string(raw)}, nil
	}
	if rest, ok := strings.CutPrefix(s, "@@"); ok {
		return identityOf(IDRFC822, rest)
	}
	if rest, ok := strings.CutPrefix(s, "@"); ok {
		return identityOf(IDFQDN, rest)
	}
	if strings.Contains(s, "@") {
		return identityOf(IDRFC822, s)
	}
	if strings.Contains(s, "=") {
		return Identity{}, fmt.Errorf("identity %q looks like a distinguished name, which only certificates have; write a host name, or keyid:%s for opaque text", s, s)
	}
	return identityOf(IDFQDN, s)
}

// maxIdentity bounds an identity that is configured or accepted, in octets.
const maxIdentity = 512

func identityOf(typ uint8, s string) (Identity, error) {
	if s == "" {
		return Identity{}, errors.New("the identity has no text after its prefix; write for example fqdn:gw.example.net")
	}
	if typ != IDKeyID {
		for _, r := range s {
			if r <= ' ' || r == 0x7f {
				return Identity{}, fmt.Errorf("identity %q contains a space or control character; remove it, or write keyid:… for opaque text", s)
			}
		}
	}
	return Identity{typ, s}, nil
}

// String writes the identity so that ParseIdentity reads it back where that is
// possible; foreign octets are escaped.
func (i Identity) String() string {
	switch i.Type {
	case 0:
		return "any"
	case IDIPv4, IDIPv6:
		if a, ok := netip.AddrFromSlice([]byte(i.Data)); ok && a.Is4() == (i.Type == IDIPv4) {
			return a.String()
		}
	case IDFQDN:
		if printable(i.Data) {
			if j, err := ParseIdentity(i.Data); err == nil && j == i {
				return i.Data
			}
			return "fqdn:" + i.Data
		}
	case IDRFC822:
		if printable(i.Data) {
			if j, err := ParseIdentity(i.Data); err == nil && j == i {
				return i.Data
			}
			return "email:" + i.Data
		}
	case IDKeyID:
		if printable(i.Data) {
			return "keyid:" + i.Data
		}
		return "@#" + hex.EncodeToString([]byte(i.Data))
	}
	return fmt.Sprintf("type %d:%s", i.Type, hex.EncodeToString([]byte(i.Data)))
}

func printable(s string) bool {
	if s == "" {
		return false
	}
	for _, r := range s {
		if r <= ' ' || r == 0x7f || r == 0xfffd {
			return false
		}
	}
	return true
}

// equal compares identities as RFC 7296 section 3.5 and RFC 4301 section
// 4.4.3.1 do: domain names, and the domain of a mail address, without regard to
// case, everything else octet by octet.
func (i Identity) equal(o Identity) bool {
	if i.Type != o.Type {
		return false
	}
	switch i.Type {
	case IDFQDN:
		return strings.EqualFold(i.Data, o.Data)
	case IDRFC822:
		il, id, iok := cutLast(i.Data, '@')
		ol, od, ook := cutLast(o.Data, '@')
		return iok && ook && il == ol && strings.EqualFold(id, od)
	}
	return i.Data == o.Data
}

func cutLast(s string, c byte) (before, after string, ok bool) {
	n := strings.LastIndexByte(s, c)
	if n < 0 {
		return s, "", false
	}
	return s[:n], s[n+1:], true
}

package ikev2

import (
	"net/netip"

	"greseal/crypto/sign/id"
	"greseal/ikev2/wire"
)

// Identification types (RFC 7296 section 3.5).
const (
	IDIPv4   = id.IPv4
	IDFQDN   = id.FQDN
	IDRFC822 = id.RFC822
	IDIPv6   = id.IPv6
	IDDN     = id.DN
	IDKeyID  = id.KeyID
)

// Identity is an IKE identity (RFC 7296 section 3.5). The zero value is "not
// set".
type Identity = id.ID

// Pattern is what is expected of an identity, with wildcards where several
// peers share one tunnel's settings. The zero value fits every one.
type Pattern = id.Pattern

// AddrIdentity is the identity of an address, unset for an invalid one.
func AddrIdentity(a netip.Addr) Identity { return id.Addr(a) }

// ParseIdentity reads an identity as a person writes it.
func ParseIdentity(s string) (Identity, error) { return id.Parse(s) }

// ParsePattern reads an identity, or a pattern such as "*.example.net", as a
// person writes it.
func ParsePattern(s string) (Pattern, error) { return id.ParsePattern(s) }

// maxIdentity bounds an identity that is accepted, in octets.
const maxIdentity = 2048

// idPayload and identityOf turn identities into payloads and back.
func idPayload(of wire.PayloadType, i Identity) *wire.ID {
	return &wire.ID{Of: of, Kind: wire.IDKind(i.Type), Data: []byte(i.Data)}
}

func identityFrom(p *wire.ID) Identity {
	if p == nil || len(p.Data) > maxIdentity {
		return Identity{}
	}
	return Identity{Type: uint8(p.Kind), Data: string(p.Data)}
}

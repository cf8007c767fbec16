package wire

import (
	"fmt"
	"net/netip"
)

// IDKind is an identification type (RFC 7296 section 3.5).
type IDKind uint8

// Identification types.
const (
	IDIPv4   IDKind = 1
	IDFQDN   IDKind = 2
	IDRFC822 IDKind = 3
	IDIPv6   IDKind = 5
	IDDN     IDKind = 9
	IDGN     IDKind = 10
	IDKeyID  IDKind = 11
	IDNull   IDKind = 13 // RFC 7619
)

var idNames = [...]string{
	IDIPv4:   "ID_IPV4_ADDR",
	IDFQDN:   "ID_FQDN",
	IDRFC822: "ID_RFC822_ADDR",
	IDIPv6:   "ID_IPV6_ADDR",
	IDDN:     "ID_DER_ASN1_DN",
	IDGN:     "ID_DER_ASN1_GN",
	IDKeyID:  "ID_KEY_ID",
	12:       "ID_FC_NAME",
	IDNull:   "ID_NULL",
}

// String is the IANA name.
func (k IDKind) String() string { return named(idNames[:], k, "ID type") }

// ID is an Identification payload, IDi or IDr (RFC 7296 section 3.5).
type ID struct {
	Of   PayloadType // TypeIDi or TypeIDr
	Kind IDKind
	// Reserved is sent as zero and ignored on receipt, but the AUTH payload
	// covers it as it was sent (RFC 7296 section 2.15).
	Reserved [3]byte
	Data     []byte
}

// Type is TypeIDi or TypeIDr.
func (p *ID) Type() PayloadType { return p.Of }

func parseID(t PayloadType, b []byte) (Payload, error) {
	p := &ID{Of: t, Kind: IDKind(b[0]), Reserved: [3]byte(b[1:4]), Data: b[4:]}
	if want := addrLen(p.Kind); want != 0 && len(p.Data) != want {
		return nil, syntaxf(t, "%s of %d octets, must have %d", p.Kind, len(p.Data), want)
	}
	return p, nil
}

func addrLen(k IDKind) int {
	switch k {
	case IDIPv4:
		return 4
	case IDIPv6:
		return 16
	}
	return 0
}

// AppendBody appends the body: RestOfInitIDPayload or RestOfRespIDPayload of
// RFC 7296 section 2.15, which the AUTH payload covers.
func (p *ID) AppendBody(b []byte) ([]byte, error) {
	b = append(b, byte(p.Kind), p.Reserved[0], p.Reserved[1], p.Reserved[2])
	return append(b, p.Data...), nil
}

// Addr is the address of an ID_IPV4_ADDR or ID_IPV6_ADDR.
func (p *ID) Addr() (netip.Addr, bool) {
	if want := addrLen(p.Kind); want == 0 || len(p.Data) != want {
		return netip.Addr{}, false
	}
	return netip.AddrFromSlice(p.Data)
}

// String shows kind and value: "IDi(ID_FQDN west)".
func (p *ID) String() string {
	v := ""
	switch a, ok := p.Addr(); {
	case ok:
		v = a.String()
	case p.Kind == IDFQDN || p.Kind == IDRFC822:
		v = printable(p.Data)
	case p.Kind == IDNull:
		return fmt.Sprintf("%s(%s)", p.Of, p.Kind)
	default:
		v = hexShort(p.Data)
	}
	return fmt.Sprintf("%s(%s %s)", p.Of, p.Kind, v)
}

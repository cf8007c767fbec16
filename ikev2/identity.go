package ikev2

// Identity is an IKE identity (RFC 7296 section 3.5). The zero value is "not
// set".
type Identity struct {
	Type uint8  // ID type: 1 IPv4, 2 FQDN, 3 RFC 822 address, 5 IPv6, 9 DN, 11 KEY_ID
	Data string // the identification data, raw octets
}

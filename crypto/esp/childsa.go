package esp

import (
	"net/netip"

	"greseal/crypto/suite"
)

// ChildSA is what is agreed with the peer about a Child SA, which is a pair of ESP SAs,
// one in each direction (RFC 7296 section 1.1.2). It holds no key. ikev2 negotiates it,
// and datapath and status use it as it is.
type ChildSA struct {
	Suite         suite.Suite
	SPIIn, SPIOut uint32

	Local, Remote netip.AddrPort // outer addresses; the ports count with Encap only
	Encap         bool           // UDP encapsulation (RFC 3948)
	Transport     bool           // transport mode, else tunnel mode

	GRELocal, GRERemote netip.Addr // the selectors: single addresses, protocol 47
}

// SPI is that of one of the two ESP SAs.
func (c *ChildSA) SPI(out bool) uint32 {
	if out {
		return c.SPIOut
	}
	return c.SPIIn
}

package tunnel

import (
	"net/netip"
	"slices"

	"greseal/platform"
)

// What a GRE interface of the kernel needs, but the userspace datapath does not, as it
// writes the inner header itself: a route to the peer's GRE endpoint, looked up before
// ESP takes the packet, and the own GRE endpoint as an address of this machine.

// insideESP is the peer's GRE endpoint where it is not its outer address: the kernel's
// GRE interface needs a route to it.
func (p *peer) insideESP() []platform.Inside {
	gre, peer := p.cfg.GRERemote, p.remote()
	if sas := p.current(); sas != nil {
		gre, peer = sas.GRERemote, sas.Remote.Addr()
	}
	if !gre.IsValid() || !peer.IsValid() || gre == peer {
		return nil
	}
	return []platform.Inside{{Addr: gre, Peer: peer}}
}

// addresses are those of the tunnel's interface: the configured ones, and the own
// GRE endpoint where it is on no other interface. Under netifd the addresses are
// netifd's.
func (l *loop) addresses(t *tunnel) []netip.Prefix {
	gre := t.cfg.GRELocal
	if l.dp.Kind() != platform.KindKernel || !gre.IsValid() || t.cfg.Netifd {
		return t.cfg.Address
	}
	if elsewhere, err := l.net.HasElsewhere(t.name, gre); err != nil || elsewhere {
		return t.cfg.Address
	}
	return append(slices.Clone(t.cfg.Address), netip.PrefixFrom(gre, gre.BitLen()))
}

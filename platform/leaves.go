package platform

import (
	"fmt"
	"net/netip"

	"greseal/platform/inet"
	"greseal/platform/rtnl"
)

// Leaves returns the name of the interface by which packets to an address leave
// now, which may be one of ours. RouteTo looks below the tunnels and never returns
// those.
func (n *Network) Leaves(to netip.Addr) (string, error) {
	info, err := n.lookup(inet.Plain(to), netip.Addr{}, 0, 0)
	if err != nil {
		return "", fmt.Errorf("look up the route to %s: %w", to, err)
	}
	l, err := rtnl.LinkByIndex(n.nl, info.IfIndex)
	if err != nil {
		return "", err
	}
	return l.Name, nil
}

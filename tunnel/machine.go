package tunnel

import (
	"context"
	"net/netip"

	"greseal/platform"
)

// network is what the loop needs of the machine's addresses and routes:
// platform.Network, or another in tests.
type network interface {
	Hold()
	Release() error
	Refresh() error
	Sweep() error
	Forget(link string) error
	SetForeign(link string, foreign bool)
	SetAddresses(link string, want []netip.Prefix) error
	SetRoutes(link string, set platform.RouteSet, running bool) error

	RouteTo(remote, local netip.Addr, ifname string, mark uint32) (platform.RouteInfo, error)
	Leaves(to netip.Addr) (ifname string, err error)
	LocalAddrs() ([]netip.Addr, error)
	InterfaceAddrs(name string) ([]netip.Addr, error)
	HasElsewhere(link string, addr netip.Addr) (bool, error)
	Link(name string) (*platform.LinkInfo, error)
	ForeignGRE() (map[netip.Addr]string, error)

	Close()
}

// resolver asks for the addresses of a host name.
type resolver func(ctx context.Context, host string) ([]netip.Addr, error)

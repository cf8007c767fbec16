package tunnel

import (
	"context"
	"net/netip"

	"greseal/platform"
	"greseal/tunnel/doctor"
)

// network is what the loop needs of the machine's addresses and routes:
// platform.Network, or another in tests.
type network interface {
	Batch()
	Commit() error
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

	platform.Standing
	Interfaces() (*platform.Interfaces, error)

	Close()
}

// inside is what the loop learns about a tunnel by packets through it.
type inside interface {
	// Echo sends one echo request and reports whether it was answered.
	Echo(ifname string, to netip.Addr) (answered bool, err error)
	// GREErrors listens for ICMP errors about GRE packets between two endpoints.
	GREErrors(local, remote netip.Addr) (refusals, error)
}

// refusals counts the ICMP errors since the last call.
type refusals interface {
	Came() int
	Close()
}

// probes are doctor's.
type probes struct{}

func (probes) Echo(ifname string, to netip.Addr) (bool, error) { return doctor.Echo(ifname, to) }

func (probes) GREErrors(local, remote netip.Addr) (refusals, error) {
	return doctor.ListenGREErrors(local, remote)
}

// resolver looks up the addresses of a host name.
type resolver func(ctx context.Context, host string) ([]netip.Addr, error)

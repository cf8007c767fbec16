package tunnel

import (
	"errors"
	"fmt"
	"log/slog"
	"net"

	sys "golang.org/x/sys/unix"

	"greseal/ikev2/wire"
	"greseal/platform"
	"greseal/platform/kernel"
	"greseal/platform/rtnl"
)

// RemoveLeftovers removes what earlier daemons of this network namespace have left:
// interfaces, SAs, policies, routes, and with them the guards that keep GRE and the
// tunnels' traffic from leaving in the clear. It refuses while
// something listens on IKE's port, which a daemon with another status socket does.
func RemoveLeftovers(log *slog.Logger) error {
	c, err := net.ListenUDP("udp", &net.UDPAddr{Port: wire.PortIKE})
	if errors.Is(err, sys.EADDRINUSE) {
		return errors.New("an IKE daemon is running; if it is greseal, name its status socket with --socket")
	}
	if err != nil {
		return err
	}
	defer c.Close()
	n, err := platform.OpenNetwork(log)
	if err != nil {
		return err
	}
	defer n.Close()
	errs := []error{kernel.RemoveLeftovers(log, true), n.Sweep()}
	links, err := rtnl.Links(n.Netlink())
	errs = append(errs, err)
	for _, l := range links { // those of the userspace datapath
		if l.Ours() {
			if err := rtnl.DeleteLink(n.Netlink(), l.Index); err != nil && !errors.Is(err, sys.ENODEV) {
				errs = append(errs, fmt.Errorf("interface %s: delete: %w", l.Name, err))
			}
		}
	}
	return errors.Join(errs...)
}

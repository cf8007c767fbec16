package doctor

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"greseal/platform"
	"greseal/platform/rtnl"
)

// checkRoute: the underlay has a route to the peer, on an interface that is up,
// and not through the tunnel itself.
func checkRoute(x *exam) Step {
	if !x.remote.IsValid() {
		return skip("the peer's address is not known yet")
	}
	r, err := x.way()
	if err != nil {
		text := err.Error()
		what, _, _ := strings.Cut(text, ": wait for")
		if errors.Is(err, platform.ErrNoRoute) {
			return fault("bring the WAN up, or add a route to "+x.remote.String()+" outside the tunnel; the daemon continues by itself", append([]string{what}, x.down()...)...)
		}
		return fault("set remote to the peer's address, or fix the route to it", text)
	}
	says := fmt.Sprintf("%s through %s", x.remote, r.IfName)
	if r.Gateway.IsValid() {
		says += " and " + r.Gateway.String()
	}
	says += fmt.Sprintf(", MTU %d", r.MTU)
	link, err := rtnl.LinkByIndex(x.net.Netlink(), r.IfIndex)
	if err != nil {
		return fault("check the interface", fmt.Sprintf("%s: %v", r.IfName, err))
	}
	if link.Up() && !link.Carrier() {
		return fault("plug in the cable, or fix what "+r.IfName+" is connected to", r.IfName+" has no carrier", says)
	}
	if s := x.intoTunnel(r); s.Verdict == Fault {
		return s
	}
	if r.PathMTU < r.MTU {
		says += fmt.Sprintf(", path MTU %d by ICMP", r.PathMTU)
	}
	return fine(says)
}

// down names the network cards that are down or without a carrier: one of them may be
// the WAN.
func (x *exam) down() (says []string) {
	all, err := rtnl.Links(x.net.Netlink())
	if err != nil {
		return nil
	}
	for _, l := range all {
		switch {
		case l.Ours() || l.Flags&unix.IFF_LOOPBACK != 0 || virtual(l.Name) || l.Kind != "" && l.Kind != "veth" && l.Kind != "vlan" && l.Kind != "ppp":
		case !l.Up():
			says = append(says, l.Name+" is set down")
		case !l.Carrier():
			says = append(says, l.Name+" has no carrier")
		}
	}
	return says
}

// intoTunnel: what is sent to the peer must not enter the tunnel itself. greseal finds
// the path around its own routes, but not one that another program added.
func (x *exam) intoTunnel(r *platform.RouteInfo) Step {
	to, err := x.routeFrom(x.remote, r.Local, x.Tunnel.FWMark)
	if err != nil || to.ifname != x.name() {
		return Step{}
	}
	s := fault("remove that route, or add one to "+x.remote.String()+" outside the tunnel",
		fmt.Sprintf("the kernel's route to the peer, %s, leads into %s, the tunnel itself", x.remote, x.name()))
	all, err := rtnl.Routes(x.net.Netlink(), unix.AF_UNSPEC, 0)
	if err != nil {
		return s
	}
	for _, route := range all {
		if h := (hop{route, x.name()}); h.Oif == to.Oif && h.Dst.Contains(x.remote) && h.remove() != "" {
			s = s.and(fmt.Sprintf("another program added the route %s to %s", h.Dst, h)).with(h.remove())
		}
	}
	return s
}

package doctor

import (
	"errors"
	"fmt"
	"strings"

	"greseal/platform"
	"greseal/platform/rtnl"
)

// checkRoute: the underlay has a way to the peer, on an interface that is up,
// and the way is not the tunnel itself.
func checkRoute(x *exam) Step {
	if !x.remote.IsValid() {
		return skip("the peer's address is not known yet")
	}
	r, err := x.way()
	if err != nil {
		text := err.Error()
		what, _, _ := strings.Cut(text, ": wait for")
		if errors.Is(err, platform.ErrNoRoute) {
			return fault("bring the WAN up, or add a route to "+x.remote.String()+" outside the tunnel; the daemon continues by itself", what)
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
		return fault("plug in the cable, or fix what "+r.IfName+" is connected to", says, r.IfName+" has no carrier")
	}
	if r.PathMTU < r.MTU {
		says += fmt.Sprintf(", path MTU %d by ICMP", r.PathMTU)
	}
	return fine(says)
}

package doctor

import (
	"errors"
	"fmt"
	"net/netip"

	"greseal/platform/rtnl"
)

// checkLocal: the address to come from exists. Interface names are looked at as
// well, since local may be one.
func checkLocal(x *exam) Step {
	nl := x.net.Netlink()
	hint, ifname := x.localHint()
	switch {
	case hint.IsValid() && !x.isLocal(hint):
		return fault("set local to an address of this machine or to an interface's name, or leave it out",
			fmt.Sprintf("local = %q is on no interface (see: ip address)", x.Tunnel.Local))
	case ifname != "":
		l, err := rtnl.LinkByName(nl, ifname)
		if errors.Is(err, rtnl.ErrNoLink) {
			return fault("set local to an address or to the name of an existing interface, or leave it out",
				fmt.Sprintf("local = %q: there is no such interface (see: ip link)", ifname))
		}
		if err != nil {
			return fault("check the interface", err.Error())
		}
		if !l.Up() {
			return fault("set the interface up", ifname+" is down").with("ip link set " + ifname + " up")
		}
		if _, err := rtnl.InterfaceAddr(nl, ifname, x.remote.Is6()); err != nil {
			return fault("give the interface an address, by DHCP for example; the daemon continues by itself", err.Error())
		}
	}
	local := x.local()
	if !local.IsValid() {
		if x.Tunnel.RemoteAny {
			return fine("any address of this machine answers")
		}
		return skip("not known without a route")
	}
	s := fine("packets come from " + local.String())
	if local.IsPrivate() && x.remote.IsGlobalUnicast() && !x.remote.IsPrivate() {
		s = s.and("it is a private address: there is a NAT on the way, the tunnel uses UDP 4500")
	}
	if x.Tunnel.RemoteAny {
		return s
	}
	return s.and(x.otherFamily(local))
}

// otherFamily notes that IKE does not listen on the IP version in use.
func (x *exam) otherFamily(local netip.Addr) string {
	for _, l := range x.now.Daemon.Listen {
		if a, err := netip.ParseAddrPort(l); err == nil && a.Addr().Is6() == local.Is6() {
			return ""
		}
	}
	if len(x.now.Daemon.Listen) == 0 {
		return ""
	}
	return "the daemon does not listen on that IP version"
}

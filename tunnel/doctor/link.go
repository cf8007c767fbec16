package doctor

import (
	"fmt"
	"slices"
	"strings"

	"greseal/platform/rtnl"
	"greseal/tunnel/status"
)

// checkInterface: the tunnel's interface is there, up, running, ours, and has
// its addresses.
func checkInterface(x *exam) Step {
	name := x.name()
	l, err := rtnl.LinkByName(x.net.Netlink(), name)
	if err != nil {
		return fault("restart the tunnel, and find out what deletes its interface", err.Error()).with("greseal restart " + name)
	}
	if !l.Ours() {
		return fault("rename that interface, or the tunnel", name+" is another program's interface")
	}
	if !l.Up() && x.Tunnel.Netifd {
		return fault("have netifd set it up again", "netifd has set the interface "+name+" down").with("ifup " + name)
	}
	if !l.Up() {
		return fault("set it up again", "somebody set the interface "+name+" down").with("ip link set " + name + " up")
	}
	if refused := x.refused(); len(refused) > 0 {
		var says []string
		for _, p := range refused {
			says = append(says, p.Prefix+" is not in place: "+p.Why)
		}
		return warn("fix that, or remove from the configuration what the kernel refuses; the rest of the tunnel works without it", says...)
	}
	var missing []string
	for _, a := range x.Tunnel.Address {
		if !x.isLocal(a.Addr()) {
			missing = append(missing, a.String())
		}
	}
	if len(missing) > 0 {
		return fault("restart the tunnel, and find out what deletes its addresses", "addresses are missing: "+strings.Join(missing, ", ")).
			with("greseal restart " + name)
	}
	if to := x.target(); to.IsValid() && x.isLocal(to) {
		return fault("give the two sides' networks, and the tunnel's own, addresses that differ",
			fmt.Sprintf("%s, the peer's address inside the tunnel, is an address of this machine", to))
	}
	s := fine(fmt.Sprintf("up, MTU %d", l.MTU))
	switch {
	case l.Running():
	case x.now.Tunnel.State == status.StateSuspect:
		return s.and("its link state is down while the peer does not answer")
	default:
		return fault("restart the tunnel", "the interface is up, but its link state is down").with("greseal restart " + name)
	}
	if l.MTU != x.now.Tunnel.MTU.Bytes && x.now.Tunnel.MTU.Bytes != 0 {
		return warn("restart the tunnel, or leave it as it is", fmt.Sprintf("somebody set the MTU to %d, it was %d", l.MTU, x.now.Tunnel.MTU.Bytes))
	}
	return s
}

// refused are the addresses and routes that the kernel did not take.
func (x *exam) refused() (list []status.Placed) {
	for _, p := range slices.Concat(x.now.Tunnel.Addresses, x.now.Tunnel.Routes) {
		if !p.InPlace && p.Why != "" && x.now.up() {
			list = append(list, p)
		}
	}
	return list
}

package config

import (
	"net/netip"
	"slices"

	"greseal/platform/inet"
)

// NameServerRemedy is what to do about a tunnel whose peer's name can't be asked for
// while it is down, "" where somebody can be asked: with routes that cover everything
// only greseal's own questions go outside, and servers are those on other machines
// that it can ask.
func (t *Tunnel) NameServerRemedy(servers []netip.Addr) string {
	literal := func(host string) bool { _, err := netip.ParseAddr(host); return err == nil }
	closed := !t.Fallback && (t.Table == TableMain || t.Table == 0) && coverEverything(t.Routes)
	if !closed || len(servers) > 0 || len(t.Remotes) == 0 || slices.ContainsFunc(t.Remotes, literal) {
		return ""
	}
	return "write an address in remote, or name a server on another machine in /etc/resolv.conf: the tunnel's routes cover everything, so a name server on this machine can reach nobody while the tunnel is down"
}

// coverEverything tells whether routes leave no address of an IP version out, also
// as the two halves that many people write.
func coverEverything(routes []netip.Prefix) bool {
	return inet.Covered(inet.V(false).All(), routes) || inet.Covered(inet.V(true).All(), routes)
}

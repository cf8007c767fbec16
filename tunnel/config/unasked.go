package config

import (
	"fmt"
	"net/netip"
	"slices"

	"greseal/platform/inet"
)

// NameServerRemedy is what to do about a tunnel whose peer's name can't be asked for
// while it is down, "" where somebody can be asked: with routes that cover everything
// only greseal's own questions go outside, and servers are those on other machines
// that it can ask.
func (t *Tunnel) NameServerRemedy(servers []netip.Addr) string {
	if s, p, all := t.behind(servers); all {
		return fmt.Sprintf("name a server outside the tunnel in /etc/resolv.conf, or write an address in remote: %s is behind the tunnel itself, in %s of routes", s, p)
	}
	literal := func(host string) bool { _, err := netip.ParseAddr(host); return err == nil }
	closed := !t.Fallback && (t.Table == TableMain || t.Table == 0) && coverEverything(t.Routes)
	if !closed || len(servers) > 0 || len(t.Remotes) == 0 || slices.ContainsFunc(t.Remotes, literal) {
		return ""
	}
	return "write an address in remote, or name a server on another machine in /etc/resolv.conf: the tunnel's routes cover everything, so a name server on this machine can reach nobody while the tunnel is down"
}

// behind tells whether all of these addresses are in networks that only the tunnel leads
// to, and names one. A route for everything does not count: what is meant by it is the
// way, not where a server is.
func (t *Tunnel) behind(servers []netip.Addr) (one netip.Addr, in netip.Prefix, all bool) {
	for _, s := range servers {
		i := slices.IndexFunc(t.Routes, func(p netip.Prefix) bool { return p.Bits() > 1 && p.Contains(s) })
		if i < 0 {
			return one, in, false
		}
		one, in = s, t.Routes[i]
	}
	return one, in, len(servers) > 0
}

// coverEverything tells whether routes leave no address of an IP version out, also
// as the two halves that many people write.
func coverEverything(routes []netip.Prefix) bool {
	return inet.Covered(inet.V(false).All(), routes) || inet.Covered(inet.V(true).All(), routes)
}

package doctor

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"greseal/platform/rtnl"
)

// rpFilter is the strictness that holds for an interface: the larger one of its
// own setting and that for all (ip-sysctl.rst). 1 is strict, 2 loose.
func rpFilter(ifname string) int {
	read := func(name string) int {
		text, err := os.ReadFile("/proc/sys/net/ipv4/conf/" + name + "/rp_filter")
		if err != nil {
			return 0
		}
		n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		return n
	}
	return max(read("all"), read(ifname))
}

// checkRPFilterOutside: with strict filtering, answers that come in by another
// interface than the one the route to the peer uses are thrown away. Named only
// when the kernel's counter shows that it happened to the probe's answers.
func checkRPFilterOutside(x *exam) Step {
	if !x.remote.Is4() {
		return skip("IPv6 has none")
	}
	strict := x.strictOutside()
	if len(strict) == 0 {
		return fine("no interface towards the peer filters strictly")
	}
	if x.now.up() {
		return fine("strict on " + strings.Join(strict, ", ") + "; the peer's packets come in anyway")
	}
	if a := x.probeIKE(); a.kind >= v1Reply || x.ikeFiltered == 0 {
		return fine("strict on " + strings.Join(strict, ", ") + "; it dropped none of the peer's answers")
	}
	r, _ := x.way()
	s := fault("make the filter loose there, permanently in /etc/sysctl.d or /etc/sysctl.conf; or let packets to the peer leave by the interface its answers come in by",
		fmt.Sprintf("%d packets were dropped by the reverse path filter while UDP %d was probed (TcpExt %s)", x.ikeFiltered, x.port(), pathFiltered),
		fmt.Sprintf("the route to the peer goes through %s, but answers to %s come in by another interface; strict: %s", r.IfName, r.Local, strings.Join(strict, ", ")))
	for _, ifname := range strict {
		if ifname != r.IfName {
			s = s.with("sysctl -w net.ipv4.conf." + strings.ReplaceAll(ifname, ".", "/") + ".rp_filter=2")
		}
	}
	return s
}

// strictOutside lists interfaces that filter strictly and are not tunnels.
func (x *exam) strictOutside() []string {
	links, err := rtnl.Links(x.net.Netlink())
	if err != nil {
		return nil
	}
	var strict []string
	for _, l := range links {
		if l.Up() && l.Name != "lo" && !l.Ours() && rpFilter(l.Name) == 1 {
			strict = append(strict, l.Name)
		}
	}
	return strict
}

// checkRPFilterInside: the same inside the tunnel, where a route back that does
// not lead into the tunnel makes a strict filter drop what comes out of it.
func checkRPFilterInside(x *exam) Step {
	name := x.name()
	if rpFilter(name) != 1 {
		return fine("not strict on " + name)
	}
	e := x.ping()
	switch {
	case !e.target.IsValid():
		return skip("no address to ping inside is known; give one: greseal doctor --ping ADDRESS " + name)
	case e.passes() || e.rose[pathFiltered] == 0 || e.inSAs == 0:
		return fine("strict on " + name + "; it dropped nothing")
	}
	s := fault("make the filter loose there, permanently in /etc/sysctl.d or /etc/sysctl.conf, or route the peer's networks into the tunnel",
		fmt.Sprintf("%d packets came out of the tunnel and %d were dropped by the reverse path filter (TcpExt %s)", e.inSAs, e.rose[pathFiltered], pathFiltered))
	if to, err := x.routeOf(e.target); err == nil && to.ifname != name {
		s = s.and(fmt.Sprintf("the route back to %s is %s, not %s", e.target, to, name))
	}
	return s.with("sysctl -w net.ipv4.conf." + strings.ReplaceAll(name, ".", "/") + ".rp_filter=2")
}

package uci

import (
	"strconv"

	"greseal/tunnel/config"
	"greseal/uci/syntax"
)

// generic are the options of an interface that netifd and the firewall carry out
// whatever its protocol is. metric is not among them: netifd's and ours are the
// same.
var generic = map[string]bool{
	"proto": true, "auto": true, "disabled": true, "device": true, "ifname": true, "type": true, "force_link": true,
	"defaultroute": true, "peerdns": true, "dns": true, "dns_search": true, "dns_metric": true, "renew": true,
	"ip4table": true, "ip6table": true, "ip6assign": true, "ip6hint": true, "ip6ifaceid": true, "ip6class": true,
	"ip6weight": true, "ip6deprecated": true, "delegate": true, "zone": true, "tags": true, "interface": true,
	"jail": true, "jail_device": true, "jail_ifname": true, "host_ifname": true, "host_device": true, "multicast": true,
	"sourcefilter": true, "multipath": true,
}

// networkInterface reads an interface of /etc/config/network whose protocol is
// ours. netifd lays its addresses and routes.
func networkInterface(path string, s *syntax.Section, paths string) (config.Section, config.Problems) {
	own := &syntax.Section{Type: s.Type, Name: s.Name, Line: s.Line}
	r := reader{path: path, paths: paths, keys: config.TunnelKeys(), tunnel: s.Name}
	fail := func(o syntax.Option, what, remedy string) {
		r.problems = append(r.problems, config.Problem{Position: place(path, o.Line), Tunnel: s.Name, Key: o.Name, What: what, Remedy: remedy})
	}
	enabled := true
	var table syntax.Option
	for _, o := range s.Options {
		switch o.Name {
		case "name":
			fail(o, "an interface is called by its section's name", "remove it, or rename the section")
		case "enabled":
			fail(o, "netifd does not know it", "write option disabled '1', or option auto '0' to bring it up by hand")
		case "link_down":
			fail(o, "netifd withdraws the routes of an interface that is down", "leave it out")
		case "disabled":
			enabled = enabled && !truth(o.Values[0])
		case "auto":
			enabled = enabled && truth(o.Values[0])
		case "ip4table", "ip6table":
			// The unreachable routes underneath belong in the same table.
			if table.Name != "" && table.Values[0] != o.Values[0] {
				fail(o, "is another table than "+table.Name, "write the same for both")
			}
			table = o
		default:
			if !generic[o.Name] {
				own.Options = append(own.Options, o)
			}
		}
	}
	out := r.section(own)
	if table.Name != "" && !has(out, "table") {
		e := entry("table", table.Values[0], place(path, table.Line))
		if n, err := strconv.ParseInt(table.Values[0], 10, 64); err == nil {
			e.Value = n
		}
		out.Entries = append(out.Entries, e)
	}
	out.Entries = append([]config.Entry{entry("name", s.Name, out.At)}, out.Entries...)
	if !enabled {
		out.Entries = append(out.Entries, entry("enabled", false, out.At))
	}
	out.Netifd = true
	return out, r.problems
}

// truth is a boolean as netifd takes it.
func truth(s string) bool {
	return s == "1" || s == "true" || s == "on" || s == "yes" || s == "enabled"
}

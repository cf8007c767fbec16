package uci

import (
	"strconv"
	"strings"

	"greseal/tunnel/config"
	"greseal/uci/syntax"
)

// generic are the options of an interface that netifd, LuCI and the firewall
// carry out or show whatever its protocol is, and words that people leave there
// for themselves. metric is not among them: netifd's and ours are the same.
var generic = set(`
	proto auto disabled device ifname type force_link defaultroute peerdns dns dns_search dns_metric renew
	ip4table ip6table ip6assign ip6hint ip6ifaceid ip6class ip6weight ip6deprecated delegate zone tags interface
	jail jail_device jail_ifname host_ifname host_device multicast sourcefilter multipath carrier_loss_delay
	checkup_interval ipv6 macaddr mtu6 network
	description comment comments note notes label`)

func set(words string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(words) {
		m[w] = true
	}
	return m
}

// networkInterface reads an interface of /etc/config/network whose protocol is
// ours. netifd lays its addresses and routes.
func networkInterface(path string, s *syntax.Section, paths string) (config.Section, config.Problems) {
	own := &syntax.Section{Type: s.Type, Name: s.Name, Line: s.Line}
	r := reader{path: path, paths: paths, keys: config.TunnelKeys(), tunnel: s.Name}
	say := func(warning bool) func(o syntax.Option, what, remedy string) {
		return func(o syntax.Option, what, remedy string) {
			r.problems = append(r.problems, config.Problem{Position: place(path, o.Line), Tunnel: s.Name, Key: o.Name, What: what, Remedy: remedy, Warning: warning})
		}
	}
	fail, warn := say(false), say(true)
	enabled := true
	table := tables{fail: fail, warn: warn}
	for _, o := range s.Options {
		switch o.Name {
		case "name":
			fail(o, "an interface is named after its section", "remove it, or rename the section")
		case "enabled":
			fail(o, "netifd does not know it", "write option disabled '1', or option auto '0' to bring it up by hand")
		case "link_down":
			fail(o, "netifd withdraws the routes of an interface that is down", "leave it out")
		case "disabled":
			enabled = enabled && !truth(o.Values[0])
		case "auto":
			enabled = enabled && truth(o.Values[0])
		case "ip4table", "ip6table":
			table.add(o)
		default:
			switch k, _ := keyOf(r.keys, o.Name); {
			case k != nil:
				own.Options = append(own.Options, o)
			case !generic[o.Name]:
				// The section is netifd's, and others write into it too.
				foreign(o, warn)
			}
		}
	}
	out := r.section(own)
	if e, ok := table.entry(path, out.Entries); ok && !out.Has("table") {
		out.Entries = append(out.Entries, e)
	}
	out.Entries = append([]config.Entry{entry("name", s.Name, out.At)}, out.Entries...)
	if !enabled {
		out.Entries = append(out.Entries, entry("enabled", false, out.At))
	}
	out.Netifd, out.Wrong = true, unread(path, s)
	return out, r.problems
}

// foreign warns of an option that neither we nor netifd know.
func foreign(o syntax.Option, warn func(o syntax.Option, what, remedy string)) {
	remedy := "leave it if another program reads it, else remove it"
	if key := config.Meant(o.Name); key != "" {
		remedy = "did you mean " + Option(key) + "?"
	}
	warn(syntax.Option{Line: o.Line}, "greseal ignores the option "+strconv.Quote(o.Name), remedy)
}

// truth is a boolean as netifd takes it.
func truth(s string) bool {
	return s == "1" || s == "true" || s == "on" || s == "yes" || s == "enabled"
}

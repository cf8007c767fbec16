package scenario

import "strings"

// ownersDay is how the names of those scenarios begin that are about what a
// router's owner lives through: sized, moved, watched, explained, never locked
// out, never leaking. make owner plays these.
var ownersDay = []string{
	"killed at random moments", "greseal killed", "routes of a", "SAs flushed by hand", "outage of the path",
	"GRE ", "OSPF", "bridged Ethernet", "DSCP", "two tunnels", "packets of every size", "NAT before greseal",
	"ESP is dropped", "edit:", "peer-config:", "reload touches", "started before",
	"own address", "the peer's", "NAT mapping", "failover", "second WAN", "the WAN", "local names",
	"hidden hop", "MTU follows",
}

// OwnersDay tells whether make owner plays a scenario.
func OwnersDay(name string) bool {
	for _, begin := range ownersDay {
		if strings.HasPrefix(name, begin) {
			return true
		}
	}
	return false
}

package scenario

import (
	"slices"
	"strings"
)

// Targets of the Makefile. Every scenario is played by one of them at least, on each
// datapath and each kernel that it has.
const (
	Test  = "test"
	Owner = "owner"
)

// ownersDay are scenarios about what a router's owner lives through: sized, moved,
// watched, explained, never locked out, never leaking. make owner plays them. Here and
// below a scenario is named by how its name begins.
var ownersDay = []string{
	"killed at random moments", "greseal killed", "routes of a", "SAs flushed by hand", "outage of the path",
	"GRE ", "OSPF", "bridged Ethernet", "DSCP", "two tunnels", "packets of every size", "NAT before greseal",
	"ESP is dropped", "edit:", "peer-config:", "reload touches", "started before",
	"own address", "the peer's", "NAT mapping", "failover", "second WAN", "the WAN", "local names",
	"hidden hop", "MTU follows", "a new key", "settings change",
}

// decided are scenarios about what IKE or the daemon decides, by the same code on
// either datapath. make test plays them with the userspace datapath on this machine,
// make owner with the kernel's too.
var decided = []string{
	"wrong PSK", "no common", "other traffic selectors", "default proposals", "both initiate",
	"delete of the IKE SA", "delete seen",
	"two branches for one", "two branches with one identity", "a second branch",
	"ESP is dropped on the way, encap never", "the path is down while ESP is looked at",
	"ESP in UDP carries nothing over IPv6", "ESP in UDP carries nothing, encap always", "ESP in UDP carries nothing behind",
	"edit:", "peer-config:", "both ends have the same MTU", "outage of the path", "killed at random moments",
	"local names", "the WAN that local names", "the peer's name", "own address changes, no MOBIKE", "OSPF through",
	"a new key here", "settings change",
}

// alike are scenarios whose kernel work another one does too, with the other role, one
// GRE option or a longer wait. make test plays them on the first kernel, make owner on
// the second.
var alike = []string{
	"bring-up, responder", "rekey of both SAs by the peer, responder", "rekey of both SAs by greseal, responder", "rekeying",
	"GRE key × ", "GRE sequence × ", "GRE checksum × ", "GRE key on one side only, transport", "GRE key on one side only, IPv6 outside, tunnel",
	"Ethernet on one side only, transport", "peer killed",
}

// long are scenarios that are begun first, lest the rest has to wait for them.
var long = []string{"somebody changes what is laid", "other packets in ESP", "rekeying", "ESP in UDP carries nothing", "ESP is dropped", "a new key here", "settings change"}

// PlayedBy tells whether a target plays a scenario on a datapath, on the virtual
// machines' second kernel if second. Without a target everything is played.
func (s Scenario) PlayedBy(target, path string, second bool) bool {
	spared := path == "kernel" && s.Where == Anywhere && slices.Contains(s.Paths, "userspace") && s.among(decided) ||
		second && (path == "userspace" || s.among(alike))
	switch {
	case second && s.Once:
		return false
	case target == Test:
		return !spared
	case target == Owner:
		return spared || s.among(ownersDay)
	}
	return true
}

// Long tells whether a scenario is better begun early.
func (s Scenario) Long() bool { return s.among(long) }

// among tells whether the name begins like one of the list.
func (s Scenario) among(list []string) bool {
	return slices.ContainsFunc(list, func(begin string) bool { return strings.HasPrefix(s.Name+" × ", begin) })
}

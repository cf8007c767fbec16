package platform

import (
	"net/netip"

	"greseal/platform/rtnl"
)

// Where a tunnel's routes, or their unreachable twins, cover the name server that
// knows its peer's address, the tunnel would never come up. So this program's queries
// go outside, by a routing table of their own and a rule that matches nothing else:
// DNS, from this machine, of this user. Forwarded packets, such as those of the LAN,
// and those of other users, such as a DNS forwarder's, stay inside.

// questionTable is the routing table with the routes to name servers.
var questionTable = exitTable("name servers")

// questions computes the routes to name servers that are to be asked outside, and adds
// their rules.
func (n *Network) questions(foreign func() ([]rtnl.Route, error), rules map[rtnl.Rule]bool) (ways []rtnl.Route, err error) {
	done := make(map[netip.Addr]bool)
	for _, in := range n.links {
		for _, server := range in.routes.Servers {
			server = server.Unmap()
			_, covered := n.covers(server)
			if in.running || !covered || done[server] || server.Zone() != "" || server.IsLoopback() {
				continue
			}
			done[server] = true
			routes, err := foreign()
			if err != nil {
				return nil, err
			}
			if r, ok := underlay(routes, server); ok {
				ways = append(ways, r.HostRoute(questionTable, server))
				rules[rtnl.Rule{To: server, Table: questionTable}] = true
			}
		}
	}
	return ways, nil
}

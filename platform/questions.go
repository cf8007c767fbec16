package platform

import (
	"encoding/binary"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Where a tunnel's routes, or the unreachable ones underneath, cover the name server
// that knows its peer's address, the tunnel would never come up. So what this program
// asks there goes outside, by a routing table of its own and a rule that fits nothing
// else: DNS, from this machine, of this user. Packets that are forwarded, such as those
// of the LAN, and those of other users, such as a forwarding name server's, stay inside.

const portDNS = 53

// questionTable is the routing table with the ways to name servers.
var questionTable = exitTable("name servers")

// questions computes the routes to name servers that are to be asked outside, and adds
// their rules.
func (n *Network) questions(foreign func() ([]route, error), rules map[rule]bool) (ways []route, err error) {
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
				ways = append(ways, r.hostRoute(questionTable, server))
				rules[rule{to: server, table: questionTable}] = true
			}
		}
	}
	return ways, nil
}

// ownQuestions narrows a rule to what this program asks. The interface lo stands for
// what begins on this machine; the kernel looks answers up by it too, where it checks
// whether they came the right way.
func ownQuestions(req *nl.NetlinkRequest) {
	user := binary.NativeEndian.AppendUint32(nil, uint32(os.Getuid()))
	port := binary.NativeEndian.AppendUint16(nil, portDNS)
	req.AddData(nl.NewRtAttr(unix.FRA_IIFNAME, []byte("lo\x00")))
	req.AddData(nl.NewRtAttr(unix.FRA_UID_RANGE, append(user, user...)))
	req.AddData(nl.NewRtAttr(unix.FRA_DPORT_RANGE, append(port, port...)))
}

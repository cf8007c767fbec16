package platform

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"
)

// While a tunnel that takes everything is down, our own questions reach the name
// server outside of it, and nothing else does: no other user's, no other port's, and
// nothing that is forwarded.
func TestOnlyOurOwnQuestionsGoOutsideATunnelThatIsDown(t *testing.T) {
	atStartAndLater(t, func(t *testing.T, n *Network) {
		sh(t, "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.rp_filter=2",
			"ip link add lan type veth peer name host", "ip link set lan up", "ip addr add 192.168.9.1/24 dev lan", "ip addr add fd09::1/64 dev lan nodad")
		leaves := func(how ...string) bool {
			out, err := exec.Command("ip", append([]string{"route", "get"}, how...)...).CombinedOutput()
			return err == nil && strings.Contains(string(out), "dev wan")
		}
		set := RouteSet{Prefixes: prefixes("0.0.0.0/0", "::/0")}
		for _, s := range []struct{ server, client string }{{"198.51.100.53", "192.168.9.7"}, {"2001:db8:53::53", "fd09::7"}} {
			set.Servers = []netip.Addr{netip.MustParseAddr(s.server)}
			must(t, n.SetRoutes("hq", set, false))
			for _, proto := range []string{"udp", "tcp"} {
				if !leaves(s.server, "ipproto", proto, "dport", "53", "uid", "0") {
					t.Errorf("our question to %s by %s does not leave: %s", s.server, proto, sh(t, "ip rule"))
				}
			}
			for what, how := range map[string][]string{
				"another port":   {s.server, "ipproto", "udp", "dport", "123", "uid", "0"},
				"another user":   {s.server, "ipproto", "udp", "dport", "53", "uid", "1000"},
				"the LAN":        {s.server, "from", s.client, "iif", "lan", "ipproto", "udp", "dport", "53"},
				"another server": {strings.Replace(s.server, "53", "54", 1), "ipproto", "udp", "dport", "53", "uid", "0"},
			} {
				if leaves(how...) {
					t.Errorf("%s leaves outside of the tunnel to %s", what, s.server)
				}
			}
			must(t, n.SetRoutes("hq", set, true))
			if leaves(s.server, "ipproto", "udp", "dport", "53", "uid", "0") {
				t.Errorf("a question to %s leaves outside of a tunnel that is up", s.server)
			}
			must(t, n.SetRoutes("hq", set, false))
			if !leaves(s.server, "ipproto", "udp", "dport", "53", "uid", "0") {
				t.Errorf("our question to %s does not leave when the tunnel is down again", s.server)
			}
		}
		must(t, n.Forget("hq"))
		if out := sh(t, "ip rule") + sh(t, "ip -6 rule"); strings.Contains(out, "dport") {
			t.Errorf("rules are left:\n%s", out)
		}
	})
}

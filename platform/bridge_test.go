package platform

import (
	"os/exec"
	"strings"
	"testing"

	"greseal/platform/rtnl"
)

// A bridge takes the least MTU of its ports, and lets nothing pass by a port that is in
// no VLAN while it filters them.
func TestWhatABridgeMakesOfAPort(t *testing.T) {
	n := inNamespace(t)
	port := func() *portState {
		t.Helper()
		there, err := n.Interfaces()
		if err != nil {
			t.Fatal(err)
		}
		b, err := bridgePort(there, there.byName["port"], func() (map[int]bool, error) { return portVLANs(n.nl) })
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	sh(t, "ip link add port type veth peer name far", "ip link add lan type veth peer name host",
		"ip link add br0 type bridge", "ip link set lan master br0", "ip link set lan up", "ip link set br0 up")
	if b := port(); b != nil {
		t.Errorf("no port of a bridge: %+v", b)
	}
	sh(t, "ip link set port mtu 1388", "ip link set port master br0")
	if b := port(); b.MTU != 1388 || b.Others != 1500 || !strings.Contains(b.Narrow(), "narrows br0 to 1388 bytes") || b.Cut("port") != "" {
		t.Errorf("a small port: %+v, %q", b, b.Narrow())
	}
	sh(t, "ip link set br0 mtu 1300")
	if b := port(); b.Narrow() != "" {
		t.Errorf("a bridge that somebody else narrowed: %+v, %q", b, b.Narrow())
	}
	sh(t, "ip link set br0 mtu 1388", "ip link set port alias "+rtnl.Alias("port"))
	there, err := n.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	if found := auditBridges(there); len(found) != 1 || found[0].Link != "port" || found[0].Fixed {
		t.Errorf("audited: %+v", found)
	}
	sh(t, "ip link set port mtu 1500")
	if b := port(); b.Narrow() != "" {
		t.Errorf("a port like the others: %+v, %q", b, b.Narrow())
	}
	if err := exec.Command("ip", "link", "set", "br0", "type", "bridge", "vlan_filtering", "1").Run(); err != nil {
		t.Skip("this kernel's bridges know no VLANs: the rest was not tried")
	}
	if b := port(); b.Cut("port") != "" {
		t.Errorf("a port in the default VLAN: %+v", b)
	}
	sh(t, "bridge vlan del dev port vid 1")
	if b := port(); !strings.Contains(b.Cut("port"), "bridge vlan add dev port") {
		t.Errorf("a port in no VLAN: %+v", b)
	}
	sh(t, "bridge vlan add dev port vid 7 pvid untagged")
	if b := port(); b.Cut("port") != "" {
		t.Errorf("a port in VLAN 7: %+v", b)
	}
}

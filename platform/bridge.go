package platform

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"greseal/platform/netlink"
	"greseal/platform/rtnl"
)

// portState is what a bridge makes of one of its ports.
type portState struct {
	Bridge string // its name
	MTU    int    // of the bridge, bytes
	Port   int    // MTU of the port, bytes
	Others int    // the least MTU of the other ports, bytes; 0 without any
	NoVLAN bool   // the bridge filters VLANs, and the port is in none
}

// Narrow says that the port narrows the bridge for all others, "" when it does not. A
// bridge has the least MTU of its ports unless somebody has set another.
func (b *portState) Narrow() string {
	if b.Others <= b.Port || b.MTU != b.Port {
		return ""
	}
	return fmt.Sprintf("it narrows %s to %d bytes for the whole LAN, whose other ports carry %d: set mtu = %d and gre.ignore_df = true, and frames are fragmented outside the tunnel", b.Bridge, b.MTU, b.Others, b.Others)
}

// Cut says that no frame passes, "" when some do.
func (b *portState) Cut(port string) string {
	if !b.NoVLAN {
		return ""
	}
	return fmt.Sprintf("%s filters VLANs and has none for it, so no frame passes: add it to one, such as: bridge vlan add dev %s vid 1 pvid untagged", b.Bridge, port)
}

// auditBridges says what bridges make of our interfaces. None of it is ours to change.
func auditBridges(there *Interfaces) (found []Deviation) {
	inVLANs := sync.OnceValues(func() (map[int]bool, error) { return portVLANs(there.conn) })
	for _, l := range there.byIndex {
		if !l.Ours() || l.Master == 0 {
			continue
		}
		b, err := bridgePort(there, l, inVLANs)
		if b == nil || err != nil {
			continue
		}
		for _, text := range []string{b.Narrow(), b.Cut(l.Name)} {
			if text != "" {
				found = append(found, Deviation{Link: l.Name, Object: ObjectPort, Name: l.Name, Text: text})
			}
		}
	}
	return found
}

// bridgePort is what there is to say of a port, nil when it is none; inVLANs is portVLANs.
func bridgePort(there *Interfaces, port *rtnl.Link, inVLANs func() (map[int]bool, error)) (*portState, error) {
	bridge := there.byIndex[port.Master]
	if bridge == nil || bridge.Kind != "bridge" {
		return nil, nil
	}
	b := &portState{Bridge: bridge.Name, MTU: bridge.MTU, Port: port.MTU}
	for _, l := range there.byIndex {
		if l.Master == port.Master && l.Index != port.Index && (b.Others == 0 || l.MTU < b.Others) {
			b.Others = l.MTU
		}
	}
	if !filtersVLANs(bridge) {
		return b, nil
	}
	vlans, err := inVLANs()
	b.NoVLAN = err == nil && !vlans[port.Index]
	return b, err
}

const (
	bridgeVLANFiltering = 7  // IFLA_BR_VLAN_FILTERING
	bridgeVLANInfo      = 2  // IFLA_BRIDGE_VLAN_INFO
	linkAFSpec          = 26 // IFLA_AF_SPEC
	linkExtMask         = 29 // IFLA_EXT_MASK
	extFilterBridgeVLAN = 2  // RTEXT_FILTER_BRVLAN
)

// filtersVLANs tells whether a bridge looks at VLAN tags.
func filtersVLANs(bridge *rtnl.Link) (yes bool) {
	_ = netlink.EachAttr(bridge.Data, func(typ uint16, v []byte) error {
		if typ == bridgeVLANFiltering && len(v) > 0 {
			yes = v[0] != 0
		}
		return nil
	})
	return yes
}

// portVLANs are the ports of bridges that are in a VLAN, by index.
func portVLANs(n *netlink.Conn) (map[int]bool, error) {
	in := make(map[int]bool)
	_, err := netlink.Dump(n, unix.RTM_GETLINK, unix.RTM_NEWLINK, func(p []byte) (struct{}, bool, error) {
		if len(p) < unix.SizeofIfInfomsg {
			return struct{}{}, false, errors.New("link message: too short")
		}
		index := int(int32(binary.NativeEndian.Uint32(p[4:]))) // ifi_index
		return struct{}{}, false, netlink.EachAttr(p[unix.SizeofIfInfomsg:], func(typ uint16, v []byte) error {
			if typ&^unix.NLA_F_NESTED != linkAFSpec {
				return nil
			}
			return netlink.EachAttr(v, func(typ uint16, _ []byte) error {
				in[index] = in[index] || typ == bridgeVLANInfo
				return nil
			})
		})
	}, nl.NewIfInfomsg(unix.AF_BRIDGE), nl.NewRtAttr(linkExtMask, nl.Uint32Attr(extFilterBridgeVLAN)))
	return in, err
}

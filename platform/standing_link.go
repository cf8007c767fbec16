package platform

import (
	"fmt"
	"maps"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"greseal/platform/netlink"
	"greseal/platform/rtnl"
)

// Interfaces are the machine's interfaces as of one dump.
type Interfaces struct {
	conn    *netlink.Conn
	byIndex map[int]*rtnl.Link
	byName  map[string]*rtnl.Link
}

// Interfaces reads all of them in the network's namespace.
func (n *Network) Interfaces() (*Interfaces, error) { return ReadInterfaces(n.nl) }

// ReadInterfaces reads all of them.
func ReadInterfaces(n *netlink.Conn) (*Interfaces, error) {
	all, err := rtnl.Links(n)
	if err != nil {
		return nil, err
	}
	there := &Interfaces{n, make(map[int]*rtnl.Link, len(all)), make(map[string]*rtnl.Link, len(all))}
	for _, l := range all {
		there.byIndex[l.Index], there.byName[l.Name] = l, l
	}
	return there, nil
}

// Octets are what an interface has received and sent since it was made; 0 when there is
// none of that index.
func (i *Interfaces) Octets(index int) (in, out uint64) {
	if l := i.byIndex[index]; l != nil {
		return l.Stats.RxBytes, l.Stats.TxBytes
	}
	return 0, 0
}

// WithoutIPsec names a sysctl by which the kernel lets packets of an IP version leave
// or come in whatever the IPsec policies say, as sysctl(8) takes it; "" for none. Loopback has
// them always, and interfaces that are made of IPsec may: GRE does not go there.
func (i *Interfaces) WithoutIPsec(ip4 bool) string {
	if i == nil {
		return ""
	}
	name := func(of, what string) string {
		if ip4 {
			return "net/ipv4/conf/" + of + "/" + what
		}
		return "net/ipv6/conf/" + of + "/" + what
	}
	for _, what := range []string{"disable_xfrm", "disable_policy"} {
		if v, err := os.ReadFile("/proc/sys/" + name("all", what)); err == nil && string(v) != "0\n" {
			return name("all", what)
		}
	}
	for _, of := range slices.Sorted(maps.Keys(i.byName)) {
		l := i.byName[of]
		switch {
		case !l.Up() || l.Flags&unix.IFF_LOOPBACK != 0 || l.Ours() || l.Kind == "vti" || l.Kind == "vti6" || l.Kind == "xfrm":
		case ip4 && l.NoXFRM:
			return name(of, "disable_xfrm")
		case ip4 && l.NoPolicy4, !ip4 && l.NoPolicy6:
			return name(of, "disable_policy")
		}
	}
	return ""
}

// Compare checks what the interfaces of both datapaths have in common: that it exists,
// its name, ifalias, bridge and administrative state. up says whether it should be up; a
// state that was set by hand is left, as it is meant. there is nil for an interface
// that is gone; mend is what is to be put right, stays the rest.
func (i *Interfaces) Compare(want *Link, index int, up bool) (there *rtnl.Link, mend Repair, stays []Deviation) {
	about := func(text, remedy string) Deviation {
		return Deviation{Link: want.Name, Object: ObjectLink, Name: want.Name, Text: text, Remedy: remedy}
	}
	there = i.byIndex[index]
	if there == nil {
		return nil, mend, []Deviation{about("somebody deleted it, or moved it to another network namespace", "")}
	}
	if there.Name != want.Name {
		text := "somebody renamed it to " + there.Name
		if i.byName[want.Name] != nil {
			stays = append(stays, about(text+", and another interface has its name", "delete that or rename it: ip link delete "+want.Name))
		} else {
			mend.Add(text, func() error { return rtnl.Rename(i.conn, there, want.Name) })
		}
	}
	if there.Alias != rtnl.Alias(want.Name) {
		mend.Add("its ifalias was changed", func() error { return rtnl.MarkLink(i.conn, index, want.Name) })
	}
	if want.Bridge != "" {
		switch bridge := i.byName[want.Bridge]; {
		case bridge == nil:
			stays = append(stays, about(fmt.Sprintf("bridge %s does not exist", want.Bridge), fmt.Sprintf("ip link add %s type bridge", want.Bridge)))
		case there.Master != bridge.Index:
			mend.Add("it is no port of bridge "+want.Bridge, func() error { return rtnl.SetMaster(i.conn, index, bridge.Index) })
		}
	}
	if up && !there.Up() {
		stays = append(stays, about("somebody set it down; nothing passes", "ip link set "+want.Name+" up"))
	}
	return there, mend, stays
}

// Package rtnl reads and writes what rtnetlink(7) manages: interfaces, addresses,
// routes and routing rules. Each of ours carries a mark (contract 8). What to change is
// decided in package platform. Messages are built with the library's package nl; its
// own calls know neither the protocol of an address (IFA_PROTO) nor how to mark and
// silence a new interface, and pull in the whole library.
package rtnl

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"greseal/platform/netlink"
)

// AliasPrefix begins the ifalias of each of our interfaces; the interface's name
// follows (contract 8).
const AliasPrefix = "greseal:"

// Alias is the ownership mark of an interface.
func Alias(name string) string { return AliasPrefix + name }

// OperState values (RFC 2863, linux/if.h).
const (
	OperUnknown    uint8 = 0
	OperNotPresent uint8 = 1
	OperDown       uint8 = 2
	OperLowerDown  uint8 = 3
	OperTesting    uint8 = 4
	OperDormant    uint8 = 5
	OperUp         uint8 = 6
)

// Link is what the kernel reports about an interface.
type Link struct {
	Index     int
	Name      string
	Alias     string
	Kind      string // "gre", "ip6gretap", "tun", …; empty for hardware
	Type      uint16 // ARPHRD_ETHER, ARPHRD_IPGRE, …
	Flags     uint32 // IFF_UP, IFF_RUNNING, IFF_LOWER_UP, …
	MTU       int
	Master    int // index of the bridge or VRF it is a port of, 0 for none
	Group     uint32
	OperState uint8
	Dormant   bool // it runs when userspace says so (IF_LINK_MODE_DORMANT)
	GSOMax    int  // largest packet given to it to be segmented, bytes
	IPv6      bool // it has IPv6: not with an MTU below 1280, for instance
	Silent6   bool // the kernel makes no IPv6 link-local address (IN6_ADDR_GEN_MODE_NONE)

	// IPsec policies do not apply to IPv4 packets that leave by it, and to packets
	// that come in: sysctls disable_xfrm and disable_policy.
	NoXFRM, NoPolicy4, NoPolicy6 bool

	Stats LinkStats
	Data  []byte // attributes of the kind (IFLA_INFO_DATA)
}

// LinkStats are the counters of an interface, as the kernel keeps them.
type LinkStats struct {
	RxPackets, RxBytes, RxDropped uint64
	TxPackets, TxBytes, TxDropped uint64
	TxErrors                      uint64
	TxCarrierErrors               uint64 // of GRE: no route, or a policy that blocks
	RxCRCErrors                   uint64 // of GRE: wrong checksum
	RxFIFOErrors                  uint64 // of GRE: out of sequence
}

func parseStats(v []byte) LinkStats {
	word := func(i int) uint64 { // struct rtnl_link_stats64 is made of 64 bit words
		if len(v) < 8*(i+1) {
			return 0
		}
		return binary.NativeEndian.Uint64(v[8*i:])
	}
	return LinkStats{
		RxPackets: word(0), TxPackets: word(1), RxBytes: word(2), TxBytes: word(3),
		TxErrors: word(5), RxDropped: word(6), TxDropped: word(7), TxCarrierErrors: word(17),
		RxCRCErrors: word(12), RxFIFOErrors: word(14),
	}
}

// Ours reports whether the interface has our ownership mark.
func (l *Link) Ours() bool { return strings.HasPrefix(l.Alias, AliasPrefix) }

// Ethernet reports whether the interface carries Ethernet frames.
func (l *Link) Ethernet() bool { return l.Type == unix.ARPHRD_ETHER }

// Up reports the administrative state.
func (l *Link) Up() bool { return l.Flags&unix.IFF_UP != 0 }

// Running reports IFF_RUNNING, the state that routing daemons follow.
func (l *Link) Running() bool { return l.Flags&unix.IFF_RUNNING != 0 }

// Carrier reports whether the lower layer is up.
func (l *Link) Carrier() bool { return l.Flags&unix.IFF_LOWER_UP != 0 }

// ErrNoLink reports that there is no interface of that name or index.
var ErrNoLink = errors.New("no such interface")

// LinkByName reads one interface; the error wraps ErrNoLink when there is none.
func LinkByName(n *netlink.Conn, name string) (*Link, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	return getLink(n, name, nl.NewIfInfomsg(unix.AF_UNSPEC),
		nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
}

// LinkByIndex reads one interface; the error wraps ErrNoLink when there is none.
func LinkByIndex(n *netlink.Conn, index int) (*Link, error) {
	m := nl.NewIfInfomsg(unix.AF_UNSPEC)
	m.Index = int32(index)
	return getLink(n, fmt.Sprintf("index %d", index), m)
}

func getLink(n *netlink.Conn, what string, parts ...nl.NetlinkRequestData) (*Link, error) {
	var l *Link
	err := n.Get(netlink.Request(unix.RTM_GETLINK, 0, parts...), func(typ uint16, p []byte) (err error) {
		if typ == unix.RTM_NEWLINK && l == nil {
			l, err = ParseLink(p)
		}
		return err
	})
	switch {
	case errors.Is(err, unix.ENODEV):
		return nil, fmt.Errorf("interface %s: %w", what, ErrNoLink)
	case err != nil:
		return nil, fmt.Errorf("read interface %s: %w", what, err)
	case l == nil:
		return nil, fmt.Errorf("interface %s: %w", what, ErrNoLink)
	}
	return l, nil
}

// GRERemote is the remote address of a GRE interface, unset for any.
func (l *Link) GRERemote() netip.Addr {
	_, remote, _, _ := l.GRE()
	return remote
}

// GRE is how a GRE interface sends: its endpoints, unset for any, and its key.
func (l *Link) GRE() (local, remote netip.Addr, key uint32, keyed bool) {
	addr := func(v []byte) netip.Addr {
		if a, _ := netip.AddrFromSlice(v); a.IsValid() && !a.IsUnspecified() {
			return a
		}
		return netip.Addr{}
	}
	_ = netlink.EachAttr(l.Data, func(typ uint16, v []byte) error {
		switch {
		case typ == nl.IFLA_GRE_LOCAL:
			local = addr(v)
		case typ == nl.IFLA_GRE_REMOTE:
			remote = addr(v)
		case typ == nl.IFLA_GRE_OKEY && len(v) == 4:
			key = binary.BigEndian.Uint32(v)
		case typ == nl.IFLA_GRE_OFLAGS && len(v) == 2:
			keyed = binary.BigEndian.Uint16(v)&greKeyed != 0
		}
		return nil
	})
	return local, remote, key, keyed
}

const greKeyed = 0x2000 // RFC 2890, as in the header

// ForeignGRE names the GRE interfaces that are not ours, by remote address. IPIP and
// SIT use other protocols, which do not concern us.
func ForeignGRE(n *netlink.Conn) (map[netip.Addr]string, error) {
	all, err := Links(n)
	if err != nil {
		return nil, err
	}
	names := make(map[netip.Addr]string)
	for _, l := range all {
		switch l.Kind {
		case "gre", "gretap", "erspan", "ip6gre", "ip6gretap", "ip6erspan":
			if remote := l.GRERemote(); remote.IsValid() && !l.Ours() {
				names[remote] = l.Name
			}
		}
	}
	return names, nil
}

// Links reads all interfaces.
func Links(n *netlink.Conn) ([]*Link, error) {
	all, err := netlink.Dump(n, unix.RTM_GETLINK, unix.RTM_NEWLINK, func(p []byte) (*Link, bool, error) {
		l, err := ParseLink(p)
		return l, true, err
	}, nl.NewIfInfomsg(unix.AF_UNSPEC))
	if err != nil {
		return nil, fmt.Errorf("read interfaces: %w", err)
	}
	return all, nil
}

// ParseLink reads an RTM_NEWLINK or RTM_DELLINK.
func ParseLink(p []byte) (*Link, error) {
	if len(p) < unix.SizeofIfInfomsg {
		return nil, errors.New("interface message: too short")
	}
	l := &Link{
		Type:  binary.NativeEndian.Uint16(p[2:]),
		Index: int(int32(binary.NativeEndian.Uint32(p[4:]))),
		Flags: binary.NativeEndian.Uint32(p[8:]),
	}
	err := netlink.EachAttr(p[unix.SizeofIfInfomsg:], func(typ uint16, v []byte) error {
		switch typ {
		case unix.IFLA_IFNAME:
			l.Name = netlink.CString(v)
		case unix.IFLA_IFALIAS:
			l.Alias = netlink.CString(v)
		case unix.IFLA_MTU:
			l.MTU = int(netlink.Uint32(v))
		case unix.IFLA_MASTER:
			l.Master = int(netlink.Uint32(v))
		case unix.IFLA_GROUP:
			l.Group = netlink.Uint32(v)
		case unix.IFLA_OPERSTATE:
			if len(v) > 0 {
				l.OperState = v[0]
			}
		case unix.IFLA_LINKMODE:
			l.Dormant = len(v) > 0 && v[0] == linkModeDormant
		case unix.IFLA_GSO_MAX_SIZE:
			l.GSOMax = int(netlink.Uint32(v))
		case unix.IFLA_AF_SPEC:
			return netlink.EachAttr(v, func(family uint16, v []byte) error {
				return netlink.EachAttr(v, func(typ uint16, v []byte) error {
					l.setOf(family, typ, v)
					return nil
				})
			})
		case unix.IFLA_STATS64:
			l.Stats = parseStats(v)
		case unix.IFLA_LINKINFO:
			return netlink.EachAttr(v, func(typ uint16, v []byte) error {
				switch typ {
				case unix.IFLA_INFO_KIND:
					l.Kind = netlink.CString(v)
				case unix.IFLA_INFO_DATA:
					l.Data = append([]byte(nil), v...)
				}
				return nil
			})
		}
		return nil
	})
	return l, err
}

// setOf takes an attribute of IPv4's or IPv6's own, such as all sysctls of the interface.
func (l *Link) setOf(family, typ uint16, v []byte) {
	const noXFRM, noPolicy, noPolicy6 = 15, 16, 48 // IPV4_DEVCONF_*, which begin with 1, and DEVCONF_*
	sysctl := func(i int) bool { return netlink.Uint32(v[min(4*i, len(v)):]) != 0 }
	switch {
	case family == unix.AF_INET && typ == unix.IFLA_INET_CONF:
		l.NoXFRM, l.NoPolicy4 = sysctl(noXFRM-1), sysctl(noPolicy-1)
	case family == unix.AF_INET6 && typ == unix.IFLA_INET6_CONF:
		l.NoPolicy6 = sysctl(noPolicy6)
	case family == unix.AF_INET6 && typ == unix.IFLA_INET6_ADDR_GEN_MODE && len(v) > 0:
		l.IPv6, l.Silent6 = true, v[0] == addrGenNone
	}
}

// CheckName refuses what the kernel would not accept as an interface name.
func CheckName(name string) error {
	if name == "" || len(name) >= unix.IFNAMSIZ || name == "." || name == ".." || strings.ContainsAny(name, "/: \t\n\v\f\r\x00") {
		return fmt.Errorf("interface name %q: 1 to 15 bytes without space, slash or colon are allowed", name)
	}
	return nil
}

// ChangeLink changes an interface by its index: flags under mask (such as
// IFF_UP) and the attributes given.
func ChangeLink(n *netlink.Conn, index int, flags, mask uint32, attrs ...*nl.RtAttr) error {
	m := nl.NewIfInfomsg(unix.AF_UNSPEC)
	m.Index = int32(index)
	m.Flags = flags
	m.Change = mask
	req := netlink.Request(unix.RTM_SETLINK, 0, m)
	for _, a := range attrs {
		req.AddData(a)
	}
	return n.Do(req)
}

// SetUp changes the administrative state.
func SetUp(n *netlink.Conn, index int, up bool) error {
	var flags uint32
	if up {
		flags = unix.IFF_UP
	}
	return ChangeLink(n, index, flags, unix.IFF_UP)
}

// Rename renames an interface. Kernels before 6.2 refuse that while it is up; it is
// then set down for a moment, and loses its routes.
func Rename(n *netlink.Conn, l *Link, name string) error {
	rename := func() error {
		return ChangeLink(n, l.Index, 0, 0, nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	}
	err := rename()
	if !errors.Is(err, unix.EBUSY) || !l.Up() {
		return err
	}
	return errors.Join(SetUp(n, l.Index, false), rename(), SetUp(n, l.Index, true))
}

// SetMTU changes an interface's MTU.
func SetMTU(n *netlink.Conn, index, mtu int) error {
	return ChangeLink(n, index, 0, 0, nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(mtu))))
}

// SetMaster makes an interface a port of a bridge, or of none with index 0.
func SetMaster(n *netlink.Conn, index, master int) error {
	return ChangeLink(n, index, 0, 0, nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(master))))
}

// MarkLink writes our ownership mark.
func MarkLink(n *netlink.Conn, index int, name string) error {
	return ChangeLink(n, index, 0, 0, nl.NewRtAttr(unix.IFLA_IFALIAS, []byte(Alias(name))))
}

const linkModeDormant = 1 // IF_LINK_MODE_DORMANT

// SetRunning shows liveness as RFC 2863 state: up, or dormant, which clears
// IFF_RUNNING while packets still flow.
func SetRunning(n *netlink.Conn, index int, running bool) error {
	state := OperDormant
	if running {
		state = OperUp
	}
	return ChangeLink(n, index, 0, 0,
		nl.NewRtAttr(unix.IFLA_LINKMODE, []byte{linkModeDormant}),
		nl.NewRtAttr(unix.IFLA_OPERSTATE, []byte{state}))
}

// SetDormant makes an interface one that does not run even with a carrier, or one that
// does.
func SetDormant(n *netlink.Conn, index int, dormant bool) error {
	mode := byte(0)
	if dormant {
		mode = linkModeDormant
	}
	return ChangeLink(n, index, 0, 0, nl.NewRtAttr(unix.IFLA_LINKMODE, []byte{mode}))
}

// IN6_ADDR_GEN_MODE_* of linux/if_link.h.
const (
	addrGenEUI64 = 0 // at random where there is no hardware address
	addrGenNone  = 1
)

// SetLinkLocal says whether the kernel generates an IPv6 link-local address, upon
// which an interface starts sending router solicitations. A kernel without IPv6
// generates none anyway.
func SetLinkLocal(n *netlink.Conn, index int, on bool) error {
	mode := byte(addrGenNone)
	if on {
		mode = addrGenEUI64
	}
	spec := nl.NewRtAttr(unix.IFLA_AF_SPEC, nil)
	spec.AddRtAttr(unix.AF_INET6, nil).AddRtAttr(unix.IFLA_INET6_ADDR_GEN_MODE, []byte{mode})
	err := ChangeLink(n, index, 0, 0, spec)
	if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return err
}

// Moved says where an interface was moved that left this network namespace.
type Moved struct {
	Namespace int32 // its id in this one (RTM_GETNSID)
	Index     int
}

// ParseMoved reads from an RTM_DELLINK where the interface was moved, nil if it was
// deleted.
func ParseMoved(p []byte) *Moved {
	var m *Moved
	index := 0
	_ = netlink.EachAttr(p[unix.SizeofIfInfomsg:], func(typ uint16, v []byte) error {
		switch typ {
		case unix.IFLA_NEW_NETNSID:
			m = &Moved{Namespace: int32(netlink.Uint32(v))}
		case unix.IFLA_NEW_IFINDEX:
			index = int(netlink.Uint32(v))
		}
		return nil
	})
	if m == nil || m.Namespace < 0 || index == 0 {
		return nil
	}
	m.Index = index
	return m
}

// DeleteMoved deletes an interface in the network namespace that it was moved to, if it
// is still there with this ifalias.
func DeleteMoved(n *netlink.Conn, to Moved, alias string) error {
	m := nl.NewIfInfomsg(unix.AF_UNSPEC)
	m.Index = int32(to.Index)
	there := nl.NewRtAttr(unix.IFLA_TARGET_NETNSID, nl.Uint32Attr(uint32(to.Namespace)))
	l, err := getLink(n, fmt.Sprintf("index %d in another network namespace", to.Index), m, there)
	if errors.Is(err, ErrNoLink) || err == nil && l.Alias != alias {
		return nil
	}
	if err != nil {
		return err
	}
	return n.Do(netlink.Request(unix.RTM_DELLINK, 0, m, there))
}

// DeleteLink removes an interface.
func DeleteLink(n *netlink.Conn, index int) error {
	m := nl.NewIfInfomsg(unix.AF_UNSPEC)
	m.Index = int32(index)
	return n.Do(netlink.Request(unix.RTM_DELLINK, 0, m))
}

package doctor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"greseal/platform"
	"greseal/platform/netlink"
	"greseal/tunnel/config"
	"greseal/tunnel/status"
)

// hop is where the kernel would send a packet.
type hop struct {
	ifname  string
	gateway netip.Addr
	typ     uint8 // RTN_UNICAST, RTN_LOCAL, …
	table   uint32
	dst     netip.Prefix
	metric  uint32
	index   int
}

func (h hop) String() string {
	s := h.ifname
	switch h.typ {
	case unix.RTN_UNREACHABLE:
		return "unreachable"
	case unix.RTN_LOCAL:
		return "this machine itself"
	}
	if h.gateway.IsValid() {
		s += " via " + h.gateway.String()
	}
	return s
}

// routeOf asks the kernel where a packet of this machine to a would go.
func (x *exam) routeOf(a netip.Addr) (hop, error) {
	m := &nl.RtMsg{}
	m.Family, m.Dst_len = unix.AF_INET6, uint8(a.BitLen())
	if a.Is4() {
		m.Family = unix.AF_INET
	}
	var h hop
	err := x.net.Netlink().Get(netlink.Request(unix.RTM_GETROUTE, 0, m, nl.NewRtAttr(unix.RTA_DST, a.AsSlice())), func(typ uint16, b []byte) error {
		h, _ = parseHop(b)
		return nil
	})
	if errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) {
		return hop{typ: unix.RTN_UNREACHABLE}, nil
	}
	if err != nil {
		return h, err
	}
	return x.named(h), nil
}

func (x *exam) named(h hop) hop {
	if l, err := platform.LinkByIndex(x.net.Netlink(), h.index); err == nil {
		h.ifname = l.Name
	}
	return h
}

func parseHop(b []byte) (h hop, ok bool) {
	if len(b) < unix.SizeofRtMsg {
		return h, false
	}
	h.typ, h.table = b[7], uint32(b[4])
	any := netip.IPv4Unspecified()
	if b[0] == unix.AF_INET6 {
		any = netip.IPv6Unspecified()
	}
	h.dst = netip.PrefixFrom(any, 0)
	bits := int(b[1])
	err := netlink.EachAttr(b[unix.SizeofRtMsg:], func(typ uint16, v []byte) error {
		switch typ {
		case unix.RTA_DST:
			if a, ok := netip.AddrFromSlice(v); ok {
				h.dst = netip.PrefixFrom(a, bits)
			}
		case unix.RTA_OIF:
			if len(v) == 4 {
				h.index = int(binary.NativeEndian.Uint32(v))
			}
		case unix.RTA_GATEWAY:
			h.gateway, _ = netip.AddrFromSlice(v)
		case unix.RTA_PRIORITY:
			if len(v) == 4 {
				h.metric = binary.NativeEndian.Uint32(v)
			}
		case unix.RTA_TABLE:
			if len(v) == 4 {
				h.table = binary.NativeEndian.Uint32(v)
			}
		}
		return nil
	})
	return h, err == nil
}

// routesOf dumps the routes of one type from a routing table.
func (x *exam) routesOf(table uint32, kind uint8) ([]hop, error) {
	for try := 0; ; try++ {
		var all []hop
		m := &nl.RtMsg{}
		err := x.net.Netlink().Get(netlink.Request(unix.RTM_GETROUTE, unix.NLM_F_DUMP, m), func(typ uint16, b []byte) error {
			if h, ok := parseHop(b); ok && typ == unix.RTM_NEWROUTE && h.table == table && h.typ == kind {
				all = append(all, h)
			}
			return nil
		})
		if !errors.Is(err, netlink.ErrInterrupted) || try == 5 {
			return all, err
		}
	}
}

// checkOverlap: what routes and address name leads into the tunnel, and no
// route of somebody else takes it away.
func checkOverlap(x *exam) Step {
	name := x.name()
	if len(x.Tunnel.Routes) == 0 && len(x.Tunnel.Address) == 0 {
		return warn("set address and routes, unless a routing daemon does", "nothing is routed into the tunnel")
	}
	var bad, odd, commands []string
	for _, p := range x.Tunnel.Routes {
		for _, o := range x.Others {
			for _, q := range o.Routes {
				if p == q && o.Enabled && o.Table == x.Tunnel.Table && o.Metric == x.Tunnel.Metric {
					odd = append(odd, fmt.Sprintf("tunnel %q has the route %s with the same metric: give one of them another", o.Name, p))
				}
			}
		}
	}
	table := x.Tunnel.Table
	if table == 0 {
		table = config.TableMain
	}
	all, err := x.routesOf(table, unix.RTN_UNICAST)
	if err != nil {
		return skip("the routes cannot be read: " + err.Error())
	}
	wanted := append([]netip.Prefix(nil), x.Tunnel.Routes...)
	if table == config.TableMain {
		for _, p := range x.Tunnel.Address {
			wanted = append(wanted, p.Masked())
		}
	}
	for _, h := range all {
		h = x.named(h)
		if h.ifname == name || h.ifname == "" {
			continue
		}
		for _, p := range wanted {
			if h.dst.Bits() > p.Bits() && p.Contains(h.dst.Addr()) && p.Bits() != 0 {
				odd = append(odd, fmt.Sprintf("%s, a part of %s, goes to %s", h.dst, p, h))
			}
		}
	}
	if table == config.TableMain {
		for _, p := range wanted {
			a := sample(p, x.Tunnel.Address)
			known := slices.ContainsFunc(x.refused(), func(r status.Placed) bool {
				q, err := netip.ParsePrefix(r.Prefix)
				return err == nil && q.Masked() == p.Masked()
			})
			if !a.IsValid() || known { // the step before has said so
				continue
			}
			h, err := x.routeOf(a)
			if err != nil || h.ifname == name || h.typ == unix.RTN_LOCAL || x.remote == a {
				continue
			}
			// A smaller network inside a large one may be meant, such as the own
			// LAN; inside the tunnel's own little network it is not.
			says := fmt.Sprintf("%s of %s goes to %s instead of %s", a, p, h, name)
			meant := false
			for _, r := range all {
				r = x.named(r)
				if !r.dst.Contains(a) || r.dst.Bits() < p.Bits() || r.ifname != h.ifname {
					continue
				}
				if meant = r.dst.Bits() > p.Bits() && !x.inside(p); !meant {
					commands = append(commands, fmt.Sprintf("ip route delete %s dev %s metric %d", r.dst, r.ifname, r.metric))
				}
			}
			if !meant {
				bad = append(bad, says)
			}
		}
	}
	switch {
	case len(bad) > 0:
		return fault("take the overlapping route away, or give this tunnel a lower metric or other routes; see also: ip rule", append(bad, odd...)...).with(commands...)
	case len(odd) > 0:
		return warn("", odd...)
	}
	return fine(fmt.Sprintf("%d routes and %d addresses lead into %s", len(x.Tunnel.Routes), len(x.Tunnel.Address), name))
}

// inside tells whether p is the network of one of the tunnel's own addresses.
func (x *exam) inside(p netip.Prefix) bool {
	for _, a := range x.Tunnel.Address {
		if a.Masked() == p {
			return true
		}
	}
	return false
}

// sample is an address of p that is none of the tunnel's own.
func sample(p netip.Prefix, own []netip.Prefix) netip.Addr {
	a := p.Addr()
	if p.Bits() < p.Addr().BitLen()-1 {
		a = a.Next() // not the network's own address
	}
	for range 4 {
		mine := false
		for _, o := range own {
			mine = mine || o.Addr() == a
		}
		if !mine {
			break
		}
		a = a.Next()
	}
	if !p.Contains(a) {
		return netip.Addr{}
	}
	return a
}

package platform

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"greseal/platform/inet"
	"greseal/platform/rtnl"
)

var _ Standing = (*Network)(nil)

// NeedAdmin is the remedy where the kernel lets this process change nothing.
const NeedAdmin = "run greseal as root or with CAP_NET_ADMIN; in a container: --cap-add NET_ADMIN"

// Audit implements Standing for addresses, routes and rules, including the routes that
// come with an address: the kernel adds them only once.
func (n *Network) Audit(there *Interfaces) []Deviation {
	if n.batching || there == nil {
		return nil
	}
	refused, rest := Refused(errors.Join(n.auditAddresses(there), n.reconcileIn(there, slices.Collect(maps.Keys(n.links)))))
	found := append(n.found, auditBridges(there)...)
	n.found = nil
	for _, u := range refused {
		d := Deviation{Link: n.owner(u.Prefix), Object: u.Object, Name: u.Prefix.String(), Text: u.Why()}
		switch {
		case strings.HasPrefix(u.What, "remove "):
			d.Text = "it cannot be removed: " + d.Text
		case u.Object == ObjectGuard:
			d.Name = "unreachable " + d.Name
		}
		if errors.Is(u.Err, unix.EPERM) {
			d.Remedy = NeedAdmin
		}
		found = append(found, d)
	}
	if rest != nil {
		found = append(found, Deviation{Object: ObjectRoute, Text: rest.Error()})
	}
	return found
}

// again restores what is gone.
func (n *Network) again(object Object, link, name string, lay func() error) bool {
	d := n.repairs.Do(Deviation{Link: link, Object: object, Name: name, Text: "it was gone"}, lay)
	n.found = append(n.found, d)
	return d.Fixed
}

// owner is the link that a prefix is routed for, or that a route or rule to a host
// outside is needed by; "" when none names it.
func (n *Network) owner(p netip.Prefix) string {
	for _, name := range slices.Sorted(maps.Keys(n.links)) {
		in := n.links[name]
		halves := func(whole netip.Prefix) bool { return slices.Contains(inet.Halves(whole), p) }
		network := func(a netip.Prefix) bool { return a == p || a.Masked() == p }
		host := func(a netip.Addr) bool { return p.IsSingleIP() && inet.Plain(a) == p.Addr() }
		if slices.ContainsFunc(in.routes.Prefixes, halves) || slices.ContainsFunc(in.addresses, network) ||
			slices.ContainsFunc(in.routes.Peers, host) || slices.ContainsFunc(in.routes.Servers, host) ||
			slices.ContainsFunc(in.routes.Inside, func(i Inside) bool { return host(i.Addr) }) {
			return name
		}
	}
	return ""
}

// auditAddresses reads back the addresses of all links and the routes that come
// with them.
func (n *Network) auditAddresses(there *Interfaces) error {
	if !slices.ContainsFunc(slices.Collect(maps.Values(n.links)), func(in *inside) bool { return len(in.addresses) > 0 }) {
		return nil
	}
	all, err := rtnl.Addresses(n.nl, 0)
	if err != nil {
		return err
	}
	have := make(map[int][]rtnl.Address)
	for _, a := range all {
		have[a.Index] = append(have[a.Index], a)
	}
	connected, err := rtnl.Routes(n.nl, unix.AF_UNSPEC, unix.RTPROT_KERNEL)
	if err != nil {
		return err
	}
	stand := make(map[rtnl.Route]bool)
	for _, r := range connected {
		stand[whatever(r)] = true
	}
	var errs []error
	for _, l := range there.byIndex {
		in := n.links[l.Name]
		if in == nil || !l.Ours() {
			continue
		}
		if in.foreign {
			n.auditForeign(l, in, have[l.Index])
			continue
		}
		errs = append(errs, n.layAddresses(l, in, have[l.Index]))
		if !l.Up() {
			continue
		}
		n.auditSilence(l)
		n.auditLinkLocal(l, have[l.Index])
		for _, a := range have[l.Index] {
			// In a VRF's table the kernel has them itself; IPv6 waits for the carrier.
			if slices.Contains(in.addresses, a.Prefix) && l.Master == 0 && (a.Prefix.Addr().Is4() || l.Running()) {
				n.layConnected(l, a, stand)
			}
		}
	}
	return errors.Join(errs...)
}

// auditSilence has the kernel make a link-local address of an interface, or none, as before.
func (n *Network) auditSilence(l *rtnl.Link) {
	before, known := n.makes6[l.Index]
	switch {
	case !l.IPv6:
	case !known:
		n.makes6[l.Index] = !l.Silent6
	case before == l.Silent6:
		n.found = append(n.found, n.repairs.Do(Deviation{Link: l.Name, Object: ObjectLink, Name: l.Name, Text: "its addr_gen_mode was changed"}, func() error {
			return rtnl.SetLinkLocal(n.nl, l.Index, before)
		}))
	}
}

// auditLinkLocal restores the IPv6 link-local address that the kernel gave the
// interface.
func (n *Network) auditLinkLocal(l *rtnl.Link, have []rtnl.Address) {
	for _, a := range have {
		if a.Prefix.Addr().Is6() && a.Prefix.Addr().IsLinkLocalUnicast() {
			if n.ipv6[l.Index] {
				n.linkLocal[l.Index] = a.Prefix
			}
			return
		}
	}
	if p, made := n.linkLocal[l.Index]; made && l.Running() {
		n.again(ObjectAddress, l.Name, p.String(), func() error { return rtnl.ChangeAddress(n.nl, unix.RTM_NEWADDR, l, p) })
	}
}

// auditForeign notes which addresses netifd has not set on an interface that is running.
func (n *Network) auditForeign(l *rtnl.Link, in *inside, have []rtnl.Address) {
	for _, p := range in.addresses {
		if l.Running() && !slices.ContainsFunc(have, func(a rtnl.Address) bool { return a.Prefix == p }) {
			n.found = append(n.found, Deviation{Link: l.Name, Object: ObjectAddress, Name: p.String(), Text: "netifd has not added it", Remedy: "ifup " + l.Name})
		}
	}
}

// whatever is a route without what the kernel may choose.
func whatever(r rtnl.Route) rtnl.Route {
	return rtnl.Route{Dst: r.Dst, Type: r.Type, Oif: r.Oif}
}

// layConnected restores missing routes that come with an address.
func (n *Network) layConnected(l *rtnl.Link, a rtnl.Address, stand map[rtnl.Route]bool) {
	for _, r := range rtnl.Connected(l, a.Prefix) {
		without := uint32(unix.IFA_F_NOPREFIXROUTE)
		if r.Type == unix.RTN_LOCAL {
			without = unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED // it comes with the end of DAD (RFC 4862)
		}
		if a.Flags&without == 0 && !stand[whatever(r)] {
			stand[whatever(r)] = n.again(ObjectRoute, l.Name, r.String(), func() error { return n.addRoute(r) })
		}
	}
}

package kernel

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"golang.org/x/sys/unix"

	"greseal/platform/netlink"
	"greseal/platform/rtnl"
	"greseal/platform/xfrm"
)

// Sweep removes what earlier daemons left: the clamps, allowing policies and SAs
// of all but what was inherited, then interfaces, and at last guards. Interfaces of links that keep names stay,
// blocked, until SetLink takes them over. Call Guard for the configured links
// first: guards of addresses that no link asked for are removed, unless a link of
// keep still has neither guard nor interface, as its peer's name may not be resolved
// yet.
func (d *Datapath) Sweep(keep []string) error {
	d.left = nil
	var errs []error
	if d.clamps != nil {
		d.clamps.write(false)
	}
	errs = append(errs, d.sweepAllows(), d.sweepSAs())
	pending, err := d.sweepLinks(keep)
	errs = append(errs, err)
	if !pending {
		errs = append(errs, d.sweepGuards())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove what an earlier daemon left: %w", err)
	}
	return nil
}

func (d *Datapath) sweepAllows() error {
	all, err := xfrm.Policies(d.xfrm)
	if err != nil {
		return err
	}
	live := make(map[uint32]bool)
	for _, p := range d.flows {
		live[p.reqid] = true
	}
	var errs []error
	for _, p := range all {
		if p.Proto != xfrm.ProtoGRE || p.Priority != allowPriority || !ourReqid(p.Reqid) || live[p.Reqid] && d.wrote(p) {
			continue
		}
		errs = append(errs, xfrm.DeletePolicy(d.xfrm, p))
	}
	return errors.Join(errs...)
}

// wrote reports whether this daemon wrote an allowing policy.
func (d *Datapath) wrote(there xfrm.Policy) bool {
	for _, p := range d.flows {
		for _, have := range []*xfrm.Policy{p.allowIn, p.allowOut} {
			if have != nil && have.Dir == there.Dir && have.Selector() == there.Selector() {
				return true
			}
		}
	}
	return false
}

func (d *Datapath) sweepSAs() error {
	all, err := xfrm.States(d.xfrm)
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range all {
		if !ourReqid(s.Reqid) || d.has(s.ID) {
			continue
		}
		errs = append(errs, xfrm.DeleteState(d.xfrm, s.ID))
	}
	return errors.Join(errs...)
}

func (d *Datapath) has(id xfrm.ID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.byID(id) != nil
}

// sweepLinks removes our interfaces that are not kept, and guards the remotes of those
// that are. pending says that a kept link has neither interface nor guard.
func (d *Datapath) sweepLinks(keep []string) (pending bool, err error) {
	all, err := rtnl.Links(d.route)
	if err != nil {
		return true, err
	}
	var errs []error
	for _, l := range all {
		half := l.Alias == "" && l.Group == newGroup && isGRE(l.Kind)
		switch {
		case !l.Ours() && !half, d.links[l.Name] != nil:
		case half, !slices.Contains(keep, l.Name):
			errs = append(errs, d.removeDevice(l.Index))
		case isGRE(l.Kind):
			if remote := l.GRERemote(); remote.IsValid() && !remote.IsUnspecified() {
				errs = append(errs, d.closeTo(remote))
				d.remotes[l.Name] = remote
			}
		}
	}
	for _, name := range keep {
		if len(d.asked[name]) == 0 && !d.remotes[name].IsValid() {
			pending = true
		}
	}
	return pending, errors.Join(errs...)
}

func (d *Datapath) sweepGuards() error {
	all, err := xfrm.Policies(d.xfrm)
	if err != nil {
		return err
	}
	need := d.needed()
	var errs []error
	for _, p := range all {
		if remote, ok := isGuard(p); ok && !need[remote] {
			errs = append(errs, xfrm.DeletePolicy(d.xfrm, p))
		}
	}
	return errors.Join(errs...)
}

// RemoveLeftovers removes all our GRE interfaces, SAs, policies and clamps without a
// running kernel datapath: when the userspace datapath takes over (guards false), or
// at removal (guards true). A kernel without XFRM has no SAs and policies to remove.
func RemoveLeftovers(log *slog.Logger, guards bool) error {
	none := clampRules(nil)
	_ = runNFT(none.bridged) // fails where nft has no bridge family, and so no table
	if err := runNFT(none.routed); err != nil && !errors.Is(err, errNoNFT) && log != nil {
		log.Warn("removing the clamps an earlier daemon left", "error", err)
	}
	d, err := open(log)
	if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
		return removeLinks()
	}
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	errs := []error{d.sweepAllows(), d.sweepSAs(), removeLinksOn(d.route)}
	if guards {
		errs = append(errs, d.sweepGuards())
	}
	err = errors.Join(errs...)
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = nil // a 32 bit program on a 64 bit kernel never made any
	}
	if err != nil {
		return fmt.Errorf("remove what an earlier daemon left: %w", err)
	}
	return nil
}

func removeLinks() error {
	n, err := netlink.Open(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer n.Close()
	return removeLinksOn(n)
}

func removeLinksOn(n *netlink.Conn) error {
	all, err := rtnl.Links(n)
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range all {
		if l.Ours() && isGRE(l.Kind) {
			errs = append(errs, rtnl.SetUp(n, l.Index, false), rtnl.DeleteLink(n, l.Index))
		}
	}
	return errors.Join(errs...)
}

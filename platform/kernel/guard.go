package kernel

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"greseal/platform"
	"greseal/platform/inet"
	"greseal/platform/xfrm"
)

// Policies come in two layers (priority is not part of a policy's identity, so
// each needs selectors of its own):
//
//	guard  out  any local → R   proto 47  block  from before the device to after it
//	       in   R → any         proto 47  block
//	       fwd  R → any         proto 47  block
//	       out  any local → R   ICMP errors that may quote it (errors.go)
//	allow  out  L → R  key K    proto 47  ESP    while the tunnel has an SA
//	       in   R → L  key K    proto 47  ESP
//
// The lower priority number wins. No allow policy is needed for fwd: what leaves
// a GRE device has lost its IPsec history. The numbers are unusual on purpose: they
// are part of the mark by which a later daemon recognizes them.
//
// Guards belong to a remote, allowing policies and reqids to a tunnel. Tunnels
// between the same two endpoints differ in their GRE keys: packets with a key leave and
// enter by its tunnel's SAs only. Without a key only packets without one match (key 0
// to XFRM).
const (
	guardPriority = 3047
	allowPriority = 1047
)

// Our reqids: "GR" and 16 bits more.
const (
	reqidBase = 0x47520000
	reqidMask = 0xffff0000
)

func ourReqid(id uint32) bool { return id&reqidMask == reqidBase }

func guardPolicies(remote netip.Addr) []xfrm.Policy {
	p := xfrm.Policy{Proto: xfrm.ProtoGRE, Priority: guardPriority, Action: xfrm.ActionBlock}
	out, in, fwd := p, p, p
	out.Dir, out.Src, out.Dst = xfrm.DirOut, inet.Of(remote).All(), inet.Host(remote)
	in.Dir, in.Src, in.Dst = xfrm.DirIn, inet.Host(remote), inet.Of(remote).All()
	fwd.Dir, fwd.Src, fwd.Dst = xfrm.DirFwd, inet.Host(remote), inet.Of(remote).All()
	return append([]xfrm.Policy{out, in, fwd}, errorPolicies(remote)...)
}

// isGuard reports whether p is one of our guards, and for which address.
func isGuard(p xfrm.Policy) (netip.Addr, bool) {
	remote := p.Dst
	if p.Dir != xfrm.DirOut {
		remote = p.Src
	}
	return remote.Addr(), remote.IsSingleIP() && slices.Contains(guardPolicies(remote.Addr()), p)
}

// Guard blocks protocol 47 in the clear between this machine and remotes. Called
// again, the new list replaces the old one, except for addresses that link's
// device or SAs still use.
func (d *Datapath) Guard(link string, remotes []netip.Addr) error {
	asked := make(map[netip.Addr]bool)
	for _, r := range remotes {
		if r = inet.Plain(r); !r.IsValid() || r.IsUnspecified() {
			return fmt.Errorf("guard of %s: %s is no address of a peer", link, r)
		}
		asked[r] = true
	}
	before := d.asked[link]
	both := maps.Clone(asked) // until all of them are installed
	maps.Copy(both, before)
	d.asked[link] = both
	for r := range asked {
		if err := d.closeTo(r); err != nil {
			return err // Audit goes on trying
		}
	}
	d.asked[link] = asked
	for r := range before {
		if !asked[r] {
			return d.dropGuards()
		}
	}
	return nil // saves a look at thousands of links
}

// Unguard removes the guards that no other link needs. It refuses while the interface
// exists.
func (d *Datapath) Unguard(link string) error {
	if _, there := d.links[link]; there {
		return fmt.Errorf("open the guard of %s: its interface still exists, delete it first", link)
	}
	delete(d.asked, link)
	delete(d.remotes, link)
	return d.dropGuards()
}

// closeTo installs the guard policies of one remote.
func (d *Datapath) closeTo(remote netip.Addr) error {
	for _, p := range guardPolicies(remote) {
		if err := d.layGuard(p, d.guards[remote]); err != nil {
			return fmt.Errorf("close protocol 47 in the clear for %s: %w", remote, explain(err))
		}
	}
	d.guards[remote] = true
	return nil
}

// layGuard installs one policy of a guard. laid says that it was installed before, so
// that what is there instead came later.
func (d *Datapath) layGuard(p xfrm.Policy, laid bool) error {
	there, err := xfrm.ReadPolicy(d.xfrm, p)
	switch {
	case errors.Is(err, unix.ENOENT):
		return xfrm.WritePolicy(d.xfrm, nl.XFRM_MSG_NEWPOLICY, p)
	case err != nil || closes(there, p):
		return err
	case laid || there.Action == p.Action:
		return xfrm.WritePolicy(d.xfrm, nl.XFRM_MSG_UPDPOLICY, p)
	}
	return fmt.Errorf("another program's policy lets it pass (ip xfrm policy: %s proto %d): remove that policy", there, p.Proto)
}

// closes reports whether the policy there serves the purpose of the guard's policy p.
// Another program's may block what p would let pass.
func closes(there, p xfrm.Policy) bool {
	return there == p || p.Action == xfrm.ActionAllow && there.Action == xfrm.ActionBlock
}

// needed are the remotes that must stay guarded.
func (d *Datapath) needed() map[netip.Addr]bool {
	need := make(map[netip.Addr]bool)
	for _, asked := range d.asked {
		maps.Copy(need, asked)
	}
	for _, r := range d.remotes {
		need[r] = true
	}
	for _, p := range d.flows {
		need[p.remote] = true
	}
	return need
}

// dropGuards removes the guards that nothing needs any more. Those of earlier daemons
// are left to Sweep.
func (d *Datapath) dropGuards() error {
	need := d.needed()
	for r := range d.guards {
		if !need[r] {
			if err := d.openTo(r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *Datapath) openTo(remote netip.Addr) error {
	for _, p := range slices.Backward(guardPolicies(remote)) {
		if err := xfrm.DeletePolicy(d.xfrm, p); err != nil {
			return fmt.Errorf("open protocol 47 for %s: %w", remote, err)
		}
	}
	delete(d.guards, remote)
	return nil
}

// endpoints is a pair of GRE endpoints of a link. A link has two of them while it
// moves from one to the other.
type endpoints struct {
	link          string
	local, remote netip.Addr
}

// flow is the GRE between two endpoints of one link: its SAs and allowing policies.
type flow struct {
	endpoints
	key   uint32 // as XFRM sees it, when the link last existed
	reqid uint32
	in    []*installed // oldest first
	out   []*installed
	// What the kernel has, by direction; unset: no policy.
	allowIn, allowOut *xfrm.Policy
}

func newest(sas []*installed) *installed {
	if len(sas) == 0 {
		return nil
	}
	return sas[len(sas)-1]
}

// wantAllow computes the allowing policy of one direction. The kernel sends on
// the newest SA, which decides the outer addresses of tunnel mode. Inbound, the source
// is left open: the reqid binds the template to our SAs just as tightly, and SAs from
// the old and the new address of a moving peer both match.
func (d *Datapath) wantAllow(p *flow, out bool) *xfrm.Policy {
	dev := d.links[p.link]
	sa := newest(*p.list(out))
	if sa == nil || !out && !dev.receives(p.endpoints) {
		return nil
	}
	want := &xfrm.Policy{
		Dir: xfrm.DirIn, Src: inet.Host(p.remote), Dst: inet.Host(p.local), Proto: xfrm.ProtoGRE, Keyed: true, Key: p.key, Priority: allowPriority,
		Reqid: p.reqid, Mode: sa.Mode, TmplSrc: inet.Of(sa.Dst).Unspecified, TmplDst: sa.Dst,
	}
	switch {
	case out:
		want.Dir, want.Src, want.Dst, want.TmplSrc = xfrm.DirOut, want.Dst, want.Src, sa.Src
	case p.local.Is6() && len(d.sameEndpoints(p)) == 0:
		// After an encapsulation limit (RFC 2473), which Linux sends by default,
		// XFRM reads something else as the key.
		want.Keyed, want.Key = false, 0
	}
	return want
}

// sameEndpoints are the flows of other links between the same endpoints.
func (d *Datapath) sameEndpoints(p *flow) (others []*flow) {
	for _, o := range d.flows {
		if o.link != p.link && o.local == p.local && o.remote == p.remote {
			others = append(others, o)
		}
	}
	return others
}

// keyOf is what XFRM reads as the GRE key of a link's packets.
func keyOf(l *platform.Link) uint32 {
	if !l.HasKey {
		return 0
	}
	return l.Key
}

// receives reports whether the interface takes the GRE packets of these endpoints.
// Where it does not the policies must block them: they would have no receiver, and the
// kernel would send an ICMP error in the clear that quotes the beginning of what was in
// ESP.
func (dev *device) receives(e endpoints) bool {
	if dev == nil || dev.leaving || dev.remote != e.remote {
		return false
	}
	local := inet.Plain(dev.want.Local)
	return local == e.local || !local.IsValid()
}

// taken refuses a policy that another link has: packets of both would go into
// the newest SA, whoever that leads to.
func (d *Datapath) taken(p *flow, want *xfrm.Policy) error {
	for _, o := range d.sameEndpoints(p) {
		if have := *o.allowed(want.Dir == xfrm.DirOut); have != nil && have.Selector() == want.Selector() {
			return fmt.Errorf("tunnel %q has the same GRE endpoints and the same gre.key, or neither has one: give each its own, on both sides (%w)", o.link, unix.EEXIST)
		}
	}
	return nil
}

// leave withdraws the policies that let packets into an interface that is about to
// have other endpoints, or none; stay restores them.
func (d *Datapath) leave(dev *device) error { return d.setLeaving(dev, true) }

func (d *Datapath) stay(dev *device) error { return d.setLeaving(dev, false) }

func (d *Datapath) setLeaving(dev *device, leaving bool) error {
	if dev == nil {
		return nil
	}
	d.mu.Lock()
	dev.leaving = leaving
	d.mu.Unlock()
	var errs []error
	for e, p := range d.flows {
		if e.link == dev.want.Name {
			errs = append(errs, d.syncAllow(p))
		}
	}
	return errors.Join(errs...)
}

// syncAllow makes the kernel's allowing policies those the SAs of a flow want.
func (d *Datapath) syncAllow(p *flow) error {
	if dev := d.links[p.link]; dev != nil {
		p.key = keyOf(&dev.want)
	}
	for _, out := range []bool{false, true} {
		have, want := p.allowed(out), d.wantAllow(p, out)
		old := *have
		same := old != nil && want != nil && old.Selector() == want.Selector()
		if want != nil && (!same || *old != *want) {
			if err := d.taken(p, want); err != nil {
				return err
			}
			if err := d.allow(*want, same); err != nil {
				return err
			}
			*have = want
		}
		if old != nil && !same {
			if err := xfrm.DeletePolicy(d.xfrm, *old); err != nil {
				return fmt.Errorf("remove the policy %s: %w", *old, err)
			}
			if want == nil {
				*have = nil
			}
		}
	}
	if e := d.echoers[p.link]; e != nil && e.endpoints == p.endpoints {
		return e.protect(p.allowOut)
	}
	return nil
}

// allowed is the allowing policy of one direction.
func (p *flow) allowed(out bool) **xfrm.Policy {
	if out {
		return &p.allowOut
	}
	return &p.allowIn
}

// allow writes an allowing policy; update says that ours exists already.
func (d *Datapath) allow(p xfrm.Policy, update bool) error {
	typ := uint16(nl.XFRM_MSG_UPDPOLICY)
	if !update {
		if err := d.inTheWay(p); err != nil {
			return err
		}
		typ = nl.XFRM_MSG_NEWPOLICY
	}
	if err := xfrm.WritePolicy(d.xfrm, typ, p); err != nil {
		return fmt.Errorf("add the policy %s: %w", p, explain(err))
	}
	return nil
}

// inTheWay looks for policies between the same endpoints, for the same key or for
// all. Those of an earlier daemon are removed; others are left, and may have the better
// priority.
func (d *Datapath) inTheWay(p xfrm.Policy) error {
	every := p
	every.Keyed, every.Key = false, 0
	for _, p := range []xfrm.Policy{p, every} {
		there, err := xfrm.ReadPolicy(d.xfrm, p)
		switch {
		case errors.Is(err, unix.ENOENT):
			continue
		case err != nil:
			return fmt.Errorf("read the policy %s: %w", p, explain(err))
		case d.wrote(there):
			continue
		case !ourReqid(there.Reqid) || there.Priority != allowPriority:
			return fmt.Errorf("another IKE daemon's policy is in the way (ip xfrm policy: %s proto 47): remove it", there)
		}
		if err := xfrm.DeletePolicy(d.xfrm, p); err != nil {
			return fmt.Errorf("remove the policy %s: %w", there, err)
		}
	}
	return nil
}

// flowFor finds or makes the flow between two GRE endpoints of a link, with its guard.
func (d *Datapath) flowFor(e endpoints) (*flow, error) {
	if p := d.flows[e]; p != nil {
		return p, nil
	}
	if err := d.closeTo(e.remote); err != nil {
		return nil, err
	}
	used := make(map[uint32]bool)
	for _, p := range d.flows {
		used[p.reqid] = true
	}
	for range 0xffff {
		d.lastReqid++
		id := reqidBase | d.lastReqid&^reqidMask
		if id == reqidBase || used[id] {
			continue
		}
		p := &flow{endpoints: e, reqid: id}
		if dev := d.links[e.link]; dev != nil {
			p.key = keyOf(&dev.want)
		}
		d.flows[e] = p
		return p, d.syncSameEndpoints(p)
	}
	return nil, errors.New("all reqids are in use")
}

// dropFlow forgets a flow that has no SAs and policies left.
func (d *Datapath) dropFlow(p *flow) error {
	if len(p.in) != 0 || len(p.out) != 0 || p.allowIn != nil || p.allowOut != nil {
		return nil
	}
	delete(d.flows, p.endpoints)
	return d.syncSameEndpoints(p)
}

// syncSameEndpoints is called when p was added or removed: what other flows let in
// depends on whether they are alone.
func (d *Datapath) syncSameEndpoints(p *flow) error {
	var errs []error
	for _, o := range d.sameEndpoints(p) {
		errs = append(errs, d.syncAllow(o))
	}
	return errors.Join(errs...)
}

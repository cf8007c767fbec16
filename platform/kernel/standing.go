package kernel

import (
	"errors"
	"fmt"
	"net/netip"
	"sort"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"greseal/platform"
	"greseal/platform/rtnl"
	"greseal/platform/xfrm"
)

// Audit reads back what is installed, by one dump each of policies and SAs, and of
// nf_tables where its rules have changed. Guards come first, so that nothing passes in
// the clear whatever else is missing.
func (d *Datapath) Audit(there *platform.Interfaces) []platform.Deviation {
	found := d.auditPolicies(there)
	found = append(found, d.auditSAs()...)
	if there != nil {
		for _, dev := range d.links {
			found = append(found, d.auditLink(dev, there)...)
		}
	}
	found = append(found, d.auditClamps()...)
	sort.Slice(found, func(i, j int) bool {
		a, b := &found[i], &found[j]
		if a.Link != b.Link {
			return a.Link < b.Link
		}
		if a.Object != b.Object {
			return a.Object < b.Object
		}
		return a.Name < b.Name
	})
	return found
}

func remedyOf(err error) string {
	if errors.Is(err, unix.EPERM) {
		return platform.NeedAdmin
	}
	return ""
}

// place is a policy's identity in the kernel.
type place struct {
	dir      uint8
	selector nl.XfrmSelector
}

func placeOf(p *xfrm.Policy) place { return place{p.Dir, p.Selector()} }

func (d *Datapath) auditPolicies(interfaces *platform.Interfaces) (found []platform.Deviation) {
	links := d.guarded()
	all, err := xfrm.Policies(d.xfrm)
	if err != nil {
		for remote, names := range links {
			found = append(found, forEach(names, platform.Deviation{
				Object: platform.ObjectGuard, Name: remote.String(),
				Text: "it cannot be read back: " + explain(err).Error(), Remedy: remedyOf(err),
			})...)
		}
		return found
	}
	there := make(map[place]*xfrm.Policy, len(all))
	for i := range all {
		if p := &all[i]; !p.Apart {
			there[placeOf(p)] = p
		}
	}
	passes := map[bool]string{true: interfaces.WithoutIPsec(true), false: interfaces.WithoutIPsec(false)}
	for remote, names := range links {
		if text := d.openings(remote, there); text != "" {
			var failed error
			dev := d.repairs.Do(platform.Deviation{Object: platform.ObjectGuard, Name: remote.String(), Text: text}, func() error {
				failed = d.closeTo(remote)
				return failed
			})
			dev.Remedy = remedyOf(failed)
			found = append(found, forEach(names, dev)...)
		}
		if sysctl := passes[remote.Is4()]; sysctl != "" {
			found = append(found, forEach(names, platform.Deviation{
				Object: platform.ObjectGuard, Name: remote.String(),
				Text: "the kernel applies no IPsec policy: the sysctl " + sysctl + " is set", Remedy: "sysctl -w " + sysctl + "=0",
			})...)
		}
	}
	for _, p := range d.flows {
		for _, out := range []bool{false, true} {
			if dev, ok := d.auditAllow(p, out, there); !ok {
				found = append(found, dev)
			}
		}
	}
	return found
}

// guarded lists the remotes that must stay guarded, with the links that need it.
func (d *Datapath) guarded() map[netip.Addr][]string {
	links := make(map[netip.Addr]map[string]bool)
	add := func(remote netip.Addr, link string) {
		if links[remote] == nil {
			links[remote] = make(map[string]bool)
		}
		links[remote][link] = true
	}
	for link, remotes := range d.asked {
		for r := range remotes {
			add(r, link)
		}
	}
	for link, r := range d.remotes {
		add(r, link)
	}
	for e := range d.flows {
		add(e.remote, e.link)
	}
	names := make(map[netip.Addr][]string, len(links))
	for r, set := range links {
		for name := range set {
			names[r] = append(names[r], name)
		}
	}
	return names
}

// forEach makes the same deviation for several links.
func forEach(links []string, d platform.Deviation) (all []platform.Deviation) {
	for _, d.Link = range links {
		all = append(all, d)
	}
	return all
}

// openings says which part of a remote's guard is missing, "" for none.
func (d *Datapath) openings(remote netip.Addr, all map[place]*xfrm.Policy) string {
	for _, p := range guardPolicies(remote) {
		there := all[placeOf(&p)]
		switch {
		case there == nil && d.guards[remote]:
			return "somebody removed it"
		case there == nil:
			return "it is not laid"
		case !closes(*there, p):
			return fmt.Sprintf("another policy stands in its place (ip xfrm policy: %s proto %d priority %d)", there, p.Proto, there.Priority)
		}
	}
	return ""
}

// auditAllow checks the allowing policy of one direction of a flow.
func (d *Datapath) auditAllow(p *flow, out bool, all map[place]*xfrm.Policy) (dev platform.Deviation, ok bool) {
	have, want := *p.allowed(out), d.wantAllow(p, out)
	if have == nil && want == nil {
		return dev, true
	}
	dev = platform.Deviation{Link: p.link, Object: platform.ObjectPolicy}
	if have == nil || want == nil || *have != *want {
		dev.Name, dev.Text = fmt.Sprintf("%s → %s", p.local, p.remote), "it is not as the SAs need it"
		return d.repairs.Do(dev, func() error { return d.syncAllow(p) }), false
	}
	dev.Name = want.String()
	there := all[placeOf(want)]
	switch {
	case there == nil:
		dev.Text = "somebody removed it"
	case *there == *want:
		return dev, true
	case there.Action != want.Action:
		dev.Text = "a policy that blocks stands in its place"
	case there.Reqid != want.Reqid:
		dev.Text = fmt.Sprintf("a policy of reqid %#x stands in its place", there.Reqid)
	default:
		dev.Text = "somebody changed its template or priority"
	}
	return d.repairs.Do(dev, func() error { return d.allow(*want, there != nil) }), false
}

// What another program did to an SA. Only the kernel had its keys, so that it cannot be
// installed again: HardExpire has the tunnel negotiate another.
const (
	saDeleted  = "somebody deleted it; another is being negotiated"
	saReplaced = "somebody put another in its place; another is being negotiated"
	saChanged  = "somebody changed its reqid, mode, addresses or limits; another is being negotiated"
)

func (d *Datapath) auditSAs() (found []platform.Deviation) {
	all, err := xfrm.States(d.xfrm)
	if err != nil {
		return nil // the guards have reported it
	}
	there := make(map[xfrm.ID]*xfrm.Info, len(all))
	for i := range all {
		there[all[i].ID] = &all[i]
	}
	var events []platform.Event
	var strange []*xfrm.Info
	ours := make(map[xfrm.ID]bool, len(d.sas))
	d.mu.Lock()
	for _, s := range d.sas {
		if !s.lost {
			if s.why = d.deviates(s, there[s.ID]); s.why != "" {
				s.lost = true
				events = append(events, event(platform.HardExpire, s))
			}
		}
		ours[s.ID] = s.why == "" // what is there in the place of a lost one is not
		if s.why != "" {
			way := "inbound"
			if s.key.Out {
				way = "outbound"
			}
			found = append(found, platform.Deviation{
				Link: s.key.Link, Object: platform.ObjectSA, Name: fmt.Sprintf("%s %08x", way, s.key.SPI), Text: s.why,
			})
		}
	}
	d.mu.Unlock()
	d.tell(events)
	for _, there := range there {
		// SPI 0 has what the kernel makes when it misses an SA.
		if ourReqid(there.Reqid) && there.Reqid != probeReqid && there.SPI != 0 && !ours[there.ID] {
			strange = append(strange, there)
		}
	}
	return append(found, d.removeStrange(strange)...)
}

// removeStrange deletes SAs that are not ours and have the reqid of a tunnel: the newest
// SA with a policy's reqid is the one that the kernel sends its packets through.
func (d *Datapath) removeStrange(strange []*xfrm.Info) (found []platform.Deviation) {
	for _, s := range strange {
		dev := platform.Deviation{Object: platform.ObjectSA, Name: fmt.Sprintf("%08x to %s", s.SPI, s.Dst), Text: "another program's SA takes the tunnel's packets"}
		for _, p := range d.flows {
			if p.reqid == s.Reqid {
				dev.Link = p.link
			}
		}
		found = append(found, d.repairs.Do(dev, func() error { return xfrm.DeleteState(d.xfrm, s.ID) }))
	}
	return found
}

// deviates says how an SA in the kernel, nil for none, differs from the installed one.
func (d *Datapath) deviates(s *installed, there *xfrm.Info) string {
	if there == nil {
		// A dump that was interrupted may leave one out.
		if _, err := xfrm.ReadUse(d.xfrm, s.ID); errors.Is(err, unix.ESRCH) {
			return saDeleted
		}
		return ""
	}
	if there.Reqid != s.Reqid || there.Mode != s.Mode || there.Src != s.Src ||
		s.Encap != (there.Dport != 0) || s.Encap && (there.Sport != s.Sport || there.Dport != s.Dport) {
		return saChanged
	}
	switch before := s.lasting; {
	case before == xfrm.Lasting{}:
		s.lasting = there.Lasting
	case there.Added != before.Added:
		return saReplaced
	case there.Lasting != before:
		return saChanged
	}
	return ""
}

// tell emits events from the goroutine that also receives them.
func (d *Datapath) tell(events []platform.Event) {
	if len(events) == 0 {
		return
	}
	d.wg.Go(func() {
		for _, e := range events {
			if d.emit(e) != nil {
				return
			}
		}
	})
}

// auditLink checks one interface.
func (d *Datapath) auditLink(dev *device, all *platform.Interfaces) []platform.Deviation {
	there, mend, found := all.Compare(&dev.want, dev.index, dev.up)
	if there == nil {
		d.tell(d.linkGone(dev.index, nil))
		return found
	}
	if text := dev.differs(there); text != "" {
		mend.Add(text, func() error { return d.write(there, dev.want, dev.kind, dev.remote) })
	}
	if dev.up && there.Up() && (dev.running != there.Running() || !there.Dormant) {
		mend.Add("its link state does not show the peer's liveness", func() error { return rtnl.SetRunning(d.route, dev.index, dev.running) })
	}
	if repaired, differs := d.repairs.DoAll(platform.Deviation{Link: dev.want.Name, Object: platform.ObjectLink, Name: dev.want.Name}, mend); differs {
		found = append(found, repaired)
	}
	return found
}

package userspace

import (
	"slices"
	"sync/atomic"

	"greseal/platform"
	"greseal/platform/gre"
)

// Several tunnels between the same two GRE endpoints are told apart by their keys
// alone: their SAs have the same selectors, so either is good for the packets of
// all of them (RFC 4301 section 4.4.1), and a kernel on the other side sends all
// on the newest. A packet therefore belongs to the link with its key, whichever
// of these SAs brought it.

// linkTable is the devices as the workers see them.
type linkTable struct{ all atomic.Pointer[[]*device] }

// add and remove show the workers which devices there are. What they read already
// stays as it is: a longer list may share its beginning.
func (t *linkTable) add(d *device) {
	var now []*device
	if all := t.all.Load(); all != nil {
		now = *all
	}
	now = append(now, d)
	t.all.Store(&now)
}

func (t *linkTable) remove(d *device) {
	if all := t.all.Load(); all != nil {
		now := slices.DeleteFunc(slices.Clone(*all), func(o *device) bool { return o == d })
		t.all.Store(&now)
	}
}

// keyed reports whether a packet has the link's key.
func keyed(l *platform.Link, h *gre.Header) bool {
	return h.HasKey == l.HasKey && (h.Key == l.Key || !h.HasKey)
}

// between finds the link that a packet of an SA belongs to by its endpoints and
// key. A link that has no SA of its own takes nothing.
func (t *linkTable) between(sa *inSA, h *gre.Header) *device {
	all := t.all.Load()
	if all == nil {
		return nil
	}
	for _, d := range *all {
		l := d.link.Load()
		if keyed(l, h) && l.Local.Unmap() == sa.greLocal && l.Remote.Unmap() == sa.greRemote && d.out.Load() != nil {
			return d
		}
	}
	return nil
}

package platform

import (
	"errors"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"greseal/platform/netlink"
	"greseal/platform/rtnl"
)

// settle is how long a Watcher gathers changes before it reports them: a WAN
// that comes up makes a dozen within a few milliseconds.
const settle = 50 * time.Millisecond

// Change says that the machine's network has changed. It is a reason to look again,
// not a description: several changes may be merged into one.
type Change struct {
	// Underlay: a link, address, route or rule that is not ours came, went or
	// changed, or a rule or an unreachable route of ours was removed; routes to
	// peers, local addresses and MTUs may differ now.
	Underlay bool
	// Own names our interfaces that another program set up or down or deleted,
	// or whose addresses or routes it changed.
	Own []string
	// Other: another program changed something that may affect what we have
	// installed, such as XFRM policies, nf_tables or the bridge of an interface.
	Other bool
}

func (c *Change) empty() bool { return !c.Underlay && !c.Other && len(c.Own) == 0 }

func (c *Change) own(name string) {
	if !slices.Contains(c.Own, name) {
		c.Own = append(c.Own, name)
	}
}

func (c *Change) add(o Change) {
	c.Underlay, c.Other = c.Underlay || o.Underlay, c.Other || o.Other
	for _, name := range o.Own {
		c.own(name)
	}
}

// Watcher reports changes of links, addresses, routes, rules, XFRM and nf_tables. It
// leaves out those of this process where the kernel says whose they are.
type Watcher struct {
	subs  []*netlink.Subscription
	out   chan Change
	log   *slog.Logger
	found chan Change
	wg    sync.WaitGroup
	stop  chan struct{}

	links map[int]linkSeen // the reader's
}

type linkSeen struct {
	name    string
	own     bool
	flags   uint32
	mtu     int
	master  int
	alias   string
	present bool

	silent6, dormant bool // of our own
	gsoMax           int
}

// Watch starts a Watcher in the calling thread's network namespace.
func Watch(log *slog.Logger) (*Watcher, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	sub, err := netlink.Subscribe(unix.NETLINK_ROUTE,
		unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
		unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
		unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE)
	if err != nil {
		return nil, err
	}
	n, err := netlink.Open(unix.NETLINK_ROUTE)
	if err != nil {
		sub.Close()
		return nil, err
	}
	defer n.Close()
	links, err := rtnl.Links(n)
	if err != nil {
		sub.Close()
		return nil, err
	}
	w := &Watcher{
		subs: []*netlink.Subscription{sub}, log: log, out: make(chan Change), found: make(chan Change, 16),
		stop: make(chan struct{}), links: make(map[int]linkSeen),
	}
	for _, l := range links {
		w.links[l.Index] = seen(l)
	}
	w.wg.Add(2)
	go w.read(sub, w.see, w.everything)
	go w.gather()
	w.watchOthers(unix.NETLINK_XFRM, nl.XFRMNLGRP_SA, nl.XFRMNLGRP_POLICY)
	w.watchOthers(unix.NETLINK_NETFILTER, unix.NFNLGRP_NFTABLES)
	return w, nil
}

// watchOthers adds groups of another netlink protocol, where the kernel has it.
func (w *Watcher) watchOthers(proto int, groups ...int) {
	sub, err := netlink.Subscribe(proto, groups...)
	if err != nil {
		w.log.Debug("no notifications of this kind", "protocol", proto, "error", err)
		return
	}
	w.subs = append(w.subs, sub)
	w.wg.Add(1)
	go w.read(sub, func(c *Change, _ uint16, port uint32, _ []byte) {
		c.Other = c.Other || !netlink.OwnPort(port)
	}, func(c *Change) { c.Other = true })
}

// Changes delivers what happened. Until it is read, changes are merged into one.
func (w *Watcher) Changes() <-chan Change { return w.out }

// Close ends the Watcher and waits for its goroutines.
func (w *Watcher) Close() {
	for _, sub := range w.subs {
		sub.Close()
	}
	close(w.stop)
	w.wg.Wait()
}

// read passes notifications to see; where some were lost, lost says what is to be
// looked at again.
func (w *Watcher) read(sub *netlink.Subscription, see func(c *Change, typ uint16, port uint32, p []byte), lost func(*Change)) {
	defer w.wg.Done()
	for {
		var c Change
		err := sub.Next(func(typ uint16, port uint32, p []byte) { see(&c, typ, port, p) })
		switch {
		case errors.Is(err, os.ErrClosed):
			return
		case errors.Is(err, unix.ENOBUFS):
			lost(&c)
		case err != nil:
			w.log.Error("netlink notifications ended", "error", err)
			return
		}
		if c.empty() {
			continue
		}
		select {
		case w.found <- c:
		case <-w.stop:
			return
		}
	}
}

// everything is to be looked at again. The links seen so far stay; the next message
// about each corrects it.
func (w *Watcher) everything(c *Change) {
	w.log.Debug("netlink notifications lost, reading everything again")
	c.Underlay = true
	for _, l := range w.links {
		if l.own {
			c.own(l.name)
		}
	}
}

// gather merges changes until they have settled and are read.
func (w *Watcher) gather() {
	defer w.wg.Done()
	var pending Change
	var out chan Change
	settled := time.NewTimer(settle)
	settled.Stop()
	waiting := false
	for {
		select {
		case <-w.stop:
			return
		case c := <-w.found:
			pending.add(c)
			if !waiting && out == nil {
				settled.Reset(settle)
				waiting = true
			}
		case <-settled.C:
			waiting, out = false, w.out
		case out <- pending:
			pending, out = Change{}, nil
		}
	}
}

// see judges one notification.
func (w *Watcher) see(c *Change, typ uint16, port uint32, p []byte) {
	switch typ {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		w.seeLink(c, typ == unix.RTM_NEWLINK, netlink.OwnPort(port), p)
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		a, err := rtnl.ParseAddress(p)
		if err != nil || netlink.OwnPort(port) {
			return
		}
		w.blame(c, a.Index, typ == unix.RTM_DELADDR)
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		r, err := rtnl.ParseRoute(p)
		if err != nil || netlink.OwnPort(port) || !r.Dst.IsValid() || r.Type == unix.RTN_MULTICAST || r.Type == unix.RTN_BROADCAST || r.Type == unix.RTN_ANYCAST {
			return
		}
		if r.Protocol == rtnl.Protocol {
			if typ == unix.RTM_DELROUTE && r.Type == unix.RTN_UNICAST {
				w.blame(c, r.Oif, true)
			} else if typ == unix.RTM_DELROUTE {
				c.Underlay = true // an unreachable route: Refresh restores it
			}
			return
		}
		w.blame(c, r.Oif, false)
		// The kernel adds one with an address only once.
		c.Other = c.Other || typ == unix.RTM_DELROUTE && r.Protocol == unix.RTPROT_KERNEL && w.links[r.Oif].own
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		c.Underlay = c.Underlay || !netlink.OwnPort(port)
	}
}

// blame notes a change on an interface: on our own only removals matter.
func (w *Watcher) blame(c *Change, index int, gone bool) {
	l, known := w.links[index]
	switch {
	case !known || !l.own:
		c.Underlay = true
	case gone:
		c.own(l.name)
	}
}

func seen(l *rtnl.Link) linkSeen {
	s := linkSeen{
		name: l.Name, own: l.Ours(), mtu: l.MTU, master: l.Master, alias: l.Alias, present: true,
		flags: l.Flags & (unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_LOWER_UP),
	}
	if s.own {
		s.silent6, s.dormant, s.gsoMax = l.Silent6, l.Dormant, l.GSOMax
	}
	return s
}

func (w *Watcher) seeLink(c *Change, present, ours bool, p []byte) {
	// Bridges repeat their ports' messages with family AF_BRIDGE.
	if len(p) < unix.SizeofIfInfomsg || p[0] != unix.AF_UNSPEC {
		return
	}
	l, err := rtnl.ParseLink(p)
	if err != nil {
		return
	}
	now, before := seen(l), w.links[l.Index]
	if !present {
		delete(w.links, l.Index)
		switch {
		case before.own || now.own:
			c.own(l.Name)
		case before.present && before.flags&unix.IFF_UP != 0:
			c.Underlay = true
		}
		return
	}
	w.links[l.Index] = now
	switch {
	case now.own:
		// Liveness is set by us alone; the administrative state may not be. Kernels
		// before 6.2 do not say who changed it.
		if before.present && !ours && (before.flags^now.flags)&unix.IFF_UP != 0 {
			c.own(now.name)
		}
		now.flags, before.flags = 0, 0
		c.Other = c.Other || before.present && !ours && now != before
	case now == before:
	case !before.present && now.flags&unix.IFF_UP == 0:
		c.Other = true // no route leads there yet, but it may be the bridge of an interface of ours
	default:
		c.Underlay = true
	}
}

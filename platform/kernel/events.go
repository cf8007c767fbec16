package kernel

import (
	"encoding/binary"
	"errors"
	"os"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"greseal/platform"
	"greseal/platform/netlink"
	"greseal/platform/rtnl"
	"greseal/platform/xfrm"
)

// XFRM multicast groups.
const (
	groupExpire  = nl.XFRMNLGRP_EXPIRE
	groupSA      = nl.XFRMNLGRP_SA
	groupMapping = nl.XFRMNLGRP_MAPPING
)

// firstUsePoll is how often a watched SA is read. The kernel has no event for a first
// packet.
const firstUsePoll = 50 * time.Millisecond

// listen starts the goroutines that make events. Acquires are not subscribed to:
// without a listener the kernel makes no larval states, and tunnels are always
// wanted.
func (d *Datapath) listen() error {
	sas, err := netlink.Subscribe(unix.NETLINK_XFRM, groupExpire, groupSA, groupMapping)
	if err != nil {
		return err
	}
	d.subs = append(d.subs, sas)
	links, err := netlink.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK)
	if err != nil {
		return err
	}
	d.subs = append(d.subs, links)
	d.wg.Add(3)
	go d.receive(sas, d.xfrmEvents, d.resyncSAs)
	go d.receive(links, d.linkEvents, d.resyncLinks)
	go d.pollUse()
	return nil
}

// receive turns notifications into events. After an overflow of the socket, resync
// looks for what the lost ones may have reported.
func (d *Datapath) receive(s *netlink.Subscription, decode func(typ uint16, port uint32, p []byte) []platform.Event, resync func() []platform.Event) {
	defer d.wg.Done()
	for {
		var events []platform.Event
		err := s.Next(func(typ uint16, port uint32, p []byte) {
			events = append(events, decode(typ, port, p)...)
		})
		switch {
		case errors.Is(err, os.ErrClosed):
			return
		case errors.Is(err, unix.ENOBUFS):
			events = append(events, resync()...)
		case err != nil:
			d.log.Error("kernel notifications ended", "error", err)
			return
		}
		for _, e := range events {
			if d.emit(e) != nil {
				return
			}
		}
	}
}

func (d *Datapath) emit(e platform.Event) error {
	select {
	case d.events <- e:
		return nil
	case <-d.done:
		return errClosed
	}
}

// byID finds an SA by its identity in the kernel. d.mu is held.
func (d *Datapath) byID(id xfrm.ID) *installed {
	for _, s := range d.sas {
		if s.ID == id {
			return s
		}
	}
	return nil
}

func event(kind platform.EventKind, s *installed) platform.Event {
	return platform.Event{Kind: kind, Link: s.key.Link, Out: s.key.Out, SPI: s.key.SPI}
}

func (d *Datapath) xfrmEvents(typ uint16, port uint32, p []byte) []platform.Event {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch typ {
	case nl.XFRM_MSG_EXPIRE:
		// SPI 0 is a larval state, which another listener for acquires caused.
		info, hard, ok := xfrm.ParseExpire(p)
		s := d.byID(info.ID)
		if !ok || info.SPI == 0 || s == nil || s.lost {
			return nil
		}
		if hard {
			s.lost, s.last = true, s.count(info)
			return []platform.Event{event(platform.HardExpire, s)}
		}
		return []platform.Event{event(softKind(s, info), s)}

	case nl.XFRM_MSG_DELSA:
		if port == d.xfrm.Port() {
			return nil
		}
		info, counted, ok := xfrm.ParseDeleted(p)
		s := d.byID(info.ID)
		if !ok || s == nil || s.lost {
			return nil
		}
		s.lost, s.why = true, saDeleted
		if counted {
			s.last = s.count(info)
		}
		d.log.Warn("another program deleted one of our SAs", "interface", s.key.Link, "outbound", s.key.Out)
		return []platform.Event{event(platform.HardExpire, s)}

	case nl.XFRM_MSG_FLUSHSA:
		return d.gone()

	case nl.XFRM_MSG_MAPPING:
		id, to, ok := xfrm.ParseMapping(p)
		s := d.byID(id)
		if !ok || s == nil || s.mapped == to {
			return nil
		}
		s.mapped = to
		e := event(platform.Mapping, s)
		e.Remote = to
		return []platform.Event{e}
	}
	return nil
}

// softKind distinguishes the limit that was asked for from our own, which keeps 32 bit
// sequence numbers from running out.
func softKind(s *installed, info xfrm.Info) platform.EventKind {
	asked := s.SoftBytes != 0 && info.Bytes >= s.SoftBytes || s.softPackets != 0 && info.Packets >= s.softPackets
	if !asked && s.Out && !s.ESN && info.Packets >= sequenceLow {
		return platform.SequenceLow
	}
	return platform.SoftExpire
}

// gone finds the SAs that the kernel no longer has. d.mu is held.
func (d *Datapath) gone() []platform.Event {
	var events []platform.Event
	for _, s := range d.sas {
		if s.lost {
			continue
		}
		if _, err := xfrm.ReadUse(d.xfrm, s.ID); errors.Is(err, unix.ESRCH) {
			s.lost, s.why = true, saDeleted
			events = append(events, event(platform.HardExpire, s))
		}
	}
	if len(events) > 0 {
		d.log.Warn("some of our SAs are gone", "number", len(events))
	}
	return events
}

// resyncSAs also repeats soft expiry: asking for a rekey twice does no harm,
// missing it does.
func (d *Datapath) resyncSAs() []platform.Event {
	d.mu.Lock()
	defer d.mu.Unlock()
	events := d.gone()
	for _, s := range d.sas {
		if s.lost || s.SoftBytes == 0 && s.SoftPacket == 0 {
			continue
		}
		info, err := xfrm.ReadState(d.xfrm, s.ID)
		if err == nil && (s.SoftBytes != 0 && info.Bytes >= s.SoftBytes || s.SoftPacket != 0 && info.Packets >= s.SoftPacket) {
			events = append(events, event(softKind(s, info), s))
		}
	}
	return events
}

func (d *Datapath) linkEvents(typ uint16, port uint32, p []byte) []platform.Event {
	if typ != unix.RTM_DELLINK || len(p) < unix.SizeofIfInfomsg || p[0] != unix.AF_UNSPEC {
		return nil
	}
	return d.linkGone(int(int32(binary.NativeEndian.Uint32(p[4:]))), rtnl.ParseMoved(p))
}

// linkGone notes that an interface has left; moved is nil when it was deleted.
func (d *Datapath) linkGone(index int, moved *rtnl.Moved) []platform.Event {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, dev := range d.links {
		if dev.index == index && !dev.gone {
			dev.gone, dev.moved = true, moved
			return []platform.Event{{Kind: platform.LinkLost, Link: name}}
		}
	}
	return nil
}

func (d *Datapath) resyncLinks() []platform.Event {
	all, err := rtnl.Links(d.route)
	if err != nil {
		return nil
	}
	there := make(map[int]bool)
	for _, l := range all {
		there[l.Index] = true
	}
	d.mu.Lock()
	var lost []int
	for _, dev := range d.links {
		if !there[dev.index] {
			lost = append(lost, dev.index)
		}
	}
	d.mu.Unlock()
	var events []platform.Event
	for _, index := range lost {
		events = append(events, d.linkGone(index, nil)...)
	}
	return events
}

// watch wakes pollUse.
func (d *Datapath) watch() {
	select {
	case d.poll <- struct{}{}:
	default:
	}
}

// pollUse looks at the watched SAs until each has carried a packet.
func (d *Datapath) pollUse() {
	defer d.wg.Done()
	tick := time.NewTicker(firstUsePoll)
	tick.Stop()
	defer tick.Stop()
	for {
		select {
		case <-d.done:
			return
		case <-d.poll:
			tick.Reset(firstUsePoll)
			continue
		case <-tick.C:
		}
		used, left := d.lookForUse()
		if left == 0 {
			tick.Stop()
		}
		for _, e := range used {
			if d.emit(e) != nil {
				return
			}
		}
	}
}

func (d *Datapath) lookForUse() (used []platform.Event, left int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.sas {
		if !s.watched || s.lost {
			continue
		}
		packets, err := xfrm.ReadUse(d.xfrm, s.ID)
		switch {
		case err == nil && packets > 0:
			s.watched = false
			used = append(used, event(platform.FirstUse, s))
		case errors.Is(err, unix.ESRCH):
			s.watched = false
		default:
			left++
		}
	}
	return used, left
}

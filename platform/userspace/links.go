package userspace

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"greseal/platform"
	"greseal/platform/rtnl"
	"greseal/platform/userspace/oversize"
	"greseal/platform/userspace/vnet"
)

// minMTU is IPv4's; a TUN takes no smaller one.
const minMTU = 68

// SetLink makes the TUN or TAP of a link or changes it in place. A TUN is
// persistent: a restart of the daemon finds it again, with its addresses and
// routes.
func (d *Datapath) SetLink(l platform.Link) (int, error) {
	if err := rtnl.CheckName(l.Name); err != nil {
		return 0, err
	}
	if l.MTU < minMTU || l.MTU > vnet.MaxIPLen-vnet.EtherLen {
		return 0, fmt.Errorf("interface %s: an MTU of %d; choose from %d to %d", l.Name, l.MTU, minMTU, vnet.MaxIPLen-vnet.EtherLen)
	}
	dev := d.devices[l.Name]
	info, err := d.present(l.Name, dev)
	if err != nil {
		return 0, err
	}
	if dev != nil && (info == nil || info.Index != dev.index) {
		dev.lost.Store(true)
		dev.unclaim()
	}
	// Deleted by somebody, or to become the other kind: a new device, to which
	// the SAs move before the old one is closed.
	fresh := dev == nil || dev.lost.Load() || dev.Ethernet != l.Ethernet
	if fresh {
		old := dev
		if dev, err = d.makeDevice(&l, info); err != nil {
			return 0, err
		}
		d.devices[l.Name] = dev
		if old != nil {
			d.closeDevice(old, dev)
		}
	}
	if err := d.configure(dev, &l, fresh); err != nil {
		return 0, err
	}
	return dev.index, nil
}

// present looks for the interface, nil for none. One of ours that was renamed has its name
// again, and one that has lost its mark the mark.
func (d *Datapath) present(name string, dev *device) (*rtnl.Link, error) {
	info, err := rtnl.LinkByName(d.netlink, name)
	if errors.Is(err, rtnl.ErrNoLink) && dev != nil {
		info, err = d.renamed(dev)
	}
	switch {
	case err != nil && !errors.Is(err, rtnl.ErrNoLink):
		return nil, err
	case info == nil || info.Alias == rtnl.Alias(name):
		return info, nil
	case dev == nil || dev.index != info.Index:
		return nil, fmt.Errorf("interface %s already exists and is not greseal's: rename it or the tunnel", name)
	}
	if err := rtnl.MarkLink(d.netlink, info.Index, name); err != nil {
		return nil, fmt.Errorf("interface %s: mark it as ours: %w", name, err)
	}
	info.Alias = rtnl.Alias(name)
	return info, nil
}

// renamed gives a device that somebody renamed its name back. The error wraps ErrNoLink
// when it is not here any more.
func (d *Datapath) renamed(dev *device) (*rtnl.Link, error) {
	info, err := rtnl.LinkByIndex(d.netlink, dev.index)
	if err != nil {
		return nil, err
	}
	if info.Alias != rtnl.Alias(dev.name) {
		return nil, fmt.Errorf("interface %s: %w", dev.name, rtnl.ErrNoLink)
	}
	return info, rtnl.Rename(d.netlink, info, dev.name)
}

// makeDevice opens a device of its own name, made or adopted. info is the
// interface that stands, nil for none; it has our mark.
func (d *Datapath) makeDevice(l *platform.Link, info *rtnl.Link) (*device, error) {
	fd, header, err := d.openDevice(l.Name, l.Ethernet)
	if errors.Is(err, errKind) && info != nil {
		// The other kind of ours: a TAP where a TUN is wanted, or a GRE device
		// of the kernel datapath.
		if err := rtnl.DeleteLink(d.netlink, info.Index); err != nil {
			return nil, fmt.Errorf("interface %s: replace the one that stands: %w", l.Name, err)
		}
		info = nil
		fd, header, err = d.openDevice(l.Name, l.Ethernet)
	}
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", l.Name, err)
	}
	dev := &device{name: l.Name, events: d.events, bounce: make(chan []byte, maxBounces), opened: time.Now(), refusals: oversize.MessageRate()}
	dev.FD, dev.Ethernet, dev.Header, dev.Lost = fd, l.Ethernet, header, dev.gone
	dev.link.Store(l)
	if err := d.claim(dev, info != nil); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("interface %s: %w", l.Name, err)
	}
	dev.egress = d.idlest()
	if err := dev.egress.addDevice(dev); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("interface %s: %w", l.Name, err)
	}
	return dev, nil
}

// idlest is the egress worker with the fewest devices.
func (d *Datapath) idlest() *egress {
	return slices.MinFunc(d.egress, func(a, b *egress) int { return a.serves - b.serves })
}

// openDevice opens a device with a vnet header, or without when the kernel has
// none.
func (d *Datapath) openDevice(name string, ethernet bool) (fd int, header bool, err error) {
	if d.off&OffVnet == 0 {
		if fd, err = d.kernel.openTUN(name, ethernet, true); err == nil {
			d.tunOffloads(fd)
			return fd, true, nil
		}
		if !errors.Is(err, errKind) {
			return -1, false, err
		}
	}
	fd, err = d.kernel.openTUN(name, ethernet, false)
	if err == nil && d.off&OffVnet == 0 {
		d.note("packets pass the interface one by one: the kernel's TUN has no vnet header")
	}
	return fd, false, err
}

// tunOffloads switches on what the device can do for us, the most first.
func (d *Datapath) tunOffloads(fd int) {
	tcp := tunCsum | tunTSO4 | tunTSO6 | tunTSOECN
	udp := tunUSO4 | tunUSO6 // both or neither
	if d.off&OffTSO != 0 {
		tcp = 0
	}
	if d.off&(OffUSO|OffTSO) != 0 {
		udp = 0
	}
	if udp != 0 {
		err := d.kernel.setOffload(fd, tcp|udp)
		if err == nil {
			return
		}
		d.note("the interface gives UDP packets one by one: the kernel has no UDP segmentation for TUN, Linux 6.2 does (%v)", err)
	}
	if tcp != 0 {
		err := d.kernel.setOffload(fd, tcp)
		if err == nil {
			return
		}
		d.note("the interface gives TCP packets one by one: the kernel has no segmentation for TUN (%v)", err)
	}
	_ = d.kernel.setOffload(fd, 0)
}

// claim marks a device as ours, takes its carrier away unless it was inherited running,
// and only then makes it persistent: an interface without mark would be foreign to the next daemon.
func (d *Datapath) claim(dev *device, adopted bool) error {
	info, err := rtnl.LinkByName(d.netlink, dev.name)
	if err != nil {
		return err
	}
	dev.index = info.Index
	running := adopted && d.inherited[dev.name]
	delete(d.inherited, dev.name)
	if err := dev.setCarrier(d.netlink, running); err != nil {
		return fmt.Errorf("set the link state: %w", err)
	}
	if adopted {
		return nil
	}
	if err := rtnl.MarkLink(d.netlink, dev.index, dev.name); err != nil {
		return fmt.Errorf("mark it as ours: %w", err)
	}
	if err := unix.IoctlSetInt(dev.FD, unix.TUNSETPERSIST, 1); err != nil {
		return fmt.Errorf("make it persistent: %w", err)
	}
	return nil
}

// unclaim lets a device end with its descriptor. One that was moved to another network
// namespace would stay there, out of reach.
func (d *device) unclaim() { _ = unix.IoctlSetInt(d.FD, unix.TUNSETPERSIST, 0) }

// configure gives a device what the link asks for.
func (d *Datapath) configure(dev *device, l *platform.Link, fresh bool) error {
	info, err := rtnl.LinkByIndex(d.netlink, dev.index)
	if err != nil {
		return err
	}
	if info.MTU != l.MTU {
		if err := rtnl.SetMTU(d.netlink, dev.index, l.MTU); err != nil {
			return fmt.Errorf("interface %s: set MTU %d: %w", l.Name, l.MTU, err)
		}
	}
	if err := d.setBridge(dev, l, info); err != nil {
		return err
	}
	if dev.Header {
		// So large that all its segments fit into one run. Purely for speed.
		dev.gsoMax = gsoMaxSize(l.MTU)
		_ = dev.setGSOMax(d.netlink)
	}
	dev.link.Store(l)
	// The SAs' headers depend on the link.
	for _, sa := range dev.outs {
		r, err := d.routeOf(&sa.sa, l)
		if err != nil {
			return fmt.Errorf("interface %s: %w", l.Name, err)
		}
		sa.route.Store(r)
	}
	if fresh || !info.Up() {
		if err := rtnl.SetUp(d.netlink, dev.index, true); err != nil {
			return fmt.Errorf("interface %s: bring it up: %w", l.Name, err)
		}
	}
	return nil
}

// gsoMaxSize is the largest TCP packet whose segments, each with the largest
// overhead that occurs (about 110 bytes: inner IPv6, GRE, ESP), fit into one
// UDP message.
func gsoMaxSize(mtu int) int {
	n := min(maxUDPPayload/(mtu+110), vnet.MaxSegments)
	return min(max(n*mtu, 4096), 65536)
}

func (d *Datapath) setBridge(dev *device, l *platform.Link, info *rtnl.Link) error {
	master := 0
	if l.Bridge != "" {
		bridge, err := rtnl.LinkByName(d.netlink, l.Bridge)
		if err != nil {
			return fmt.Errorf("interface %s: bridge %s: %w", l.Name, l.Bridge, err)
		}
		master = bridge.Index
	} else if dev.link.Load().Bridge == "" {
		return nil // whoever made it a port of something decides
	}
	if info.Master == master {
		return nil
	}
	if err := rtnl.SetMaster(d.netlink, dev.index, master); err != nil {
		return fmt.Errorf("interface %s: bridge %q: %w", l.Name, l.Bridge, err)
	}
	return nil
}

// SetRunning shows liveness as the carrier.
func (d *Datapath) SetRunning(name string, running bool) error {
	dev := d.devices[name]
	if dev == nil || dev.lost.Load() {
		return fmt.Errorf("interface %s: %w", name, rtnl.ErrNoLink)
	}
	if err := dev.setCarrier(d.netlink, running); err != nil {
		return fmt.Errorf("interface %s: set the link state: %w", name, err)
	}
	return nil
}

// MSSClampError is nil: the workers do it.
func (d *Datapath) MSSClampError(string) error { return nil }

// LinkDrops reads what a link's packets lost outside any one SA.
func (d *Datapath) LinkDrops(name string) (platform.Drops, error) {
	dev := d.devices[name]
	if dev == nil {
		return platform.Drops{}, fmt.Errorf("interface %s: %w", name, rtnl.ErrNoLink)
	}
	var tx txCounters
	var rx rxCounters
	dev.egress.do(func() { tx = dev.tx })
	dev.mu.Lock()
	rx = dev.rx
	dev.mu.Unlock()
	return platform.Drops{
		NoSA:   tx.noSA,
		TooBig: tx.tooBig,
		Queue:  tx.sendErrors + tx.malformed + uint64(dev.Refused.Load()),
		Key:    rx.key,
		GRE:    rx.checksum + rx.sequence + rx.protocol + rx.ecn,
	}, nil
}

// DeleteLink removes a link with its SAs and its interface.
func (d *Datapath) DeleteLink(name string) error {
	dev := d.devices[name]
	if dev == nil {
		return nil
	}
	for key := range d.ins {
		if key.Link == name {
			_, _ = d.RemoveSA(key)
		}
	}
	for _, sa := range slices.Clone(dev.outs) {
		_, _ = d.RemoveSA(platform.SAKey{Link: name, Out: true, SPI: sa.spi})
	}
	delete(d.devices, name)
	lost := dev.lost.Load()
	if lost {
		dev.unclaim()
	}
	d.closeDevice(dev, nil)
	if lost {
		return nil
	}
	err := rtnl.DeleteLink(d.netlink, dev.index)
	if err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("interface %s: delete: %w", name, err)
	}
	return nil
}

// closeDevice takes a device from its workers and closes it; its SAs go to next,
// where there is one. The descriptor's number may be anybody's a moment later, so
// it is closed last: when no worker finds the device any more, by the devices it
// reads or by an SA, and each has ended what it was doing with it.
func (d *Datapath) closeDevice(dev, next *device) {
	dev.egress.removeDevice(dev)
	d.turnSAs(dev, next)
	for _, w := range d.ingress {
		w.do(func() {}) // whoever was writing to it has finished
	}
	_ = unix.Close(dev.FD)
}

// Leftovers finds our interfaces. Their SAs went with the keys of the daemon that had
// them.
func (d *Datapath) Leftovers() (found []platform.Leftover, err error) {
	links, err := rtnl.Links(d.netlink)
	for _, l := range links {
		if l.Alias == rtnl.Alias(l.Name) && l.Kind == "tun" && d.devices[l.Name] == nil {
			found = append(found, platform.Leftover{
				Link:    platform.Link{Name: l.Name, Ethernet: l.Ethernet(), MTU: l.MTU},
				Running: l.Up() && !l.Dormant,
			})
		}
	}
	return found, err
}

// Inherit has SetLink leave the link running.
func (d *Datapath) Inherit(l platform.Link) error {
	d.inherited[l.Name] = true
	return nil
}

// Sweep deletes what earlier daemons left: interfaces with our mark that keep
// does not name. SAs and sockets die with a daemon.
func (d *Datapath) Sweep(keep []string) error {
	links, err := rtnl.Links(d.netlink)
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range links {
		if !l.Ours() || slices.Contains(keep, l.Name) || d.devices[l.Name] != nil {
			continue
		}
		if err := rtnl.DeleteLink(d.netlink, l.Index); err != nil && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, fmt.Errorf("interface %s: delete: %w", l.Name, err))
		}
	}
	return errors.Join(errs...)
}

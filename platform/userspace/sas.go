package userspace

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"greseal/crypto/esp"
	"greseal/platform"
	"greseal/platform/rtnl"
)

// check refuses an SA that makes no sense, before anything is changed, and takes IPv4
// addresses out of their IPv6 form.
func (d *Datapath) check(sa *platform.SA, out bool) (*device, error) {
	dev := d.devices[sa.Link]
	switch {
	case sa.Out != out:
		return nil, errors.New("the SA is of the other direction")
	case dev == nil:
		return nil, fmt.Errorf("interface %s: %w", sa.Link, rtnl.ErrNoLink)
	case !sa.Remote.Addr().IsValid():
		return nil, errors.New("the SA has no outer address of the peer")
	case sa.Local.Addr().IsValid() && sa.Local.Addr().Unmap().Is4() != sa.Remote.Addr().Unmap().Is4():
		return nil, fmt.Errorf("outer addresses %s and %s are of different IP versions", sa.Local.Addr(), sa.Remote.Addr())
	case !sa.GRELocal.IsValid() || !sa.GRERemote.IsValid() || sa.GRELocal.Unmap().Is4() != sa.GRERemote.Unmap().Is4():
		return nil, fmt.Errorf("GRE endpoints %s and %s: two addresses of the same IP version are needed", sa.GRELocal, sa.GRERemote)
	case sa.Encap && sa.Remote.Port() == 0:
		return nil, errors.New("UDP encapsulation without the peer's port")
	}
	sa.Remote, sa.GRELocal, sa.GRERemote = unmap(sa.Remote), sa.GRELocal.Unmap(), sa.GRERemote.Unmap()
	return dev, nil
}

// InstallIn installs an inbound SA.
func (d *Datapath) InstallIn(sa platform.SA) error {
	defer sa.Params.Wipe()
	dev, err := d.check(&sa, false)
	if err != nil {
		return installError(&sa, err)
	}
	key := sa.Key()
	if d.sas.inbound(key.SPI) != nil {
		return installError(&sa, errors.New("the SPI is in use"))
	}
	opener, err := esp.NewOpener(sa.Params)
	if err != nil {
		return installError(&sa, err)
	}
	window, err := esp.NewWindow(sa.ReplayWindow)
	if err != nil {
		return installError(&sa, err)
	}
	if !sa.Encap {
		// Makes sure that somebody listens for protocol 50.
		if _, err := d.socketFor(false, sa.Remote.Addr().Unmap().Is6(), inOne); err != nil {
			return installError(&sa, err)
		}
	}
	in := &inSA{
		spi: key.SPI, ChildSA: sa.ChildSA, opener: opener, window: window,
		watch: sa.WatchFirstUse, limits: limitsOf(&sa),
	}
	in.dev.Store(dev)
	d.ins[key] = in
	d.sas.add(spiEntry{spi: in.spi, in: in})
	return nil
}

// InstallOut installs an outbound SA and moves the link's traffic to it: the
// egress worker takes it with the next packet.
func (d *Datapath) InstallOut(sa platform.SA) error {
	defer sa.Params.Wipe()
	dev, err := d.check(&sa, true)
	if err != nil {
		return installError(&sa, err)
	}
	key := sa.Key()
	if d.outs[key] != nil {
		return installError(&sa, errors.New("it is installed already"))
	}
	out, err := d.makeOut(&sa, dev)
	if err != nil {
		return installError(&sa, err)
	}
	d.outs[key] = out
	d.sending.add(spiEntry{spi: out.spi, out: out})
	dev.outs = append(dev.outs, out)
	dev.out.Store(out)
	return nil
}

func (d *Datapath) makeOut(sa *platform.SA, dev *device) (*outSA, error) {
	sealer, err := esp.NewSealer(sa.Params, rand.Reader)
	if err != nil {
		return nil, err
	}
	out := &outSA{spi: sa.Params.SPI, link: sa.Link, dev: dev, sa: sa.ChildSA, sealer: sealer, limits: limitsOf(sa)}
	r, err := d.routeOf(&out.sa, dev.link.Load())
	if err != nil {
		return nil, err
	}
	out.route.Store(r)
	return out, nil
}

func installError(sa *platform.SA, err error) error {
	way := "inbound"
	if sa.Out {
		way = "outbound"
	}
	return fmt.Errorf("install %s SA %08x of %s: %w", way, sa.Params.SPI, sa.Link, err)
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// RemoveSA removes an SA and returns its final counters. When it carried the
// traffic, the SA installed before it does so again.
func (d *Datapath) RemoveSA(key platform.SAKey) (c platform.Counters, err error) {
	if key.Out {
		sa := d.outs[key]
		if sa == nil {
			return c, nil
		}
		delete(d.outs, key)
		d.sending.remove(spiEntry{spi: sa.spi, out: sa})
		sa.dev.outs = slices.DeleteFunc(sa.dev.outs, func(o *outSA) bool { return o == sa })
		sa.dev.egress.do(func() {
			if sa.dev.out.Load() == sa {
				sa.dev.out.Store(sa.dev.newest())
			}
			c = sa.count
		})
		return c, nil
	}
	sa := d.ins[key]
	if sa == nil {
		return c, nil
	}
	delete(d.ins, key)
	d.sas.remove(spiEntry{spi: sa.spi, in: sa})
	sa.with(func() { c, sa.dead = sa.count, true })
	return c, nil
}

// newest is the outbound SA of a device that was installed last and may still
// send.
func (dev *device) newest() *outSA {
	for _, sa := range slices.Backward(dev.outs) {
		if !sa.dead.Load() {
			return sa
		}
	}
	return nil
}

// turnSAs gives the SAs of a device that is about to be closed to its successor;
// without one they are dead. Its egress worker has let go of it already.
func (d *Datapath) turnSAs(old, next *device) {
	old.mu.Lock()
	for _, sa := range d.ins {
		if sa.dev.Load() != old {
			continue
		}
		if next == nil {
			sa.dead = true
		} else {
			sa.dev.Store(next)
		}
	}
	old.mu.Unlock()
	old.out.Store(nil)
	if next == nil {
		return
	}
	for _, sa := range old.outs {
		sa.dev = next
	}
	next.outs, old.outs = old.outs, nil
	next.out.Store(next.newest())
}

// MoveSA changes the outer addresses of an SA.
func (d *Datapath) MoveSA(key platform.SAKey, local, remote netip.AddrPort) error {
	if key.Out {
		sa := d.outs[key]
		if sa == nil {
			return fmt.Errorf("move outbound SA %08x of %s: it is not installed", key.SPI, key.Link)
		}
		moved := sa.sa
		moved.Local, moved.Remote = local, remote
		r, err := d.routeOf(&moved, sa.dev.link.Load())
		if err != nil {
			return fmt.Errorf("move outbound SA %08x of %s: %w", key.SPI, key.Link, err)
		}
		sa.sa = moved
		sa.route.Store(r)
		return nil
	}
	sa := d.ins[key]
	if sa == nil {
		return fmt.Errorf("move inbound SA %08x of %s: it is not installed", key.SPI, key.Link)
	}
	sa.with(func() { sa.Remote, sa.mapped = unmap(remote), netip.AddrPort{} })
	return nil
}

// SACounters reads the counters of an SA.
func (d *Datapath) SACounters(key platform.SAKey) (c platform.Counters, err error) {
	if key.Out {
		if sa := d.outs[key]; sa != nil {
			sa.dev.egress.do(func() { c = sa.count })
			return c, nil
		}
	} else if sa := d.ins[key]; sa != nil {
		sa.with(func() { c = sa.count })
		return c, nil
	}
	return c, fmt.Errorf("SA %08x of %s is not installed", key.SPI, key.Link)
}

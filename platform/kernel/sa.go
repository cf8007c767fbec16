package kernel

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"greseal/crypto/suite"
	"greseal/platform"
	"greseal/platform/inet"
	"greseal/platform/xfrm"
)

// installed is one of our SAs in the kernel, which alone has its keys.
type installed struct {
	xfrm.State
	key   platform.SAKey
	flow  *flow
	since time.Time   // it was installed
	suite suite.Suite // of one that was inherited

	softPackets uint64            // asked for by the caller; the kernel's may be lower
	base        platform.Counters // of states this one replaced
	last        platform.Counters // the kernel's, when it removed the SA itself

	lasting xfrm.Lasting   // as the first audit read it, unset before
	watched bool           // FirstUse is wanted
	lost    bool           // the kernel no longer has it as it was installed
	why     string         // what another program did to it
	mapped  netip.AddrPort // last reported by a Mapping event
}

// sequenceLow is how many packets without extended sequence numbers raise
// SequenceLow: a sixteenth of the space is left for the rekeying.
const sequenceLow = math.MaxUint32 - math.MaxUint32/16

// moveSkip is how many sequence numbers an outbound SA skips when it is replaced: more
// than the old one can use meanwhile.
const moveSkip = 1 << 16

// InstallIn installs an inbound SA.
func (d *Datapath) InstallIn(sa platform.SA) error { return d.install(sa) }

// InstallOut installs an outbound SA, onto which the kernel moves the traffic at
// once: the newest matching one is used.
func (d *Datapath) InstallOut(sa platform.SA) error { return d.install(sa) }

func (d *Datapath) install(sa platform.SA) error {
	defer sa.Params.Wipe()
	what := "inbound"
	if sa.Out {
		what = "outbound"
	}
	if err := d.add(sa); err != nil {
		// Without the SPI: the next attempt fails for the same cause.
		return fmt.Errorf("install the %s SA of %s: %w", what, sa.Link, err)
	}
	return nil
}

// check refuses an SA that makes no sense, before anything is changed.
func check(sa *platform.SA, local, remote netip.Addr, e endpoints) error {
	match := func(a, b netip.Addr) bool {
		return a.IsValid() && a.Is4() == b.Is4() && !a.IsUnspecified() && !b.IsUnspecified()
	}
	switch {
	case sa.Params.SPI < 256:
		return fmt.Errorf("SPI %d is reserved", sa.Params.SPI)
	case !match(local, remote):
		return fmt.Errorf("outer addresses %s and %s do not match", sa.Local.Addr(), sa.Remote.Addr())
	case !match(e.local, e.remote):
		return fmt.Errorf("GRE endpoints %s and %s do not match", sa.GRELocal, sa.GRERemote)
	case sa.Transport && (e.local != local || e.remote != remote):
		return fmt.Errorf("transport mode between %s and %s cannot carry GRE between %s and %s: use tunnel mode", local, remote, e.local, e.remote)
	}
	return nil
}

func (d *Datapath) add(sa platform.SA) (err error) {
	s := &installed{
		key:         sa.Key(),
		softPackets: sa.SoftPackets,
		watched:     sa.WatchFirstUse && !sa.Out,
	}
	local, remote := inet.Plain(sa.Local.Addr()), inet.Plain(sa.Remote.Addr())
	e := endpoints{sa.Link, sa.GRELocal.Unmap(), sa.GRERemote.Unmap()}
	if err := check(&sa, local, remote, e); err != nil {
		return err
	}
	mode := xfrm.ModeTunnel
	if sa.Transport {
		mode = xfrm.ModeTransport
	}
	s.State = xfrm.State{
		Mode: mode, Out: sa.Out, Dirs: d.probe.SADirection,
		Encap: sa.Encap, Mixed: e.local.Is4() != local.Is4(),
		ESN: sa.Params.ESN, Window: sa.ReplayWindow,
		SoftBytes: sa.SoftBytes, HardBytes: sa.HardBytes,
		SoftPacket: sa.SoftPackets, HardPacket: sa.HardPackets,
	}
	s.SPI = sa.Params.SPI
	s.SetAddresses(netip.AddrPortFrom(local, sa.Local.Port()), netip.AddrPortFrom(remote, sa.Remote.Port()))
	if sa.Out && !s.ESN && (s.SoftPacket == 0 || s.SoftPacket > sequenceLow) {
		s.SoftPacket = sequenceLow
	}
	if l := d.links[sa.Link]; l != nil {
		s.Mark = l.want.FWMark
	}
	if d.find(s.key) != nil {
		return fmt.Errorf("an SA with this SPI is installed already: %w", unix.EEXIST)
	}
	p, err := d.flowFor(e)
	if p != nil {
		defer func() { err = errors.Join(err, d.dropFlow(p)) }()
	}
	if err != nil {
		return err
	}
	s.flow, s.Reqid = p, p.reqid
	if err := xfrm.AddState(d.xfrm, s.State, &sa.Params); err != nil {
		return explainState(err, sa.Params.Encr, sa.Params.Integ, s.ESN)
	}
	list := p.list(sa.Out)
	s.since = time.Now()
	*list = append(*list, s)
	if err := d.syncAllow(p); err != nil {
		*list = (*list)[:len(*list)-1]
		return errors.Join(err, xfrm.DeleteState(d.xfrm, s.ID), d.syncAllow(p))
	}
	d.mu.Lock()
	d.sas[s.key] = s
	d.mu.Unlock()
	if s.watched {
		d.watch()
	}
	return nil
}

func (p *flow) list(out bool) *[]*installed {
	if out {
		return &p.out
	}
	return &p.in
}

func (d *Datapath) find(key platform.SAKey) *installed {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sas[key]
}

// RemoveSA removes an SA and returns its final counters.
func (d *Datapath) RemoveSA(key platform.SAKey) (platform.Counters, error) {
	s := d.find(key)
	if s == nil {
		return platform.Counters{}, nil
	}
	if key.Out {
		if err := d.drain(s); err != nil {
			d.log.Warn("removing an SA before its last packets left", "error", err)
		}
	}
	c, err := d.counters(s)
	if err != nil {
		c = d.lastCounters(s)
	}
	if err := xfrm.DeleteState(d.xfrm, s.ID); err != nil {
		return c, fmt.Errorf("remove the SA %08x of %s: %w", key.SPI, key.Link, err)
	}
	d.mu.Lock()
	delete(d.sas, key)
	d.mu.Unlock()
	p := s.flow
	list := p.list(key.Out)
	*list = slices.DeleteFunc(*list, func(o *installed) bool { return o == s })
	return c, errors.Join(d.syncAllow(p), d.dropFlow(p), d.dropGuards())
}

// SACounters reads the counters of an installed SA.
func (d *Datapath) SACounters(key platform.SAKey) (platform.Counters, error) {
	s := d.find(key)
	if s == nil {
		return platform.Counters{}, fmt.Errorf("SA %08x of %s is not installed", key.SPI, key.Link)
	}
	c, err := d.counters(s)
	if err != nil {
		return d.lastCounters(s), fmt.Errorf("read the SA %08x of %s: %w", key.SPI, key.Link, err)
	}
	return c, nil
}

func (d *Datapath) counters(s *installed) (platform.Counters, error) {
	info, err := xfrm.ReadState(d.xfrm, s.ID)
	if err != nil {
		return platform.Counters{}, err
	}
	return s.total(s.count(info)), nil
}

// count translates the kernel's counters. In tunnel mode it counts the GRE
// packet's own IP header too.
func (s *installed) count(info xfrm.Info) platform.Counters {
	c := platform.Counters{
		Packets: info.Packets, Bytes: info.Bytes,
		Replay: uint64(info.Replay) + uint64(info.TooOld), Integrity: uint64(info.Bad),
	}
	if s.Mode == xfrm.ModeTunnel {
		header := uint64(20)
		if s.flow.local.Is6() {
			header = 40
		}
		c.Bytes -= min(c.Bytes, c.Packets*header)
	}
	return c
}

// lastCounters are those of an SA that the kernel removed.
func (d *Datapath) lastCounters(s *installed) platform.Counters {
	d.mu.Lock()
	defer d.mu.Unlock()
	return s.total(s.last)
}

func (s *installed) total(c platform.Counters) platform.Counters {
	sum := s.base
	sum.Add(c)
	return sum
}

// MoveSA changes the outer addresses or ports of an installed SA.
func (d *Datapath) MoveSA(key platform.SAKey, local, remote netip.AddrPort) error {
	s := d.find(key)
	if s == nil {
		return fmt.Errorf("move the SA %08x of %s: it is not installed", key.SPI, key.Link)
	}
	if err := d.move(s, unmap(local), unmap(remote)); err != nil {
		return fmt.Errorf("move the SA %08x of %s to %s: %w", key.SPI, key.Link, remote, err)
	}
	return nil
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(inet.Plain(a.Addr()), a.Port())
}

func (d *Datapath) move(s *installed, local, remote netip.AddrPort) error {
	next := s.State
	next.SetAddresses(local, remote)
	c := xfrm.Change{Src: next.Src, Dst: next.Dst, Sport: next.Sport, Dport: next.Dport}
	if next.Dst == s.Dst && next.Src == s.Src {
		if !s.Encap || next.Sport == s.Sport && next.Dport == s.Dport {
			return nil
		}
		// In place: the sequence numbers go on.
		if err := xfrm.AlterState(d.xfrm, s.ID, c); err != nil {
			return explain(err)
		}
	} else {
		if s.Mode == xfrm.ModeTransport {
			return errors.New("transport mode protects the old addresses only: a new Child SA is needed")
		}
		if next.Dst.Is4() != s.Dst.Is4() {
			return errors.New("the IP version changes: a new Child SA is needed")
		}
		// The kernel ignores a new source address in an update.
		before, err := xfrm.ReadState(d.xfrm, s.ID)
		if err != nil {
			return explain(err)
		}
		c.Replace = true
		if s.Out {
			c.Skip = moveSkip
		}
		if err := xfrm.AlterState(d.xfrm, s.ID, c); err != nil {
			return explain(err)
		}
		// Packet and byte counts are kept; drop counters start again.
		s.base.Replay += uint64(before.Replay) + uint64(before.TooOld)
		s.base.Integrity += uint64(before.Bad)
	}
	d.mu.Lock()
	s.State = next
	s.mapped, s.lasting = netip.AddrPort{}, xfrm.Lasting{}
	d.mu.Unlock()
	return d.syncAllow(s.flow)
}

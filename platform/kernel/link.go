package kernel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"greseal/platform"
	"greseal/platform/inet"
	"greseal/platform/netlink"
	"greseal/platform/rtnl"
	"greseal/platform/xfrm"
)

// Attributes of GRE interfaces the library has no names for
// (linux/if_tunnel.h).
const (
	greIgnoreDF = 19
	greFWMark   = 20

	greFlagChecksum = 0x8000 // RFC 2784 and 2890, as in the header
	greFlagKey      = 0x2000
	greFlagSequence = 0x1000

	ip6IgnoreEncapLimit = 0x1 // IP6_TNL_F_*
	ip6InheritTClass    = 0x2
)

// newGroup is the interface group of an interface that has no ifalias yet: that
// cannot be set by the message that makes it.
const newGroup = 26482

// device is one of our interfaces.
type device struct {
	want   platform.Link
	index  int
	kind   string
	remote netip.Addr // the GRE remote, or the placeholder
	gone   bool       // deleted or moved by another program
	moved  *rtnl.Moved

	up, running bool // as last set

	leaving bool // its endpoints are about to change: nothing may come in for the old ones
}

// kindOf is the kernel's name for the device link needs.
func kindOf(l platform.Link, remote netip.Addr) string {
	switch {
	case remote.Is4() && l.Ethernet:
		return "gretap"
	case remote.Is4():
		return "gre"
	case l.Ethernet:
		return "ip6gretap"
	default:
		return "ip6gre"
	}
}

func isGRE(kind string) bool {
	return kind == "gre" || kind == "gretap" || kind == "ip6gre" || kind == "ip6gretap"
}

// placeholder is the remote of a device whose peer is not known yet: the kernel
// changes a unicast remote into another one, but not an unset one. It is from
// the blocks for documentation (RFC 5737) and for discarding (RFC 6666), one for each
// interface name, and guarded like any other.
func placeholder(link string, v6 bool, try int) netip.Addr {
	h := fnv.New32a()
	_, _ = h.Write([]byte(link))
	_, _ = h.Write([]byte{byte(try)})
	sum := h.Sum32()
	if v6 {
		a := [16]byte{1: 0x01 /* 0100::/64 */, 15: 1}
		a[0], a[1] = 0x01, 0x00
		binary.BigEndian.PutUint32(a[8:], sum)
		return netip.AddrFrom16(a)
	}
	blocks := [3][3]byte{{192, 0, 2}, {198, 51, 100}, {203, 0, 113}}
	b := blocks[sum>>8%3]
	return netip.AddrFrom4([4]byte{b[0], b[1], b[2], byte(1 + sum%254)})
}

// greLink builds the one message that makes a GRE interface (index 0) or changes
// it in place. Every attribute is sent each time: those left out would return to their
// defaults, the MTU of ip6gre included.
func greLink(l platform.Link, kind string, remote netip.Addr, index int) *nl.NetlinkRequest {
	pmtudisc, ignoreDF := dfOf(l)
	return greLinkDF(l, kind, remote, index, pmtudisc, ignoreDF)
}

// greLinkDF is greLink with the DF settings of an IPv4 one.
func greLinkDF(l platform.Link, kind string, remote netip.Addr, index int, pmtudisc, ignoreDF byte) *nl.NetlinkRequest {
	m := nl.NewIfInfomsg(unix.AF_UNSPEC)
	m.Index = int32(index)
	req := netlink.Request(unix.RTM_NEWLINK, 0, m)
	if index == 0 {
		req.Flags |= unix.NLM_F_CREATE | unix.NLM_F_EXCL
		req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(l.Name)))
		req.AddData(nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(newGroup)))
	}
	if l.MTU != 0 {
		req.AddData(nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(l.MTU))))
	}
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, []byte(kind))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	req.AddData(info)

	for _, a := range greAttrs(l, remote, pmtudisc, ignoreDF) {
		data.AddRtAttr(a.typ, a.value)
	}
	return req
}

// attr is an attribute of a GRE interface.
type attr struct {
	typ   int
	value []byte
}

// greAttrs are all attributes of a GRE interface.
func greAttrs(l platform.Link, remote netip.Addr, pmtudisc, ignoreDF byte) (attrs []attr) {
	add := func(typ int, value []byte) { attrs = append(attrs, attr{typ, value}) }
	local := inet.Plain(l.Local)
	if !local.IsValid() {
		local = inet.Of(remote).Unspecified
	}
	add(nl.IFLA_GRE_LOCAL, local.AsSlice())
	add(nl.IFLA_GRE_REMOTE, remote.AsSlice())
	var flags uint16
	if l.HasKey {
		flags |= greFlagKey
	}
	if l.Sequence {
		flags |= greFlagSequence
	}
	if l.Checksum {
		flags |= greFlagChecksum
	}
	key := uint32(0)
	if l.HasKey {
		key = l.Key
	}
	add(nl.IFLA_GRE_IKEY, binary.BigEndian.AppendUint32(nil, key))
	add(nl.IFLA_GRE_OKEY, binary.BigEndian.AppendUint32(nil, key))
	add(nl.IFLA_GRE_IFLAGS, binary.BigEndian.AppendUint16(nil, flags))
	add(nl.IFLA_GRE_OFLAGS, binary.BigEndian.AppendUint16(nil, flags))
	add(nl.IFLA_GRE_TTL, []byte{l.TTL})
	add(greFWMark, nl.Uint32Attr(l.FWMark))

	if remote.Is6() {
		// The encapsulation limit (RFC 2473) would cost 8 bytes and be outside
		// ESP in transport mode.
		flags := uint32(ip6IgnoreEncapLimit)
		flow := uint32(l.TOS) << 20
		if l.TOSInherit {
			flags |= ip6InheritTClass
			flow = 0
		}
		add(nl.IFLA_GRE_ENCAP_LIMIT, []byte{0})
		add(nl.IFLA_GRE_FLAGS, nl.Uint32Attr(flags))
		add(nl.IFLA_GRE_FLOWINFO, binary.BigEndian.AppendUint32(nil, flow))
		return attrs
	}
	tos := l.TOS
	if l.TOSInherit {
		tos = 1
	}
	add(nl.IFLA_GRE_TOS, []byte{tos})
	add(nl.IFLA_GRE_PMTUDISC, []byte{pmtudisc})
	add(greIgnoreDF, []byte{ignoreDF})
	return attrs
}

// differs says which attribute of an interface is not as written, "" for none.
func (dev *device) differs(there *rtnl.Link) string {
	var texts []string
	if dev.want.MTU != 0 && there.MTU != dev.want.MTU {
		texts = append(texts, fmt.Sprintf("its MTU is %d instead of %d", there.MTU, dev.want.MTU))
	}
	have := make(map[int][]byte)
	_ = netlink.EachAttr(there.Data, func(typ uint16, v []byte) error {
		have[int(typ)] = v
		return nil
	})
	pmtudisc, ignoreDF := dfOf(dev.want)
	for _, a := range greAttrs(dev.want, dev.remote, pmtudisc, ignoreDF) {
		v, told := have[a.typ]
		if told && a.typ == nl.IFLA_GRE_FLAGS && len(v) == 4 {
			v = nl.Uint32Attr(netlink.Uint32(v) & (ip6IgnoreEncapLimit | ip6InheritTClass)) // others are the kernel's own
		}
		if told && !bytes.Equal(v, a.value) {
			texts = append(texts, "its GRE parameters were changed")
			break
		}
	}
	return strings.Join(texts, "; ")
}

// dfOf are the DF settings of an IPv4 one, which the kernel takes only together.
func dfOf(l platform.Link) (pmtudisc, ignoreDF byte) {
	if l.IgnoreDF {
		return 0, 1
	}
	return 1, 0
}

// SetLink makes the interface or changes it in place. Until its peer is known it stays
// down.
func (d *Datapath) SetLink(l platform.Link) (int, error) {
	index, err := d.setLink(l)
	if err != nil {
		return 0, fmt.Errorf("interface %s: %w", l.Name, err)
	}
	return index, nil
}

func (d *Datapath) setLink(l platform.Link) (int, error) {
	remote, err := remoteOf(l)
	if err != nil {
		return 0, err
	}
	// The guard of the old remote stays until the device has left it.
	if err := d.closeTo(remote); err != nil {
		return 0, err
	}
	if old := d.links[l.Name]; old != nil && !old.joins(l, remote) {
		if err := d.leave(old); err != nil {
			return 0, err
		}
		defer func() {
			if d.links[l.Name] == old { // it failed
				_ = d.stay(old)
			}
		}()
	}
	kind := kindOf(l, remote)
	there, err := d.present(l.Name, kind)
	if err != nil {
		return 0, err
	}
	before := d.links[l.Name]
	fresh := before == nil // new, or left by an earlier daemon
	free := l.Bridge == "" && (fresh || before.want.Bridge == "")
	if err := d.place(there, l, kind, remote); err != nil {
		return 0, err
	}
	dev := d.links[l.Name]
	if err := d.finish(dev, l, fresh, free); err != nil {
		return 0, err
	}
	d.clamp(l)
	if err := d.stay(dev); err != nil {
		return 0, err
	}
	return dev.index, d.dropGuards()
}

// remoteOf is the remote of the interface that link needs: the placeholder while the
// peer is not known.
func remoteOf(l platform.Link) (netip.Addr, error) {
	if err := rtnl.CheckName(l.Name); err != nil {
		return netip.Addr{}, err
	}
	remote, local := inet.Plain(l.Remote), inet.Plain(l.Local)
	if !remote.IsValid() {
		remote = placeholder(l.Name, local.Is6(), 0)
	}
	if local.IsValid() && local.Is4() != remote.Is4() {
		return remote, fmt.Errorf("GRE endpoints %s and %s are of different IP versions", local, remote)
	}
	if l.Bridge != "" && !l.Ethernet {
		return remote, errors.New(`only an Ethernet tunnel can join a bridge: set gre.type = "ethernet"`)
	}
	return remote, nil
}

// joins reports that the interface joins the same endpoints under the same key.
func (dev *device) joins(l platform.Link, remote netip.Addr) bool {
	return dev.remote == remote && dev.want.Local == l.Local && dev.want.HasKey == l.HasKey && dev.want.Key == l.Key
}

// place writes the interface, with another placeholder where another device has it.
func (d *Datapath) place(there *rtnl.Link, l platform.Link, kind string, remote netip.Addr) error {
	for try := 1; ; try++ {
		err := d.write(there, l, kind, remote)
		if err == nil {
			d.remotes[l.Name] = remote
		}
		if !errors.Is(err, unix.EEXIST) || l.Remote.IsValid() || try == 8 {
			return err
		}
		remote = placeholder(l.Name, remote.Is6(), try)
		if err := d.closeTo(remote); err != nil {
			return err
		}
	}
}

// present looks for the interface; one of ours of another kind is removed.
func (d *Datapath) present(ifname, kind string) (*rtnl.Link, error) {
	there, err := rtnl.LinkByName(d.route, ifname)
	if errors.Is(err, rtnl.ErrNoLink) {
		if there, err = d.renamed(ifname); there == nil {
			d.forget(ifname)
			return nil, err
		}
	}
	if err != nil {
		return nil, err
	}
	if have := d.links[ifname]; have != nil && have.index == there.Index && there.Alias != rtnl.Alias(ifname) {
		if err := rtnl.MarkLink(d.route, there.Index, ifname); err != nil {
			return nil, fmt.Errorf("mark it as ours: %w", err)
		}
		there.Alias = rtnl.Alias(ifname)
	}
	half := there.Alias == "" && there.Group == newGroup && isGRE(there.Kind)
	if there.Alias != rtnl.Alias(ifname) && !half {
		return nil, errors.New("an interface of this name exists and is not greseal's: rename the tunnel or remove the interface")
	}
	if there.Kind == kind {
		return there, nil
	}
	d.forget(ifname)
	if err := d.removeDevice(there.Index); err != nil {
		return nil, err
	}
	return nil, nil
}

// renamed renames back an interface of ours that was renamed. One that was moved to
// another network namespace is deleted there, since its endpoints and key remain taken
// here.
func (d *Datapath) renamed(ifname string) (*rtnl.Link, error) {
	dev := d.links[ifname]
	if dev == nil {
		return nil, nil
	}
	d.mu.Lock()
	moved := dev.moved
	d.mu.Unlock()
	if moved != nil {
		return nil, rtnl.DeleteMoved(d.route, *moved, rtnl.Alias(ifname))
	}
	there, err := rtnl.LinkByIndex(d.route, dev.index)
	if err != nil || there.Alias != rtnl.Alias(ifname) {
		return nil, nil
	}
	return there, rtnl.Rename(d.route, there, ifname)
}

func (d *Datapath) forget(ifname string) {
	d.dropEchoer(ifname)
	d.mu.Lock()
	delete(d.links, ifname)
	d.mu.Unlock()
}

// write makes the interface, or changes it unless it is already as wanted.
func (d *Datapath) write(there *rtnl.Link, l platform.Link, kind string, remote netip.Addr) error {
	dev := &device{want: l, kind: kind, remote: remote}
	if there != nil {
		dev.index = there.Index
		if have := d.links[l.Name]; have != nil && have.index == dev.index {
			if have.want == l && have.remote == remote && dev.differs(there) == "" {
				return nil
			}
			dev.up, dev.running = have.up, have.running
		}
	}
	index := dev.index
	err := d.route.Do(greLink(l, kind, remote, index))
	if errors.Is(err, unix.EINVAL) && index != 0 && !l.IgnoreDF && remote.Is4() {
		// The kernel refuses path MTU discovery as long as the old ignore-df is
		// set: that is cleared first, separately.
		if err = d.route.Do(greLinkDF(l, kind, remote, index, 0, 0)); err == nil {
			err = d.route.Do(greLink(l, kind, remote, index))
		}
	}
	switch {
	case errors.Is(err, unix.EEXIST):
		return fmt.Errorf("another GRE interface has the same endpoints and key: give each tunnel its own gre.key (%w)", err)
	case err != nil:
		return explainLink(err, kind)
	}
	if index == 0 {
		made, err := rtnl.LinkByName(d.route, l.Name)
		if err != nil {
			return err
		}
		dev.index = made.Index
	}
	d.keep(dev)
	return nil
}

func (d *Datapath) keep(dev *device) {
	d.mu.Lock()
	d.links[dev.want.Name] = dev
	d.mu.Unlock()
}

// finish marks a new interface as ours, not running and silent, and brings it
// up when its remote is the peer's. An adopted one is not running either: its
// SAs are gone.
func (d *Datapath) finish(dev *device, l platform.Link, fresh, free bool) error {
	up := l.Remote.IsValid()
	info, err := rtnl.LinkByIndex(d.route, dev.index)
	if err != nil {
		return err
	}
	if !info.Ours() {
		if err := rtnl.ChangeLink(d.route, dev.index, 0, 0,
			nl.NewRtAttr(unix.IFLA_IFALIAS, []byte(rtnl.Alias(l.Name))),
			nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(0)),
		); err != nil {
			return fmt.Errorf("mark it as ours: %w", err)
		}
		if err := rtnl.SetLinkLocal(d.route, dev.index, false); err != nil {
			return fmt.Errorf("keep it from sending router solicitations: %w", err)
		}
	}
	if fresh {
		if err := rtnl.SetRunning(d.route, dev.index, false); err != nil {
			return fmt.Errorf("set it not running: %w", err)
		}
		dev.running = false
	}
	if !free { // otherwise whoever made it a port decides
		if err := d.setMaster(info, l); err != nil {
			return err
		}
	}
	if info.Up() != up {
		if err := rtnl.SetUp(d.route, dev.index, up); err != nil {
			return fmt.Errorf("set it up: %w", err)
		}
	}
	dev.up = up
	d.followKeepalives(dev, l)
	if l.IgnoreDF && dev.remote.Is6() {
		d.note("interface " + l.Name + ": gre.ignore_df has no effect with IPv6 outer addresses in the kernel")
	}
	return nil
}

func (d *Datapath) setMaster(info *rtnl.Link, l platform.Link) error {
	if !l.Ethernet {
		return nil
	}
	master := 0
	if l.Bridge != "" {
		bridge, err := rtnl.LinkByName(d.route, l.Bridge)
		if err != nil {
			return fmt.Errorf("bridge %s: %w", l.Bridge, err)
		}
		master = bridge.Index
	}
	if info.Master == master {
		return nil
	}
	if err := rtnl.SetMaster(d.route, info.Index, master); err != nil {
		return fmt.Errorf("join bridge %s: %w", l.Bridge, err)
	}
	return nil
}

// SetRunning shows the peer's authenticated liveness as link state. Packets flow
// in either state.
func (d *Datapath) SetRunning(link string, running bool) error {
	dev := d.links[link]
	if dev == nil {
		return fmt.Errorf("interface %s: %w", link, rtnl.ErrNoLink)
	}
	if err := rtnl.SetRunning(d.route, dev.index, running); err != nil {
		return fmt.Errorf("interface %s: set running %t: %w", link, running, err)
	}
	dev.running = running
	return nil
}

// LinkDrops reads what the interface dropped outside any SA: the guard shows as carrier
// errors of the GRE interface.
func (d *Datapath) LinkDrops(link string) (platform.Drops, error) {
	l, err := rtnl.LinkByName(d.route, link)
	if err != nil {
		return platform.Drops{}, err
	}
	s := l.Stats
	return platform.Drops{
		NoSA:   s.TxCarrierErrors,
		TooBig: s.TxErrors - min(s.TxErrors, s.TxCarrierErrors),
		Queue:  s.RxDropped + s.TxDropped,
		GRE:    s.RxCRCErrors + s.RxFIFOErrors,
	}, nil
}

// DeleteLink removes the interface: device down, allowing policies, SAs, device.
// The guards stay.
func (d *Datapath) DeleteLink(link string) error {
	there, err := rtnl.LinkByName(d.route, link)
	switch {
	case errors.Is(err, rtnl.ErrNoLink):
		there = nil
	case err != nil:
		return err
	case !there.Ours() && d.links[link] == nil:
		return fmt.Errorf("interface %s is not ours and is left alone", link)
	}
	errs := []error{d.leave(d.links[link])}
	if there != nil {
		errs = append(errs, rtnl.SetUp(d.route, there.Index, false))
	}
	for _, s := range d.of(link) {
		list := s.flow.list(s.Out)
		if len(*list) == 1 {
			errs = append(errs, d.withdraw(s.flow, s.Out))
		}
		_, err := d.RemoveSA(s.key)
		errs = append(errs, err)
	}
	d.forget(link)
	d.clamp(platform.Link{Name: link})
	if there != nil {
		if err := rtnl.DeleteLink(d.route, there.Index); err != nil && !errors.Is(err, unix.ENODEV) {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("delete interface %s: %w", link, err)
	}
	return nil
}

// withdraw removes the allowing policy of one direction of a flow.
func (d *Datapath) withdraw(p *flow, out bool) error {
	have := p.allowed(out)
	if *have == nil {
		return nil
	}
	if err := xfrm.DeletePolicy(d.xfrm, **have); err != nil {
		return err
	}
	*have = nil
	return nil
}

// of lists the SAs of a link.
func (d *Datapath) of(link string) []*installed {
	d.mu.Lock()
	defer d.mu.Unlock()
	var sas []*installed
	for _, s := range d.sas {
		if s.key.Link == link {
			sas = append(sas, s)
		}
	}
	return sas
}

func (d *Datapath) removeDevice(index int) error {
	err := rtnl.SetUp(d.route, index, false)
	if err == nil {
		err = rtnl.DeleteLink(d.route, index)
	}
	if errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

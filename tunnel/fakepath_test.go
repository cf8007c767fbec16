package tunnel

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	sys "golang.org/x/sys/unix"

	"greseal/crypto/suite"
	"greseal/ikev2/wire"
	"greseal/platform"
)

// worldPath is a datapath that hands IKE to the world's nodes.
type worldPath struct {
	w        *world
	counters map[platform.SAKey]*platform.Counters
	numbers  map[platform.SAKey]int // SAs are told apart by these, since SPIs are drawn
	last     [2]int                 // of in and out
	links    map[string]platform.Link
	index    map[string]int            // of links
	form     map[platform.SAKey]string // ESP or UDP
}

func newWorldPath(w *world) *worldPath {
	return &worldPath{w: w, counters: map[platform.SAKey]*platform.Counters{}, numbers: map[platform.SAKey]int{}, links: map[string]platform.Link{}, index: map[string]int{}, form: map[platform.SAKey]string{}}
}

func (p *worldPath) Kind() string { return p.w.kind }

func (p *worldPath) Supports(encr, _ suite.Transform) error {
	if name := encr.String(); name == p.w.lacks {
		return fmt.Errorf("the kernel has no %s: install kmod-crypto-%s", name, name)
	}
	return nil
}

// Audit finds what it is told to, and an interface that somebody has set down.
func (p *worldPath) Audit(*platform.Interfaces) []platform.Deviation {
	found := slices.Clone(p.w.deviations)
	p.w.deviations = slices.DeleteFunc(p.w.deviations, func(d platform.Deviation) bool { return d.Fixed })
	for name := range p.links {
		if p.w.setDown && p.w.devices[name] {
			found = append(found, platform.Deviation{Link: name, Object: platform.ObjectLink, Name: name,
				Text: "somebody set it down; nothing passes", Remedy: "ip link set " + name + " up"})
		}
	}
	return found
}

func (p *worldPath) Guard(link string, remotes []netip.Addr) error {
	if err := p.w.fails("Guard"); err != nil {
		return err
	}
	p.w.say("%s: guarded: %v", link, sorted(remotes))
	return nil
}

func (p *worldPath) Unguard(link string) error {
	p.w.say("%s: no longer guarded", link)
	return p.w.fails("Unguard")
}

func (p *worldPath) SetLink(l platform.Link) (int, error) {
	w := p.w
	w.links++
	if err := w.fails("SetLink"); err != nil {
		return 7, fmt.Errorf("interface %s: %w", l.Name, err)
	}
	if w.linkErr != nil {
		return 7, fmt.Errorf("interface %s: %w", l.Name, w.linkErr)
	}
	for name, other := range p.links {
		if w.kind == platform.KindKernel && name != l.Name && w.devices[name] && other.Remote.IsValid() && other.Ethernet == l.Ethernet &&
			other.Local == l.Local && other.Remote == l.Remote && other.HasKey == l.HasKey && other.Key == l.Key {
			return 0, sys.EEXIST
		}
	}
	verb := "link"
	if !w.devices[l.Name] {
		verb = "new link"
		w.index++
		p.index[l.Name] = w.index
		w.laid[l.Name+" link state"] = "down"
	} else if p.links[l.Name].Remote.IsValid() && l.Remote.IsValid() && p.links[l.Name].Remote.BitLen() != l.Remote.BitLen() {
		verb = "link made anew"
		w.index++
		p.index[l.Name] = w.index
	}
	w.devices[l.Name], p.links[l.Name] = true, l
	w.say("%s: %s %s", l.Name, verb, linkLine(l))
	return p.index[l.Name], nil
}

func linkLine(l platform.Link) string {
	end := func(a netip.Addr) string {
		if !a.IsValid() {
			return "anywhere"
		}
		return a.String()
	}
	s := fmt.Sprintf("%s to %s, MTU %d", end(l.Local), end(l.Remote), l.MTU)
	if l.MaxUnfragmented != l.MTU {
		s += fmt.Sprintf(" of which %d fit", l.MaxUnfragmented)
	}
	if l.HasKey {
		s += fmt.Sprintf(", key %d", l.Key)
	}
	if l.Ethernet {
		s += ", Ethernet"
	}
	if l.Bridge != "" {
		s += ", port of " + l.Bridge
	}
	if l.MSS4 == 0 {
		s += ", no clamp"
	}
	return s
}

func (p *worldPath) DeleteLink(name string) error {
	delete(p.w.devices, name)
	delete(p.w.laid, name+" addresses")
	p.w.say("%s: link deleted", name)
	return p.w.fails("DeleteLink")
}

func (p *worldPath) SetRunning(name string, running bool) error {
	word := "down"
	if running {
		word = "up"
	}
	p.w.lay(name, "link state", word)
	return p.w.fails("SetRunning")
}

// number names an SA, "in 1".
func (p *worldPath) number(k platform.SAKey) string {
	word, i := "in", 0
	if k.Out {
		word, i = "out", 1
	}
	n := p.numbers[k]
	if n == 0 {
		p.last[i]++
		n = p.last[i]
		p.numbers[k] = n
	}
	return fmt.Sprintf("%s %d", word, n)
}

func (p *worldPath) InstallIn(sa platform.SA) error  { return p.install("InstallIn", sa) }
func (p *worldPath) InstallOut(sa platform.SA) error { return p.install("InstallOut", sa) }

func (p *worldPath) install(what string, sa platform.SA) error {
	if err := p.w.fails(what); err != nil {
		return err
	}
	k := sa.Key()
	p.counters[k] = &platform.Counters{}
	form, mode := "ESP", "tunnel"
	if sa.Encap {
		form = "UDP"
	}
	if sa.Transport {
		mode = "transport"
	}
	p.form[k] = form
	limits := ""
	if sa.HardBytes != 0 {
		limits += fmt.Sprintf(", at most %d bytes", sa.HardBytes)
	}
	if sa.HardPackets != 0 {
		limits += fmt.Sprintf(", at most %d packets", sa.HardPackets)
	}
	gre := ""
	if sa.GRELocal != sa.Local.Addr() || sa.GRERemote != sa.Remote.Addr() {
		gre = fmt.Sprintf(", GRE %s to %s", sa.GRELocal, sa.GRERemote)
	}
	p.w.say("%s: SA %s, %s to %s%s, %s mode in %s%s", sa.Link, p.number(k), sa.Local.Addr(), sa.Remote.Addr(), gre, mode, form, limits)
	return nil
}

func (p *worldPath) RemoveSA(k platform.SAKey) (platform.Counters, error) {
	c := p.counters[k]
	if c == nil {
		return platform.Counters{}, nil
	}
	delete(p.counters, k)
	p.w.say("%s: SA %s removed", k.Link, p.number(k))
	return *c, p.w.fails("RemoveSA")
}

func (p *worldPath) MoveSA(k platform.SAKey, local, remote netip.AddrPort) error {
	p.w.say("%s: SA %s moved, %s to %s", k.Link, p.number(k), local.Addr(), remote.Addr())
	return p.w.fails("MoveSA")
}

func (p *worldPath) SACounters(k platform.SAKey) (platform.Counters, error) {
	if c := p.counters[k]; c != nil {
		return *c, nil
	}
	return platform.Counters{}, errors.New("no such SA")
}

// newest is the SA of a link that was installed last in a direction.
func (p *worldPath) newest(link string, out bool) (key platform.SAKey, ok bool) {
	for k := range p.counters {
		if k.Link == link && k.Out == out && (!ok || p.numbers[k] > p.numbers[key]) {
			key, ok = k, true
		}
	}
	return key, ok
}

func (p *worldPath) MSSClampError(string) error                  { return p.w.fails("MSSClampError") }
func (p *worldPath) GREKeepalives(string) platform.GREKeepalives { return platform.GREKeepalives{} }
func (p *worldPath) LinkDrops(string) (platform.Drops, error) {
	return p.w.drops, p.w.fails("LinkDrops")
}
func (p *worldPath) IKEDropped() uint64                      { return p.w.ikeDropped }
func (p *worldPath) Listening() []string                     { return []string{"0.0.0.0:500", "0.0.0.0:4500"} }
func (p *worldPath) Notes() []string                         { return nil }
func (p *worldPath) Events() <-chan platform.Event           { return p.w.events }
func (p *worldPath) SendKeepalive(_, _ netip.AddrPort) error { return nil }
func (p *worldPath) IKEOpening() <-chan platform.Datagram    { return p.w.opening }
func (p *worldPath) IKE() <-chan platform.Datagram           { return p.w.ike }
func (p *worldPath) Close() error                            { return nil }

func (p *worldPath) SendGREKeepalive(link string) error {
	p.w.say("%s: GRE keepalive", link)
	return p.w.fails("SendGREKeepalive")
}

// Leftovers are what the world was told of.
func (p *worldPath) Leftovers() ([]platform.Leftover, error) {
	return p.w.leftovers, p.w.fails("Leftovers")
}

func (p *worldPath) Inherit(l platform.Link) error {
	w := p.w
	for _, left := range w.leftovers {
		if left.Link.Name != l.Name {
			continue
		}
		w.index++
		p.links[l.Name], w.devices[l.Name], p.index[l.Name] = l, true, w.index
		if w.laid[l.Name+" link state"] = "down"; left.Running {
			w.laid[l.Name+" link state"] = "up"
		}
		for _, c := range left.SAs {
			p.inherit(platform.SAKey{Link: l.Name, SPI: c.SPIIn}, c.Encap)
			p.inherit(platform.SAKey{Link: l.Name, Out: true, SPI: c.SPIOut}, c.Encap)
		}
	}
	w.say("%s: inherited", l.Name)
	return w.fails("Inherit")
}

func (p *worldPath) inherit(k platform.SAKey, encap bool) {
	if k.SPI == 0 {
		return
	}
	p.counters[k] = &platform.Counters{}
	p.number(k)
	if p.form[k] = "ESP"; encap {
		p.form[k] = "UDP"
	}
}

func (p *worldPath) Sweep(keep []string) error {
	p.w.say("swept but for %v", slices.Sorted(slices.Values(keep)))
	return p.w.fails("Sweep")
}

func (p *worldPath) SendIKEFragmented(local, remote netip.AddrPort, data []byte) error {
	return p.send(local, remote, data)
}

// SendIKE brings a message to a node, and its answers back.
func (p *worldPath) SendIKE(local, remote netip.AddrPort, data []byte, df bool) error {
	if w := p.w; df && w.pathMTU != 0 && len(data)+28 > w.pathMTU {
		if w.pathMTU < w.wanMTU {
			return nil // lost on the way
		}
		return sys.EMSGSIZE
	}
	return p.send(local, remote, data)
}

func (p *worldPath) send(local, remote netip.AddrPort, data []byte) error {
	w := p.w
	w.initiated++
	if err := w.fails("SendIKE"); err != nil {
		return err
	}
	if _, err := w.l.net.RouteTo(remote.Addr(), local.Addr(), "", 0); err != nil {
		return err
	}
	w.sawIKE("to", remote, data)
	if n := w.at(remote.Addr()); n != nil {
		n.receive(remote, local, data)
	}
	return nil
}

// sawIKE counts an IKE message, and shows it where a conversation looks at them.
func (w *world) sawIKE(way string, at netip.AddrPort, data []byte) {
	if h, err := wire.ParseHeader(data); err == nil && w.showIKE {
		dir := "request"
		if h.Response() {
			dir = "response"
		}
		w.say("%s %s: %s %s", way, at, h.Exchange, dir)
	}
}

// worldInside is what comes back through tunnels.
type worldInside struct{ w *world }

// Echo is answered unless ESP is lost in the form that the link's SA has.
func (i worldInside) Echo(ifname string, _ netip.Addr) (answered bool, err error) {
	time.Sleep(700 * time.Millisecond)
	w := i.w
	_, err = onLoop(w.l, w.ctx, func() struct{} {
		p := w.l.dp.(*worldPath)
		in, ok := p.newest(ifname, false)
		out, there := p.newest(ifname, true)
		if !ok || !there {
			return struct{}{}
		}
		p.counters[out].Packets++
		if answered = !w.espLost[p.form[out]]; answered {
			p.counters[in].Packets++
		}
		return struct{}{}
	})
	return answered, err
}

func (i worldInside) GREErrors(netip.Addr, netip.Addr) (refusals, error) {
	return i, i.w.fails("GREErrors")
}

func (i worldInside) Came() int {
	if i.w.noGRE {
		return 1
	}
	return 0
}

func (worldInside) Close() {}

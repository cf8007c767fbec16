package tunnel

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"greseal/crypto/suite"
	"greseal/ikev2"
	"greseal/platform"
	"greseal/tunnel/config"
	"greseal/tunnel/mtu"
	"greseal/tunnel/status"
)

// The size of a tunnel: the MTU of its interface and the TCP segment size, from
// what was negotiated and from the path outside. They are computed again at every
// change (another suite, a NAT, another address or outgoing MTU).

// size gives the interface its MTU, and the TCP segment size that fits into it.
func (l *loop) size(p *peer, child *ikev2.Child, want *platform.Link) {
	want.MTU = l.wantMTU(p, child)
	if m := p.inherited.mtu; m != 0 && p.cfg.MTU == 0 && (child == nil || child.ID >= inheritedLast) {
		want.MTU = m // as it was
	}
	if want.MTU < mtu.IPv6MinMTU && p.cfg.MTU == 0 && carriesIPv6(p.cfg) {
		// On a smaller interface there is no IPv6. The userspace datapath sends
		// what does not fit in outer fragments (RFC 8200 section 5).
		want.MTU = mtu.IPv6MinMTU
		want.IgnoreDF = want.IgnoreDF || l.dp.Kind() == platform.KindKernel
		p.tunnel.sizing.why += fmt.Sprintf("; but IPv6 needs %d, so packets larger than %d leave in fragments", mtu.IPv6MinMTU, p.tunnel.sizing.largest)
	}
	l.agreeMTU(p, want)
	// A configured MTU may be more than fits outside unfragmented.
	want.MaxUnfragmented = min(p.tunnel.sizing.largest, want.MTU)
	if p.cfg.MSSClamp {
		want.MSS4, want.MSS6 = uint16(want.MaxUnfragmented-40), uint16(want.MaxUnfragmented-60) // IP and TCP headers
	}
}

func carriesIPv6(c *config.Tunnel) bool {
	six := func(p netip.Prefix) bool { return p.Addr().Is6() }
	return slices.ContainsFunc(c.Address, six) || slices.ContainsFunc(c.Routes, six)
}

// wantMTU computes the MTU of the interface and notes how it was derived.
func (l *loop) wantMTU(p *peer, child *ikev2.Child) int {
	c := p.cfg
	way := p.pathOf(child)
	outer, searched := p.search.Size(way)
	params := mtu.Params{
		Outer:  outer,
		GREKey: c.GRE.HasKey, GRESeq: c.GRE.Sequence, GRECsum: c.GRE.Checksum,
		Ethernet: c.GRE.Ethernet,
	}
	if child != nil {
		params.Encr, params.Integ = child.Suite.Encr, child.Suite.Integ
		params.Transport, params.Encap = child.Transport, child.Encap
		params.OuterV6, params.InnerV6 = child.Remote.Addr().Is6(), child.GRERemote.Is6()
		return l.leastFit(p, []mtu.Params{params}, outer, way, searched)
	}
	if p.tunnel.index != 0 && c.MTU == 0 && outer == p.tunnel.sizing.outer {
		return p.agreed.own // what was negotiated last is most likely next
	}
	// Nothing is negotiated yet: assume the worst case.
	params.Encap = true
	params.OuterV6 = p.remote().Is6()
	params.InnerV6 = params.OuterV6
	if c.GRERemote.IsValid() {
		params.InnerV6 = c.GRERemote.Is6()
	}
	if c.RemoteAny {
		params.OuterV6, params.InnerV6 = true, true
	}
	var all []mtu.Params
	o, _ := l.proposalsOf(p)
	for _, prop := range o.esp {
		integs := prop.Of(suite.TypeInteg)
		if len(integs) == 0 {
			integs = []suite.Transform{{}}
		}
		for _, params.Encr = range prop.Of(suite.TypeEncr) {
			for _, params.Integ = range integs {
				all = append(all, params)
			}
		}
	}
	return l.leastFit(p, all, outer, way, searched)
}

// leastFit takes the least of what fits into outer bytes.
func (l *loop) leastFit(p *peer, all []mtu.Params, outer int, way mtu.Path, searched bool) int {
	var least mtu.Result
	for _, params := range all {
		r, err := mtu.Fit(params)
		if err == nil && (least.MTU == 0 || r.MTU < least.MTU) {
			least = r
			wire, _ := mtu.Wire(params, r.MTU)
			p.tunnel.sizing.overhead = wire - r.MTU
		}
	}
	p.tunnel.sizing.outer, p.tunnel.sizing.outerLink = outer, way.Interface
	p.tunnel.sizing.how, p.tunnel.sizing.sum = "computed", least.Lines
	if searched {
		p.tunnel.sizing.how = "searched"
	}
	if least.MTU == 0 {
		p.tunnel.sizing.why = says(way, outer, searched) + " leaves no room; the IPv6 minimum is used"
		least.MTU = mtu.IPv6MinMTU
	} else {
		p.tunnel.sizing.why = fmt.Sprintf("%s less %d: %s", says(way, outer, searched), outer-least.MTU, taken(least))
	}
	p.tunnel.sizing.largest = least.MTU
	if m := p.cfg.MTU; m != 0 {
		p.tunnel.sizing.how = "configured"
		p.tunnel.sizing.why = fmt.Sprintf("mtu = %d in the configuration; %d would fit", m, least.MTU)
		return m
	}
	return least.MTU
}

// says is where an outer size comes from.
func says(p mtu.Path, outer int, searched bool) string {
	ifname := p.Interface
	if ifname == "" {
		ifname = "the usual path"
	}
	switch {
	case searched && outer == p.Max:
		return fmt.Sprintf("%d outer", outer)
	case searched:
		return fmt.Sprintf("%d outer (%s takes %d)", outer, ifname, p.Max)
	case outer != p.Max:
		return fmt.Sprintf("%d outer until more is found (%s takes %d)", outer, ifname, p.Max)
	}
	return fmt.Sprintf("%d of %s", outer, ifname)
}

// taken names the lines of the sum except the first.
func taken(r mtu.Result) string {
	var words []string
	for _, line := range r.Lines[1:] {
		words = append(words, fmt.Sprintf("%d %s", -line.Bytes, line.Name))
	}
	return strings.Join(words, ", ")
}

// followUnderlay checks the path below an established tunnel for another MTU or another
// route to the same peer.
func (l *loop) followUnderlay(p *peer) {
	c := p.current()
	info, err := l.net.RouteTo(c.Remote.Addr(), c.Local.Addr(), "", p.cfg.FWMark)
	if err != nil || !p.underlay.Follow(info) {
		return
	}
	l.report(p.tunnel, "machine", l.refresh(p))
	l.hintKernel(p)
	l.searchPath(p)
}

func (l *loop) describeMTU(p *peer) status.MTU {
	a := &p.agreed
	m := status.MTU{Own: a.own, Peer: a.peer, Bytes: p.tunnel.link.MTU, How: p.tunnel.sizing.how, Why: p.tunnel.sizing.why, OuterMTU: p.tunnel.sizing.outer, OuterLink: p.tunnel.sizing.outerLink, Search: p.search.State().String()}
	for _, line := range p.tunnel.sizing.sum {
		m.Sum = append(m.Sum, status.Step{Name: line.Name, Bytes: line.Bytes})
	}
	if p.tunnel.index == 0 {
		return status.MTU{}
	}
	switch {
	case p.cfg.MTU != 0:
		m.Decides = status.MTUConfigured
	case p.tunnel.link.MTU < a.own:
		m.Decides = status.MTUOfPeer
		m.Sum = append(m.Sum, status.Step{Name: "lowered to the peer's", Bytes: p.tunnel.link.MTU - a.own})
	default:
		m.Decides = status.MTUOfOwn
	}
	if a.differs(p.tunnel.link.MTU) && a.at == 0 { // else it is about to be taken
		m.Differs = p.sameMTU()
	}
	switch err := l.dp.MSSClampError(p.tunnel.link.Name); {
	case !p.cfg.MSSClamp:
		m.Unclamped = "mss_clamp = false in the configuration"
	case err != nil:
		m.Unclamped = err.Error()
	default:
		m.MSS4, m.MSS6 = int(p.tunnel.link.MSS4), int(p.tunnel.link.MSS6)
	}
	return m
}

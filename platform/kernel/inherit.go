package kernel

import (
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"time"

	"greseal/crypto/esp"
	"greseal/crypto/suite"
	"greseal/platform"
	"greseal/platform/inet"
	"greseal/platform/rtnl"
	"greseal/platform/xfrm"
)

// A daemon that was killed leaves its interfaces, SAs and policies, and the kernel goes on
// with them: it has the keys, and counts the sequence numbers. What belongs together is
// found by the marks: the interface by its ifalias, the allowing policy by the interface's
// endpoints and key, the SAs by the policy's reqid and template.

// leftover is what belongs to one interface.
type leftover struct {
	device *device
	flow   *flow
}

// Leftovers finds the interfaces that have SAs in both directions.
func (d *Datapath) Leftovers() ([]platform.Leftover, error) {
	policies, err := xfrm.Policies(d.xfrm)
	if err != nil {
		return nil, explain(err)
	}
	states, err := xfrm.States(d.xfrm)
	if err != nil {
		return nil, explain(err)
	}
	links, err := rtnl.Links(d.route)
	if err != nil {
		return nil, err
	}
	// Oldest first, as in a flow.
	sort.SliceStable(states, func(i, j int) bool { return states[i].Added < states[j].Added })
	there := sorted(policies, states)
	var found []platform.Leftover
	d.left = make(map[string]leftover)
	for _, l := range links {
		if !l.Ours() || !isGRE(l.Kind) || !l.Up() || rtnl.Alias(l.Name) != l.Alias || d.links[l.Name] != nil {
			continue
		}
		f := there.flowOf(l)
		if f == nil {
			continue
		}
		f.own(there.states[f.reqid])
		if len(f.in) == 0 || len(f.out) == 0 {
			continue
		}
		dev := &device{index: l.Index, kind: l.Kind, remote: f.remote, up: true, running: l.Running()}
		d.left[l.Name] = leftover{dev, f}
		found = append(found, f.leftover(l))
	}
	return found, nil
}

// marked are the allowing policies and SAs with our marks: a hub has thousands.
type marked struct {
	out    map[toRemote][]*xfrm.Policy
	in     map[uint32]*xfrm.Policy // by reqid
	states map[uint32][]*xfrm.Info // likewise
}

// toRemote is where an outbound policy leads to.
type toRemote struct {
	remote netip.Prefix
	key    uint32
}

func sorted(policies []xfrm.Policy, states []xfrm.Info) marked {
	m := marked{map[toRemote][]*xfrm.Policy{}, map[uint32]*xfrm.Policy{}, map[uint32][]*xfrm.Info{}}
	for i := range policies {
		p := &policies[i]
		switch {
		case p.Apart || p.Proto != xfrm.ProtoGRE || p.Priority != allowPriority || p.Action != xfrm.ActionAllow || !ourReqid(p.Reqid):
		case p.Dir == xfrm.DirIn:
			m.in[p.Reqid] = p
		case p.Dir == xfrm.DirOut && p.Keyed:
			to := toRemote{p.Dst, p.Key}
			m.out[to] = append(m.out[to], p)
		}
	}
	for i := range states {
		s := &states[i]
		m.states[s.Reqid] = append(m.states[s.Reqid], s)
	}
	return m
}

// flowOf finds the policies of an interface, nil: it has none in some direction.
func (m *marked) flowOf(l *rtnl.Link) *flow {
	local, remote, key, keyed := l.GRE()
	if !remote.IsValid() {
		return nil
	}
	if !keyed {
		key = 0 // as XFRM reads it
	}
	for _, p := range m.out[toRemote{inet.Host(remote), key}] {
		if in := m.in[p.Reqid]; in != nil && (!local.IsValid() || p.Src == inet.Host(local)) {
			return &flow{endpoints: endpoints{l.Name, p.Src.Addr(), remote}, key: key, reqid: p.Reqid, allowIn: in, allowOut: p}
		}
	}
	return nil
}

// own finds the SAs of a flow among those with its reqid: those that are as greseal installs them, between
// the outer addresses that its packets take.
func (f *flow) own(states []*xfrm.Info) {
	local, remote := f.allowOut.TmplSrc, f.allowOut.TmplDst
	for _, s := range states {
		out := s.Src == local && s.Dst == remote
		in := s.Src == remote && s.Dst == local
		switch {
		case s.Mode != f.allowOut.Mode || s.SPI == 0 || !in && !out:
			continue
		case s.Dir != 0 && (s.Dir == xfrm.SADirOut) != out:
			continue
		case s.Mode == xfrm.ModeTransport && (s.Selector.Proto != xfrm.ProtoGRE || s.Selector.Src != inet.Host(s.Src) || s.Selector.Dst != inet.Host(s.Dst)):
			continue // greseal's has a selector
		case s.Encr == suite.Transform{}:
			continue
		}
		list := f.list(out)
		*list = append(*list, &installed{
			State: xfrm.State{
				ID: s.ID, Src: s.Src, Reqid: s.Reqid, Mode: s.Mode, Out: out,
				Encap: s.Dport != 0, Sport: s.Sport, Dport: s.Dport, ESN: s.ESN, Window: s.Window,
			},
			key: platform.SAKey{Link: f.link, Out: out, SPI: s.SPI}, flow: f,
			since: time.Unix(int64(s.Added), 0), lasting: s.Lasting,
			suite: suite.Suite{Protocol: suite.ESP, Encr: s.Encr, Integ: s.Integ, ESN: s.ESN},
		})
	}
}

// leftover describes a flow with its interface.
func (f *flow) leftover(l *rtnl.Link) platform.Leftover {
	_, _, key, keyed := l.GRE()
	left := platform.Leftover{
		Link: platform.Link{
			Name: l.Name, Ethernet: l.Ethernet(), Local: f.local, Remote: f.remote, Key: key, HasKey: keyed, MTU: l.MTU,
		},
		Running: l.Running(),
		Since:   newest(f.out).since,
	}
	for i := range max(len(f.in), len(f.out)) {
		var c esp.ChildSA
		if n := len(f.in) - 1 - i; n >= 0 {
			c = f.in[n].child()
		}
		if n := len(f.out) - 1 - i; n >= 0 {
			in := c.SPIIn
			c = f.out[n].child()
			c.SPIIn = in
		}
		left.SAs = append(left.SAs, c)
	}
	return left
}

// child is what an SA tells of its Child SA.
func (s *installed) child() esp.ChildSA {
	c := esp.ChildSA{
		Suite: s.suite, Encap: s.Encap, Transport: s.Mode == xfrm.ModeTransport,
		GRELocal: s.flow.local, GRERemote: s.flow.remote,
	}
	from, to := netip.AddrPortFrom(s.Src, s.Sport), netip.AddrPortFrom(s.Dst, s.Dport)
	if s.Out {
		c.SPIOut, c.Local, c.Remote = s.SPI, from, to
	} else {
		c.SPIIn, c.Local, c.Remote = s.SPI, to, from
	}
	return c
}

// Inherit takes over what Leftovers found of a link.
func (d *Datapath) Inherit(link platform.Link) error {
	left, there := d.left[link.Name]
	if !there {
		return fmt.Errorf("interface %s: nothing is left to be inherited", link.Name)
	}
	dev, f := left.device, left.flow
	if inet.Plain(link.Remote) != f.remote || inet.Plain(link.Local) != f.local || keyOf(&link) != f.key {
		return fmt.Errorf("interface %s: what is left has other endpoints, or another key", link.Name)
	}
	if err := d.closeTo(f.remote); err != nil {
		return err
	}
	dev.want = link
	d.remotes[link.Name] = f.remote
	d.keep(dev)
	d.flows[f.endpoints] = f
	d.mu.Lock()
	for _, s := range slices.Concat(f.in, f.out) {
		d.sas[s.key] = s
	}
	d.mu.Unlock()
	return d.syncAllow(f)
}

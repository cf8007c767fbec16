package tunnel

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"greseal/ikev2"
	"greseal/platform"
	"greseal/tunnel/config"
	"greseal/tunnel/endpoint"
)

// Which tunnel a GRE endpoint belongs to: tunnel/endpoint decides, from what is
// gathered here.

// admit refuses a Child SA whose GRE endpoint at the other side is not its peer's.
func (l *loop) admit(p *peer, c *ikev2.Child) error {
	for _, sas := range p.children {
		if sas.ID != c.ID && sas.GRELocal == c.GRELocal && sas.GRERemote == c.GRERemote {
			return nil // they fit when that one came
		}
	}
	m, err := l.lookAtMachine()
	if err != nil {
		return err
	}
	ask := endpoint.Ask{Local: c.GRELocal, Remote: c.GRERemote, By: p.rightTo(c)}
	if err := ask.OnMachine(m); err != nil {
		return err
	}
	giveWay, err := ask.Against(l.othersWith(p, c))
	for _, name := range giveWay {
		l.givers = append(l.givers, giver{ikev2.PeerID(name), c.GRERemote, p.id})
	}
	if len(giveWay) > 0 {
		p.promise = endpoint.Promise{Endpoint: c.GRERemote, At: l.now()}
	}
	return err
}

// othersWith are the other peers that have a claim to the remote endpoint of a Child SA.
func (l *loop) othersWith(p *peer, c *ikev2.Child) (all []endpoint.Other) {
	for id, other := range l.peers {
		o := endpoint.Other{Name: string(id), Claims: other.claims(c.GRERemote), Promised: other.promise.Holds(c.GRERemote, l.now())}
		if id != p.id && (o.Promised || len(o.Claims) > 0) {
			o.Apart, o.Idle = p.toldApart(c, other), len(other.children) == 0
			all = append(all, o)
		}
	}
	return all
}

// names reports whether the configuration makes a the GRE endpoint of the peer.
func (p *peer) names(a netip.Addr) bool {
	if p.cfg.GRERemote.IsValid() {
		return p.cfg.GRERemote == a
	}
	return p.hasRemote(a)
}

// hasRemote reports whether a is one of the addresses in remote, as far as they
// are known.
func (p *peer) hasRemote(a netip.Addr) bool {
	return slices.Contains(p.attempt.Candidates(), a) || slices.ContainsFunc(p.cfg.Remotes, func(r string) bool {
		b, err := netip.ParseAddr(r)
		return err == nil && b.Unmap() == a
	})
}

// rightTo is by what right the peer has the endpoint of a Child SA.
func (p *peer) rightTo(c *ikev2.Child) endpoint.Right {
	switch {
	case p.names(c.GRERemote):
		return endpoint.Named
	case c.Remote.Addr() == c.GRERemote:
		return endpoint.Reached
	}
	return endpoint.Chosen
}

// claims are p's claims to a remote endpoint, those of installed SAs first. Most
// tunnels have none, which has to be cheap: there may be thousands.
func (p *peer) claims(remote netip.Addr) (all []endpoint.Claim) {
	for _, sas := range p.children {
		if sas.GRERemote != remote {
			continue
		}
		by := p.rightTo(sas.Child)
		if !sas.Remote.IsValid() {
			by = endpoint.Reached
		}
		all = append(all, endpoint.Claim{Local: sas.GRELocal, By: by, Stands: true})
	}
	if p.tunnel.link.Remote == remote {
		by := endpoint.Reached
		switch {
		case p.names(remote):
			by = endpoint.Named
		case p.tunnel.behind:
			by = endpoint.Chosen
		}
		all = append(all, endpoint.Claim{Local: p.tunnel.link.Local, By: by, Stands: true})
	}
	if p.cfg.GRERemote == remote || p.hasRemote(remote) {
		for _, local := range p.configuredLocals() {
			all = append(all, endpoint.Claim{Local: local, By: endpoint.Named})
		}
	}
	return all
}

// configuredLocals are the own GRE endpoints that the configuration leaves p, an
// unset one where it leaves any.
func (p *peer) configuredLocals() []netip.Addr {
	if p.cfg.GRELocal.IsValid() {
		return []netip.Addr{p.cfg.GRELocal}
	}
	if len(p.locals) > 0 {
		return p.locals
	}
	local, _ := netip.ParseAddr(p.cfg.Local)
	return []netip.Addr{local.Unmap()}
}

// toldApart reports whether the packets of two tunnels between the same endpoints
// are kept apart by GRE keys. Without a key one tunnel is exposed to mistakes of the
// other, which is acceptable only with the same peer.
func (p *peer) toldApart(c *ikev2.Child, other *peer) bool {
	a, b := p.cfg.GRE, other.cfg.GRE
	if a.Key == b.Key || !a.HasKey && b.Key == 0 || !b.HasKey && a.Key == 0 {
		return false // XFRM takes no key for key 0
	}
	return a.HasKey && b.HasKey || p.samePeer(c, other)
}

// samePeer reports whether both tunnels are known to lead to the same peer: by the
// same secret or key, with one identity or at one address.
func (p *peer) samePeer(c *ikev2.Child, other *peer) bool {
	i, ok := p.ike[c.IKE]
	j, there := other.currentIKE()
	if !ok || !there || i.RemoteID != j.RemoteID && i.Remote.Addr() != j.Remote.Addr() {
		return false
	}
	x, y := i.Auth, j.Auth
	switch {
	case x.Theirs != y.Theirs:
		return false
	case x.Key != "" || y.Key != "":
		return x.Key == y.Key
	case x.Subject != "" || y.Subject != "":
		return x.Subject == y.Subject && x.Issuer == y.Issuer && config.SameAnchors(p.cfg, other.cfg)
	}
	return p.cfg.PSK.IsSet() && p.cfg.PSK.Equal(other.cfg.PSK)
}

// machineSeen is what is known of this machine, as last read.
type machineSeen struct {
	endpoint.Machine
	at ikev2.Time
}

// machineFresh is how long that is valid when no change is reported: hundreds of
// peers may come to a hub at once.
const machineFresh = time.Second

func (l *loop) lookAtMachine() (endpoint.Machine, error) {
	if m := l.looked; m.Own != nil && l.now()-m.at < machineFresh {
		return m.Machine, nil
	}
	m := endpoint.Machine{Own: map[netip.Addr]bool{}}
	locals, err := l.net.LocalAddrs()
	if err != nil {
		return m, err
	}
	for _, a := range locals {
		m.Own[a] = true
	}
	if m.Foreign, err = l.net.ForeignGRE(); err != nil {
		return m, err
	}
	l.looked = machineSeen{m, l.now()}
	return m, nil
}

// makeRoom has tunnels give way whose peers have merely chosen the endpoint that is
// configured for this one. The kernel refuses a second interface with the same
// endpoints and key, and this one is made before its peer comes.
func (l *loop) makeRoom(p *peer) {
	if l.dp.Kind() != platform.KindKernel {
		return
	}
	want := l.wantLink(p, nil)
	for _, other := range l.peers {
		has := other.tunnel.link
		if other.tunnel == p.tunnel || other.tunnel.index == 0 || !has.Remote.IsValid() || has.Remote != want.Remote || has.Local != want.Local ||
			has.Ethernet != want.Ethernet || has.HasKey != want.HasKey || has.Key != want.Key {
			continue
		}
		if p.names(want.Remote) && !other.names(want.Remote) {
			p.promise = endpoint.Promise{Endpoint: want.Remote, At: l.now()}
			l.giveWay(giver{other.id, want.Remote, p.id})
		}
	}
}

// giver is a tunnel whose endpoint another has the better right to.
type giver struct {
	id       ikev2.PeerID
	endpoint netip.Addr
	to       ikev2.PeerID
}

// giveWay frees the endpoint.
func (l *loop) giveWay(g giver) {
	p := l.peers[g.id]
	if p == nil {
		return
	}
	l.reschedule(p)
	why := fmt.Sprintf("tunnel %q has the better claim to the GRE endpoint %s", g.to, g.endpoint)
	l.event(p.tunnel, slog.LevelWarn, "endpoint", why+"; give the peer of this one another gre_local")
	l.restart(p, why)
	if p.tunnel.index == 0 || p.established() {
		return
	}
	p.tunnel.link.Local, p.tunnel.link.Remote, p.tunnel.behind = netip.Addr{}, netip.Addr{}, false
	l.report(p.tunnel, "machine", l.putLink(p.tunnel, l.wantLink(p, nil))) // also where p.link says so already
}

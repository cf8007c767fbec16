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
)

// Whose GRE endpoint an address is. Whatever changes the endpoints of a tunnel
// comes as a new Child SA, and each must fit beside all that stands or is
// configured (contract 16): otherwise the peer of one tunnel could have what is
// meant for another's.
//
// Tunnels between the same two endpoints are told apart by their GRE keys, and
// may belong to different peers. That is for addresses that several can have by
// rights: behind their NATs, or behind the same one. An address at which another
// peer is reached, or that the configuration gives to another tunnel, is nobody's
// to choose.

// right is by what right a tunnel has an endpoint.
type right uint8

const (
	chosen  right = iota + 1 // its peer asked for it
	reached                  // it is where the peer itself is reached, by IKE
	named                    // the configuration says so
)

// claim is what another tunnel has of a remote endpoint: it, from a local one.
// That is unset where any of ours may be meant.
type claim struct {
	local  netip.Addr
	by     right
	stands bool // an interface has it; otherwise it is only configured
}

// notItsOwn refuses a GRE endpoint.
type notItsOwn struct{ what, remedy string }

func (n notItsOwn) Error() string  { return n.what }
func (n notItsOwn) Remedy() string { return n.remedy }

// admit refuses a Child SA whose GRE endpoint at the other side is not its peer's.
func (l *loop) admit(p *peer, c *ikev2.Child) error {
	for _, sas := range p.children {
		if sas.ID != c.ID && sas.GRELocal == c.GRELocal && sas.GRERemote == c.GRERemote {
			return nil // they fit when that one came
		}
	}
	mine := p.rightTo(c)
	no := func(what, remedy string) error {
		return notItsOwn{fmt.Sprintf("the peer asks for the GRE endpoint %s, which %s", c.GRERemote, what), remedy}
	}
	const another = "give the peer an address of its own as gre_local"
	if a := c.GRERemote; a.IsMulticast() || a.IsLoopback() || a.IsUnspecified() || a.Is4In6() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return no("is no address of one machine", another)
	}
	m, err := l.lookAtMachine()
	if err != nil {
		return err
	}
	if m.own[c.GRERemote] {
		return no("is an address of this machine", another)
	}
	if name := m.foreign[c.GRERemote]; name != "" && mine != named {
		return no(fmt.Sprintf("is the far end of the GRE interface %q of somebody else", name), another+", or remove that interface")
	}
	var late error
	var givers []giver
	for id, other := range l.peers {
		if id == p.id {
			continue
		}
		if mine == chosen && other.promise.holds(c.GRERemote, l.now()) && !l.toldApart(p, c, other) {
			return no(fmt.Sprintf("is that of tunnel %q", other.id), another)
		}
		for _, o := range other.claims(c.GRERemote) {
			if o.local.IsValid() && o.local != c.GRELocal {
				continue
			}
			apart := l.toldApart(p, c, other)
			shared := mine >= reached || o.by == chosen // by whoever has a key of his own
			switch {
			case apart && shared:
				continue
			case mine == named && o.by == named && (!o.stands || len(other.children) == 0):
				continue // whose peer it is shows when the other's comes
			case !apart && o.stands && (mine > o.by || mine == reached && o.by == reached && len(other.children) == 0):
				givers = append(givers, giver{other.id, c.GRERemote, p.id})
				late = no(fmt.Sprintf("tunnel %q has had until now without as good a right to it", other.id), "wait for the next attempt: that tunnel gives way")
				continue
			case shared:
				return no(fmt.Sprintf("tunnel %q already has", other.id), "give each of the two tunnels its own gre.key, on both sides")
			}
			return no(fmt.Sprintf("is that of tunnel %q", other.id), another)
		}
	}
	l.givers = append(l.givers, givers...)
	if late != nil {
		p.promise = promise{c.GRERemote, l.now()}
	}
	return late
}

// promise keeps an endpoint that another tunnel gives way from for the one that
// has the better right to it: its peer comes again when it sees fit, and whoever
// had chosen the endpoint would often be there first.
type promise struct {
	endpoint netip.Addr
	at       ikev2.Time
}

const promiseTime = 5 * time.Minute // beyond the pauses of any peer

func (p promise) holds(a netip.Addr, now ikev2.Time) bool {
	return p.endpoint == a && now-p.at < promiseTime
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
func (p *peer) rightTo(c *ikev2.Child) right {
	switch {
	case p.names(c.GRERemote):
		return named
	case c.Remote.Addr() == c.GRERemote:
		return reached
	}
	return chosen
}

// claims are what p has of a remote endpoint, those that stand first. Of most
// tunnels there are none, and none costs little: there may be thousands.
func (p *peer) claims(remote netip.Addr) (all []claim) {
	for _, sas := range p.children {
		if sas.GRERemote != remote {
			continue
		}
		by := p.rightTo(sas.Child)
		if !sas.Remote.IsValid() {
			by = reached
		}
		all = append(all, claim{sas.GRELocal, by, true})
	}
	if p.link.Remote == remote {
		by := reached
		switch {
		case p.names(remote):
			by = named
		case p.behind:
			by = chosen
		}
		all = append(all, claim{p.link.Local, by, true})
	}
	if p.cfg.GRERemote == remote || p.hasRemote(remote) {
		for _, local := range p.configuredLocals() {
			all = append(all, claim{local, named, false})
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
// go each their own way: by keys of their own. Without a key the one is open
// to mistakes of the other, which is for the same peer to make.
func (l *loop) toldApart(p *peer, c *ikev2.Child, other *peer) bool {
	a, b := p.cfg.GRE, other.cfg.GRE
	if a.Key == b.Key || !a.HasKey && b.Key == 0 || !b.HasKey && a.Key == 0 {
		return false // XFRM takes no key for key 0
	}
	return a.HasKey && b.HasKey || p.samePeer(c, other)
}

// samePeer reports whether both tunnels were proved to lead to the same peer: by
// the same secret or key, with one identity or at one address.
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

// machine is what this machine has beside tunnels.
type machine struct {
	at      ikev2.Time
	own     map[netip.Addr]bool   // addresses
	foreign map[netip.Addr]string // GRE interfaces that are not ours, by their far ends
}

// machineFresh is how long a look at the machine holds when nothing is reported
// to have changed: a hub may have hundreds of peers come at once.
const machineFresh = time.Second

func (l *loop) lookAtMachine() (machine, error) {
	if m := l.looked; m.own != nil && l.now()-m.at < machineFresh {
		return m, nil
	}
	m := machine{at: l.now(), own: map[netip.Addr]bool{}}
	locals, err := l.net.LocalAddrs()
	if err != nil {
		return m, err
	}
	for _, a := range locals {
		m.own[a] = true
	}
	if m.foreign, err = l.net.ForeignGRE(); err != nil {
		return m, err
	}
	l.looked = m
	return m, nil
}

// makeRoom has tunnels give way whose peers have merely chosen the endpoint that the
// configuration gives this one. The kernel takes no two interfaces with the same
// endpoints and key, and this one is made before its peer comes.
func (l *loop) makeRoom(p *peer) {
	if l.dp.Kind() != platform.KindKernel {
		return
	}
	want := l.wantLink(p, nil)
	for _, other := range l.peers {
		has := other.link
		if other.tunnel == p.tunnel || other.index == 0 || !has.Remote.IsValid() || has.Remote != want.Remote || has.Local != want.Local ||
			has.Ethernet != want.Ethernet || has.HasKey != want.HasKey || has.Key != want.Key {
			continue
		}
		if p.names(want.Remote) && !other.names(want.Remote) {
			p.promise = promise{want.Remote, l.now()}
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
	why := fmt.Sprintf("tunnel %q has the better right to the GRE endpoint %s", g.to, g.endpoint)
	l.event(p.tunnel, slog.LevelWarn, "endpoint", why+"; give the peer of this one another gre_local")
	l.restart(p, why)
	if p.index == 0 || p.established() {
		return
	}
	p.link.Local, p.link.Remote, p.behind = netip.Addr{}, netip.Addr{}, false
	l.report(p.tunnel, "machine", l.putLink(p.tunnel, l.wantLink(p, nil))) // also where p.link says so already
}

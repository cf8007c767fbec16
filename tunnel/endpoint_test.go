package tunnel

import (
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"greseal/crypto/esp"
	"greseal/ikev2"
	"greseal/platform"
	"greseal/tunnel/config"
	"greseal/tunnel/endpoint"
)

// The peer of tunnel a asks for an endpoint that tunnel b has, in one of the ways
// in which it can.
func TestAPeerGetsNoEndpointOfAnothers(t *testing.T) {
	at := func(s string) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(s), 4500) }
	const hub, outerA, outerB, inside = "198.51.100.1", "198.51.100.2", "198.51.100.3", "192.168.1.2"
	child := func(outer, gre string) *ikev2.Child {
		c := &ikev2.Child{ID: 1, IKE: 1, ChildSA: esp.ChildSA{GRELocal: netip.MustParseAddr(hub), GRERemote: netip.MustParseAddr(gre)}}
		if outer != "" {
			c.Local, c.Remote = at(hub), at(outer)
		}
		return c
	}
	link := func(outer, gre string) func(*peer) {
		return func(s *peer) {
			c := child(outer, gre)
			s.tunnel.link = platform.Link{Local: c.GRELocal, Remote: c.GRERemote}
			s.tunnel.behind = outer != "" && outer != gre
		}
	}
	stands := func(outer, gre string) func(*peer) {
		return func(s *peer) {
			link(outer, gre)(s)
			s.children[7] = &childSA{Child: child(outer, gre)}
			s.carrying = 7
		}
	}
	remotes := func(r ...string) func(*peer) { return func(s *peer) { s.cfg.RemoteAny, s.cfg.Remotes = false, r } }
	greRemote := func(r string) func(*peer) {
		return func(s *peer) { s.cfg.GRERemote = netip.MustParseAddr(r) }
	}
	proved := func(id, outer, psk string) func(*peer) {
		return func(s *peer) {
			who, err := ikev2.ParseIdentity(id)
			if err != nil {
				t.Fatal(err)
			}
			s.ike[1] = ikev2.IKEInfo{
				IKESA:  ikev2.IKESA{ID: 1, Authenticated: ikev2.Authenticated{RemoteID: who, Auth: ikev2.AuthInfo{Theirs: "pre-shared key"}}},
				Remote: at(outer),
			}
			s.cfg.PSK = config.NewSecret([]byte(psk))
		}
	}
	none := func(*peer) {}
	all := func(f ...func(*peer)) func(*peer) {
		return func(s *peer) {
			for _, f := range f {
				f(s)
			}
		}
	}
	const ok, otherAddress, ownKey, later = "", "gre_local", "gre.key", "gives way"
	for _, c := range []struct {
		name       string
		mine, hers int // GRE keys; -1: none
		a, b       func(*peer)
		ask        *ikev2.Child
		want       string // in the remedy
	}{
		{"where b is reached", -1, -1, none, stands(outerB, outerB), child(outerA, outerB), otherAddress},
		{"where b is reached, another key", 1, 2, none, stands(outerB, outerB), child(outerA, outerB), otherAddress},
		{"where b is reached, no key beside one", -1, 2, none, stands(outerB, outerB), child(outerA, outerB), otherAddress},
		{"where b was reached, which is down", 1, 2, none, link(outerB, outerB), child(outerA, outerB), otherAddress},
		{"where b is reached, a being a fixed tunnel", 1, 2, remotes(outerA), stands(outerB, outerB), child(outerA, outerB), otherAddress},
		{"nothing known of outer addresses", 1, 2, none, link("", outerB), child("", outerB), otherAddress},
		{"b's remote, which never came up", 1, 2, none, remotes("203.0.113.1", outerB), child(outerA, outerB), otherAddress},
		{"an address of b's host name", 1, 2, none, func(s *peer) {
			remotes("b.example")(s)
			s.attempt.SetCandidates(0, []netip.Addr{netip.MustParseAddr(outerB)}, []int{0})
		}, child(outerA, outerB), otherAddress},
		{"b's gre_remote", 1, 2, none, greRemote(inside), child(outerA, inside), otherAddress},
		{"one of b's Child SAs, not the newest", 1, 2, none, func(s *peer) {
			stands(outerA, inside)(s)
			s.children[8] = &childSA{Child: child(outerB, outerB)}
		}, child(outerA, outerB), otherAddress},
		{"the same inside address", -1, -1, none, stands(outerB, inside), child(outerA, inside), ownKey},
		{"the same inside address and key", 3, 3, none, stands(outerB, inside), child(outerA, inside), ownKey},
		{"the same inside address, key 0 beside none", 0, -1, none, stands(outerB, inside), child(outerA, inside), ownKey},
		{"the same inside address, no key beside one", -1, 2, none, stands(outerB, inside), child(outerA, inside), ownKey},
		{"the same inside address, own keys", 1, 2, none, stands(outerB, inside), child(outerA, inside), ok},
		{"the same inside address, own keys, b being down", 1, 2, none, link(outerB, inside), child(outerA, inside), ok},
		{"both behind one NAT, in transport mode, own keys", 1, 2, none, stands(outerA, outerA), child(outerA, outerA), ok},
		{"both behind one NAT, in transport mode, one key", 1, 1, none, stands(outerA, outerA), child(outerA, outerA), ownKey},
		{"other addresses", -1, -1, none, stands(outerB, outerB), child(outerA, outerA), ok},
		{"between other addresses of ours", -1, -1, none, func(s *peer) {
			stands(outerB, inside)(s)
			s.tunnel.link.Local = netip.MustParseAddr("203.0.113.5")
			s.children[7].GRELocal = s.tunnel.link.Local
		}, child(outerA, inside), ok},
		{"two tunnels to one peer, own keys", 1, 2, all(remotes(outerB), proved("one.example", outerB, "p")), all(remotes(outerB), proved("two.example", outerB, "p"), stands(outerB, outerB)), child(outerB, outerB), ok},
		{"two tunnels to one peer, one key", 1, 1, all(remotes(outerB), proved("b.example", outerB, "p")), all(remotes(outerB), proved("b.example", outerB, "p"), stands(outerB, outerB)), child(outerB, outerB), ownKey},
		{"two tunnels to one peer, no key beside one", -1, 2, all(remotes(outerB), proved("b.example", outerB, "p")), all(remotes(outerB), proved("b.example", outerB, "p"), stands(outerB, outerB)), child(outerB, outerB), ok},
		{"the same identity by another secret, no key beside one", -1, 2, all(remotes(outerB), proved("b.example", outerB, "p")), all(remotes(outerB), proved("b.example", outerB, "q"), stands(outerB, outerB)), child(outerB, outerB), ownKey},
		{"b only chose where a is reached", -1, -1, none, stands(outerB, outerA), child(outerA, outerA), later},
		{"b only chose what a's configuration says", 2, 2, greRemote(inside), stands(outerB, inside), child(outerA, inside), later},
		{"b was reached where a is now", -1, -1, none, link(outerA, outerA), child(outerA, outerA), later},
		{"two tunnels to one peer by two interfaces", -1, -1, remotes(outerB), all(remotes(outerB), stands(outerB, outerB), func(s *peer) {
			s.cfg.Local, s.locals = "wan2", []netip.Addr{netip.MustParseAddr("203.0.113.5")}
			s.tunnel.link.Local, s.children[7].GRELocal = s.locals[0], s.locals[0]
		}), child(outerB, outerB), ok},
		{"b's second remote, while b is at its first", -1, -1, remotes(outerB), all(remotes(outerA, outerB), stands(outerA, outerA)), child(outerB, outerB), ok},
		{"another address in the form of IPv6", -1, -1, none, none, child(outerA, "::ffff:198.51.100.3"), otherAddress},
		{"this machine itself", -1, -1, none, none, child(outerA, hub), otherAddress},
		{"the machine that asks", -1, -1, none, none, child(outerA, "127.0.0.1"), otherAddress},
		{"a group of machines", -1, -1, none, none, child(outerA, "224.0.0.5"), otherAddress},
	} {
		t.Run(c.name, func(t *testing.T) {
			tunnel := func(name string, key int, set func(*peer)) *peer {
				s := newTunnel(&config.Tunnel{Name: name, RemoteAny: true}).shown()
				if key >= 0 {
					s.cfg.GRE.HasKey, s.cfg.GRE.Key = true, uint32(key)
				}
				set(s)
				return s
			}
			a, b := tunnel("a", c.mine, c.a), tunnel("b", c.hers, c.b)
			l := &loop{net: worldNet{&world{wan4: netip.MustParseAddr(hub)}}, peers: map[ikev2.PeerID]*peer{"a": a, "b": b}}
			err := l.admit(a, c.ask)
			if c.want == ok {
				if err != nil {
					t.Error(err)
				}
				return
			}
			known, _ := err.(ikev2.Remedied)
			if known == nil || !strings.Contains(known.Remedy(), c.want) {
				t.Errorf("refused with %v, %+v; wanted a remedy with %q", err, known, c.want)
			}
			if gave := len(l.givers) > 0 && l.givers[0].id == "b"; gave != (c.want == later) {
				t.Errorf("who gives way: %+v", l.givers)
			}
		})
	}
}

// Tunnel a has chosen where b is reached, gives way when b's peer comes, and is back
// before it.
func TestAnEndpointWaitsForWhoHasTheBetterRight(t *testing.T) {
	at := func(s string) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(s), 4500) }
	hub, outerA, outerB := at("198.51.100.1"), at("198.51.100.2"), at("198.51.100.3")
	child := func(outer netip.AddrPort) *ikev2.Child {
		return &ikev2.Child{ID: 1, IKE: 1, ChildSA: esp.ChildSA{Local: hub, Remote: outer, GRELocal: hub.Addr(), GRERemote: outerB.Addr()}}
	}
	a, b := newTunnel(&config.Tunnel{Name: "a", RemoteAny: true}).shown(), newTunnel(&config.Tunnel{Name: "b", RemoteAny: true}).shown()
	l := &loop{origin: time.Now(), net: worldNet{&world{wan4: hub.Addr()}}, peers: map[ikev2.PeerID]*peer{"a": a, "b": b}}
	if err := l.admit(a, child(outerA)); err != nil {
		t.Fatal(err)
	}
	a.tunnel.link = platform.Link{Local: hub.Addr(), Remote: outerB.Addr()}
	a.tunnel.behind = true
	if err := l.admit(b, child(outerB)); err == nil || len(l.givers) != 1 {
		t.Fatalf("%v, who gives way: %+v", err, l.givers)
	}
	a.tunnel.link, a.tunnel.behind = platform.Link{}, false
	if err := l.admit(a, child(outerA)); err == nil {
		t.Error("a has the endpoint again")
	}
	if err := l.admit(b, child(outerB)); err != nil {
		t.Error(err)
	}
	l.origin = l.origin.Add(-endpoint.PromiseTime)
	if err := l.admit(a, child(outerA)); err != nil {
		t.Errorf("b never came, and a is refused: %v", err)
	}
}

// In the kernel no two interfaces have the same endpoints and key. What the peer of
// one tunnel has chosen is free for another to which the configuration gives it,
// before that one's peer has come.
func TestAnInterfaceIsMadeWhereAnothersPeerChoseItsEndpoint(t *testing.T) {
	for key, gives := range map[string]bool{"7": true, "8": false} {
		synctest.Test(t, func(t *testing.T) {
			const gre = "\n[tunnel.gre]\nkey = "
			hub := strings.Replace(hq(`remote = "any"`), `"hq"`, `"branch"`, 1) + gre + key + "\n"
			play(t, hub, func(w *world) { w.kind = platform.KindKernel }, func(w *world) {
				time.Sleep(time.Second)
				w.do(func() {
					chosen := &ikev2.Child{ID: 1, IKE: 1, ChildSA: esp.ChildSA{Local: netip.AddrPortFrom(w.wan4, 4500), Remote: netip.AddrPortFrom(peer4, 4500), GRELocal: w.wan4, GRERemote: nobody}}
					if err := w.l.setLink(w.l.peers["branch"], chosen); err != nil {
						t.Error(err)
					}
					w.l.take(w.config(hub + hq(`remote = "192.0.2.9"`) + gre + "7\n"))
				})
				time.Sleep(time.Second)
				w.do(func() {
					if p := w.l.peers["hq"]; p.tunnel.index == 0 || p.tunnel.link.Remote != nobody {
						t.Errorf("key %s: no interface: %s", key, p.cause.Is())
					}
					if has := w.l.peers["branch"].tunnel.link.Remote; (has == nobody) == gives {
						t.Errorf("key %s: the other's goes to %v", key, has)
					}
				})
			})
		})
	}
}

package tunnel

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"greseal/ikev2"
	"greseal/platform"
	"greseal/tunnel/status"
)

// What the engine, the sockets and the interface have lost or repeated reaches the
// status.
func TestTheStatusTellsWhatWasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		play(t, hq(`remote = "192.0.2.1"`), func(w *world) {
			w.drops, w.ikeDropped = platform.Drops{NoSA: 1, TooBig: 2, Queue: 3, Key: 4, GRE: 5}, 6
		}, func(w *world) {
			upWithin(t, w, 10*time.Second)
			own, nobody := netip.MustParseAddrPort("198.51.100.2:500"), netip.MustParseAddrPort("192.0.2.9:500")
			w.ike <- platform.Datagram{Local: own, Remote: nobody, Data: []byte("no IKE")}
			w.do(func() { w.node.silent = true })
			time.Sleep(time.Minute)
			s := w.ask(status.Request{Op: status.OpStatus}).Snapshot
			if i := s.Daemon.IKE; i.Malformed != 1 || i.Dropped < 6 || i.Retransmits == 0 {
				t.Errorf("of IKE: %+v", i)
			}
			if d := s.Tunnels[0].Drops; d != (status.Drops{NoSA: 1, TooBig: 2, Queue: 3, Key: 4, GRE: 5}) {
				t.Errorf("drops: %+v", d)
			}
		})
	})
}

// A guard that was never laid is open too, and so is one beneath an address.
func TestEveryGuardThatIsMissingIsListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		play(t, hq(`remote = "192.0.2.1"`), func(w *world) {
			for _, name := range []string{"192.0.2.7", "unreachable 10.255.0.0/30"} {
				w.deviations = append(w.deviations, platform.Deviation{Link: "hq", Object: platform.ObjectGuard, Name: name, Text: "no room for " + name})
			}
		}, func(w *world) {
			var open []string
			for _, g := range w.ask(status.Request{Op: status.OpStatus}).Snapshot.Tunnels[0].Guards {
				if !g.InPlace {
					open = append(open, g.What+" "+g.Target)
				}
			}
			if want := []string{"gre 192.0.2.7", "route 10.255.0.0/30"}; !slices.Equal(open, want) {
				t.Errorf("open: %q, want %q", open, want)
			}
		})
	})
}

// The peer's NAT gives it another mapping, and ESP is the first to show it: the event
// and the status name the same address, and IKE's following is no second move.
func TestEventsAndStatusAgreeOnWhereThePeerIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		there := netip.MustParseAddrPort("192.0.2.7:4500")
		play(t, hq(`remote = "192.0.2.1"`), func(w *world) { w.node.addrs = append(w.node.addrs, there.Addr()) }, func(w *world) {
			time.Sleep(time.Minute)
			w.do(func() {
				w.l.do(w.l.engine.Mapped(w.l.now(), w.l.peers["hq"].current().SPIIn, there))
			})
			time.Sleep(5 * time.Second)
			const moved = "the peer moved from 192.0.2.1:4500 to 192.0.2.7:4500"
			if at, said := w.look().Peer.Address, w.said("moved"); at != there.String() || said != moved {
				t.Errorf("status %s, event %q", at, said)
			}
			// IKE comes along, from where it is not asked again.
			w.do(func() {
				p := w.l.peers["hq"]
				i, _ := p.currentIKE()
				w.l.moved(p, ikev2.Moved{Peer: p.id, IKE: i.ID, OldRemote: netip.MustParseAddrPort("192.0.2.1:4500"), Local: i.Local, OldLocal: i.Local, Remote: there})
			})
			n := 0
			w.do(func() {
				for _, e := range w.l.tunnels["hq"].events.Last(100, "hq") {
					if e.Kind == "moved" {
						n++
					}
				}
			})
			if at := w.look().Peer.Address; n != 1 || at != there.String() {
				t.Errorf("%d moves were told, status %s", n, at)
			}
			w.do(func() {
				i, _ := w.l.peers["hq"].currentIKE()
				w.l.do(w.l.engine.RekeyIKE(w.l.now(), i.ID))
			})
			time.Sleep(5 * time.Second)
			if s := w.look(); s.Peer.Address != there.String() || s.IKE.Rekeys != 1 {
				t.Errorf("after rekeying %d times: %s", s.IKE.Rekeys, s.Peer.Address)
			}
		})
	})
}

package tunnel

import (
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

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

package tunnel

import (
	"net/netip"
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

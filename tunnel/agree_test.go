package tunnel

import "testing"

func TestBothEndsTakeTheLowerMTU(t *testing.T) {
	for _, c := range []struct{ own, peer, least, want int }{
		{1318, 0, 576, 1318},    // not told
		{1318, 1314, 576, 1314}, // the peer's is lower
		{1314, 1318, 576, 1314}, // ours is
		{1318, 9000, 576, 1318}, // never above our own
		{1318, 68, 576, 576},    // never below what a host takes
		{1318, 600, 1280, 1280}, // or an interface with IPv6
		{1300, 1, 1280, 1280},
		{500, 68, 576, 500}, // unless our own is less by itself
	} {
		a := agreement{own: c.own, peer: c.peer}
		if got := a.lower(c.least); got != c.want {
			t.Errorf("own %d, the peer's %d, at least %d: %d, want %d", c.own, c.peer, c.least, got, c.want)
		}
	}
}

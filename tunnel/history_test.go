package tunnel

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"greseal/platform/rtnl"
	"greseal/tunnel/status"
)

func TestAHistoryHasTheSpeedsBetweenReadings(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		what     string
		readings []octets
		now      octets
		want     []speed
	}{
		{"nothing was read", nil, octets{5 * s, 100, 100}, nil},
		{"one reading is none", []octets{{5 * s, 100, 100}}, octets{5*s + s/2, 200, 200}, nil},
		{"until now", []octets{{5 * s, 100, 100}}, octets{7 * s, 500, 100}, []speed{{7, 200, 0}}},
		{"means", []octets{{5 * s, 0, 0}, {35 * s, 3000, 60}, {75 * s, 3400, 60}}, octets{75 * s, 3400, 60}, []speed{{35, 100, 2}, {75, 10, 0}}},
		{"too early", []octets{{5 * s, 0, 0}, {34 * s, 50, 50}, {35 * s, 60, 90}}, octets{35 * s, 60, 90}, []speed{{35, 2, 3}}},
		{"made anew", []octets{{5 * s, 9000, 100}, {35 * s, 8999, 400}, {65 * s, 9029, 400}}, octets{66 * s, 0, 0}, []speed{{35, 0, 10}, {65, 1, 0}, {66, 0, 0}}},
		{"faster than 32 bits", []octets{{5 * s, 0, 0}, {35 * s, 1 << 40, 1 << 32 * 30}}, octets{35 * s, 1 << 40, 1 << 32 * 30}, []speed{{35, 1<<32 - 1, 1<<32 - 1}}},
	} {
		var h history
		for _, r := range c.readings {
			h.Add(r)
		}
		for range 2 { // asking changes nothing
			if got := h.Until(c.now); !slices.Equal(got, c.want) {
				t.Errorf("%s: %v, want %v", c.what, got, c.want)
			}
		}
	}
}

func TestAHistoryForgetsTheOldest(t *testing.T) {
	var h history
	for i := range 1000 {
		h.Add(octets{time.Duration(1+30*i) * time.Second, uint64(30 * i * i), 0})
	}
	got := h.Until(octets{29990 * time.Second, 1 << 40, 0})
	if len(h.speeds) != historyMost || cap(h.speeds) > 64 || h.speeds[59] != (speed{1 + 30*999, 2*999 - 1, 0}) {
		t.Errorf("%d of %d, the last is %v", len(h.speeds), cap(h.speeds), h.speeds[len(h.speeds)-1])
	}
	if len(got) != historyMost || got[0] != h.speeds[1] || got[59].at != 29990 {
		t.Errorf("until now: %d, %v to %v", len(got), got[0], got[len(got)-1])
	}
}

func TestTheHistoryIsToldWhenItIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		play(t, hq(`remote = "192.0.2.1"`), nil, func(w *world) {
			upWithin(t, w, 10*time.Second)
			time.Sleep(40 * time.Minute)
			if h := w.look().History; h != nil {
				t.Errorf("nobody asked for %v", h)
			}
			w.do(func() { w.stats = rtnl.LinkStats{RxBytes: 1 << 20, TxBytes: 1 << 21} })
			s := w.ask(status.Request{Op: status.OpStatus, History: true}).Snapshot
			h := s.Tunnels[0].History
			if len(h) != historyMost {
				t.Fatalf("%d points", len(h))
			}
			for i, p := range h[:historyMost-1] {
				if p.In != 0 || p.Out != 0 || i > 0 && p.Time-h[i-1].Time != 30 {
					t.Errorf("point %d is %+v after %+v", i, p, h[max(i-1, 0)])
				}
			}
			if p := h[historyMost-1]; p.Time != s.Time || p.In == 0 || p.Out < 2*p.In {
				t.Errorf("taken at %d, and the last point is %+v", s.Time, p)
			}
		})
	})
}

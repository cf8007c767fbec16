package tunnel

import (
	"math"
	"time"

	"greseal/ikev2"
	"greseal/tunnel/status"
)

const (
	historyMost  = 60
	historyEvery = auditEvery // or a little more, after changes
)

// history is what passed through a tunnel's interface in the last half hour or more. The
// zero value is empty. It takes at most 800 bytes: a hub has thousands.
type history struct {
	speeds []speed // oldest first
	last   octets  // with which the last of them ended, or the first begins
}

// octets are the counters of an interface since it was made; zero without one.
type octets struct {
	at      ikev2.Time
	in, out uint64
}

// speed is the mean since the one before.
type speed struct {
	at      uint32 // seconds of ikev2.Time
	in, out uint32 // octets per second
}

// Add takes the counters as they are now.
func (h *history) Add(now octets) {
	switch {
	case h.last.at == 0:
		h.last = now
		return
	case now.at-h.last.at < historyEvery:
		return
	case len(h.speeds) == historyMost:
		h.speeds = h.speeds[:copy(h.speeds, h.speeds[1:])]
	}
	h.speeds = append(h.speeds, now.since(h.last))
	h.last = now
}

// Until is at most the latest historyMost speeds. The last one may be younger than the
// others: it ends with these counters.
func (h *history) Until(now octets) []speed {
	speeds := h.speeds[:len(h.speeds):len(h.speeds)]
	if h.last.at != 0 && now.at-h.last.at >= time.Second {
		speeds = append(speeds, now.since(h.last))
	}
	return speeds[max(len(speeds)-historyMost, 0):]
}

// since is the speed between two readings.
func (o octets) since(before octets) speed {
	mean := func(from, to uint64) uint32 {
		if to < from {
			return 0 // the interface was made anew
		}
		return uint32(min(float64(to-from)/(o.at-before.at).Seconds(), math.MaxUint32))
	}
	return speed{uint32(o.at / time.Second), mean(before.in, o.in), mean(before.out, o.out)}
}

// describeHistory is what a tunnel's interface has carried until now.
func (l *loop) describeHistory(t *tunnel) (points []status.Point) {
	now := octets{at: l.now()}
	if info, err := l.net.Link(t.name); t.index != 0 && err == nil {
		now.in, now.out = info.Stats.RxBytes, info.Stats.TxBytes
	}
	for _, s := range t.history.Until(now) {
		points = append(points, status.Point{Time: l.wall(ikev2.Time(s.at) * time.Second).Unix(), In: s.in, Out: s.out})
	}
	return points
}

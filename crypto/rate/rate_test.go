package rate

import (
	"testing"
	"time"
)

func TestBucketStartsFullAndFillsWithTime(t *testing.T) {
	b := Bucket{Burst: 3, Each: time.Second / 2}
	taken := func(now time.Duration) (n int) {
		for b.Take(now) {
			n++
		}
		return n
	}
	for _, c := range []struct {
		at   time.Duration
		want int
	}{{0, 3}, {0, 0}, {400 * time.Millisecond, 0}, {time.Second, 2}, {time.Hour, 3}} {
		if got := taken(c.at); got != c.want {
			t.Errorf("%d taken at %v, want %d", got, c.at, c.want)
		}
	}
}

func TestMeterForgetsOneAtATime(t *testing.T) {
	m := Meter{Most: 4, Each: 10 * time.Second}
	m.Add(0, 3)
	m.Add(0, 9)
	for at, want := range map[time.Duration]float64{0: 4, 5 * time.Second: 3.5, 30 * time.Second: 1, time.Minute: 0} {
		if got := m.Level(at); got != want {
			t.Errorf("%v at %v, want %v", got, at, want)
		}
	}
}

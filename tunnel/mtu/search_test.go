package mtu

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// path is a path under test: it carries packets of up to size, and counts.
type path struct {
	t      *testing.T
	s      Search
	now    time.Duration
	size   int
	unit   int // probes come in multiples of it, plus 28; 0: in every size
	probes []string
	lost   int
}

// probe runs the search until it has nothing to ask.
func (p *path) probe() {
	p.t.Helper()
	for range 200 {
		size := p.s.Next(p.now)
		if size == 0 {
			return
		}
		if p.s.Next(p.now) != 0 {
			p.t.Fatal("a second probe while one is out")
		}
		if size > p.s.max {
			p.t.Fatalf("a probe of %d, larger than the interface's %d", size, p.s.max)
		}
		if p.unit != 0 {
			size -= (size - 28) % p.unit
		}
		arrived := size <= p.size
		if !arrived {
			p.lost++
		}
		p.probes = append(p.probes, fmt.Sprintf("%d %v", size, arrived))
		p.s.Result(p.now, size, arrived)
		if p.s.PLPMTU() > p.size && p.lost > 0 && p.s.State() != Complete && p.size >= BasePLPMTU {
			p.t.Fatalf("%d is used after a loss, on a path of %d: %v", p.s.PLPMTU(), p.size, p.probes)
		}
		p.now += time.Second
	}
	p.t.Fatalf("no end: %v", p.probes)
}

func newPath(t *testing.T, first, size int) *path {
	p := &path{t: t, size: size}
	p.s.Start(first, false, 0)
	return p
}

// Every path is found to within what ESP's padding can use, with few losses, each
// of which takes a second or two.
func TestSearchFindsEveryPath(t *testing.T) {
	for _, first := range []int{576, 1280, 1400, 1492, 1500, 9000} {
		for size := 576; size <= first; size++ {
			p := newPath(t, first, size)
			p.probe()
			if got := p.s.Found(); p.s.State() != Complete || got > size || size-got >= step || got != p.s.PLPMTU() {
				t.Fatalf("a path of %d behind %d: %s with %d, %v", size, first, p.s.State(), got, p.probes)
			}
			if limit := 24; p.lost > limit {
				t.Errorf("a path of %d behind %d: %d probes were lost: %v", size, first, p.lost, p.probes)
			}
		}
	}
}

func TestSearchIsShortOnPathsThatPeopleHave(t *testing.T) {
	for size, most := range map[int]int{1500: 0, 1492: 4, 1480: 4, 1460: 6, 1440: 6, 1420: 8, 1400: 4, 1280: 12} {
		p := newPath(t, 1500, size)
		p.probe()
		if p.lost > most || p.s.Found() != size {
			t.Errorf("a path of %d: %d losses, wanted at most %d: %v", size, p.lost, most, p.probes)
		}
	}
}

// On a path without a surprise the size in use never changes.
func TestFullSizeIsUsedUntilALoss(t *testing.T) {
	p := newPath(t, 1500, 1500)
	for size := p.s.Next(0); size != 0; size = p.s.Next(0) {
		if p.s.PLPMTU() != 1500 {
			t.Fatalf("%d in use while %d is probed", p.s.PLPMTU(), size)
		}
		p.s.Result(0, size, true)
	}
	if p.s.PLPMTU() != 1500 || p.s.State() != Complete {
		t.Errorf("%d, %s", p.s.PLPMTU(), p.s.State())
	}
	// And after the first loss the base is used at once, until more is proved.
	p = newPath(t, 1500, 1400)
	p.s.Result(0, p.s.Next(0), true)
	p.s.Result(0, p.s.Next(0), false)
	if p.s.PLPMTU() != 1280 {
		t.Errorf("%d in use after the first loss", p.s.PLPMTU())
	}
}

func TestSinglesLossIsNoVerdict(t *testing.T) {
	s := newPath(t, 1500, 1500).s
	s.Result(0, s.Next(0), true)
	s.Result(0, s.Next(0), false)
	if n := s.Next(0); n != 1500 {
		t.Fatalf("%d after one loss of 1500", n)
	}
	s.Result(0, 1500, true)
	if s.State() != Complete || s.PLPMTU() != 1500 {
		t.Errorf("%s, %d", s.State(), s.PLPMTU())
	}
}

// The path narrows without a word: the proof that is due finds it.
func TestBlackHole(t *testing.T) {
	p := newPath(t, 1500, 1500)
	p.probe()
	p.size = 1400
	if at := p.s.CheckAt(); at == 0 || at > p.now+CheckTime {
		t.Fatalf("checked at %s", at)
	}
	p.s.Check()
	p.s.Result(p.now, p.s.Next(p.now), false)
	if p.s.PLPMTU() != 1500 {
		t.Error("one loss was taken for a black hole")
	}
	p.s.Result(p.now, p.s.Next(p.now), false)
	if p.s.PLPMTU() != 1280 || p.s.State() != Base {
		t.Errorf("%s with %d after a black hole", p.s.State(), p.s.PLPMTU())
	}
	p.probe()
	if p.s.Found() != 1400 {
		t.Errorf("found %d: %v", p.s.Found(), p.probes)
	}
	// Below the base, too.
	p.size = 700
	p.s.Check()
	p.probe()
	if p.s.Found() < 697 || p.s.Found() > 700 {
		t.Errorf("found %d: %v", p.s.Found(), p.probes)
	}
}

func TestRaisedWhenThePathHasGrown(t *testing.T) {
	p := newPath(t, 1500, 1400)
	p.probe()
	at := p.s.Wake()
	if at < p.now || at > p.now+RaiseTime {
		t.Fatalf("raised at %s, now is %s", at, p.now)
	}
	p.now = at - 1
	if n := p.s.Next(p.now); n != 0 {
		t.Errorf("%d is probed too early", n)
	}
	p.now = at
	p.probes = nil
	p.probe()
	if p.s.Found() != 1400 || len(p.probes) != 4 {
		t.Errorf("nothing had changed: %d, %v", p.s.Found(), p.probes)
	}
	for _, size := range []int{1440, 1500} {
		p.size, p.now = size, p.s.Wake()
		p.probe()
		if p.s.Found() != size {
			t.Errorf("found %d of %d: %v", p.s.Found(), size, p.probes)
		}
	}
	if p.s.Wake() != 0 {
		t.Error("nothing is left to raise")
	}
}

// ICMP says what to try and proves nothing.
func TestHints(t *testing.T) {
	p := newPath(t, 1500, 1436)
	p.s.Hint(1436)
	p.probe()
	if p.s.Found() != 1436 || p.lost > 4 {
		t.Errorf("with a true hint: %d, %v", p.s.Found(), p.probes)
	}
	for _, lie := range []int{1300, 600, 68, 0, -1, 1500, 9000} {
		p.probes = nil
		p.s.Hint(lie)
		p.probe()
		if p.s.Found() != 1436 || len(p.probes) > 1 {
			t.Errorf("a lie of %d: %d, %v", lie, p.s.Found(), p.probes)
		}
	}
	p = newPath(t, 1500, 1500)
	p.s.Hint(1300) // while it searches
	p.probe()
	if p.s.Found() != 1500 {
		t.Errorf("a lie while searching: %d, %v", p.s.Found(), p.probes)
	}
	p.size = 1436
	p.s.Hint(1436)
	p.lost = 0
	p.probe()
	if p.s.Found() != 1436 || p.lost > 6 {
		t.Errorf("a true hint of a narrower path: %d, %v", p.s.Found(), p.probes)
	}
}

// Probes in units of a cipher's blocks find the largest unit that fits, and end.
func TestCoarseProbes(t *testing.T) {
	for size := 1280; size <= 1500; size++ {
		p := newPath(t, 1500, size)
		p.unit = 16
		p.probe()
		if got := p.s.Found(); p.s.State() != Complete || got > size || size-got >= 16+step {
			t.Fatalf("a path of %d: %s with %d, %v", size, p.s.State(), got, p.probes)
		}
	}
}

// Where no probe comes through, whatever its size, the search gives no opinion.
func TestNothingArrives(t *testing.T) {
	p := newPath(t, 1500, 100)
	p.probe()
	if p.s.State() != Error || p.s.PLPMTU() != 1500 || p.s.Found() != 0 {
		t.Errorf("%s, %d", p.s.State(), p.s.PLPMTU())
	}
	p.now, p.size = p.s.Wake(), 1500
	p.probe()
	if p.s.State() != Complete || p.s.Found() != 1500 {
		t.Errorf("later: %s, %d, %v", p.s.State(), p.s.Found(), p.probes)
	}
}

func TestIPv6NeverGoesBelowItsLeast(t *testing.T) {
	var s Search
	s.Start(1500, true, 0)
	for range 10 {
		n := s.Next(0)
		if n == 0 {
			break
		}
		if n < 1280 {
			t.Fatalf("%d is probed", n)
		}
		s.Result(0, n, false)
	}
	if s.PLPMTU() < 1280 {
		t.Error(s.PLPMTU())
	}
}

// What was found before is used from the start, and found again with few probes.
func TestStartFromWhatWasFoundBefore(t *testing.T) {
	p := &path{t: t, size: 1412}
	p.s.Start(1500, false, 1412)
	if p.s.PLPMTU() != 1412 {
		t.Error(p.s.PLPMTU())
	}
	p.probe()
	if p.s.Found() != 1412 || p.lost > 4 {
		t.Errorf("%d, %v", p.s.Found(), p.probes)
	}
	p.s.Stop()
	if p.s.PLPMTU() != 0 || p.s.Next(0) != 0 || p.s.Wake() != 0 || p.s.CheckAt() != 0 {
		t.Error("stopped, but it says something")
	}
	p.s.Result(0, 1500, true)
	p.s.Hint(1300)
	p.s.Check()
	if p.s.State() != Disabled {
		t.Error(p.s.State())
	}
}

// Whatever happens in whatever order, the search stays within its bounds and ends
// once it is left alone.
func TestSearchUnderAnything(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		p := newPath(t, 576+r.IntN(9000), 576+r.IntN(1500))
		for range 200 {
			switch r.IntN(8) {
			case 0:
				p.s.Hint(r.IntN(2000))
			case 1:
				p.s.Check()
			case 2:
				p.size = 576 + r.IntN(1500)
			case 3:
				p.now += time.Duration(r.Int64N(int64(RaiseTime)))
			case 4:
				p.s.Start(576+r.IntN(9000), r.IntN(2) == 0, r.IntN(1600))
			default:
				if n := p.s.Next(p.now); n != 0 {
					if n > p.s.max || n < p.s.least {
						t.Fatalf("seed %d: a probe of %d, not from %d to %d", seed, n, p.s.least, p.s.max)
					}
					p.s.Result(p.now, n, n <= p.size != (r.IntN(10) == 0))
				}
			}
			if n := p.s.PLPMTU(); n > p.s.max || n < min(p.s.least, p.s.max) {
				t.Fatalf("seed %d: %d is used, not from %d to %d", seed, n, p.s.least, p.s.max)
			}
		}
		p.s.Result(p.now, p.s.asked, false)
		p.size = 9600
		p.lost = 0
		p.probe()
	}
}

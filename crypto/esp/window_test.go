package esp

import (
	"math/rand/v2"
	"testing"
)

// model is the window as RFC 4303 section 3.4.3 describes it, in the simplest
// form.
type model struct {
	size, top uint64
	seen      map[uint64]bool
}

func (m *model) accept(seq uint64) bool {
	if seq == 0 || m.seen[seq] || seq+m.size <= m.top {
		return false
	}
	m.seen[seq] = true
	m.top = max(m.top, seq)
	return true
}

func TestWindowIsTheModel(t *testing.T) {
	for _, size := range []int{0, 32, 33, 63, 64, 65, 100, 127, 128, 1000, 2048, 2049, 4096} {
		w, err := NewWindow(size)
		if err != nil {
			t.Fatal(err)
		}
		if size == 0 {
			w, size = new(Window), DefaultWindow // the zero value
		}
		m := &model{size: uint64(size), seen: map[uint64]bool{}}
		r := rand.New(rand.NewPCG(1, uint64(size)))
		for i := range 60000 {
			var seq uint64
			switch r.IntN(12) {
			case 0:
				seq = m.top + r.Uint64N(uint64(3*size)) // jump ahead
			case 1:
				seq = r.Uint64N(m.top + 10)
			case 2:
				seq = m.top - min(m.top, uint64(size)-2+r.Uint64N(4)) // the edge
			default:
				seq = m.top + 3 - min(m.top+3, r.Uint64N(uint64(size)+10))
			}
			checked := w.Check(seq)
			want := m.accept(seq)
			if got := w.Update(seq); got != want || checked != want || w.Top() != m.top {
				t.Fatalf("size %d, step %d, number %d with top %d: checked %v, updated %v, want %v", size, i, seq, m.top, checked, got, want)
			}
		}
	}
}

func TestWindowSizesOutsideTheRangeAreRefused(t *testing.T) {
	for _, size := range []int{-1, 1, 31, 4097, 1 << 30} {
		if _, err := NewWindow(size); err == nil {
			t.Errorf("a window of %d", size)
		}
	}
}

func TestCheckChangesNothing(t *testing.T) {
	var w Window
	for range 3 {
		if !w.Check(1) || !w.Check(1<<40) || w.Top() != 0 {
			t.Fatal("Check moved the window")
		}
	}
}

// RFC 4303 appendix A2.1, figures, with a window of 64.
func TestHighHalfIsInferred(t *testing.T) {
	for _, c := range []struct {
		name      string
		top, want uint64
	}{
		{"first packet", 0, 1},
		{"later in the first subspace", 1000, 1001},
		{"within the window", 1000, 950},
		{"below the window: taken for the next subspace", 1000, 1<<32 | 900},
		{"far ahead", 1000, 0xf000_0000},
		{"case A, same subspace", 5<<32 | 1000, 5<<32 | 2000},
		{"case A, next subspace", 5<<32 | 0xffff_fff0, 6<<32 | 3},
		{"case A, within the window", 5<<32 | 0xffff_fff0, 5<<32 | 0xffff_ffd0},
		{"case B, same subspace", 5<<32 | 10, 5<<32 | 3},
		{"case B, ahead", 5<<32 | 10, 5<<32 | 0x7000_0000},
		{"case B, previous subspace", 5<<32 | 10, 4<<32 | 0xffff_fff0},
		{"top at the edge between A and B", 5<<32 | 63, 5 << 32},
		{"one below it", 5<<32 | 62, 4<<32 | 0xffff_ffff},
	} {
		w, err := NewWindow(64)
		if err != nil {
			t.Fatal(err)
		}
		if c.top != 0 {
			w.Update(c.top)
		}
		if got := w.Infer(uint32(c.want)); got != c.want {
			t.Errorf("%s: top %x, low %x: got %x, want %x", c.name, c.top, uint32(c.want), got, c.want)
		}
	}
	// What would lie before the first number, or behind the last, is refused.
	var w Window
	if seq := w.Infer(0xffff_fff0); w.Check(seq) {
		t.Errorf("a number before the first was taken for %x", seq)
	}
	w.Update(^uint64(0) - 3)
	if seq := w.Infer(5); w.Check(seq) {
		t.Errorf("a number behind the last was taken for %x", seq)
	}
}

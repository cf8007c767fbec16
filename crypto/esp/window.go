package esp

import (
	"fmt"
	"math/bits"
)

// Sizes of an anti-replay window in packets.
const (
	MinWindow     = 32
	MaxWindow     = 4096
	DefaultWindow = 2048
)

// Window is the anti-replay window of one inbound SA, by the algorithm of RFC
// 6479: a ring of words in which the window is moved by clearing words, never by
// shifting bits. The ring is one word longer than the window needs, so that the
// word being filled at the front never holds bits of the back.
//
// The zero value is an empty window of DefaultWindow packets. It is not safe for
// concurrent use.
type Window struct {
	size uint64
	top  uint64 // highest sequence number received
	ring []uint
}

// NewWindow returns an empty window; size 0 means DefaultWindow.
func NewWindow(size int) (*Window, error) {
	if size == 0 {
		size = DefaultWindow
	}
	if size < MinWindow || size > MaxWindow {
		return nil, fmt.Errorf("an anti-replay window of %d packets; choose from %d to %d", size, MinWindow, MaxWindow)
	}
	w := new(Window)
	w.init(size)
	return w, nil
}

func (w *Window) init(size int) {
	words := (size+bits.UintSize-1)/bits.UintSize + 1
	words = 1 << bits.Len(uint(words-1)) // a power of two, to divide by masking
	w.size, w.ring = uint64(size), make([]uint, words)
}

// width is the window's size also before its first packet.
func (w *Window) width() uint64 {
	if w.size == 0 {
		return DefaultWindow
	}
	return w.size
}

// Top is the highest sequence number received.
func (w *Window) Top() uint64 { return w.top }

// Check reports whether seq may be accepted: it is newer than all, or within
// the window and not received. 0 is no sequence number (RFC 4303 section 3.3.3).
func (w *Window) Check(seq uint64) bool {
	switch {
	case seq == 0:
		return false
	case seq > w.top:
		return true
	case w.top-seq >= w.width():
		return false
	}
	word, bit := w.place(seq)
	return *word&bit == 0
}

// Update marks seq as received, after Check and after the packet has proved
// authentic. It reports whether seq was new, like Check.
func (w *Window) Update(seq uint64) bool {
	if !w.Check(seq) {
		return false
	}
	if w.ring == nil {
		w.init(DefaultWindow)
	}
	if seq > w.top {
		// Clear the words that the front moves into, at most all of them.
		from, to := w.top/bits.UintSize, seq/bits.UintSize
		for i := range min(to-from, uint64(len(w.ring))) {
			w.ring[(from+1+i)&uint64(len(w.ring)-1)] = 0
		}
		w.top = seq
	}
	word, bit := w.place(seq)
	*word |= bit
	return true
}

func (w *Window) place(seq uint64) (*uint, uint) {
	return &w.ring[seq/bits.UintSize&uint64(len(w.ring)-1)], 1 << (seq % bits.UintSize)
}

// Infer finds the high half of an extended sequence number of which the low
// half was received (RFC 4303 appendix A2.1). It returns 0, which Check
// refuses, when the number would be before the first.
func (w *Window) Infer(low uint32) uint64 {
	topLow, high := uint32(w.top), uint32(w.top>>32)
	width := uint32(w.width())
	bottom := topLow - width + 1 // modulo 2^32
	if topLow >= width-1 {
		// Case A: the window lies in one subspace. What is below it belongs
		// to the next.
		if low < bottom {
			high++
			if high == 0 {
				return 0
			}
		}
	} else if low >= bottom {
		// Case B: the window spans two, and low lies in the earlier one.
		if high == 0 {
			return 0
		}
		high--
	}
	return uint64(high)<<32 | uint64(low)
}

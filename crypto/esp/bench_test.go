package esp

import (
	"fmt"
	"testing"
)

func TestNothingIsAllocatedPerPacket(t *testing.T) {
	for _, words := range algorithms {
		for _, esn := range []bool{false, true} {
			s, o := sa(t, params(t, words, esn))
			w, _ := NewWindow(0)
			buf := make([]byte, 2048)
			if n := testing.AllocsPerRun(100, func() {
				seq, err := s.Reserve(1)
				if err != nil {
					t.Fatal(err)
				}
				n, err := s.Seal(buf, 1400, NextGRE, seq)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := o.Open(buf[:n], w); err != nil {
					t.Fatal(err)
				}
			}); n != 0 {
				t.Errorf("%s: %v allocations a packet", words, n)
			}
			bad := make([]byte, 1000)
			copy(bad, []byte{0xc0, 0xff, 0xee, 1, 0xff})
			if n := testing.AllocsPerRun(100, func() {
				if _, err := o.Open(bad, w); err == nil {
					t.Fatal("accepted")
				}
			}); n != 0 {
				t.Errorf("%s: %v allocations a bad packet", words, n)
			}
		}
	}
}

var benched = []string{"aes128gcm16", "aes256gcm16", "chacha20poly1305", "aes128-sha256", "aes256-sha512"}

func BenchmarkSeal(b *testing.B) {
	for _, words := range benched {
		for _, size := range []int{64, 256, 1400} {
			b.Run(fmt.Sprintf("%s/%d", words, size), func(b *testing.B) {
				s, _ := sa(b, params(b, words, false))
				buf := make([]byte, 2048)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				seq := uint64(0)
				for b.Loop() {
					seq++
					if _, err := s.Seal(buf, size, NextGRE, seq); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, words := range benched {
		for _, size := range []int{64, 256, 1400} {
			b.Run(fmt.Sprintf("%s/%d", words, size), func(b *testing.B) {
				s, o := sa(b, params(b, words, false))
				wire := packet(b, s, make([]byte, size), NextGRE, 1)
				buf := make([]byte, len(wire))
				w, _ := NewWindow(0)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					copy(buf, wire) // opening is in place
					w.top = 0
					if _, err := o.Open(buf, w); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

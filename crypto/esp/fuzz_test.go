package esp

import (
	"bytes"
	"testing"
)

// FuzzOpen feeds packets from the wire to an SA of each kind. Nothing may
// panic, nothing be accepted that was not sealed, and nothing but an authentic
// packet move the window. With seal the input is a payload that is sealed
// first, so that the code behind the integrity check is reached too.
func FuzzOpen(f *testing.F) {
	for _, k := range KnownAnswers() {
		f.Add(k.Wire, byte(4), uint64(1), false)
		f.Add(k.Payload, byte(4), uint64(1), true)
	}
	f.Add([]byte{0xff}, byte(47), uint64(0), false)
	f.Add([]byte{}, byte(59), uint64(1)<<32, true)
	f.Fuzz(func(t *testing.T, data []byte, next byte, seq uint64, seal bool) {
		if len(data) > 1<<16 {
			return
		}
		for _, words := range []string{"aes128gcm16", "chacha20poly1305", "aes256-sha256"} {
			for _, esn := range []bool{false, true} {
				s, o := sa(t, params(t, words, esn))
				var w Window
				if !seal {
					if got, err := o.Open(bytes.Clone(data), &w); err == nil || w.Top() != 0 {
						t.Fatalf("%s: accepted as %+v", words, got)
					}
					continue
				}
				if !esn {
					seq &= 0xffffffff
				}
				wire := packet(t, s, data, next, seq)
				if seq > 0 {
					w.Update(seq - 1)
				}
				got, err := o.Open(wire, &w)
				if seq == 0 {
					if err == nil {
						t.Fatal("sequence number 0 was accepted")
					}
					continue
				}
				if err != nil || len(got.Payload)+got.TFC != len(data) || !bytes.Equal(got.Payload, data[:len(got.Payload)]) || got.Next != next || got.Seq != seq {
					t.Fatalf("%s: %+v, %v", words, got, err)
				}
			}
		}
	})
}

package vnet

import (
	"bytes"
	"testing"

	"greseal/build/packet"
)

// FuzzSegments gives the segmentation any vnet header with any packet: it
// refuses, or every segment fits where it was promised to.
func FuzzSegments(f *testing.F) {
	f.Add([]byte{1, GSOTCP4, 0, 0, 100, 0, 20, 0, 16, 0}, packet.Spec{Flags: TcpACK, Payload: packet.Pattern(950, 0)}.Build(), false)
	f.Add([]byte{1, GSOUDP, 0, 0, 10, 0, 40, 0, 6, 0}, packet.Spec{UDP: true, V6: true, Payload: packet.Pattern(95, 0)}.Build(), false)
	f.Add([]byte{1, 0, 0, 0, 0, 0, 34, 0, 6, 0}, packet.Spec{UDP: true, Ethernet: true, Payload: packet.Pattern(9, 0)}.Build(), true)
	f.Fuzz(func(t *testing.T, head, p []byte, ethernet bool) {
		if len(head) < HeaderLen || len(p) == 0 || len(p) > MaxPacket {
			return
		}
		var h Header
		h.Read(head)
		var s Segments
		if s.Start(&h, bytes.Clone(p), ethernet) != nil {
			return
		}
		total := 0
		for i := range s.N {
			dst := make([]byte, s.Max)
			total += s.Write(i, dst)
			if total > len(p)+s.N*s.Hdr+1 {
				t.Fatal("the segments hold more than the packet")
			}
		}
	})
}

// FuzzMerge gives the Merger any packets: what is written falls into the
// packets that were given.
func FuzzMerge(f *testing.F) {
	f.Add(bytes.Join(packet.Stream(3, 20, func(int, *packet.Spec) {}), nil), uint16(60), false)
	f.Add(bytes.Join(packet.Stream(3, 20, func(_ int, s *packet.Spec) { s.UDP, s.V6 = true, true }), nil), uint16(68), false)
	f.Add(bytes.Join(packet.Stream(3, 20, func(_ int, s *packet.Spec) { s.Ethernet = true }), nil), uint16(74), true)
	f.Fuzz(func(t *testing.T, b []byte, size uint16, ethernet bool) {
		if size == 0 {
			return
		}
		var packets [][]byte
		for len(b) > 0 && len(packets) < 100 {
			n := min(int(size), len(b))
			packets = append(packets, b[:n])
			b = b[n:]
		}
		tun := new(fakeTUN)
		merge(tun, &Device{Header: true, Ethernet: ethernet}, packets)
		n := 0
		for _, w := range tun.written {
			n += len(split(t, w, ethernet))
		}
		if n != len(packets) {
			t.Fatalf("%d packets in, %d out", len(packets), n)
		}
	})
}

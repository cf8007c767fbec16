package userspace

import (
	"crypto/rand"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"greseal/build/packet"
	"greseal/crypto/esp"
	"greseal/platform"
	"greseal/platform/gre"
	"greseal/platform/userspace/vnet"
)

// blackHole is a TUN that takes everything and keeps nothing.
type blackHole struct {
	kernel
	writes int
}

func (b *blackHole) Write(_ int, p []byte) (int, unix.Errno) { b.writes++; return len(p), 0 }

func (b *blackHole) Writev(int, []unix.Iovec) (int, unix.Errno) { b.writes++; return 0, 0 }

// testIngress is an ingress worker with one inbound SA, and a sealer for it.
func testIngress(t testing.TB, f *form) (*ingress, *inSA, *esp.Sealer, *blackHole) {
	t.Helper()
	a := &host{v4: netip.MustParseAddr("192.0.2.1")}
	b := &host{v4: netip.MustParseAddr("192.0.2.2")}
	link := f.link
	link.Name = ifName
	dev := &device{name: ifName, Device: vnet.Device{Header: true}}
	dev.link.Store(&link)
	d := &Datapath{devices: map[string]*device{ifName: dev}, ins: make(map[platform.SAKey]*inSA), kernel: new(blackHole)}
	if err := d.InstallIn(f.sa(b, a, false, spiAB)); err != nil {
		t.Fatal(err)
	}
	hole := d.kernel.(*blackHole)
	w, err := newIngress(d, vnet.NewMerger(hole, func(vnet.Kinds, unix.Errno) {}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.release)
	sealer, err := esp.NewSealer(f.params(spiAB), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return w, d.ins[platform.SAKey{Link: ifName, SPI: spiAB}], sealer, hole
}

// sealRun seals packets one behind the other, as UDP_GRO gives them.
func sealRun(t testing.TB, s *esp.Sealer, buf []byte, packets [][]byte) (run []byte, each int) {
	h := gre.Header{Proto: gre.ProtoIPv4}
	n := 0
	for _, p := range packets {
		b := buf[n:]
		at := s.Headroom()
		at += copy(b[at:], testInner)
		at += h.Put(b[at:])
		at += copy(b[at:], p)
		inner := b[s.Headroom():at]
		inner[2], inner[3] = byte(len(inner)>>8), byte(len(inner))
		seq, err := s.Reserve(1)
		if err != nil {
			t.Fatal(err)
		}
		if each, err = s.Seal(b, len(inner), esp.NextIPv4, seq); err != nil {
			t.Fatal(err)
		}
		n += each
	}
	return buf[:n], each
}

var testInner = inIP4(netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), gre.IPProtocol, nil)

func TestNothingIsAllocatedForAReceivedPacket(t *testing.T) {
	for name, packets := range map[string][][]byte{
		"a TCP flow":    packet.Stream(40, 1300, func(int, *packet.Spec) {}),
		"a UDP flow":    packet.Stream(40, 64, func(_ int, s *packet.Spec) { s.UDP = true }),
		"forty flows":   packet.Stream(40, 64, func(i int, s *packet.Spec) { s.Port += uint16(i) }),
		"UDP singly":    packet.Stream(1, 64, func(_ int, s *packet.Spec) { s.UDP = true }),
		"wrong content": {packet.Pattern(100, 0), packet.Pattern(100, 1)},
	} {
		f := form{encap: true}
		w, sa, sealer, _ := testIngress(t, &f)
		sa.Remote = netip.AddrPort{}
		buf := make([]byte, 1<<17)
		m := message{sock: &outSocket{udp: true}}
		n := testing.AllocsPerRun(20, func() {
			run, each := sealRun(t, sealer, buf, packets)
			m.gso = each
			w.message(&m, run)
			w.merge.Flush()
			w.unlock()
		})
		if n != 0 {
			t.Errorf("%s: %v allocations for %d packets", name, n, len(packets))
		}
		if sa.count.Packets+sa.count.Malformed != 21*uint64(len(packets)) {
			t.Errorf("%s: %+v", name, sa.count)
		}
	}
}

func BenchmarkIngress(b *testing.B) {
	for _, c := range []struct {
		name string
		udp  bool
		size int
		n    int
	}{{"TCP", false, 1300, 40}, {"64 octets of UDP", true, 36, 60}} {
		b.Run(c.name, func(b *testing.B) {
			f := form{encap: true}
			w, _, sealer, _ := testIngress(b, &f)
			packets := packet.Stream(c.n, c.size, func(_ int, s *packet.Spec) { s.UDP = c.udp })
			buf := make([]byte, 1<<17)
			m := message{sock: &outSocket{udp: true}}
			b.SetBytes(int64(c.n * c.size))
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				run, each := sealRun(b, sealer, buf, packets)
				b.StartTimer()
				m.gso = each
				w.message(&m, run)
				w.merge.Flush()
				w.unlock()
			}
		})
	}
}

package vnet

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"greseal/build/packet"
	"greseal/platform/gre"
)

// fakeTUN is a kernel whose TUN keeps what is written to it.
type fakeTUN struct {
	written [][]byte
	refuse  func(b []byte) unix.Errno
}

func (f *fakeTUN) Write(_ int, b []byte) (int, unix.Errno) {
	if f.refuse != nil {
		if e := f.refuse(b); e != 0 {
			return 0, e
		}
	}
	f.written = append(f.written, bytes.Clone(b))
	return len(b), 0
}

func (f *fakeTUN) Writev(fd int, iov []unix.Iovec) (int, unix.Errno) {
	var b []byte
	for i := range iov {
		b = append(b, unsafe.Slice(iov[i].Base, int(iov[i].Len))...)
	}
	return f.Write(fd, b)
}

// split is what the kernel makes of a write with a vnet header.
func split(t *testing.T, b []byte, ethernet bool) [][]byte {
	t.Helper()
	var h Header
	h.Read(b)
	var s Segments
	if err := s.Start(&h, b[HeaderLen:], ethernet); err != nil {
		t.Fatalf("vnet header %+v: %v", h, err)
	}
	var out [][]byte
	for i := range s.N {
		p := make([]byte, s.Max)
		out = append(out, p[:s.Write(i, p)])
	}
	return out
}

// withHead gives packets the free bytes in front that a Merger needs.
func withHead(p []byte) []byte { return append(bytes.Repeat([]byte{0xee}, HeaderLen), p...) }

// merge runs packets through a Merger in one batch.
func merge(tun *fakeTUN, dev *Device, packets [][]byte) *Merger {
	c := NewMerger(tun, func(Kinds, unix.Errno) {})
	for _, p := range packets {
		c.Add(dev, withHead(p))
	}
	c.Flush()
	return c
}

func TestMergeRules(t *testing.T) {
	plain := func(int, *packet.Spec) {}
	at := func(n int, f func(s *packet.Spec)) func(int, *packet.Spec) {
		return func(i int, s *packet.Spec) {
			if i == n {
				f(s)
			}
		}
	}
	all := func(f func(s *packet.Spec)) func(int, *packet.Spec) {
		return func(_ int, s *packet.Spec) { f(s) }
	}
	const n = 6
	for _, c := range []struct {
		name   string
		change func(int, *packet.Spec)
		want   []int // packets in each write
	}{
		{"one flow", plain, []int{6}},
		{"IPv6", all(func(s *packet.Spec) { s.V6 = true }), []int{6}},
		{"UDP", all(func(s *packet.Spec) { s.UDP = true }), []int{6}},
		{"UDP over IPv6", all(func(s *packet.Spec) { s.UDP, s.V6 = true, true }), []int{6}},
		{"Ethernet", all(func(s *packet.Spec) { s.Ethernet = true }), []int{6}},
		{"VLAN", all(func(s *packet.Spec) { s.Ethernet, s.VLAN = true, true }), []int{6}},
		{"timestamps", all(func(s *packet.Spec) { s.Options = packet.Pattern(12, 1) }), []int{6}},
		{"identification constant with DF", all(func(s *packet.Spec) { s.ID = 0 }), []int{6}},
		{"identification constant without DF", all(func(s *packet.Spec) { s.ID, s.DF = 0, false }), []int{1, 1, 1, 1, 1, 1}},
		{"identification counts without DF", all(func(s *packet.Spec) { s.DF = false }), []int{6}},
		{"identification jumps", at(3, func(s *packet.Spec) { s.ID += 9 }), []int{3, 1, 2}},
		{"a shorter packet ends the run", at(3, func(s *packet.Spec) { s.Payload = packet.Pattern(50, 1) }), []int{4, 2}},
		{"a longer packet begins one", at(3, func(s *packet.Spec) { s.Payload = packet.Pattern(101, 1) }), []int{3, 2, 1}},
		{"PSH ends the run", at(2, func(s *packet.Spec) { s.Flags |= TcpPSH }), []int{3, 3}},
		{"FIN stands alone", at(2, func(s *packet.Spec) { s.Flags |= TcpFIN }), []int{2, 1, 3}},
		{"SYN stands alone", at(2, func(s *packet.Spec) { s.Flags |= TcpSYN }), []int{2, 1, 3}},
		{"CWR stands alone", at(2, func(s *packet.Spec) { s.Flags |= TcpCWR }), []int{2, 1, 3}},
		{"a pure acknowledgement stands alone", at(2, func(s *packet.Spec) { s.Payload = nil }), []int{2, 1, 3}},
		{"acknowledgement moves", at(2, func(s *packet.Spec) { s.Ack++ }), []int{2, 1, 3}},
		{"window changes", at(2, func(s *packet.Spec) { s.Window++ }), []int{2, 1, 3}},
		{"options change", at(2, func(s *packet.Spec) { s.Options = packet.Pattern(12, 3) }), []int{2, 1, 3}},
		{"a gap in the sequence", at(2, func(s *packet.Spec) { s.Seq++ }), []int{2, 1, 3}},
		{"TOS changes", at(2, func(s *packet.Spec) { s.TOS = 3 }), []int{2, 1, 3}},
		{"TTL changes", at(2, func(s *packet.Spec) { s.TTL = 3 }), []int{2, 1, 3}},
		{"class changes in IPv6", func(i int, s *packet.Spec) { s.V6 = true; s.TOS = uint8(i / 3) }, []int{3, 3}},
		{"another flow between", at(2, func(s *packet.Spec) { s.Port = 2 }), []int{2, 3, 1}},
		{"UDP with a shorter one", func(i int, s *packet.Spec) {
			s.UDP = true
			if i == 3 {
				s.Payload = packet.Pattern(5, 1)
			}
		}, []int{4, 2}},
		{"VXLAN inside", func(_ int, s *packet.Spec) { s.UDP, s.To = true, 4789 }, []int{1, 1, 1, 1, 1, 1}},
		{"every second of another flow", func(i int, s *packet.Spec) { s.UDP = true; s.Port += uint16(i & 1); s.ID = 0 }, []int{3, 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			packets := packet.Stream(n, 100, c.change)
			var probe packet.Spec
			c.change(0, &probe)
			dev := &Device{Header: true, Ethernet: probe.Ethernet}
			tun := new(fakeTUN)
			merge(tun, dev, packets)
			var got []int
			left := map[string]int{}
			for _, p := range packets {
				left[atomic4(p, probe)]++
			}
			for _, w := range tun.written {
				parts := split(t, w, probe.Ethernet)
				got = append(got, len(parts))
				for _, p := range parts {
					left[atomic4(p, probe)]--
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) && fmt.Sprint(sorted(got)) != fmt.Sprint(sorted(c.want)) {
				t.Errorf("written in runs of %v, want %v", got, c.want)
			}
			for p, n := range left {
				if n != 0 {
					t.Errorf("%+d times: %x", -n, p)
				}
			}
		})
	}
}

// atomic4 makes a packet comparable: the identification of an IPv4 packet with
// DF says nothing (RFC 6864) and is not kept where it was constant.
func atomic4(p []byte, s packet.Spec) string {
	at, version := FindIP(p, s.Ethernet)
	if version == 4 && p[at+6]&0x40 != 0 {
		p = bytes.Clone(p)
		clear(p[at+4 : at+6])
		clear(p[at+10 : at+12])
	}
	return string(p)
}

func sorted(n []int) []int {
	n = append([]int(nil), n...)
	for i := range n {
		for j := i; j > 0 && n[j] < n[j-1]; j-- {
			n[j], n[j-1] = n[j-1], n[j]
		}
	}
	return n
}

// What a Merger joins, segmentation takes apart again: the same packets,
// those of each flow in the same order.
func TestSegmentOfMergeIsTheSame(t *testing.T) {
	seeds := uint64(3000)
	if testing.Short() {
		seeds = 300
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 1))
		ethernet := r.IntN(3) == 0
		type flowState struct {
			spec packet.Spec
			sent []string
		}
		flows := make([]*flowState, 1+r.IntN(10))
		for i := range flows {
			flows[i] = &flowState{spec: packet.Spec{
				V6: r.IntN(2) == 0, UDP: r.IntN(2) == 0, Ethernet: ethernet, VLAN: r.IntN(4) == 0,
				Port: uint16(i), ID: uint16(r.Uint32()), DF: r.IntN(2) == 0, TTL: 64, TOS: uint8(r.IntN(3)),
				Seq: r.Uint32(), Flags: TcpACK, Window: 99, Options: packet.Pattern(4*r.IntN(11), 0),
			}}
		}
		size := 1 + r.IntN(1400)
		var packets [][]byte
		var order []*flowState
		for range r.IntN(200) {
			f := flows[r.IntN(len(flows))]
			s := f.spec
			s.Payload = packet.Pattern(size, r.IntN(256))
			switch r.IntN(20) {
			case 0:
				s.Payload = s.Payload[:r.IntN(size+1)]
			case 1:
				s.Flags |= TcpPSH
			case 2:
				s.Flags |= uint8(r.Uint32())
			case 3:
				s.TTL--
			case 4:
				f.spec.Ack++
			case 5:
				s.Seq += uint32(r.IntN(3))
			}
			p := s.Build()
			if r.IntN(30) == 0 {
				p[len(p)-1] ^= 1 // a wrong checksum, or wrong padding
			}
			f.spec.ID++
			f.spec.Seq = s.Seq + uint32(len(s.Payload))
			packets = append(packets, p)
			order = append(order, f)
		}
		for i, p := range packets {
			order[i].sent = append(order[i].sent, atomic4(p, packet.Spec{Ethernet: ethernet}))
		}
		dev := &Device{Header: true, Ethernet: ethernet}
		tun := new(fakeTUN)
		c := NewMerger(tun, func(Kinds, unix.Errno) {})
		for _, p := range packets {
			c.Add(dev, withHead(p))
			if r.IntN(40) == 0 {
				c.Flush()
			}
		}
		c.Flush()
		got := make(map[uint16][]string)
		for _, w := range tun.written {
			for _, p := range split(t, w, ethernet) {
				ip, version := FindIP(p, ethernet)
				l4 := ip + IP4Len
				if version == 6 {
					l4 = ip + IP6Len
				}
				port := binary.BigEndian.Uint16(p[l4:])
				got[port] = append(got[port], atomic4(p, packet.Spec{Ethernet: ethernet}))
			}
		}
		for i, f := range flows {
			if fmt.Sprint(got[uint16(i)]) != fmt.Sprint(f.sent) {
				t.Fatalf("seed %d: flow %d sent %d packets, %d came out, or others", seed, i, len(f.sent), len(got[uint16(i)]))
			}
		}
	}
}

func TestWrongChecksumIsNeverMerged(t *testing.T) {
	for _, udp := range []bool{false, true} {
		for bad := range 4 {
			packets := packet.Stream(4, 100, func(_ int, s *packet.Spec) { s.UDP = udp })
			p := packets[bad]
			p[len(p)-3] ^= 0x40
			tun := new(fakeTUN)
			merge(tun, &Device{Header: true}, packets)
			for _, w := range tun.written {
				var h Header
				h.Read(w)
				if bytes.Contains(w, p[40:]) && h != (Header{}) {
					t.Errorf("UDP %v: packet %d, which is damaged, is part of a run", udp, bad)
				}
			}
		}
	}
}

func TestUDPWithoutChecksumIsNeverMerged(t *testing.T) {
	packets := packet.Stream(4, 100, func(_ int, s *packet.Spec) { s.UDP = true })
	for _, p := range packets {
		clear(p[26:28])
	}
	tun := new(fakeTUN)
	merge(tun, &Device{Header: true}, packets)
	if len(tun.written) != 4 {
		t.Errorf("%d writes", len(tun.written))
	}
}

func TestRunsStayWithinTheKernelsLimits(t *testing.T) {
	for _, c := range []struct{ size, n int }{{1400, 150}, {1, 200}, {20000, 9}} {
		for _, v6 := range []bool{false, true} {
			tun := new(fakeTUN)
			merge(tun, &Device{Header: true}, packet.Stream(c.n, c.size, func(_ int, s *packet.Spec) { s.UDP, s.V6 = true, v6 }))
			total := 0
			for _, w := range tun.written {
				parts := split(t, w, false)
				total += len(parts)
				if len(parts) > MaxSegments || len(w)-HeaderLen > MaxIPLen {
					t.Errorf("a run of %d packets, %d octets", len(parts), len(w))
				}
			}
			if total != c.n {
				t.Errorf("%d of %d packets came out", total, c.n)
			}
		}
	}
}

func TestRefusedRunsAreWrittenSinglyAndStopped(t *testing.T) {
	for _, udp := range []bool{false, true} {
		packets := packet.Stream(10, 100, func(_ int, s *packet.Spec) { s.UDP = udp })
		refused := 0
		tun := &fakeTUN{refuse: func(b []byte) unix.Errno {
			if b[1] != GSONone {
				refused++
				return unix.EINVAL
			}
			return 0
		}}
		var told []Kinds
		c := NewMerger(tun, func(k Kinds, e unix.Errno) { told = append(told, k) })
		dev := &Device{Header: true}
		for range 3 {
			tun.written = nil
			for _, p := range packets {
				c.Add(dev, withHead(p))
			}
			c.Flush()
			if len(tun.written) != len(packets) {
				t.Fatalf("UDP %v: %d writes", udp, len(tun.written))
			}
			for i, w := range tun.written {
				if !bytes.Equal(w[HeaderLen:], packets[i]) || !bytes.Equal(w[:HeaderLen], make([]byte, HeaderLen)) {
					t.Errorf("UDP %v: packet %d was changed: %x", udp, i, w)
				}
			}
		}
		want := TCP
		if udp {
			want = UDP
		}
		if refused != 1 || len(told) != 1 || told[0] != want {
			t.Errorf("UDP %v: refused %d times, told %v", udp, refused, told)
		}
	}
}

func TestSegmentationOfLargePackets(t *testing.T) {
	for _, c := range []struct {
		name  string
		spec  packet.Spec
		typ   uint8
		size  int
		total int
	}{
		{"TCP", packet.Spec{Flags: TcpACK}, GSOTCP4, 1368, 60192},
		{"TCP with options over IPv6", packet.Spec{V6: true, Options: packet.Pattern(12, 0), Flags: TcpACK}, GSOTCP6, 1348, 60000},
		{"FIN and PSH only at the end, CWR at the beginning", packet.Spec{Flags: TcpACK | TcpFIN | TcpPSH | TcpCWR}, GSOTCP4 | GSOECN, 100, 950},
		{"UDP", packet.Spec{UDP: true}, GSOUDP, 64, 64*63 + 1},
		{"UDP over IPv6", packet.Spec{UDP: true, V6: true}, GSOUDP, 1200, 40000},
		{"VLAN", packet.Spec{Ethernet: true, VLAN: true, Flags: TcpACK}, GSOTCP4, 500, 4000},
		{"less than one segment", packet.Spec{Flags: TcpACK}, GSOTCP4, 1368, 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.spec
			s.TTL, s.ID, s.Seq, s.Port = 64, 0xfff0, 0xffffff00, 9
			data := packet.Pattern(c.total, 3)
			s.Payload = data
			big := s.Build()
			i, _ := inspect(big, s.Ethernet)
			h := Header{Flags: NeedsCsum, GSOType: c.typ, GSOSize: uint16(c.size), CsumStart: uint16(i.l4), CsumOffset: 16}
			if s.UDP {
				h.CsumOffset = 6
			}
			var seg Segments
			if err := seg.Start(&h, big, s.Ethernet); err != nil {
				t.Fatal(err)
			}
			if seg.N != (c.total+c.size-1)/c.size {
				t.Fatalf("%d segments", seg.N)
			}
			for k := range seg.N {
				one := c.spec
				one.TTL, one.ID, one.Seq, one.Port = 64, 0xfff0+uint16(k), s.Seq+uint32(k*c.size), 9
				one.Payload = data[k*c.size : min((k+1)*c.size, len(data))]
				if k < seg.N-1 {
					one.Flags &^= TcpFIN | TcpPSH
				}
				if k > 0 {
					one.Flags &^= TcpCWR
				}
				got := make([]byte, seg.Max)
				got = got[:seg.Write(k, got)]
				if want := one.Build(); !bytes.Equal(got, want) {
					t.Fatalf("segment %d:\n%x, want\n%x", k, got, want)
				}
			}
		})
	}
}

func TestChecksumLeftToUsIsFilledIn(t *testing.T) {
	for _, udp := range []bool{false, true} {
		want := packet.Spec{UDP: udp, TTL: 1, Flags: TcpACK, Payload: packet.Pattern(33, 1)}.Build()
		i, _ := inspect(want, false)
		h := Header{Flags: NeedsCsum, CsumStart: uint16(i.l4), CsumOffset: 16}
		if udp {
			h.CsumOffset = 6
		}
		p := bytes.Clone(want)
		binary.BigEndian.PutUint16(p[i.l4+int(h.CsumOffset):], gre.Fold(i.pseudoSum(p, len(p)-i.l4)))
		var s Segments
		if err := s.Start(&h, p, false); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, s.Max)
		if got = got[:s.Write(0, got)]; !bytes.Equal(got, want) {
			t.Errorf("UDP %v: %x, want %x", udp, got, want)
		}
	}
}

package userspace

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"greseal/platform/gre"
	"greseal/platform/userspace/vnet"
)

// packetSpec describes a TCP or UDP packet for tests.
type packetSpec struct {
	v6       bool
	udp      bool
	ethernet bool
	vlan     bool
	port     uint16
	to       uint16 // 443 when 0
	id       uint16
	df       bool
	tos, ttl uint8
	seq, ack uint32
	flags    uint8
	window   uint16
	options  []byte
	payload  []byte
}

// build makes a packet with right checksums.
func (s packetSpec) build() []byte {
	var p []byte
	if s.ethernet {
		p = append(p, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2)
		if s.vlan {
			p = append(p, 0x81, 0x00, 0x00, 0x2a)
		}
		if s.v6 {
			p = append(p, 0x86, 0xdd)
		} else {
			p = append(p, 0x08, 0x00)
		}
	}
	l4 := binary.BigEndian.AppendUint16(nil, s.port)
	if s.to == 0 {
		s.to = 443
	}
	l4 = binary.BigEndian.AppendUint16(l4, s.to)
	field := 16
	if s.udp {
		field = 6
		l4 = binary.BigEndian.AppendUint16(l4, uint16(vnet.UDPLen+len(s.payload)))
		l4 = append(l4, 0, 0)
	} else {
		l4 = binary.BigEndian.AppendUint32(l4, s.seq)
		l4 = binary.BigEndian.AppendUint32(l4, s.ack)
		l4 = append(l4, byte(5+len(s.options)/4)<<4, s.flags)
		l4 = binary.BigEndian.AppendUint16(l4, s.window)
		l4 = append(l4, 0, 0, 0, 0)
		l4 = append(l4, s.options...)
	}
	l4 = append(l4, s.payload...)
	proto := byte(vnet.ProtoTCP)
	if s.udp {
		proto = vnet.ProtoUDP
	}
	ip := len(p)
	if s.v6 {
		p = append(p, 0x60|s.tos>>4, s.tos<<4, 0, 7)
		p = binary.BigEndian.AppendUint16(p, uint16(len(l4)))
		p = append(p, proto, s.ttl)
		p = append(p, bytes.Repeat([]byte{0xfd, 1}, 8)...)
		p = append(p, bytes.Repeat([]byte{0xfd, 2}, 8)...)
	} else {
		p = append(p, 0x45, s.tos)
		p = binary.BigEndian.AppendUint16(p, uint16(20+len(l4)))
		p = binary.BigEndian.AppendUint16(p, s.id)
		if s.df {
			p = append(p, 0x40, 0)
		} else {
			p = append(p, 0, 0)
		}
		p = append(p, s.ttl, proto, 0, 0, 10, 1, 2, 3, 10, 4, 5, 6)
		binary.BigEndian.PutUint16(p[ip+10:], ^gre.Fold(gre.Sum(p[ip:], 0)))
	}
	sum := gre.Sum(l4, uint32(proto)+uint32(len(l4)))
	if s.v6 {
		sum = gre.Sum(p[ip+8:ip+40], sum)
	} else {
		sum = gre.Sum(p[ip+12:ip+20], sum)
	}
	check := ^gre.Fold(sum)
	if check == 0 && s.udp {
		check = 0xffff
	}
	binary.BigEndian.PutUint16(l4[field:], check)
	return append(p, l4...)
}

// fakeTUN is a kernel whose TUN keeps what is written to it.
type fakeTUN struct {
	kernel
	written [][]byte
	refuse  func(b []byte) unix.Errno
}

func (f *fakeTUN) write(_ int, b []byte) (int, unix.Errno) {
	if f.refuse != nil {
		if e := f.refuse(b); e != 0 {
			return 0, e
		}
	}
	f.written = append(f.written, bytes.Clone(b))
	return len(b), 0
}

func (f *fakeTUN) writev(fd int, iov []unix.Iovec) (int, unix.Errno) {
	var b []byte
	for i := range iov {
		b = append(b, unsafeBytes(&iov[i])...)
	}
	return f.write(fd, b)
}

// split is what the kernel makes of a write with a vnet header.
func split(t *testing.T, b []byte, ethernet bool) [][]byte {
	t.Helper()
	var h vnet.Header
	h.Read(b)
	var s vnet.Segments
	if err := s.Start(&h, b[vnet.HeaderLen:], ethernet); err != nil {
		t.Fatalf("vnet header %+v: %v", h, err)
	}
	var out [][]byte
	for i := range s.N {
		p := make([]byte, s.Max)
		out = append(out, p[:s.Write(i, p)])
	}
	return out
}

// withHead gives packets the free bytes in front that a coalescer needs.
func withHead(p []byte) []byte { return append(bytes.Repeat([]byte{0xee}, vnet.HeaderLen), p...) }

// coalesce runs packets through a coalescer in one batch.
func coalesce(tun *fakeTUN, dev *device, packets [][]byte) *coalescer {
	c := newCoalescer(tun, func(mergeKinds, unix.Errno) {})
	for _, p := range packets {
		c.add(dev, withHead(p))
	}
	c.flushAll()
	return c
}

func stream(n, size int, change func(i int, s *packetSpec)) [][]byte {
	var out [][]byte
	seq := uint32(0xffffff00) // wraps on the way
	for i := range n {
		s := packetSpec{port: 1000, id: uint16(0xfffe + i), df: true, ttl: 64, seq: seq, ack: 7, flags: vnet.TcpACK, window: 500, payload: pattern(size, i)}
		change(i, &s)
		seq += uint32(len(s.payload))
		out = append(out, s.build())
	}
	return out
}

func pattern(n, salt int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*31 + salt)
	}
	return b
}

func TestMergeRules(t *testing.T) {
	plain := func(int, *packetSpec) {}
	at := func(n int, f func(s *packetSpec)) func(int, *packetSpec) {
		return func(i int, s *packetSpec) {
			if i == n {
				f(s)
			}
		}
	}
	all := func(f func(s *packetSpec)) func(int, *packetSpec) {
		return func(_ int, s *packetSpec) { f(s) }
	}
	const n = 6
	for _, c := range []struct {
		name   string
		change func(int, *packetSpec)
		want   []int // packets in each write
	}{
		{"one flow", plain, []int{6}},
		{"IPv6", all(func(s *packetSpec) { s.v6 = true }), []int{6}},
		{"UDP", all(func(s *packetSpec) { s.udp = true }), []int{6}},
		{"UDP over IPv6", all(func(s *packetSpec) { s.udp, s.v6 = true, true }), []int{6}},
		{"Ethernet", all(func(s *packetSpec) { s.ethernet = true }), []int{6}},
		{"VLAN", all(func(s *packetSpec) { s.ethernet, s.vlan = true, true }), []int{6}},
		{"timestamps", all(func(s *packetSpec) { s.options = pattern(12, 1) }), []int{6}},
		{"identification constant with DF", all(func(s *packetSpec) { s.id = 0 }), []int{6}},
		{"identification constant without DF", all(func(s *packetSpec) { s.id, s.df = 0, false }), []int{1, 1, 1, 1, 1, 1}},
		{"identification counts without DF", all(func(s *packetSpec) { s.df = false }), []int{6}},
		{"identification jumps", at(3, func(s *packetSpec) { s.id += 9 }), []int{3, 1, 2}},
		{"a shorter packet ends the run", at(3, func(s *packetSpec) { s.payload = pattern(50, 1) }), []int{4, 2}},
		{"a longer packet begins one", at(3, func(s *packetSpec) { s.payload = pattern(101, 1) }), []int{3, 2, 1}},
		{"PSH ends the run", at(2, func(s *packetSpec) { s.flags |= vnet.TcpPSH }), []int{3, 3}},
		{"FIN stands alone", at(2, func(s *packetSpec) { s.flags |= vnet.TcpFIN }), []int{2, 1, 3}},
		{"SYN stands alone", at(2, func(s *packetSpec) { s.flags |= vnet.TcpSYN }), []int{2, 1, 3}},
		{"CWR stands alone", at(2, func(s *packetSpec) { s.flags |= vnet.TcpCWR }), []int{2, 1, 3}},
		{"a pure acknowledgement stands alone", at(2, func(s *packetSpec) { s.payload = nil }), []int{2, 1, 3}},
		{"acknowledgement moves", at(2, func(s *packetSpec) { s.ack++ }), []int{2, 1, 3}},
		{"window changes", at(2, func(s *packetSpec) { s.window++ }), []int{2, 1, 3}},
		{"options change", at(2, func(s *packetSpec) { s.options = pattern(12, 3) }), []int{2, 1, 3}},
		{"a gap in the sequence", at(2, func(s *packetSpec) { s.seq++ }), []int{2, 1, 3}},
		{"TOS changes", at(2, func(s *packetSpec) { s.tos = 3 }), []int{2, 1, 3}},
		{"TTL changes", at(2, func(s *packetSpec) { s.ttl = 3 }), []int{2, 1, 3}},
		{"class changes in IPv6", func(i int, s *packetSpec) { s.v6 = true; s.tos = uint8(i / 3) }, []int{3, 3}},
		{"another flow between", at(2, func(s *packetSpec) { s.port = 2 }), []int{2, 3, 1}},
		{"UDP with a shorter one", func(i int, s *packetSpec) {
			s.udp = true
			if i == 3 {
				s.payload = pattern(5, 1)
			}
		}, []int{4, 2}},
		{"VXLAN inside", func(_ int, s *packetSpec) { s.udp, s.to = true, 4789 }, []int{1, 1, 1, 1, 1, 1}},
		{"every second of another flow", func(i int, s *packetSpec) { s.udp = true; s.port += uint16(i & 1); s.id = 0 }, []int{3, 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			packets := stream(n, 100, c.change)
			var probe packetSpec
			c.change(0, &probe)
			dev := &device{vnet: true, ethernet: probe.ethernet}
			tun := new(fakeTUN)
			coalesce(tun, dev, packets)
			var got []int
			left := map[string]int{}
			for _, p := range packets {
				left[atomic4(p, probe)]++
			}
			for _, w := range tun.written {
				parts := split(t, w, probe.ethernet)
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
func atomic4(p []byte, s packetSpec) string {
	at, version := vnet.FindIP(p, s.ethernet)
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

// What a coalescer joins, segmentation takes apart again: the same packets,
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
			spec packetSpec
			sent []string
		}
		flows := make([]*flowState, 1+r.IntN(10))
		for i := range flows {
			flows[i] = &flowState{spec: packetSpec{
				v6: r.IntN(2) == 0, udp: r.IntN(2) == 0, ethernet: ethernet, vlan: r.IntN(4) == 0,
				port: uint16(i), id: uint16(r.Uint32()), df: r.IntN(2) == 0, ttl: 64, tos: uint8(r.IntN(3)),
				seq: r.Uint32(), flags: vnet.TcpACK, window: 99, options: pattern(4*r.IntN(11), 0),
			}}
		}
		size := 1 + r.IntN(1400)
		var packets [][]byte
		var order []*flowState
		for range r.IntN(200) {
			f := flows[r.IntN(len(flows))]
			s := f.spec
			s.payload = pattern(size, r.IntN(256))
			switch r.IntN(20) {
			case 0:
				s.payload = s.payload[:r.IntN(size+1)]
			case 1:
				s.flags |= vnet.TcpPSH
			case 2:
				s.flags |= uint8(r.Uint32())
			case 3:
				s.ttl--
			case 4:
				f.spec.ack++
			case 5:
				s.seq += uint32(r.IntN(3))
			}
			p := s.build()
			if r.IntN(30) == 0 {
				p[len(p)-1] ^= 1 // a wrong checksum, or wrong padding
			}
			f.spec.id++
			f.spec.seq = s.seq + uint32(len(s.payload))
			packets = append(packets, p)
			order = append(order, f)
		}
		for i, p := range packets {
			order[i].sent = append(order[i].sent, atomic4(p, packetSpec{ethernet: ethernet}))
		}
		dev := &device{vnet: true, ethernet: ethernet}
		tun := new(fakeTUN)
		c := newCoalescer(tun, func(mergeKinds, unix.Errno) {})
		for _, p := range packets {
			c.add(dev, withHead(p))
			if r.IntN(40) == 0 {
				c.flushAll()
			}
		}
		c.flushAll()
		got := make(map[uint16][]string)
		for _, w := range tun.written {
			for _, p := range split(t, w, ethernet) {
				ip, version := vnet.FindIP(p, ethernet)
				l4 := ip + vnet.IP4Len
				if version == 6 {
					l4 = ip + vnet.IP6Len
				}
				port := binary.BigEndian.Uint16(p[l4:])
				got[port] = append(got[port], atomic4(p, packetSpec{ethernet: ethernet}))
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
			packets := stream(4, 100, func(_ int, s *packetSpec) { s.udp = udp })
			p := packets[bad]
			p[len(p)-3] ^= 0x40
			tun := new(fakeTUN)
			coalesce(tun, &device{vnet: true}, packets)
			for _, w := range tun.written {
				var h vnet.Header
				h.Read(w)
				if bytes.Contains(w, p[40:]) && h != (vnet.Header{}) {
					t.Errorf("UDP %v: packet %d, which is damaged, is part of a run", udp, bad)
				}
			}
		}
	}
}

func TestUDPWithoutChecksumIsNeverMerged(t *testing.T) {
	packets := stream(4, 100, func(_ int, s *packetSpec) { s.udp = true })
	for _, p := range packets {
		clear(p[26:28])
	}
	tun := new(fakeTUN)
	coalesce(tun, &device{vnet: true}, packets)
	if len(tun.written) != 4 {
		t.Errorf("%d writes", len(tun.written))
	}
}

func TestRunsStayWithinTheKernelsLimits(t *testing.T) {
	for _, c := range []struct{ size, n int }{{1400, 150}, {1, 200}, {20000, 9}} {
		for _, v6 := range []bool{false, true} {
			tun := new(fakeTUN)
			coalesce(tun, &device{vnet: true}, stream(c.n, c.size, func(_ int, s *packetSpec) { s.udp, s.v6 = true, v6 }))
			total := 0
			for _, w := range tun.written {
				parts := split(t, w, false)
				total += len(parts)
				if len(parts) > maxSegments || len(w)-vnet.HeaderLen > maxIPLen {
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
		packets := stream(10, 100, func(_ int, s *packetSpec) { s.udp = udp })
		refused := 0
		tun := &fakeTUN{refuse: func(b []byte) unix.Errno {
			if b[1] != vnet.GSONone {
				refused++
				return unix.EINVAL
			}
			return 0
		}}
		var told []mergeKinds
		c := newCoalescer(tun, func(k mergeKinds, e unix.Errno) { told = append(told, k) })
		dev := &device{vnet: true}
		for range 3 {
			tun.written = nil
			for _, p := range packets {
				c.add(dev, withHead(p))
			}
			c.flushAll()
			if len(tun.written) != len(packets) {
				t.Fatalf("UDP %v: %d writes", udp, len(tun.written))
			}
			for i, w := range tun.written {
				if !bytes.Equal(w[vnet.HeaderLen:], packets[i]) || !bytes.Equal(w[:vnet.HeaderLen], make([]byte, vnet.HeaderLen)) {
					t.Errorf("UDP %v: packet %d was changed: %x", udp, i, w)
				}
			}
		}
		want := mergeTCP
		if udp {
			want = mergeUDP
		}
		if refused != 1 || len(told) != 1 || told[0] != want {
			t.Errorf("UDP %v: refused %d times, told %v", udp, refused, told)
		}
	}
}

func TestSegmentationOfLargePackets(t *testing.T) {
	for _, c := range []struct {
		name  string
		spec  packetSpec
		typ   uint8
		size  int
		total int
	}{
		{"TCP", packetSpec{flags: vnet.TcpACK}, vnet.GSOTCP4, 1368, 60192},
		{"TCP with options over IPv6", packetSpec{v6: true, options: pattern(12, 0), flags: vnet.TcpACK}, vnet.GSOTCP6, 1348, 60000},
		{"FIN and PSH only at the end, CWR at the beginning", packetSpec{flags: vnet.TcpACK | vnet.TcpFIN | vnet.TcpPSH | vnet.TcpCWR}, vnet.GSOTCP4 | vnet.GSOECN, 100, 950},
		{"UDP", packetSpec{udp: true}, vnet.GSOUDP, 64, 64*63 + 1},
		{"UDP over IPv6", packetSpec{udp: true, v6: true}, vnet.GSOUDP, 1200, 40000},
		{"VLAN", packetSpec{ethernet: true, vlan: true, flags: vnet.TcpACK}, vnet.GSOTCP4, 500, 4000},
		{"less than one segment", packetSpec{flags: vnet.TcpACK}, vnet.GSOTCP4, 1368, 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.spec
			s.ttl, s.id, s.seq, s.port = 64, 0xfff0, 0xffffff00, 9
			data := pattern(c.total, 3)
			s.payload = data
			big := s.build()
			i, _ := inspect(big, s.ethernet)
			h := vnet.Header{Flags: vnet.NeedsCsum, GSOType: c.typ, GSOSize: uint16(c.size), CsumStart: uint16(i.l4), CsumOffset: 16}
			if s.udp {
				h.CsumOffset = 6
			}
			var seg vnet.Segments
			if err := seg.Start(&h, big, s.ethernet); err != nil {
				t.Fatal(err)
			}
			if seg.N != (c.total+c.size-1)/c.size {
				t.Fatalf("%d segments", seg.N)
			}
			for k := range seg.N {
				one := c.spec
				one.ttl, one.id, one.seq, one.port = 64, 0xfff0+uint16(k), s.seq+uint32(k*c.size), 9
				one.payload = data[k*c.size : min((k+1)*c.size, len(data))]
				if k < seg.N-1 {
					one.flags &^= vnet.TcpFIN | vnet.TcpPSH
				}
				if k > 0 {
					one.flags &^= vnet.TcpCWR
				}
				got := make([]byte, seg.Max)
				got = got[:seg.Write(k, got)]
				if want := one.build(); !bytes.Equal(got, want) {
					t.Fatalf("segment %d:\n%x, want\n%x", k, got, want)
				}
			}
		})
	}
}

func TestChecksumLeftToUsIsFilledIn(t *testing.T) {
	for _, udp := range []bool{false, true} {
		want := packetSpec{udp: udp, ttl: 1, flags: vnet.TcpACK, payload: pattern(33, 1)}.build()
		i, _ := inspect(want, false)
		h := vnet.Header{Flags: vnet.NeedsCsum, CsumStart: uint16(i.l4), CsumOffset: 16}
		if udp {
			h.CsumOffset = 6
		}
		p := bytes.Clone(want)
		binary.BigEndian.PutUint16(p[i.l4+int(h.CsumOffset):], gre.Fold(i.pseudoSum(p, len(p)-i.l4)))
		var s vnet.Segments
		if err := s.Start(&h, p, false); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, s.Max)
		if got = got[:s.Write(0, got)]; !bytes.Equal(got, want) {
			t.Errorf("UDP %v: %x, want %x", udp, got, want)
		}
	}
}

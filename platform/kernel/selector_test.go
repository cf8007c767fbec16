package kernel

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"greseal/crypto/esp"
	"greseal/platform"
	"greseal/platform/gre"
	"greseal/platform/inet"
	"greseal/platform/xfrm"
)

// stranger seals with the keys of one of B's outbound SAs what an honest B never
// would, and sends it from B.
type stranger struct {
	n      *node
	sa     platform.SA
	sealer *esp.Sealer
	seq    uint64
	from   netip.Addr
}

func (n *node) stranger(sa platform.SA) *stranger {
	sealer, err := esp.NewSealer(sa.Params, rand.Reader)
	must(n.t, err)
	return &stranger{n: n, sa: sa, sealer: sealer, seq: 100, from: sa.Local.Addr()}
}

func (s *stranger) send(next uint8, payload []byte) {
	s.n.t.Helper()
	slot := make([]byte, s.sealer.PacketLen(len(payload)))
	copy(slot[s.sealer.Headroom():], payload)
	s.seq++
	size, err := s.sealer.Seal(slot, len(payload), next, s.seq)
	must(s.n.t, err)
	packet, proto := slot[:size], unix.IPPROTO_ESP
	if s.sa.Encap {
		proto = unix.IPPROTO_UDP
		packet = append(udp(4500, 4500, nil)[:8], packet...)
		binary.BigEndian.PutUint16(packet[4:], uint16(len(packet)))
	}
	s.n.do(func() {
		var fd int
		fd, err = inet.Of(s.from).Socket(unix.SOCK_RAW, proto)
		if err != nil {
			return
		}
		defer unix.Close(fd)
		if err = unix.Bind(fd, host(s.from)); err == nil {
			err = unix.Sendto(fd, packet, 0, host(s.sa.Remote.Addr()))
		}
	})
	must(s.n.t, err)
}

// ip puts an IP header before a payload.
func ip(src, dst netip.Addr, proto uint8, payload []byte) []byte {
	if src.Is4() {
		b := make([]byte, 20, 20+len(payload))
		b[0], b[8], b[9] = 0x45, 64, proto
		binary.BigEndian.PutUint16(b[2:], uint16(20+len(payload)))
		copy(b[12:], src.AsSlice())
		copy(b[16:], dst.AsSlice())
		return append(rehash(b), payload...)
	}
	b := make([]byte, 40, 40+len(payload))
	b[0], b[6], b[7] = 0x60, proto, 64
	binary.BigEndian.PutUint16(b[4:], uint16(len(payload)))
	copy(b[8:], src.AsSlice())
	copy(b[24:], dst.AsSlice())
	return append(b, payload...)
}

// rehash writes the checksum of an IPv4 header again.
func rehash(b []byte) []byte {
	b[10], b[11] = 0, 0
	binary.BigEndian.PutUint16(b[10:], ^gre.Fold(gre.Sum(b[:int(b[0]&15)*4], 0)))
	return b
}

func udp(from, to uint16, payload []byte) []byte {
	b := make([]byte, 8, 8+len(payload))
	binary.BigEndian.PutUint16(b, from)
	binary.BigEndian.PutUint16(b[2:], to)
	binary.BigEndian.PutUint16(b[4:], uint16(8+len(payload)))
	return append(b, payload...)
}

// sum writes the checksum at b[at:], with the pseudo header's where proto is set.
func sum(b []byte, at int, src, dst netip.Addr, proto uint8) []byte {
	var pseudo []byte
	if proto != 0 {
		pseudo = append(append(pseudo, src.AsSlice()...), dst.AsSlice()...)
		pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(b)))
		pseudo = append(pseudo, 0, 0, 0, proto)
	}
	binary.BigEndian.PutUint16(b[at:], ^gre.Fold(gre.Sum(b, gre.Sum(pseudo, 0))))
	return b
}

// counters reads a file of names and numbers below /proc/net, such as snmp.
func (n *node) netCounters(file string) map[string]int {
	n.t.Helper()
	m := make(map[string]int)
	lines := strings.Split(n.sh("cat /proc/thread-self/net/"+file), "\n")
	for i, line := range lines {
		f := strings.Fields(line)
		if len(f) == 2 {
			m[f[0]], _ = strconv.Atoi(f[1])
		}
		if i+1 == len(lines) || len(f) < 2 {
			continue
		}
		if values := strings.Fields(lines[i+1]); len(values) == len(f) && values[0] == f[0] {
			for j := range f[1:] {
				m[f[0]+f[j+1]], _ = strconv.Atoi(values[j+1])
			}
		}
	}
	return m
}

// taken is how many packets reached a protocol of the machine's own (of TCP, how
// many SYNs were answered: it counts what comes in before it asks the policies).
func (n *node) taken() (count int) {
	v4, v6 := n.netCounters("snmp"), n.netCounters("snmp6")
	for _, name := range []string{"Icmp:InEchos", "Tcp:OutRsts", "Udp:NoPorts"} {
		count += v4[name]
	}
	for _, name := range []string{"Icmp6InEchos", "Udp6NoPorts"} {
		count += v6[name]
	}
	return count
}

// dropped is how many packets XFRM threw away on their way in.
func (n *node) xfrmDrops() (count int) {
	for name, v := range n.netCounters("xfrm_stat") {
		if strings.HasPrefix(name, "XfrmIn") {
			count += v
		}
	}
	return count
}

// TestNothingButTheTunnelsGREComesOutOfESP is RFC 4301 section 5.2 for each mode:
// whatever else a peer puts into its SA reaches nobody, is counted, and is
// answered by nothing in the clear.
func TestNothingButTheTunnelsGREComesOutOfESP(t *testing.T) {
	needKernel(t)
	for _, s := range []setup{
		{name: "transport", transport: true},
		{name: "transport in UDP", transport: true, encap: true},
		{name: "tunnel"},
		{name: "IPv6 transport", v6: true, transport: true},
		{name: "IPv6 tunnel", v6: true},
	} {
		t.Run(s.name, func(t *testing.T) {
			l := newLab(t)
			s.inner = 1
			l.links(s)
			l.sas(s, 0x1000)
			if l.ping(s, 3) != 3 {
				t.Fatal("the tunnel does not work")
			}
			l.a.sh("sysctl -q -w net.ipv4.ip_forward=1", "sysctl -q -w net.ipv6.conf.all.forwarding=1")
			a, b := s.outer()
			other, icmp, version := netip.MustParseAddr("198.18.2.3"), uint8(unix.IPPROTO_ICMP), uint8(4)
			echo := sum([]byte{8, 0, 0, 0, 0, 1, 0, 1}, 2, a, b, 0)
			if s.v6 {
				other, icmp, version = netip.MustParseAddr("2001:db8:2::3"), unix.IPPROTO_ICMPV6, 41
				echo = sum([]byte{128, 0, 0, 0, 0, 1, 0, 1}, 2, b, a, icmp)
			}
			l.b.sh("ip addr add " + other.String() + map[bool]string{false: "/24 dev wan", true: "/64 dev wan nodad"}[s.v6])
			syn := make([]byte, 20)
			copy(syn, []byte{0x30, 0x39, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff})
			syn = sum(syn, 16, b, a, unix.IPPROTO_TCP)
			datagram := sum(udp(4000, 4000, pattern), 6, b, a, unix.IPPROTO_UDP)
			user := ip(netip.MustParseAddr("10.1.0.2"), netip.MustParseAddr("10.1.0.1"), unix.IPPROTO_ICMP, echoRequest(77, 1))
			ipv4 := gre.Header{Proto: gre.ProtoIPv4}
			inGRE := ipv4.Append(nil, user)
			user6 := ip(netip.MustParseAddr("2001:db8:5::2"), netip.MustParseAddr("2001:db8:1::2"), unix.IPPROTO_UDP, udp(1, 2, pattern))

			st := l.b.stranger(s.sa(0x1001, false, false))
			rows := []struct {
				what    string
				from    netip.Addr
				next    uint8
				payload []byte
			}{
				{"ICMP", b, icmp, echo},
				{"TCP", b, unix.IPPROTO_TCP, syn},
				{"UDP", b, unix.IPPROTO_UDP, datagram},
				{"IPv4 in IP", b, 4, user},
				{"IPv6 in IP", b, 41, user6},
				{"GRE of another peer", other, unix.IPPROTO_GRE, inGRE},
			}
			if !s.transport {
				for i, r := range rows {
					rows[i].payload, rows[i].next = ip(r.from, a, r.next, r.payload), version
					rows[i].from = b
				}
				rows = append(rows, []struct {
					what    string
					from    netip.Addr
					next    uint8
					payload []byte
				}{
					{"ICMP without an inner header", b, icmp, echo},
					{"GRE without an inner header", b, unix.IPPROTO_GRE, inGRE},
					{"the user's packet without GRE", b, version, ip(b, a, icmp, echo)},
					{"GRE for another machine", b, version, ip(b, other, unix.IPPROTO_GRE, inGRE)},
				}...)
			}
			l.wire.content = bytes.Repeat(pattern, 2)
			for _, r := range rows {
				taken, drops, seen := l.a.taken(), l.a.xfrmDrops(), l.a.rx("hq")
				st.from = r.from
				for range 3 {
					st.send(r.next, r.payload)
				}
				time.Sleep(300 * time.Millisecond)
				if n := l.a.taken() - taken; n != 0 {
					t.Errorf("%s: %d packets reached the machine", r.what, n)
				}
				if n := l.a.rx("hq") - seen; n != 0 {
					t.Errorf("%s: %d packets came out of the tunnel's interface", r.what, n)
				}
				if n := l.a.xfrmDrops() - drops; n != 3 {
					t.Errorf("%s: %d of 3 packets counted", r.what, n)
				}
			}
			if got := l.ping(s, 3); got != 3 {
				t.Errorf("%d of 3 pings after all that", got)
			}
			l.wire.noGRE(t, "strange packets in ESP")
			if l.wire.found != 0 {
				t.Errorf("what was in ESP was seen %d times outside", l.wire.found)
			}
		})
	}
}

func (n *node) rx(link string) int {
	n.t.Helper()
	return int(n.info(link).Stats.RxPackets)
}

// TestTransportModeKeepsItsSelector reads it back from the kernel, also of an SA
// that was written again for a new port.
func TestTransportModeKeepsItsSelector(t *testing.T) {
	l := newLab(t)
	for _, s := range []setup{{transport: true, encap: true, inner: 1}, {transport: true, v6: true, link: "six", inner: 2}} {
		l.links(s)
		l.sas(s, 0x1000)
		a, b := s.outer()
		check := func(when string) {
			t.Helper()
			for _, out := range []bool{true, false} {
				key := platform.SAKey{Link: s.name15(), Out: out, SPI: 0x1000}
				want := xfrm.Policy{Src: inet.Host(a), Dst: inet.Host(b), Proto: xfrm.ProtoGRE}
				if !out {
					key.SPI, want.Src, want.Dst = 0x1001, want.Dst, want.Src
				}
				if got := l.a.state(key).Selector; got != want {
					t.Errorf("%s: out %t: selector %s proto %d", when, out, got, got.Proto)
				}
			}
		}
		check("as installed")
		if s.encap {
			for _, key := range []platform.SAKey{{Link: "hq", Out: true, SPI: 0x1000}, {Link: "hq", SPI: 0x1001}} {
				l.a.move(key, netip.AddrPortFrom(a, 4500), netip.AddrPortFrom(b, 4501))
			}
			check("after the port changed")
		}
	}
}

// TestNobodySpeaksOfDecryptedPackets sends GRE through a good SA that no interface
// takes. The kernel's ICMP errors about it would carry what was in ESP.
func TestNobodySpeaksOfDecryptedPackets(t *testing.T) {
	needKernel(t)
	for _, s := range someSetups() {
		if s.encap && s.v6 {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			l := newLab(t)
			s.inner = 1
			l.links(s)
			l.sas(s, 0x1000)
			l.wire.content = bytes.Repeat(pattern, 2)
			a, b := s.outer()
			st := l.b.stranger(s.sa(0x1001, false, false))
			user := ip(netip.MustParseAddr("10.1.0.2"), netip.MustParseAddr("10.1.0.1"), unix.IPPROTO_ICMP, echoRequest(77, 1))
			version := uint8(4)
			if s.v6 {
				version = 41
			}
			put := func(packet []byte) {
				next := uint8(unix.IPPROTO_GRE)
				if !s.transport {
					next, packet = version, ip(b, a, next, packet)
				}
				st.send(next, packet)
			}
			// An error about them was blocked, or, where the policies know the key, they
			// met nobody who would make one.
			stopped := func() int { return l.a.netCounters("xfrm_stat")["XfrmOutPolBlock"] + l.a.xfrmDrops() }
			before := stopped()
			for _, h := range []gre.Header{
				{Proto: gre.ProtoIPv4, Key: 4711, HasKey: true},
				{Proto: gre.ProtoIPv4, HasKey: true},
				{Proto: gre.ProtoIPv4},
				{Proto: gre.ProtoTEB},
				{Proto: 0x88be},
			} {
				put(h.Append(nil, user))
				time.Sleep(20 * time.Millisecond)
			}
			if !s.transport && !s.v6 {
				// A source route without a place for an address, and two to
				// addresses that are nobody's here.
				bad := ip(b, a, unix.IPPROTO_GRE, append([]byte{0x83, 3, 1, 0}, user...))
				bad[0] = 0x46
				st.send(4, rehash(bad))
				st.send(4, ip(b, netip.MustParseAddr("198.18.1.77"), unix.IPPROTO_GRE, user))
				gone := ip(b, netip.MustParseAddr("203.0.113.77"), unix.IPPROTO_GRE, user)
				gone[8] = 1
				st.send(4, rehash(gone))
			}
			l.wire.noGRE(t, "decrypted GRE that no interface takes")
			l.wire.mu.Lock()
			defer l.wire.mu.Unlock()
			if l.wire.found != 0 {
				t.Errorf("what was in ESP was seen %d times outside", l.wire.found)
			}
			if stopped() == before {
				t.Error("nothing was stopped: the test proves nothing")
			}
		})
	}
}

// TestGuardLetsOtherErrorsPass: what a router between a peer and others has to say.
func TestGuardLetsOtherErrorsPass(t *testing.T) {
	l := newLab(t)
	var err error
	l.a.do(func() {
		err = l.a.dp.Guard("hq", []netip.Addr{netip.MustParseAddr("198.18.2.2"), netip.MustParseAddr("2001:db8:2::2")})
	})
	must(t, err)
	l.a.sh("ip link add narrow type dummy", "ip link set narrow mtu 1300 up",
		"ip addr add 198.18.9.1/24 dev narrow", "ip addr add 2001:db8:9::1/64 dev narrow nodad",
		"ip route add 198.18.10.0/24 dev narrow")
	l.a.sh("sysctl -q -w net.ipv4.ip_forward=1", "sysctl -q -w net.ipv6.conf.all.forwarding=1")
	l.w.sh("ip route add 198.18.9.0/24 via 198.18.1.2", "ip route add 2001:db8:9::/64 via 2001:db8:1::2")
	for what, command := range map[string]string{
		"echo replies":                  "ping -n -c 1 -W 5 198.18.1.2",
		"echo replies over IPv6":        "ping -n -c 1 -W 5 2001:db8:1::2",
		"fragmentation needed":          "ping -n -c 1 -W 2 -M do -s 1400 198.18.9.9",
		"packet too big":                "ping -n -c 1 -W 2 -M do -s 1400 2001:db8:9::9",
		"time to live exceeded":         "ping -n -c 1 -W 2 -t 2 198.18.9.9",
		"hop limit exceeded, over IPv6": "ping -n -c 1 -W 2 -t 2 2001:db8:9::9",
	} {
		want := map[bool]string{true: "bytes from", false: "mtu"}[strings.HasPrefix(what, "echo")]
		if strings.Contains(what, "exceeded") {
			want = "xceeded"
		}
		if out, _ := l.b.try(command); !strings.Contains(out, want) {
			t.Errorf("%s: %s", what, out)
		}
	}
}

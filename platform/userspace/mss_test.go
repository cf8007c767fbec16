package userspace

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"greseal/build/packet"
	"greseal/platform"
	"greseal/platform/gre"
	"greseal/platform/userspace/vnet"
)

// mssOption is the option, behind n bytes of no operation and filled up.
func mssOption(mss uint16, before int) []byte {
	b := bytes.Repeat([]byte{1}, before)
	b = append(b, 2, 4, byte(mss>>8), byte(mss))
	for len(b)%4 != 0 {
		b = append(b, 1)
	}
	return b
}

// A SYN that was clamped is, byte for byte, the SYN of a host that had
// announced the smaller size: checksum included, wherever the option stands.
func TestClampedSYNIsThatOfASmallerHost(t *testing.T) {
	for _, s := range []packet.Spec{{}, {V6: true}, {Ethernet: true}, {Ethernet: true, VLAN: true, V6: true}} {
		for before := range 6 {
			for _, was := range []uint16{537, 1382, 1383, 1460, 8960, 65535} {
				for _, flags := range []uint8{vnet.TcpSYN, vnet.TcpSYN | vnet.TcpACK, vnet.TcpSYN | 0xc0} {
					s.Flags, s.Seq, s.TTL, s.Port = flags, 0x12345678, 64, 4711
					s.Options = mssOption(was, before)
					p := s.Build()
					s.Options = mssOption(min(was, 1382), before)
					want := s.Build()
					at, version := vnet.FindIP(p, s.Ethernet)
					clampMSS(p, at, version, 1382, false)
					if !bytes.Equal(p, want) {
						t.Fatalf("%+v, MSS %d behind %d octets:\n got %x\nwant %x", s, was, before, p, want)
					}
				}
			}
		}
	}
}

// Where the kernel leaves the checksum to us, its field holds the sum of the
// pseudo-header alone, and what is filled in later must come out right.
func TestClampedSYNWithPartialChecksum(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		s := packet.Spec{V6: v6, Flags: vnet.TcpSYN, TTL: 64, Options: mssOption(1460, 1)}
		p := s.Build()
		s.Options = mssOption(1000, 1)
		want := s.Build()
		h := vnet.Header{Flags: vnet.NeedsCsum, CsumStart: vnet.IP4Len, CsumOffset: 16}
		sum := gre.Sum(p[12:20], vnet.ProtoTCP)
		if v6 {
			h.CsumStart = vnet.IP6Len
			sum = gre.Sum(p[8:40], vnet.ProtoTCP)
		}
		tcp := p[h.CsumStart:]
		binary.BigEndian.PutUint16(tcp[16:], gre.Fold(sum+uint32(len(tcp))))
		at, version := vnet.FindIP(p, false)
		clampMSS(p, at, version, 1000, true)
		var segs vnet.Segments
		if err := segs.Start(&h, p, false); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, segs.Max)
		segs.Write(0, got)
		if !bytes.Equal(got, want) {
			t.Errorf("IPv6 %v:\n got %x\nwant %x", v6, got, want)
		}
	}
}

// behind puts extension headers between the IPv6 header of p and TCP.
func behind(p []byte, first byte, headers ...byte) []byte {
	p = bytes.Clone(p)
	p[6] = first
	binary.BigEndian.PutUint16(p[4:], binary.BigEndian.Uint16(p[4:])+uint16(len(headers)))
	return append(p[:vnet.IP6Len:vnet.IP6Len], append(headers, p[vnet.IP6Len:]...)...)
}

func TestClampFindsTCPBehindExtensionHeaders(t *testing.T) {
	syn := packet.Spec{V6: true, Flags: vnet.TcpSYN, TTL: 64, Options: mssOption(1440, 0)}
	small := syn
	small.Options = mssOption(1220, 0)
	for name, h := range map[string][]byte{
		"hop-by-hop":     {ip6HopByHop, vnet.ProtoTCP, 0, 1, 4, 0, 0, 0, 0},
		"two of them":    {ip6Destination, ip6Routing, 0, 1, 4, 0, 0, 0, 0, vnet.ProtoTCP, 1, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"first fragment": {ip6Fragment, vnet.ProtoTCP, 0, 0, 1, 0, 0, 0, 9},
	} {
		p := behind(syn.Build(), h[0], h[1:]...)
		clampMSS(p, 0, 6, 1220, false)
		if want := behind(small.Build(), h[0], h[1:]...); !bytes.Equal(p, want) {
			t.Errorf("%s:\n got %x\nwant %x", name, p, want)
		}
	}
}

func TestClampLeavesEverythingElse(t *testing.T) {
	syn := func(change func(*packet.Spec)) []byte {
		s := packet.Spec{Flags: vnet.TcpSYN, TTL: 64, Options: mssOption(1460, 0)}
		change(&s)
		return s.Build()
	}
	same := func(*packet.Spec) {}
	patched := func(at int, b ...byte) []byte {
		p := syn(same)
		copy(p[at:], b)
		return p
	}
	six := syn(func(s *packet.Spec) { s.V6 = true })
	for name, p := range map[string][]byte{
		"a smaller size":            syn(func(s *packet.Spec) { s.Options = mssOption(1000, 0) }),
		"the same size":             syn(func(s *packet.Spec) { s.Options = mssOption(1300, 0) }),
		"no option":                 syn(func(s *packet.Spec) { s.Options = nil }),
		"no SYN":                    syn(func(s *packet.Spec) { s.Flags = vnet.TcpACK }),
		"SYN and RST":               syn(func(s *packet.Spec) { s.Flags = vnet.TcpSYN | vnet.TcpRST }),
		"UDP":                       syn(func(s *packet.Spec) { s.UDP = true }),
		"behind the end of list":    syn(func(s *packet.Spec) { s.Options = append([]byte{0, 0, 0, 0}, mssOption(1460, 0)...) }),
		"inside another option":     syn(func(s *packet.Spec) { s.Options = []byte{253, 8, 2, 4, 5, 0xb4, 0, 0} }),
		"option of length 0":        syn(func(s *packet.Spec) { s.Options = []byte{3, 0, 2, 4, 5, 0xb4, 0, 0} }),
		"option of another length":  syn(func(s *packet.Spec) { s.Options = []byte{2, 3, 5, 1} }),
		"option beyond the end":     syn(func(s *packet.Spec) { s.Options = []byte{1, 1, 2, 4} }),
		"one octet of option":       syn(func(s *packet.Spec) { s.Options = []byte{1, 1, 1, 2} }),
		"a later fragment":          patched(6, 0, 1),
		"IP header too short":       patched(0, 0x44),
		"TCP header beyond the end": patched(0, 0x4f),
		"total length too large":    patched(2, 0xff, 0xff),
		"total length too small":    patched(2, 0, 39),
		"data offset of nothing":    patched(32, 0x10),
		"a later fragment of IPv6":  behind(six, ip6Fragment, vnet.ProtoTCP, 0, 0, 8, 0, 0, 0, 9),
		"ESP inside":                behind(six, 50, vnet.ProtoTCP, 0, 0, 8, 0, 0, 0, 9),
		"a chain beyond the end":    behind(six, ip6HopByHop, ip6HopByHop, 255, 0, 0, 0, 0, 0, 0),
		"a chain without an end":    behind(six[:vnet.IP6Len], ip6HopByHop, ip6HopByHop, 0, 1, 4, 0, 0, 0, 0),
	} {
		was := bytes.Clone(p)
		at, version := vnet.FindIP(p, false)
		clampMSS(p, at, version, 1300, false)
		if !bytes.Equal(p, was) {
			t.Errorf("%s: was changed to\n%x\nfrom\n%x", name, p, was)
		}
	}
}

// FuzzClampMSS gives the clamp anything: it changes at most the option and the
// checksum, and never the length.
func FuzzClampMSS(f *testing.F) {
	f.Add(packet.Spec{Flags: vnet.TcpSYN, Options: mssOption(1460, 1)}.Build(), false)
	f.Add(packet.Spec{V6: true, Ethernet: true, Flags: vnet.TcpSYN, Options: mssOption(1460, 0)}.Build(), true)
	f.Add(behind(packet.Spec{V6: true, Flags: vnet.TcpSYN, Options: mssOption(1440, 0)}.Build(), ip6HopByHop, vnet.ProtoTCP, 0, 1, 4, 0, 0, 0, 0), false)
	f.Fuzz(func(t *testing.T, p []byte, ethernet bool) {
		at, version := vnet.FindIP(p, ethernet)
		if version == 0 {
			return
		}
		was := bytes.Clone(p)
		clampMSS(p, at, version, 1300, false)
		changed := 0
		for i := range p {
			if p[i] != was[i] {
				changed++
			}
		}
		if changed > 4 {
			t.Fatalf("%d octets were changed", changed)
		}
	})
}

// Connections through the tunnel agree on segments that fit, whichever side
// opens them and although the interface would take larger ones.
func TestConnectionsAreClamped(t *testing.T) {
	for _, vnet := range []bool{true, false} {
		t.Run(fmt.Sprintf("vnet %v", vnet), func(t *testing.T) {
			a, b := twoHosts(t)
			f := &form{link: platform.Link{MSS4: 700, MSS6: 650}}
			off := Options{}
			if !vnet {
				off.Off = OffVnet
			}
			a.start(off)
			b.start(Options{})
			f.links(a, b)
			for _, c := range []struct {
				from, to *host
				addr     string
				most     int
			}{{a, b, inner4(2), 700}, {b, a, inner4(1), 700}, {a, b, inner6(2), 650}, {b, a, inner6(1), 650}} {
				here, there := c.from.segmentSizes(c.to, c.addr)
				if here > c.most || there > c.most || here < c.most-40 || there < c.most-40 {
					t.Errorf("to %s: segments of %d and %d octets, wanted just below %d", c.addr, here, there, c.most)
				}
				c.from.transfer(c.to, c.addr, 300_000)
			}
		})
	}
}

// segmentSizes opens a connection and reads what both ends will send at most.
func (h *host) segmentSizes(peer *host, to string) (here, there int) {
	h.t.Helper()
	var ln net.Listener
	peer.must(func() (err error) {
		ln, err = net.Listen("tcp", net.JoinHostPort(to, "0"))
		return err
	})
	defer ln.Close()
	var c net.Conn
	h.must(func() (err error) {
		c, err = net.Dial("tcp", ln.Addr().String())
		return err
	})
	defer c.Close()
	s, err := ln.Accept()
	if err != nil {
		h.t.Fatal(err)
	}
	defer s.Close()
	size := func(c net.Conn) (n int) {
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err == nil {
			err = raw.Control(func(fd uintptr) { n, err = syscall.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG) })
		}
		if err != nil {
			h.t.Error(err)
		}
		return n
	}
	return size(c), size(s)
}

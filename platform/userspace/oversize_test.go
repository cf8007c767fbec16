package userspace

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"greseal/build/packet"
	"greseal/platform"
	"greseal/platform/gre"
	"greseal/platform/userspace/oversize"
	"greseal/platform/userspace/vnet"
)

// Over a path that carries less than the interface takes, the kernel's own TCP
// learns the size from greseal's messages, ping is told, what may be fragmented
// arrives whole, and nothing larger than the path leaves.
func TestPacketsTooBigForThePathAreRefusedOrFragmentedInside(t *testing.T) {
	const fits = 1300
	for _, ethernet := range []bool{false, true} {
		t.Run(fmt.Sprintf("ethernet=%v", ethernet), func(t *testing.T) {
			a, b := twoHosts(t)
			f := form{encap: true, link: platform.Link{
				MTU: 1500, MaxUnfragmented: fits, Ethernet: ethernet,
				Neighbor4: netip.MustParseAddr(inner4(9)), Neighbor6: netip.MustParseAddr(inner6(9)),
			}}
			for _, h := range []*host{a, b} {
				h.start(Options{Off: OffGSO}) // the capture sees packets, not runs
			}
			f.links(a, b)
			a.ping(inner4(2), 2, fits-28)
			a.ping(inner6(2), 2, fits-48)
			wire := a.capture(t)
			for to, size := range map[string]int{inner4(2): 1472, inner6(2): 1452} {
				from := inner4(9)
				if size == 1452 {
					from = inner6(9)
				}
				out, _ := a.command("ping", "-n", "-c", "2", "-i", "0.2", "-s", fmt.Sprint(size), "-W", "1", "-M", "do", to)
				// The first is told by the message, the next by what the kernel learned.
				if !strings.Contains(strings.ToLower(out), fmt.Sprintf("mtu=%d", fits)) && !strings.Contains(out, fmt.Sprintf("mtu = %d", fits)) {
					t.Errorf("ping of %d octets to %s was not told that %d fit:\n%s", size, to, fits, out)
				}
				if !strings.Contains(strings.ToLower(out), "from "+from+" ") {
					t.Errorf("it was not %s that told ping:\n%s", from, out)
				}
			}
			if d := a.drops(); d.TooBig < 2 {
				t.Errorf("%+v", d)
			}
			a.transfer(b, inner4(2), 1<<20)
			b.transfer(a, inner6(1), 1<<20)
			if !ethernet {
				a.withoutDF(b, inner4(2), []int{1000, fits - 28, fits - 27, 1400, 1472, 9000})
			}
			wire.stop()
			// Inner header, GRE, ESP, UDP, outer header: 86 bytes around fits.
			for _, frame := range wire.all {
				if n := binary.BigEndian.Uint16(frame[16:]); frame[23] == 17 && n > fits+86+14 {
					t.Errorf("an outer packet of %d octets left", n)
				}
			}
		})
	}
}

// withoutDF sends datagrams that routers may fragment.
func (h *host) withoutDF(peer *host, to string, sizes []int) {
	h.t.Helper()
	var server *net.UDPConn
	var tx int
	peer.must(func() (err error) {
		server, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(to+":5005")))
		return err
	})
	defer server.Close()
	h.must(func() (err error) {
		if tx, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		return unix.SetsockoptInt(tx, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT)
	})
	defer unix.Close(tx)
	b := make([]byte, 65536)
	for _, size := range sizes {
		want := packet.Pattern(size, size)
		if err := unix.Sendto(tx, want, 0, &unix.SockaddrInet4{Port: 5005, Addr: netip.MustParseAddr(to).As4()}); err != nil {
			h.t.Errorf("%d octets: %v", size, err)
			continue
		}
		_ = server.SetReadDeadline(time.Now().Add(5 * time.Second))
		n, err := server.Read(b)
		if err != nil || !bytes.Equal(b[:n], want) {
			h.t.Errorf("%d octets without DF: %d arrived, %v", size, n, err)
		}
	}
}

// Fragments fit, join to the packet they came from, and carry the options that
// belong to all.
func TestFragmentsJoinToThePacket(t *testing.T) {
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 5))
		p := packet.Spec{UDP: true, TTL: 9, ID: uint16(seed), Payload: packet.Pattern(1+r.IntN(4000), 1)}.Build()
		options := []byte{0x94, 4, 0, 0, 7, 7, 4, 0, 0, 0, 0, 0}[:4*r.IntN(4)] // router alert, copied; record route, not
		p = append(append(bytes.Clone(p[:20]), options...), p[20:]...)
		p[0] = 0x45 + byte(len(options)/4)
		binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
		vnet.SetIP4Sum(p)
		limit := 68 + r.IntN(1400)
		var again oversize.Reassembler
		head := 20 + len(options)
		buf := make([]byte, vnet.MaxPacket)
		count := 0
		for off := head; off < len(p); count++ {
			n := oversize.Fragment4(buf, p, off, limit)
			f := buf[:n]
			hl := int(f[0]&15) * 4
			if n == 0 || n > limit || gre.Fold(gre.Sum(f[:hl], 0)) != 0xffff || int(binary.BigEndian.Uint16(f[2:])) != n {
				t.Fatalf("seed %d: a fragment of %d octets with limit %d: %x", seed, n, limit, f[:hl])
			}
			if len(options) > 0 && !bytes.Equal(f[20:24], options[:4]) || off > head && hl > 24 {
				t.Fatalf("seed %d: options %x of a fragment at %d", seed, f[20:hl], off)
			}
			off += n - hl
			if len(p) <= limit {
				if !bytes.Equal(f, p) {
					t.Fatalf("seed %d: a packet that fits was changed", seed)
				}
				continue
			}
			piece, ok := pieceOf(f, 4)
			if !ok {
				t.Fatalf("seed %d: not a fragment: %x", seed, f[:hl])
			}
			whole, _ := again.Add(1, &piece, 0, time.Now())
			if (whole != nil) != (off == len(p)) || whole != nil && !bytes.Equal(whole[oversize.Room:], p[head:]) {
				t.Fatalf("seed %d: %d octets joined", seed, len(whole))
			}
		}
	}
}

// IPv6's least may not be refused: where the path has less, it goes in outer
// fragments. IPv6 routers make none, so these fit every path from the start.
func TestIPv6sLeastPassesANarrowerPath(t *testing.T) {
	for _, f := range []form{{encap: true}, {}, {encap: true, outer6: true}, {outer6: true}} {
		t.Run(fmt.Sprintf("encap=%v,outer6=%v", f.encap, f.outer6), func(t *testing.T) {
			a, b := twoHosts(t)
			f.link = platform.Link{MTU: 1400, MaxUnfragmented: 1100}
			for _, h := range []*host{a, b} {
				h.start(Options{Off: OffGSO}) // the capture sees packets, not runs
			}
			f.links(a, b)
			wire := a.capture(t)
			a.ping(inner6(2), 3, oversize.IPv6MinMTU-48)
			a.transfer(b, inner6(2), 1<<20)
			a.transfer(b, inner4(2), 1<<20)
			wire.stop()
			fragments := 0
			for _, frame := range wire.all {
				if binary.BigEndian.Uint16(frame[12:]) != unix.ETH_P_IPV6 {
					continue
				}
				if frame[20] == unix.IPPROTO_FRAGMENT {
					fragments++
				}
				if len(frame) > 14+oversize.IPv6MinMTU {
					t.Fatalf("an outer packet of %d octets left", len(frame)-14)
				}
			}
			if (fragments > 0) != f.outer6 {
				t.Errorf("%d IPv6 fragments", fragments)
			}
		})
	}
}

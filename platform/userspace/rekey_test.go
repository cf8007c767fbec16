package userspace

import (
	"encoding/binary"
	"math"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"greseal/platform"
)

// A stream of numbered datagrams runs each way while the SAs are exchanged
// again and again: none is lost and none overtakes another.
func TestRekeyUnderTrafficLosesAndReordersNothing(t *testing.T) {
	for _, f := range []form{{name: "UDP", encap: true}, {name: "raw ESP", transport: true}} {
		t.Run(f.name, func(t *testing.T) {
			a, b := twoHosts(t)
			f.tunnel(a, b)
			a.ping(inner4(2), 3, 56) // the neighbours know each other, and
			b.ping(inner6(1), 3, 56) // the kernel its new addresses
			const rekeys, perRekey = 40, 500
			type stream struct {
				send, receive *net.UDPConn
				got           chan int
				last          atomic.Uint32
			}
			start := func(from, to *host, addr string) *stream {
				s := &stream{got: make(chan int, 1)}
				to.must(func() (err error) {
					s.receive, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(addr), 0)))
					if err == nil {
						err = s.receive.SetReadBuffer(16 << 20)
					}
					return err
				})
				raw, _ := s.receive.SyscallConn()
				_ = raw.Control(func(fd uintptr) {
					_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
				})
				from.must(func() (err error) {
					s.send, err = net.DialUDP("udp", nil, s.receive.LocalAddr().(*net.UDPAddr))
					return err
				})
				go func() {
					b := make([]byte, 2000)
					next := uint32(0)
					for int(next) < rekeys*perRekey {
						_ = s.receive.SetReadDeadline(time.Now().Add(10 * time.Second))
						n, err := s.receive.Read(b)
						if err != nil {
							break
						}
						if n < 4 || binary.BigEndian.Uint32(b) != next {
							t.Errorf("to %s: datagram %d came where %d was due", addr, binary.BigEndian.Uint32(b), next)
							break
						}
						next++
						s.last.Store(next)
					}
					s.last.Store(math.MaxUint32) // nobody waits for more
					s.got <- int(next)
				}()
				return s
			}
			streams := []*stream{start(a, b, inner4(2)), start(b, a, inner6(1))}
			sent := uint32(0)
			payload := make([]byte, 700)
			burst := func() {
				for range perRekey {
					for _, s := range streams {
						binary.BigEndian.PutUint32(payload, sent)
						if _, err := s.send.Write(payload[:4+sent%690]); err != nil {
							t.Fatal(err)
						}
					}
					sent++
					// No more on the way than a TUN's queue holds: what it drops
					// would be nobody's fault.
					for range 3000 {
						if last := min(streams[0].last.Load(), streams[1].last.Load()); sent < last || sent-last < 200 {
							break
						}
						time.Sleep(time.Millisecond)
					}
				}
			}
			var total platform.Counters
			for i := range uint32(rekeys) {
				swapped := make(chan struct{})
				go func() {
					defer close(swapped)
					f.exchange(a, b, i, &total)
				}()
				burst()
				<-swapped
			}
			for _, s := range streams {
				if n := <-s.got; n != rekeys*perRekey {
					t.Errorf("%d of %d datagrams arrived", n, rekeys*perRekey)
				}
				s.send.Close()
				s.receive.Close()
			}
			total.Add(a.counters(true, spiAB+rekeys))
			if total.Packets < rekeys*perRekey {
				t.Errorf("%d packets counted over all SAs", total.Packets)
			}
			for _, h := range []*host{a, b} {
				if d := h.drops(); d != (platform.Drops{}) {
					t.Errorf("%+v", d)
				}
			}
		})
	}
}

// exchange replaces generation i of the SAs by the next, as a rekey does:
// inbound at both ends, outbound at both ends, then the old ones go, inbound
// last and when all that was sent to it has come.
func (f *form) exchange(a, b *host, i uint32, total *platform.Counters) {
	ab, ba := spiAB+i, spiBA+i
	inA, inB := f.sa(a, b, false, ba+1), f.sa(b, a, false, ab+1)
	outA, outB := f.sa(a, b, true, ab+1), f.sa(b, a, true, ba+1)
	a.must(func() error { return a.dp.InstallIn(inA) })
	b.must(func() error { return b.dp.InstallIn(inB) })
	a.must(func() error { return a.dp.InstallOut(outA) })
	b.must(func() error { return b.dp.InstallOut(outB) })
	remove := func(h *host, out bool, spi uint32) (c platform.Counters) {
		h.must(func() (err error) {
			c, err = h.dp.RemoveSA(platform.SAKey{Link: ifName, Out: out, SPI: spi})
			return err
		})
		return c
	}
	sentA, sentB := remove(a, true, ab), remove(b, true, ba)
	total.Add(sentA)
	b.settle(ab, sentA.Packets)
	a.settle(ba, sentB.Packets)
	remove(b, false, ab)
	remove(a, false, ba)
}

// settle waits until an inbound SA has had so many packets, or, as the first
// ones may have been lost before the neighbours knew each other, no more come.
func (h *host) settle(spi uint32, packets uint64) {
	last, since := uint64(0), time.Now()
	for time.Since(since) < time.Second {
		now := h.counters(false, spi).Packets
		if now == packets {
			return
		}
		if now != last {
			last, since = now, time.Now()
		}
		time.Sleep(2 * time.Millisecond)
	}
}

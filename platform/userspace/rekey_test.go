package userspace

import (
	"encoding/binary"
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
						_ = s.receive.SetReadDeadline(time.Now().Add(3 * time.Second))
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
						if sent-min(streams[0].last.Load(), streams[1].last.Load()) < 200 {
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
// last and after a while.
func (f *form) exchange(a, b *host, i uint32, total *platform.Counters) {
	ab, ba := spiAB+i, spiBA+i
	inA, inB := f.sa(a, b, false, ba+1), f.sa(b, a, false, ab+1)
	outA, outB := f.sa(a, b, true, ab+1), f.sa(b, a, true, ba+1)
	check := func(err error) error { return err }
	a.must(func() error { return check(a.dp.InstallIn(inA)) })
	b.must(func() error { return check(b.dp.InstallIn(inB)) })
	a.must(func() error { return check(a.dp.InstallOut(outA)) })
	b.must(func() error { return check(b.dp.InstallOut(outB)) })
	a.must(func() error {
		c, err := a.dp.RemoveSA(platform.SAKey{Link: ifName, Out: true, SPI: ab})
		total.Add(c)
		return err
	})
	b.must(func() error { _, err := b.dp.RemoveSA(platform.SAKey{Link: ifName, Out: true, SPI: ba}); return err })
	time.Sleep(20 * time.Millisecond)
	a.must(func() error { _, err := a.dp.RemoveSA(platform.SAKey{Link: ifName, SPI: ba}); return err })
	b.must(func() error { _, err := b.dp.RemoveSA(platform.SAKey{Link: ifName, SPI: ab}); return err })
}

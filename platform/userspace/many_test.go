package userspace

import (
	"fmt"
	"net"
	"sync"
	"testing"

	"greseal/platform"
)

// Several links over several workers: each carries its own, and a flood on one
// does not silence the others.
func TestLinksSpreadOverWorkersAndDoNotStarveEachOther(t *testing.T) {
	a, b := twoHosts(t)
	f := form{encap: true}
	const links = 6
	for _, h := range []*host{a, b} {
		h.start(Options{Workers: 3})
	}
	spi := func(link int, ab bool) uint32 {
		if ab {
			return spiAB + uint32(link)<<8
		}
		return spiBA + uint32(link)<<8
	}
	for i := range links {
		for _, e := range []struct {
			h, peer *host
			n       int
			ab      bool // sends from a to b
		}{{a, b, 1, true}, {b, a, 2, false}} {
			name := fmt.Sprintf("seal%d", i)
			in, out := f.sa(e.h, e.peer, false, spi(i, !e.ab)), f.sa(e.h, e.peer, true, spi(i, e.ab))
			in.Link, out.Link = name, name
			e.h.must(func() error {
				_, err := e.h.dp.SetLink(platform.Link{Name: name, MTU: innerMTU})
				return err
			})
			e.h.must(func() error { return e.h.dp.InstallIn(in) })
			e.h.must(func() error { return e.h.dp.InstallOut(out) })
			e.h.must(func() error { return e.h.dp.SetRunning(name, true) })
			e.h.must(func() error { return addAddress(name, fmt.Sprintf("10.78.%d.%d/24", i, e.n)) })
		}
	}
	for _, w := range a.dp.egress {
		n := 0
		for _, d := range w.devs {
			if d != nil {
				n++
			}
		}
		if n != links/3 {
			t.Errorf("a worker has %d links of %d", n, links)
		}
	}

	quit := make(chan struct{})
	var flood sync.WaitGroup
	var conn net.Conn
	a.must(func() (err error) {
		conn, err = net.Dial("udp", "10.78.0.2:9")
		return err
	})
	flood.Go(func() {
		defer conn.Close()
		b := make([]byte, 1200)
		for {
			select {
			case <-quit:
				return
			default:
				_, _ = conn.Write(b) // refused: nobody listens
			}
		}
	})
	for i := 1; i < links; i++ {
		a.ping(fmt.Sprintf("10.78.%d.2", i), 10, 56)
	}
	close(quit)
	flood.Wait()
	for i := range links {
		var c, d platform.Counters
		key := platform.SAKey{Link: fmt.Sprintf("seal%d", i), SPI: spi(i, true)}
		b.must(func() (err error) { c, err = b.dp.SACounters(key); return err })
		key.Out = true
		a.must(func() (err error) { d, err = a.dp.SACounters(key); return err })
		if c.Packets < 10 || c.Packets > d.Packets || c.Replay+c.Integrity+c.Selector+c.Malformed != 0 {
			t.Errorf("link %d: sent %+v, received %+v", i, d, c)
		}
	}
}

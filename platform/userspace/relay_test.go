package userspace

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// relay stands between two hosts, on the second, and carries UDP datagrams in
// both directions; some it loses, some it sends after later ones.
type relay struct {
	done     sync.WaitGroup
	toA, toB *net.UDPConn

	carried, lost, late [2]int // by direction, to b first
}

// newRelay puts a relay into the tunnel's way. loss and reorder are percentages.
func (f *form) newRelay(t *testing.T, a, b *host, loss, reorder int) *relay {
	t.Helper()
	r := new(relay)
	for _, c := range []**net.UDPConn{&r.toA, &r.toB} {
		b.must(func() (err error) {
			*c, err = net.ListenUDP("udp4", &net.UDPAddr{IP: b.v4.AsSlice()})
			return err
		})
		raw, err := (*c).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
		})
	}
	local := func(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }
	f.via = map[*host]netip.AddrPort{a: local(r.toA), b: local(r.toB)}
	r.done.Go(func() { r.carry(0, r.toA, r.toB, netip.AddrPortFrom(b.v4, 4500), loss, reorder) })
	r.done.Go(func() { r.carry(1, r.toB, r.toA, netip.AddrPortFrom(a.v4, 4500), loss, reorder) })
	t.Cleanup(func() {
		r.toA.Close()
		r.toB.Close()
		r.done.Wait()
		t.Logf("the relay carried %v datagrams, %v of them late, and lost %v", r.carried, r.late, r.lost)
	})
	return r
}

// carry is one direction.
func (r *relay) carry(way int, in, out *net.UDPConn, to netip.AddrPort, loss, reorder int) {
	rnd := rand.New(rand.NewPCG(uint64(way), 7))
	type waiting struct {
		data  []byte
		after int // datagrams that go first
	}
	var held []waiting
	send := func(b []byte) {
		r.carried[way]++
		_, _ = out.WriteToUDPAddrPort(b, to)
	}
	b := make([]byte, 65536)
	for {
		if len(held) > 0 { // nothing waits for ever
			_ = in.SetReadDeadline(time.Now().Add(2 * time.Millisecond))
		}
		n, _, err := in.ReadFromUDPAddrPort(b)
		if err != nil {
			if e, ok := err.(net.Error); !ok || !e.Timeout() {
				return
			}
			for _, w := range held {
				send(w.data)
			}
			held = held[:0]
			_ = in.SetReadDeadline(time.Time{})
			continue
		}
		switch p := rnd.IntN(100); {
		case p < loss:
			r.lost[way]++
			continue
		case p < loss+reorder:
			r.late[way]++
			held = append(held, waiting{append([]byte(nil), b[:n]...), 1 + rnd.IntN(8)})
			continue
		}
		send(b[:n])
		kept := held[:0]
		for _, w := range held {
			if w.after--; w.after == 0 {
				send(w.data)
			} else {
				kept = append(kept, w)
			}
		}
		held = kept
	}
}

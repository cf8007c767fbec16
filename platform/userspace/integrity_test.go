package userspace

import (
	"bytes"
	sha2 "crypto/sha256"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"greseal/build/packet"
	"greseal/platform"
	"greseal/platform/userspace/vnet"
)

// What arrives is what was sent, at full speed, on wires that leave large
// packets as they are, cut them, or cut and join them, with rekeys all the
// time, and where datagrams are lost and overtaken. `make integrity` sends
// GRESEAL_INTEGRITY megabytes each way round and rekeys every second; here it is
// a little, and rekeys come faster.
func TestIntegrityUnderSpeed(t *testing.T) {
	megabytes, every := 16, 50*time.Millisecond
	v := os.Getenv("GRESEAL_INTEGRITY")
	long := v != ""
	if long {
		var err error
		if megabytes, err = strconv.Atoi(v); err != nil {
			t.Fatal(err)
		}
		every = time.Second
	}
	for _, wire := range []struct {
		name          string
		gso, gro      bool
		loss, reorder int
	}{
		{"plain", true, false, 0, 0},
		{"segmented", false, false, 0, 0},
		{"segmented and joined again", false, true, 0, 0},
		{"1 % lost, 5 % late", true, false, 1, 5},
		{"segmented, 1 % lost, 5 % late", false, false, 1, 5},
		{"joined again, 1 % lost, 5 % late", false, true, 1, 5},
	} {
		t.Run(wire.name, func(t *testing.T) {
			a, b := twoHosts(t)
			for _, h := range []*host{a, b} {
				h.ethtool(ethtoolSGRO, wire.gro)
				if !wire.gso {
					h.ethtool(ethtoolSTSO, false)
					h.oneSegment()
				}
			}
			f := form{encap: true}
			if wire.loss > 0 {
				f.newRelay(t, a, b, wire.loss, wire.reorder)
			}
			f.tunnel(a, b)

			quit, ended := make(chan struct{}), make(chan struct{})
			var total platform.Counters
			var rekeys atomic.Uint32
			go func() {
				defer close(ended)
				for {
					select {
					case <-quit:
						return
					case <-time.After(every):
						f.exchange(a, b, rekeys.Load(), &total)
						rekeys.Add(1)
					}
				}
			}()
			begin := time.Now()
			size := int64(megabytes) << 20
			if wire.loss > 0 && !long {
				size /= 4
			}
			a.stream(b, inner4(2), size)
			b.stream(a, inner6(1), size/4)
			took := time.Since(begin)
			a.everySize(b, inner4(2), wire.loss == 0)
			if wire.loss == 0 || long {
				b.everySize(a, inner6(1), wire.loss == 0)
			}
			for rekeys.Load() < 2 { // the little that was sent went very fast
				a.stream(b, inner4(2), 1<<20)
			}
			close(quit)
			<-ended
			n := rekeys.Load()
			t.Logf("%d MB in %v, %d rekeys", (size+size/4)>>20, took.Round(time.Millisecond), n)

			for _, c := range []platform.Counters{total, b.counters(false, spiAB+n), a.counters(false, spiBA+n)} {
				if c.Replay+c.Integrity+c.Selector+c.Malformed != 0 {
					t.Errorf("%+v", c)
				}
			}
			for _, h := range []*host{a, b} {
				if d := h.drops(); d.GRE+d.Key+d.NoSA+d.TooBig != 0 {
					t.Errorf("dropped %+v", d)
				}
				for _, note := range h.dp.Notes() {
					t.Errorf("an offload went off: %s", note)
				}
			}
		})
	}
}

// oneSegment has the kernel cut everything before it reaches the wire, UDP runs
// too.
func (h *host) oneSegment() {
	h.t.Helper()
	h.must(func() error {
		l, err := net.InterfaceByName("wire")
		if err != nil {
			return err
		}
		return setGSOMaxSegs(l.Index)
	})
}

// stream sends size bytes of a random stream by TCP in writes of random sizes
// and compares the sums.
func (h *host) stream(peer *host, to string, size int64) {
	h.t.Helper()
	var ln net.Listener
	peer.must(func() (err error) {
		ln, err = net.Listen("tcp", net.JoinHostPort(to, "0"))
		return err
	})
	defer ln.Close()
	type result struct {
		n   int64
		sum []byte
		err error
	}
	got := make(chan result, 1)
	go func() {
		var r result
		sum := sha2.New()
		c, err := ln.Accept()
		if err == nil {
			r.n, err = io.CopyBuffer(struct{ io.Writer }{sum}, struct{ io.Reader }{c}, make([]byte, 256<<10))
			c.Close()
		}
		r.sum, r.err = sum.Sum(nil), err
		got <- r
	}()
	var c net.Conn
	h.must(func() (err error) {
		c, err = net.DialTimeout("tcp", ln.Addr().String(), 10*time.Second)
		return err
	})
	sum, err := writeRandom(c, size)
	if err == nil {
		err = c.Close()
	}
	if err != nil {
		h.t.Errorf("sending to %s: %v", to, err)
		c.Close()
		ln.Close()
	}
	if r := <-got; r.err != nil || r.n != size || !bytes.Equal(r.sum, sum.Sum(nil)) {
		h.t.Errorf("TCP to %s: %d octets arrived of %d, the sums equal: %v, %v", to, r.n, size, bytes.Equal(r.sum, sum.Sum(nil)), r.err)
	}
}

func writeRandom(c net.Conn, size int64) (hash.Hash, error) {
	sum := sha2.New()
	source := rand.NewChaCha8([32]byte{byte(size)})
	lengths := rand.New(rand.NewPCG(uint64(size), 1))
	buf := make([]byte, 256<<10)
	for size > 0 {
		part := buf[:min(int64(1+lengths.IntN(len(buf))), size)]
		_, _ = source.Read(part)
		_, _ = sum.Write(part)
		// A transfer that stands still has failed, however long the whole takes.
		_ = c.SetWriteDeadline(time.Now().Add(60 * time.Second))
		if _, err := c.Write(part); err != nil {
			return sum, err
		}
		size -= int64(len(part))
	}
	return sum, nil
}

// everySize sends a datagram of each size from 1 to what fits. Each arrives as
// it was, or with all not set most do.
func (h *host) everySize(peer *host, to string, all bool) {
	h.t.Helper()
	most := innerMTU - vnet.IP4Len - vnet.UDPLen
	if bytes.ContainsRune([]byte(to), ':') {
		most = innerMTU - vnet.IP6Len - vnet.UDPLen
	}
	var server *net.UDPConn
	var client net.Conn
	peer.must(func() error {
		pc, err := net.ListenPacket("udp", net.JoinHostPort(to, "0"))
		if err != nil {
			return err
		}
		server = pc.(*net.UDPConn)
		raw, err := server.SyscallConn()
		if err != nil {
			return err
		}
		return raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20) })
	})
	defer server.Close()
	h.must(func() (err error) { client, err = net.Dial("udp", server.LocalAddr().String()); return err })
	defer client.Close()

	const window = 100 // on the way at once
	b, seen, arrived := make([]byte, 65536), make([]bool, most+1), 0
	for from := 1; from <= most; from += window {
		last := min(from+window-1, most)
		for size := from; size <= last; size++ {
			if _, err := client.Write(packet.Pattern(size, size)); err != nil {
				h.t.Errorf("UDP with %d octets: %v", size, err)
			}
		}
		wait := 5 * time.Second
		if !all {
			wait = 50 * time.Millisecond
		}
		for arrived < last {
			_ = server.SetReadDeadline(time.Now().Add(wait))
			n, err := server.Read(b)
			if err != nil {
				break
			}
			if n == 0 || n > most || seen[n] || !bytes.Equal(b[:n], packet.Pattern(n, n)) {
				h.t.Errorf("UDP to %s: %d octets came twice or changed", to, n)
				continue
			}
			seen[n] = true
			arrived++
		}
	}
	if least := most * 9 / 10; all && arrived != most || arrived < least {
		h.t.Errorf("UDP to %s: %d of %d datagrams arrived", to, arrived, most)
	}
}

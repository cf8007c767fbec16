package demo

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"greseal/platform/gre"
)

// pinger sends ICMP echo requests (RFC 792) from one namespace and counts the
// answers. Its payload is the text that must not be readable on the wire.
type pinger struct {
	fd       *os.File
	raw      int
	src, dst netip.Addr
	id       uint16
	payload  []byte

	mu       sync.Mutex
	sent     map[uint16]time.Time
	answered map[uint16]time.Duration
	refused  map[uint16]error // by the own kernel: no route, no policy, no device
	seq      uint16
	wg       sync.WaitGroup
}

func newPinger(in *namespace, src, dst netip.Addr, id uint16, payload []byte) (*pinger, error) {
	p := &pinger{src: src, dst: dst, id: id, payload: payload,
		sent: map[uint16]time.Time{}, answered: map[uint16]time.Duration{}, refused: map[uint16]error{}}
	err := in.do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
		if err != nil {
			return err
		}
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: src.As4()}); err != nil {
			unix.Close(fd)
			return err
		}
		p.raw, p.fd = fd, os.NewFile(uintptr(fd), "icmp")
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("ping socket: %w", err)
	}
	p.wg.Go(p.read)
	return p, nil
}

func (p *pinger) close() {
	p.fd.Close()
	p.wg.Wait()
}

// send sends one request and returns its sequence number.
func (p *pinger) send() uint16 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seq++
	b := make([]byte, 8, 8+len(p.payload))
	b[0] = 8 // echo request
	binary.BigEndian.PutUint16(b[4:], p.id)
	binary.BigEndian.PutUint16(b[6:], p.seq)
	b = append(b, p.payload...)
	binary.BigEndian.PutUint16(b[2:], gre.Checksum(b))
	p.sent[p.seq] = time.Now()
	if err := unix.Sendto(p.raw, b, 0, &unix.SockaddrInet4{Addr: p.dst.As4()}); err != nil {
		p.refused[p.seq] = err
	}
	return p.seq
}

func (p *pinger) read() {
	buf := make([]byte, 2048)
	for {
		n, err := p.fd.Read(buf)
		if err != nil {
			return
		}
		p.take(buf[:n])
	}
}

// take looks whether an IPv4 packet is one of our answers.
func (p *pinger) take(b []byte) {
	if len(b) < 20 {
		return
	}
	ihl := int(b[0]&15) * 4
	if netip.AddrFrom4([4]byte(b[12:16])) != p.dst || ihl < 20 || len(b) < ihl+8+len(p.payload) {
		return
	}
	m := b[ihl:]
	if m[0] != 0 || binary.BigEndian.Uint16(m[4:]) != p.id || string(m[8:8+len(p.payload)]) != string(p.payload) {
		return
	}
	seq := binary.BigEndian.Uint16(m[6:])
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ours := p.sent[seq]
	if _, again := p.answered[seq]; ours && !again {
		p.answered[seq] = time.Since(at)
	}
}

// answer waits for the answer to seq.
func (p *pinger) answer(ctx context.Context, seq uint16, wait time.Duration) (time.Duration, bool) {
	end := time.Now().Add(wait)
	for {
		p.mu.Lock()
		d, ok := p.answered[seq]
		refused := p.refused[seq]
		p.mu.Unlock()
		if ok || refused != nil || time.Now().After(end) || !sleep(ctx, 500*time.Microsecond) {
			return d, ok
		}
	}
}

// count returns what became of the requests after number from up to number to.
func (p *pinger) count(from, to uint16) (sent, answered, refused int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for s := from + 1; s <= to; s++ {
		sent++
		if _, ok := p.answered[s]; ok {
			answered++
		} else if p.refused[s] != nil {
			refused++
		}
	}
	return sent, answered, refused
}

// last is the number of the latest request.
func (p *pinger) last() uint16 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seq
}

// sleep waits and tells whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

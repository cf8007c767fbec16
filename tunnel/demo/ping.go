package demo

import (
	"bytes"
	"context"
	"net/netip"
	"sync"
	"time"

	"greseal/platform/ping"
)

// pinger counts the answers to echo requests from one namespace. Its payload is the
// text that must not be readable on the wire.
type pinger struct {
	socket  *ping.Socket
	payload []byte

	mu       sync.Mutex
	sent     map[uint16]time.Time
	answered map[uint16]time.Duration
	refused  map[uint16]error // by the own kernel: no route, no policy, no device
	seq      uint16
	wg       sync.WaitGroup
}

func newPinger(in *namespace, src, dst netip.Addr, payload []byte) (*pinger, error) {
	p := &pinger{payload: payload,
		sent: map[uint16]time.Time{}, answered: map[uint16]time.Duration{}, refused: map[uint16]error{}}
	err := in.do(func() (err error) {
		p.socket, err = ping.Open(dst, src, "")
		return err
	})
	if err != nil {
		return nil, err
	}
	p.wg.Go(p.read)
	return p, nil
}

func (p *pinger) close() {
	p.socket.Close()
	p.wg.Wait()
}

// send sends one request and returns its sequence number.
func (p *pinger) send() uint16 {
	p.mu.Lock()
	defer p.mu.Unlock()
	begun := time.Now()
	seq, err := p.socket.Send(p.payload)
	p.seq, p.sent[seq] = seq, begun
	if err != nil {
		p.refused[seq] = err
	}
	return seq
}

func (p *pinger) read() {
	for {
		seq, payload, err := p.socket.Receive(time.Time{})
		if err != nil {
			return
		}
		if bytes.Equal(payload, p.payload) {
			p.take(seq)
		}
	}
}

// take notes the answer to a request, the first that comes.
func (p *pinger) take(seq uint16) {
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

package labnet

import (
	"bytes"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"greseal/platform/ping"
)

// PingPayload is what every ping here carries, to be searched for on the wire:
// it must never be found outside ESP.
var PingPayload = []byte("gresgres")

// Pings is what a ping counted.
type Pings struct{ Sent, Received int }

func (p Pings) String() string { return fmt.Sprintf("%d of %d answered", p.Received, p.Sent) }

// Ping sends count pings, 20 ms apart, and waits at most 2 s for the last.
func (n *NS) Ping(address string, count int) Pings {
	p := n.startPing(address, 20*time.Millisecond, count)
	<-p.done
	got := p.Stop()
	n.lab.Logf("%s: ping to %s: %v", n.Name, address, got)
	return got
}

// MustPing fails the scenario unless every ping is answered.
func (n *NS) MustPing(address string, count int) {
	got := n.Ping(address, count)
	n.lab.Check(got.Received == count, "ping from %s to %s: %v", n.Name, address, got)
}

// MustNotPing fails the scenario if any ping is answered.
func (n *NS) MustNotPing(address string, count int) {
	got := n.Ping(address, count)
	n.lab.Check(got.Received == 0, "ping from %s to %s went through: %v", n.Name, address, got)
}

// WaitPing pings every 10 ms until one is answered.
func (n *NS) WaitPing(address string, limit time.Duration) time.Duration {
	p := n.startPing(address, 10*time.Millisecond, 0)
	defer p.Quit()
	return n.lab.Wait(limit, "ping from "+n.Name+" to "+address, func() bool { return p.Count().Received > 0 })
}

// Pinger is an ICMP echo sent at an interval until it is stopped, with every
// answer matched to its request.
type Pinger struct {
	lab      *Lab
	socket   *ping.Socket
	to       netip.Addr
	sent     []time.Time // the first request has sequence number 1
	answered []bool
	first    time.Time // of the first answer
	stop     chan struct{}
	done     chan struct{}
	once     sync.Once
	mu       sync.Mutex
}

// StartPing sends an echo request every interval until Stop.
func (n *NS) StartPing(address string, interval time.Duration) *Pinger {
	return n.startPing(address, interval, 0)
}

func (n *NS) startPing(address string, interval time.Duration, count int) *Pinger {
	p := &Pinger{lab: n.lab, stop: make(chan struct{}), done: make(chan struct{})}
	var err error
	p.to, err = netip.ParseAddr(address)
	n.lab.Must(err, "ping")
	n.Must("open ICMP socket", func() (err error) {
		p.socket, err = ping.Open(p.to, netip.Addr{}, "")
		return err
	})
	go p.receive()
	go p.send(interval, count)
	return p
}

func (p *Pinger) send(interval time.Duration, count int) {
	defer close(p.done)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		p.mu.Lock()
		p.sent, p.answered = append(p.sent, time.Now()), append(p.answered, false)
		p.mu.Unlock()
		p.socket.Send(bytes.Repeat(PingPayload, 6)) // an error is a ping without an answer
		if count--; count == 0 {
			return
		}
		select {
		case <-p.stop:
			return
		case <-tick.C:
		}
	}
}

func (p *Pinger) receive() {
	for {
		seq, _, err := p.socket.Receive(time.Time{})
		if err != nil {
			return
		}
		p.mu.Lock()
		if at := int(seq) - 1; at >= 0 && at < len(p.answered) {
			p.answered[at] = true
			if p.first.IsZero() {
				p.first = time.Now()
			}
		}
		p.mu.Unlock()
	}
}

// FirstAnswer is when the first answer came; zero before.
func (p *Pinger) FirstAnswer() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.first
}

// Count tells how many were sent and answered so far.
func (p *Pinger) Count() Pings {
	p.mu.Lock()
	defer p.mu.Unlock()
	got := Pings{Sent: len(p.sent)}
	for _, ok := range p.answered {
		if ok {
			got.Received++
		}
	}
	return got
}

// Stop ends the sending, waits up to 2 s for outstanding answers and returns
// the totals. Runs of lost ones are written to the log with their times.
func (p *Pinger) Stop() Pings {
	defer p.Quit()
	p.once.Do(func() { close(p.stop) })
	<-p.done
	for range 100 {
		if got := p.Count(); got.Sent == got.Received {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	got := p.Count()
	for seq, ok := range p.answered {
		if !ok {
			p.lab.Logf("ping %d to %v, sent at %.3f, has no answer", seq, p.to, p.sent[seq].Sub(p.lab.start).Seconds())
		}
	}
	return got
}

// LongestGap is the longest time in which no ping was answered, from the sending
// of the first that was not to that of the next that was.
func (p *Pinger) LongestGap() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	var longest time.Duration
	begin := -1
	for seq, ok := range p.answered {
		switch {
		case !ok && begin < 0:
			begin = seq
		case ok && begin >= 0:
			longest, begin = max(longest, p.sent[seq].Sub(p.sent[begin])), -1
		}
	}
	return longest
}

// Quit ends everything at once, without a count.
func (p *Pinger) Quit() {
	p.once.Do(func() { close(p.stop) })
	<-p.done
	p.socket.Close()
}

package labnet

import (
	"encoding/binary"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"sync"
	"time"
)

// PingPattern is the payload of every ping here, to be searched for on the
// wire: it must never be found outside ESP.
const PingPattern = "67726573"

// PingPayload is PingPattern as it stands on the wire, twice.
var PingPayload = []byte("gresgres")

var pingSummary = regexp.MustCompile(`(\d+) packets transmitted, (\d+) (?:packets )?received`)

// Pings is what a ping counted.
type Pings struct{ Sent, Received int }

func (p Pings) String() string { return fmt.Sprintf("%d of %d answered", p.Received, p.Sent) }

func parsePing(output string) Pings {
	m := pingSummary.FindStringSubmatch(output)
	if m == nil {
		return Pings{}
	}
	sent, _ := strconv.Atoi(m[1])
	received, _ := strconv.Atoi(m[2])
	return Pings{sent, received}
}

// Ping sends count pings, 20 ms apart, and waits at most 2 s for the last.
func (n *NS) Ping(address string, count int, options ...string) Pings {
	argv := append([]string{"ping", "-n", "-c", strconv.Itoa(count), "-i", "0.02", "-W", "2", "-p", PingPattern}, options...)
	return parsePing(n.Run(append(argv, address)...).Stdout)
}

// MustPing fails the scenario unless every ping is answered.
func (n *NS) MustPing(address string, count int, options ...string) {
	got := n.Ping(address, count, options...)
	n.lab.Check(got.Sent == count && got.Received == count, "ping from %s to %s: %v", n.Name, address, got)
}

// WaitPing pings every 100 ms until one is answered.
func (n *NS) WaitPing(address string, limit time.Duration) {
	n.lab.Wait(limit, "ping from "+n.Name+" to "+address, func() bool {
		return n.Run("ping", "-n", "-c", "1", "-W", "1", "-p", PingPattern, address).Code == 0
	})
}

// Pinger is an ICMP echo sent at an interval until it is stopped, with every
// answer matched to its request.
type Pinger struct {
	lab      *Lab
	conn     net.PacketConn
	to       net.Addr
	reply    byte
	sent     []time.Time
	answered []bool
	stop     chan struct{}
	done     chan struct{}
	mu       sync.Mutex
}

// StartPing sends an echo request every interval until Stop.
func (n *NS) StartPing(address string, interval time.Duration) *Pinger {
	p := &Pinger{lab: n.lab, stop: make(chan struct{}), done: make(chan struct{})}
	ip := net.ParseIP(address)
	p.to = &net.IPAddr{IP: ip}
	network, listen, request := "ip4:icmp", "0.0.0.0", byte(8)
	if ip.To4() == nil {
		network, listen, request, p.reply = "ip6:ipv6-icmp", "::", 128, 129
	}
	n.Must("open ICMP socket", func() (err error) {
		p.conn, err = net.ListenPacket(network, listen)
		return err
	})
	id := uint16(time.Now().UnixNano()) | 1
	go p.receive(id)
	go p.send(request, id, interval)
	return p
}

func (p *Pinger) send(request byte, id uint16, interval time.Duration) {
	defer close(p.done)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		p.mu.Lock()
		seq := uint16(len(p.sent))
		p.sent, p.answered = append(p.sent, time.Now()), append(p.answered, false)
		p.mu.Unlock()
		b := []byte{request, 0, 0, 0}
		b = binary.BigEndian.AppendUint16(b, id)
		b = binary.BigEndian.AppendUint16(b, seq)
		for range 6 {
			b = append(b, PingPayload...)
		}
		binary.BigEndian.PutUint16(b[2:], checksum(b)) // for ICMPv6 the kernel writes it
		p.conn.WriteTo(b, p.to)                        // an error is a ping without an answer
		select {
		case <-p.stop:
			return
		case <-tick.C:
		}
	}
}

func (p *Pinger) receive(id uint16) {
	b := make([]byte, 2048)
	for {
		n, _, err := p.conn.ReadFrom(b)
		if err != nil {
			return
		}
		if n < 8 || b[0] != p.reply || binary.BigEndian.Uint16(b[4:]) != id {
			continue
		}
		p.mu.Lock()
		if seq := int(binary.BigEndian.Uint16(b[6:])); seq < len(p.answered) {
			p.answered[seq] = true
		}
		p.mu.Unlock()
	}
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
	close(p.stop)
	<-p.done
	for range 100 {
		if got := p.Count(); got.Sent == got.Received {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	p.conn.Close()
	got := p.Count()
	for seq, ok := range p.answered {
		if !ok {
			p.lab.Logf("ping %d to %v, sent at %.3f, has no answer", seq, p.to, p.sent[seq].Sub(p.lab.start).Seconds())
		}
	}
	return got
}

// checksum is the internet checksum (RFC 1071).
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

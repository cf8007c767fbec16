package demo

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"greseal/platform/inet"
	"greseal/platform/netlink"
	"greseal/platform/rtnl"
)

// needle is something that must not be readable on the wire.
type needle struct {
	what  string
	bytes []byte
}

// tally counts what was captured on one link.
type tally struct {
	packets int
	kinds   [kinds]int
	found   map[string]int // needles, by what they are
	sample  seen           // the longest ESP packet from the left side
	lost    int            // frames the kernel could not hand over
}

// esp is the number of ESP packets, in UDP or not.
func (t tally) esp() int { return t.kinds[kindESP] + t.kinds[kindESPUDP] }

// capture reads every frame on both links of the wire, in and out.
type capture struct {
	needles []needle
	links   []*link
	wg      sync.WaitGroup
}

type link struct {
	name string
	fd   *os.File
	mu   sync.Mutex
	tally
}

func startCapture(wire *namespace, needles []needle) (*capture, error) {
	c := &capture{needles: needles}
	err := wire.netlink(func(h *netlink.Conn) error {
		for _, name := range []string{toLeft, toRight} {
			l, err := rtnl.LinkByName(h, name)
			if err != nil {
				return err
			}
			fd, err := packetSocket(l.Index)
			if err != nil {
				return fmt.Errorf("capture on %s: %w", name, err)
			}
			k := &link{name: name, fd: os.NewFile(uintptr(fd), name)}
			k.found = map[string]int{}
			c.links = append(c.links, k)
		}
		return nil
	})
	if err != nil {
		c.stop()
		return nil, err
	}
	for _, l := range c.links {
		c.wg.Go(func() { c.read(l) })
	}
	return c, nil
}

// packetSocket opens a socket that sees all frames of one interface, both ways.
func packetSocket(index int) (int, error) {
	fd, err := inet.Tap(unix.SOCK_RAW, index)
	if err != nil {
		return -1, err
	}
	// Without the capability the default size has to do; loss is counted.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
	return fd, nil
}

func (c *capture) read(l *link) {
	buf := make([]byte, 1<<17)
	for {
		n, err := l.fd.Read(buf)
		if err != nil {
			if errors.Is(err, unix.ENETDOWN) {
				continue // reported once, when the interface goes down
			}
			return
		}
		c.count(l, buf[:n])
	}
}

func (c *capture) count(l *link, frame []byte) {
	s := parseFrame(frame)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.packets++
	l.kinds[s.kind]++
	for _, n := range c.needles {
		if bytes.Contains(frame, n.bytes) {
			l.found[n.what]++
		}
	}
	if (s.kind == kindESP || s.kind == kindESPUDP) && s.src == leftOuter.Addr() && !s.fragment && len(s.packet) > len(l.sample.packet) {
		s.packet = bytes.Clone(s.packet)
		s.payload = s.packet[len(s.packet)-len(s.payload):]
		l.sample = s
	}
}

// sum adds up both links; each packet that was forwarded counts twice, once on
// each. It asks the kernel for lost frames too.
func (c *capture) sum() tally {
	t := tally{found: map[string]int{}}
	for _, l := range c.links {
		l.mu.Lock()
		l.lost += lostFrames(l.fd)
		t.packets += l.packets
		t.lost += l.lost
		for k, n := range l.kinds {
			t.kinds[k] += n
		}
		for k, n := range l.found {
			t.found[k] += n
		}
		if len(l.sample.packet) > len(t.sample.packet) {
			t.sample = l.sample
		}
		l.mu.Unlock()
	}
	return t
}

// lostFrames returns how many frames the socket lost since it was last asked.
func lostFrames(f *os.File) int {
	rc, err := f.SyscallConn()
	if err != nil {
		return 0
	}
	lost := 0
	_ = rc.Control(func(fd uintptr) {
		if st, err := unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			lost = int(st.Drops)
		}
	})
	return lost
}

// since is what was counted between two sums.
func (t tally) since(old tally) tally {
	t.packets -= old.packets
	t.lost -= old.lost
	for k := range t.kinds {
		t.kinds[k] -= old.kinds[k]
	}
	found := make(map[string]int, len(t.found))
	for k, n := range t.found {
		found[k] = n - old.found[k]
	}
	t.found = found
	return t
}

// forget sets all counters to zero.
func (c *capture) forget() {
	for _, l := range c.links {
		l.mu.Lock()
		lostFrames(l.fd)
		l.tally = tally{found: map[string]int{}}
		l.mu.Unlock()
	}
}

func (c *capture) stop() {
	for _, l := range c.links {
		l.fd.Close()
	}
	c.wg.Wait()
}

package kernel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"greseal/crypto/esp"
	"greseal/crypto/suite"
	"greseal/platform"
)

// The tests run between two routers A and B with a third, W, in between, each in
// a network namespace of its own:
//
//	A 198.18.1.2, 2001:db8:1::2 ── W ── B 198.18.2.2, 2001:db8:2::2
//
// W sees what is on the wire. They need a kernel with GRE and ESP, as in
// build/lab/vm, and are skipped elsewhere.

var kernelOnce = sync.OnceValue(func() *Result { return Probe(nil) })

// needKernel skips a test that this kernel cannot run.
func needKernel(t *testing.T) *Result {
	t.Helper()
	r := kernelOnce()
	if err := r.Usable(); err != nil {
		t.Skipf("this kernel cannot run the kernel datapath (run the test in build/lab/vm): %v", err)
	}
	return r
}

// node is a thread in a network namespace, with a datapath in it.
type node struct {
	t     *testing.T
	name  string
	calls chan func()
	dp    *Datapath
}

func newNode(t *testing.T, name string) *node {
	t.Helper()
	n := &node{t: t, name: name, calls: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its namespace
		err := unix.Unshare(unix.CLONE_NEWNET)
		ready <- err
		if err != nil {
			return
		}
		for f := range n.calls {
			f()
		}
	}()
	if err := <-ready; err != nil {
		t.Skipf("no network namespace: %v", err)
	}
	t.Cleanup(func() { close(n.calls) })
	n.sh("ip link set lo up")
	return n
}

// do runs f in the node's namespace.
func (n *node) do(f func()) {
	done := make(chan struct{})
	n.calls <- func() {
		defer close(done)
		f()
	}
	<-done
}

// try runs a command in the namespace.
func (n *node) try(command string) (out string, err error) {
	n.do(func() {
		f := strings.Fields(command)
		var b []byte
		b, err = exec.Command(f[0], f[1:]...).CombinedOutput()
		out = string(b)
	})
	return out, err
}

// sh runs commands, several of ip(8) in one process: starting one takes long in
// emulation.
func (n *node) sh(commands ...string) (out string) {
	n.t.Helper()
	var batch []string
	for _, c := range commands {
		rest, ok := strings.CutPrefix(c, "ip ")
		if !ok {
			batch = nil
			break
		}
		batch = append(batch, rest)
	}
	var err error
	if len(batch) > 1 {
		n.do(func() {
			cmd := exec.Command("ip", "-batch", "-")
			cmd.Stdin = strings.NewReader(strings.Join(batch, "\n") + "\n")
			var b []byte
			b, err = cmd.CombinedOutput()
			out = string(b)
		})
		if err != nil {
			n.t.Fatalf("%s: %q: %v: %s", n.name, commands, err, out)
		}
		return out
	}
	for _, c := range commands {
		if out, err = n.try(c); err != nil {
			n.t.Fatalf("%s: %s: %v: %s", n.name, c, err, out)
		}
	}
	return out
}

// thread names the node's namespace to ip link set … netns.
func (n *node) thread() (tid int) {
	n.do(func() { tid = unix.Gettid() })
	return tid
}

// lab is the three of them.
type lab struct {
	a, b, w *node
	wire    *wire
}

func newLab(t *testing.T) *lab {
	t.Helper()
	needKernel(t)
	l := &lab{a: newNode(t, "A"), b: newNode(t, "B"), w: newNode(t, "W")}
	for i, n := range []*node{l.a, l.b} {
		i := i + 1
		l.w.sh(fmt.Sprintf("ip link add w%d type veth peer name wan", i),
			fmt.Sprintf("ip link set wan netns %d", n.thread()),
			fmt.Sprintf("ip link set w%d up", i),
			fmt.Sprintf("ip addr add 198.18.%d.1/24 dev w%d", i, i),
			fmt.Sprintf("ip addr add 2001:db8:%d::1/64 dev w%d nodad", i, i))
		n.sh("ip link set wan up",
			fmt.Sprintf("ip addr add 198.18.%d.2/24 dev wan", i),
			fmt.Sprintf("ip addr add 2001:db8:%d::2/64 dev wan nodad", i),
			fmt.Sprintf("ip route add default via 198.18.%d.1", i),
			fmt.Sprintf("ip route add default via 2001:db8:%d::1", i))
	}
	l.w.sh("sysctl -q -w net.ipv4.ip_forward=1", "sysctl -q -w net.ipv6.conf.all.forwarding=1")
	l.a.sh("ping -q -c 1 -W 5 198.18.2.2", "ping -q -c 1 -W 5 2001:db8:2::2") // warms the neighbours
	l.wire = newWire(t, l.w)
	for _, n := range []*node{l.a, l.b} {
		n.open()
	}
	return l
}

// open starts a datapath in the node.
func (n *node) open() {
	n.t.Helper()
	var err error
	n.do(func() {
		n.dp, err = Open(Options{Probe: kernelOnce(), Logger: slog.New(slog.NewTextHandler(testLog{n.t}, nil))})
	})
	must(n.t, err)
	dp := n.dp
	n.t.Cleanup(func() {
		if n.dp == dp {
			must(n.t, dp.Close())
		}
	})
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wire counts what W sees.
type wire struct {
	mu      sync.Mutex
	gre     int
	esp     int
	udpESP  int
	quotes  int    // ICMP errors about anything else than ESP and UDP
	clear   []byte // the last packet of protocol 47, or that quotes
	content []byte // what must not be seen
	found   int
	stop    chan struct{}
	wg      sync.WaitGroup
}

func newWire(t *testing.T, w *node) *wire {
	t.Helper()
	c := &wire{stop: make(chan struct{})}
	var fd int
	var err error
	w.do(func() {
		proto := int(binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL}))
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, proto)
	})
	if err != nil {
		t.Skipf("no packet socket: %v", err)
	}
	c.wg.Add(1)
	go c.read(fd)
	t.Cleanup(func() {
		close(c.stop)
		c.wg.Wait()
		_ = unix.Close(fd)
	})
	return c
}

func (c *wire) read(fd int) {
	defer c.wg.Done()
	b := make([]byte, 65536)
	for {
		select {
		case <-c.stop:
			return
		default:
		}
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if n, _ := unix.Poll(p, 20); n == 0 {
			continue
		}
		n, from, err := unix.Recvfrom(fd, b, 0)
		ll, ok := from.(*unix.SockaddrLinklayer)
		if err != nil || !ok || n < 20 {
			continue
		}
		// In network order. Not every frame is IP: an byte of ARP's MAC
		// addresses may well be 47.
		switch proto := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, ll.Protocol)); {
		case proto == unix.ETH_P_IP && b[0]>>4 == 4, proto == unix.ETH_P_IPV6 && b[0]>>4 == 6 && n >= 40:
			c.see(b[:n])
		}
	}
}

func (c *wire) see(p []byte) {
	proto, payload := p[9], p[20:]
	if p[0]>>4 == 6 {
		proto, payload = p[6], p[40:]
		if proto == 60 && len(payload) > 8 { // destination options before GRE
			proto = payload[0]
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case proto == unix.IPPROTO_GRE:
		c.gre++
		c.clear = append(c.clear[:0], p...)
	case errorAbout(proto, payload):
		c.quotes++
		c.clear = append(c.clear[:0], p...)
	case proto == unix.IPPROTO_ESP:
		c.esp++
	case proto == unix.IPPROTO_UDP && len(payload) > 12 && (binary.BigEndian.Uint16(payload) == 4500 || binary.BigEndian.Uint16(payload[2:]) == 4500) && binary.BigEndian.Uint32(payload[8:]) != 0:
		c.udpESP++
	}
	if len(c.content) > 0 && bytes.Contains(p, c.content) {
		c.found++
	}
}

// errorAbout recognizes an ICMP error that quotes a packet which was inside ESP.
func errorAbout(proto uint8, b []byte) bool {
	if proto != unix.IPPROTO_ICMP && proto != unix.IPPROTO_ICMPV6 || len(b) < 28 {
		return false
	}
	failure := b[0] == 3 || b[0] == 4 || b[0] == 5 || b[0] == 11 || b[0] == 12
	if proto == unix.IPPROTO_ICMPV6 {
		failure = b[0] >= 1 && b[0] <= 4
	}
	about := b[8+9]
	if b[8]>>4 == 6 {
		about = b[8+6]
	}
	return failure && about != unix.IPPROTO_ESP && about != unix.IPPROTO_UDP && about != unix.IPPROTO_ICMP && about != unix.IPPROTO_ICMPV6
}

// counts waits until what was sent is also seen.
func (c *wire) counts() (gre, esp, udpESP int) {
	time.Sleep(100 * time.Millisecond)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gre, c.esp, c.udpESP
}

func (c *wire) noGRE(t *testing.T, when string) {
	t.Helper()
	if gre, _, _ := c.counts(); gre != 0 {
		t.Errorf("%s: %d packets of protocol 47 in the clear on the wire, the last: %x", when, gre, c.clear)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.quotes != 0 {
		t.Errorf("%s: %d ICMP errors quote what was in ESP, the last: %x", when, c.quotes, c.clear)
	}
}

// setup is one kind of tunnel between A and B.
type setup struct {
	name      string
	v6        bool
	ethernet  bool
	transport bool
	encap     bool
	esn       bool
	encr      suite.Transform
	integ     suite.Transform
	key       uint32
	link      string
	inner     int // third byte of the inner addresses
}

var (
	gcm128 = suite.Transform{Type: suite.TypeEncr, ID: suite.ENCR_AES_GCM_16, KeyLen: 128}
	chacha = suite.Transform{Type: suite.TypeEncr, ID: suite.ENCR_CHACHA20_POLY1305}
	cbc256 = suite.Transform{Type: suite.TypeEncr, ID: suite.ENCR_AES_CBC, KeyLen: 256}
	sha256 = suite.Transform{Type: suite.TypeInteg, ID: suite.AUTH_HMAC_SHA2_256_128}
)

func (s setup) outer() (a, b netip.Addr) {
	if s.v6 {
		return netip.MustParseAddr("2001:db8:1::2"), netip.MustParseAddr("2001:db8:2::2")
	}
	return netip.MustParseAddr("198.18.1.2"), netip.MustParseAddr("198.18.2.2")
}

func (s setup) name15() string {
	if s.link == "" {
		return "hq"
	}
	return s.link
}

func (s setup) linkAt(atA bool) platform.Link {
	local, remote := s.outer()
	if !atA {
		local, remote = remote, local
	}
	l := platform.Link{Name: s.name15(), Ethernet: s.ethernet, Local: local, Remote: remote, TTL: 64, MTU: 1360}
	if s.key != 0 {
		l.Key, l.HasKey = s.key, true
	}
	if s.ethernet && !s.v6 {
		l.IgnoreDF = true
	}
	return l
}

// sa is one direction, fromA or the other, as seen by either end.
func (s setup) sa(spi uint32, fromA, atA bool) platform.SA {
	local, remote := s.outer()
	if !atA {
		local, remote = remote, local
	}
	encr := s.encr
	if encr.ID == 0 {
		encr = gcm128
	}
	keyed := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(spi>>(8*(i%4))) ^ byte(i)
		}
		return b
	}
	return platform.SA{
		Link: s.name15(),
		Params: esp.Params{
			SPI: spi, Encr: encr, Integ: s.integ, ESN: s.esn,
			Key: keyed(encr.KeyBytes()), AuthKey: keyed(s.integ.KeyBytes()),
		},
		ChildSA: esp.ChildSA{
			Local: netip.AddrPortFrom(local, 4500), Remote: netip.AddrPortFrom(remote, 4500),
			Encap: s.encap, Transport: s.transport, GRELocal: local, GRERemote: remote,
		},
		ReplayWindow: 1024, Out: fromA == atA,
	}
}

func (n *node) install(sa platform.SA) {
	n.t.Helper()
	var err error
	n.do(func() {
		if sa.Out {
			err = n.dp.InstallOut(sa)
		} else {
			err = n.dp.InstallIn(sa)
		}
	})
	must(n.t, err)
}

func (n *node) remove(key platform.SAKey) (c platform.Counters) {
	n.t.Helper()
	var err error
	n.do(func() { c, err = n.dp.RemoveSA(key) })
	must(n.t, err)
	return c
}

func (n *node) setLink(l platform.Link) (index int) {
	n.t.Helper()
	var err error
	n.do(func() { index, err = n.dp.SetLink(l) })
	must(n.t, err)
	return index
}

// links makes the tunnel's interfaces, with inner addresses 10.N.0.1 and .2.
func (l *lab) links(s setup) {
	_, b := s.outer()
	a, _ := s.outer()
	var err error
	l.a.do(func() { err = l.a.dp.Guard(s.name15(), []netip.Addr{b}) })
	must(l.a.t, err)
	l.b.do(func() { err = l.b.dp.Guard(s.name15(), []netip.Addr{a}) })
	must(l.b.t, err)
	l.a.setLink(s.linkAt(true))
	l.b.setLink(s.linkAt(false))
	l.a.sh(fmt.Sprintf("ip addr add 10.%d.0.1/24 dev %s", s.inner, s.name15()))
	l.b.sh(fmt.Sprintf("ip addr add 10.%d.0.2/24 dev %s", s.inner, s.name15()))
}

// sas installs a Child SA in the order that loses nothing: inbound first.
func (l *lab) sas(s setup, spi uint32) {
	l.b.install(s.sa(spi, true, false))
	l.a.install(s.sa(spi+1, false, true))
	l.a.install(s.sa(spi, true, true))
	l.b.install(s.sa(spi+1, false, false))
}

// ping tells how many of count pings through the tunnel were answered.
func (l *lab) ping(s setup, count int) int {
	return l.pings(s, count, 20*time.Millisecond)()
}

// pings starts pinging; the function it returns waits for the end. ping(8) is no
// use here: it gives the last answer two round trips, which a busy machine
// exceeds.
func (l *lab) pings(s setup, count int, every time.Duration) (answered func() int) {
	t := l.a.t
	t.Helper()
	var fd int
	var err error
	l.a.do(func() { fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP) })
	must(t, err)
	to := &unix.SockaddrInet4{Addr: [4]byte{10, byte(s.inner), 0, 2}}
	done := make(chan int)
	go func() {
		for seq := range count {
			_ = unix.Sendto(fd, echoRequest(uint16(s.inner), uint16(seq)), 0, to) // a guard answers EPERM
			time.Sleep(every)
		}
	}()
	go func() {
		defer func() { _ = unix.Close(fd) }()
		seen := make(map[uint16]bool)
		b := make([]byte, 2048)
		until := time.Now().Add(time.Duration(count)*every + time.Second)
		for len(seen) < count && time.Now().Before(until) {
			p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			if n, _ := unix.Poll(p, 50); n == 0 {
				continue
			}
			n, _, err := unix.Recvfrom(fd, b, unix.MSG_DONTWAIT)
			if err != nil || n < 28 || b[20] != 0 || binary.BigEndian.Uint16(b[24:]) != uint16(s.inner) {
				continue
			}
			seen[binary.BigEndian.Uint16(b[26:])] = true
			until = time.Now().Add(time.Duration(count)*every + 5*time.Second)
		}
		done <- len(seen)
	}()
	return func() int { return <-done }
}

// echoRequest is an ICMP echo request with 100 bytes of a pattern.
func echoRequest(id, seq uint16) []byte {
	b := make([]byte, 108)
	b[0] = 8
	binary.BigEndian.PutUint16(b[4:], id)
	binary.BigEndian.PutUint16(b[6:], seq)
	for i := range 100 {
		b[8+i] = pattern[i%len(pattern)]
	}
	sum := uint32(0)
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(b[2:], ^uint16(sum))
	return b
}

// pattern fills the pings, for W to look for.
var pattern = []byte{0xa5, 0xc3, 0xe1}

// event waits for one event.
func (n *node) event(kind platform.EventKind) (platform.Event, bool) {
	n.t.Helper()
	patience := time.After(5 * time.Second)
	for {
		select {
		case e := <-n.dp.Events():
			if e.Kind == kind {
				return e, true
			}
			n.t.Logf("%s: passed over event %+v", n.name, e)
		case <-patience:
			return platform.Event{}, false
		}
	}
}

// quiet reports an event nobody should have made.
func (n *node) quiet(why string) {
	n.t.Helper()
	select {
	case e := <-n.dp.Events():
		n.t.Errorf("%s: %s: event %+v", n.name, why, e)
	case <-time.After(300 * time.Millisecond):
	}
}

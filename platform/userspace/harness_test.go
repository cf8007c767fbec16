package userspace

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"greseal/crypto/esp"
	"greseal/crypto/suite"
	"greseal/platform"
	"greseal/platform/rtnl"
)

// host is a network namespace with a thread of its own.
type host struct {
	t    *testing.T
	work chan func()
	ns   int
	dp   *Datapath
	v4   netip.Addr
	v6   netip.Addr
}

func newHost(t *testing.T) *host {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: network namespaces of its own")
	}
	h := &host{t: t, work: make(chan func())}
	ready := make(chan error)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // never unlocked: the thread and its namespace end together
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			ready <- err
			return
		}
		fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		h.ns = fd
		ready <- err
		for f := range h.work {
			f()
		}
	}()
	if err := <-ready; err != nil {
		t.Fatalf("a network namespace: %v", err)
	}
	t.Cleanup(func() {
		close(h.work)
		<-ended
		_ = unix.Close(h.ns)
	})
	// No packets but the tests' own.
	h.must(func() error {
		return os.WriteFile("/proc/sys/net/ipv6/conf/default/router_solicitations", []byte("0"), 0)
	})
	h.must(func() error { return linkUp("lo") })
	return h
}

// do runs f in the namespace.
func (h *host) do(f func()) {
	done := make(chan struct{})
	h.work <- func() { defer close(done); f() }
	<-done
}

func (h *host) must(f func() error) {
	h.t.Helper()
	var err error
	h.do(func() { err = f() })
	if err != nil {
		h.t.Fatal(err)
	}
}

func linkUp(name string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(l)
}

func addAddress(link, prefix string) error {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return err
	}
	a, err := netlink.ParseAddr(prefix)
	if err != nil {
		return err
	}
	if a.IP.To4() == nil {
		a.Flags = unix.IFA_F_NODAD
	}
	return netlink.AddrReplace(l, a)
}

// twoHosts are joined by a veth pair "wire" with an MTU of 1500.
func twoHosts(t *testing.T) (a, b *host) {
	t.Helper()
	a, b = newHost(t), newHost(t)
	a.must(func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "wire"
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "wire", PeerNamespace: netlink.NsFd(b.ns)})
	})
	for i, h := range []*host{a, b} {
		h.v4 = netip.AddrFrom4([4]byte{198, 51, 100, byte(i + 1)})
		h.v6 = netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", i+1))
		h.must(func() error {
			if err := addAddress("wire", h.v4.String()+"/24"); err != nil {
				return err
			}
			return linkUp("wire")
		})
		h.must(func() error { return addAddress("wire", h.v6.String()+"/64") })
	}
	return a, b
}

// start opens the host's datapath.
func (h *host) start(o Options) {
	h.t.Helper()
	o.Logger = slog.New(slog.NewTextHandler(testWriter{h.t}, nil))
	h.must(func() (err error) {
		h.dp, err = Open(o)
		return err
	})
	h.t.Cleanup(h.stop)
}

func (h *host) stop() {
	if h.dp != nil {
		h.must(h.dp.Close)
		h.dp = nil
	}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// form is how a tunnel between two hosts looks.
type form struct {
	name         string
	outer6       bool
	gre6         bool // GRE endpoints of tunnel mode
	encap        bool
	transport    bool
	esn          bool
	encr         suite.Transform
	integ        suite.Transform
	link         platform.Link
	window       int
	watch        bool
	fixGRE       bool // GRE endpoints that are not the outer addresses
	softPackets  uint64
	hardPackets  uint64
	swappedInner bool // wrong selectors on the receiving side

	via map[*host]netip.AddrPort // where a host sends to instead of its peer
}

var (
	gcm128 = suite.Transform{Type: suite.TypeEncr, ID: suite.ENCR_AES_GCM_16, KeyLen: 128}
	gcm256 = suite.Transform{Type: suite.TypeEncr, ID: suite.ENCR_AES_GCM_16, KeyLen: 256}
	chacha = suite.Transform{Type: suite.TypeEncr, ID: suite.ENCR_CHACHA20_POLY1305}
	cbc256 = suite.Transform{Type: suite.TypeEncr, ID: suite.ENCR_AES_CBC, KeyLen: 256}
	sha256 = suite.Transform{Type: suite.TypeInteg, ID: suite.AUTH_HMAC_SHA2_256_128}
)

// params makes the keys of one direction; the same arguments, the same keys.
func (f *form) params(spi uint32) esp.Params {
	encr := f.encr
	if encr == (suite.Transform{}) {
		encr = gcm128
	}
	p := esp.Params{SPI: spi, Encr: encr, Integ: f.integ, ESN: f.esn}
	p.Key = make([]byte, encr.KeyBytes())
	p.AuthKey = make([]byte, f.integ.KeyBytes())
	for i := range p.Key {
		p.Key[i] = byte(i) ^ byte(spi)
	}
	for i := range p.AuthKey {
		p.AuthKey[i] = byte(i*7) ^ byte(spi)
	}
	return p
}

const ifName = "seal0"

func (f *form) outer(h *host) netip.Addr {
	if f.outer6 {
		return h.v6
	}
	return h.v4
}

// gre is the host's GRE endpoint.
func (f *form) gre(h *host) netip.Addr {
	switch {
	case f.fixGRE && f.gre6:
		return netip.MustParseAddr(fmt.Sprintf("fd00:47::%d", h.v4.As4()[3]))
	case f.fixGRE:
		return netip.AddrFrom4([4]byte{172, 16, 47, h.v4.As4()[3]})
	}
	return f.outer(h)
}

// sa is one direction of an SA as the host sees it.
func (f *form) sa(h, peer *host, out bool, spi uint32) platform.SA {
	var port uint16
	if f.encap {
		port = 4500
	}
	s := platform.SA{
		ChildSA: esp.ChildSA{
			Local: netip.AddrPortFrom(f.outer(h), port), Remote: netip.AddrPortFrom(f.outer(peer), port),
			Encap: f.encap, Transport: f.transport,
			GRELocal: f.gre(h), GRERemote: f.gre(peer),
		},
		Link: ifName, Out: out, Params: f.params(spi),
	}
	if relay, ok := f.via[h]; ok {
		s.Remote = relay
	}
	if out {
		s.SoftPackets, s.HardPackets = f.softPackets, f.hardPackets
	} else {
		s.ReplayWindow, s.WatchFirstUse = f.window, f.watch
	}
	return s
}

// SPIs of the two directions in the first generation.
const (
	spiAB = 0x1000a0b0
	spiBA = 0x1000b0a0
)

// makeLink gives the host its interface with inner addresses .1 or .2.
func (f *form) makeLink(h, peer *host) {
	h.t.Helper()
	l := f.link
	l.Name, l.Local, l.Remote = ifName, f.outer(h), f.outer(peer)
	if l.MTU == 0 {
		l.MTU = innerMTU
	}
	h.must(func() error {
		_, err := h.dp.SetLink(l)
		return err
	})
	n := h.v4.As4()[3]
	h.must(func() error { return addAddress(ifName, fmt.Sprintf("10.77.0.%d/24", n)) })
	h.must(func() error { return addAddress(ifName, fmt.Sprintf("fd77::%d/64", n)) })
}

// innerMTU fits inside every form over a wire of 1500 bytes.
const innerMTU = 1320

// run shows liveness, and waits until the kernel acts by it.
func (h *host) run(running bool) {
	h.t.Helper()
	h.must(func() error { return h.dp.SetRunning(ifName, running) })
	for range 500 {
		var info *rtnl.Link
		h.must(func() (err error) {
			info, err = rtnl.LinkByName(h.dp.netlink, ifName)
			return err
		})
		if (info.OperState == rtnl.OperUp || info.OperState == rtnl.OperUnknown) == running && info.Running() == running {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	h.t.Errorf("the interface never showed running = %v", running)
}

// tunnel brings up both ends.
func (f *form) tunnel(a, b *host) {
	a.t.Helper()
	for _, h := range []*host{a, b} {
		h.start(Options{})
	}
	f.links(a, b)
}

func (f *form) links(a, b *host) {
	a.t.Helper()
	for _, e := range []struct {
		h, peer *host
		in, out uint32
	}{{a, b, spiBA, spiAB}, {b, a, spiAB, spiBA}} {
		f.makeLink(e.h, e.peer)
		in, out := f.sa(e.h, e.peer, false, e.in), f.sa(e.h, e.peer, true, e.out)
		if f.swappedInner && e.h == b {
			in.GRERemote = netip.MustParseAddr("203.0.113.9")
			in.GRELocal = netip.MustParseAddr("203.0.113.10")
		}
		e.h.must(func() error { return e.h.dp.InstallIn(in) })
		e.h.must(func() error { return e.h.dp.InstallOut(out) })
	}
	a.run(true)
	b.run(true)
}

func inner4(n int) string { return fmt.Sprintf("10.77.0.%d", n) }
func inner6(n int) string { return fmt.Sprintf("fd77::%d", n) }

// command runs a program in the namespace.
func (h *host) command(name string, args ...string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		h.t.Skipf("needs the program %s", name)
	}
	var out bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	h.do(func() { err = cmd.Start() })
	if err == nil {
		err = cmd.Wait()
	}
	return out.String(), err
}

// ping wants n answers to pings with so many bytes. On a busy machine they may
// be late.
func (h *host) ping(to string, n, size int) {
	h.t.Helper()
	out, err := h.command("ping", "-n", "-q", "-i", "0.01", "-c", fmt.Sprint(n), "-s", fmt.Sprint(size), "-w", "15", "-M", "do", to)
	var got int
	if _, tail, ok := strings.Cut(out, "transmitted, "); ok {
		_, _ = fmt.Sscan(tail, &got)
	}
	if err != nil || got < n {
		h.t.Errorf("ping %s with %d octets: %v\n%s", to, size, err, out)
	}
}

// noPing is a ping that must not be answered.
func (h *host) noPing(to string) {
	h.t.Helper()
	if out, err := h.command("ping", "-n", "-q", "-c", "2", "-i", "0.1", "-W", "0.3", to); err == nil {
		h.t.Errorf("ping %s was answered:\n%s", to, out)
	}
}

// transfer sends bytes by TCP from h to peer and compares them.
func (h *host) transfer(peer *host, to string, size int) {
	h.t.Helper()
	var ln net.Listener
	peer.must(func() (err error) {
		ln, err = net.Listen("tcp", net.JoinHostPort(to, "0"))
		return err
	})
	defer ln.Close()
	data := make([]byte, size)
	x := uint32(size)
	for i := range data {
		x = x*1664525 + 1013904223
		data[i] = byte(x >> 24)
	}
	got := make(chan []byte, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			got <- nil
			return
		}
		defer c.Close()
		var b bytes.Buffer
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		_, _ = b.ReadFrom(c)
		got <- b.Bytes()
	}()
	var c net.Conn
	h.must(func() (err error) {
		c, err = net.DialTimeout("tcp", ln.Addr().String(), 5*time.Second)
		return err
	})
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := c.Write(data); err != nil {
		h.t.Error(err)
	}
	c.Close()
	if b := <-got; !bytes.Equal(b, data) {
		h.t.Errorf("TCP to %s: %d octets arrived of %d, or others", to, len(b), size)
	}
}

// datagrams sends one UDP datagram of each size and wants each back the same.
func (h *host) datagrams(peer *host, to string, sizes []int) {
	h.t.Helper()
	var server, client net.PacketConn
	peer.must(func() (err error) {
		server, err = net.ListenPacket("udp", net.JoinHostPort(to, "0"))
		return err
	})
	defer server.Close()
	go func() {
		b := make([]byte, 65536)
		for {
			n, from, err := server.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = server.WriteTo(b[:n], from)
		}
	}()
	h.must(func() (err error) {
		client, err = net.ListenPacket("udp", net.JoinHostPort("", "0"))
		return err
	})
	defer client.Close()
	b := make([]byte, 65536)
	for _, size := range sizes {
		want := make([]byte, size)
		for i := range want {
			want[i] = byte(i*size + i)
		}
		if _, err := client.WriteTo(want, server.LocalAddr()); err != nil {
			h.t.Errorf("UDP with %d octets: %v", size, err)
			continue
		}
		_ = client.SetReadDeadline(time.Now().Add(3 * time.Second))
		n, _, err := client.ReadFrom(b)
		if err != nil || !bytes.Equal(b[:n], want) {
			h.t.Errorf("UDP to %s with %d octets: %d came back, %v", to, size, n, err)
		}
	}
}

func (h *host) counters(out bool, spi uint32) (c platform.Counters) {
	h.t.Helper()
	h.must(func() (err error) {
		c, err = h.dp.SACounters(platform.SAKey{Link: ifName, Out: out, SPI: spi})
		return err
	})
	return c
}

func (h *host) drops() (d platform.Drops) {
	h.t.Helper()
	h.must(func() (err error) {
		d, err = h.dp.LinkDrops(ifName)
		return err
	})
	return d
}

func (h *host) event(kind platform.EventKind) platform.Event {
	h.t.Helper()
	deadline := time.After(5 * time.Second)
	for {
		select {
		case e := <-h.dp.Events():
			if e.Kind == kind {
				return e
			}
			h.t.Logf("another event: %+v", e)
		case <-deadline:
			h.t.Errorf("no event of kind %d came", kind)
			return platform.Event{}
		}
	}
}

// capture sees every packet on the host's end of the wire until stop.
type capture struct {
	fd    int
	quit  chan struct{}
	done  sync.WaitGroup
	mu    sync.Mutex
	kinds map[string]int
	all   [][]byte
}

func (h *host) capture(t *testing.T) *capture {
	t.Helper()
	c := &capture{kinds: make(map[string]int), quit: make(chan struct{})}
	h.must(func() (err error) {
		c.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		l, err := netlink.LinkByName("wire")
		if err != nil {
			return err
		}
		proto := binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL})
		_ = unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20)
		return unix.Bind(c.fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: l.Attrs().Index})
	})
	_ = unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50000})
	c.done.Go(func() {
		b := make([]byte, 70000)
		for {
			n, _, err := unix.Recvfrom(c.fd, b, 0)
			if err == nil {
				c.take(append([]byte(nil), b[:n]...))
				continue
			}
			select {
			case <-c.quit:
				return
			default:
			}
		}
	})
	return c
}

func (c *capture) take(frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kind := "other"
	if len(frame) > 14 {
		var proto byte
		l4 := 0
		switch p := frame[14:]; binary.BigEndian.Uint16(frame[12:]) {
		case 0x0800:
			proto, l4 = p[9], 14+int(p[0]&15)*4
		case 0x86dd:
			proto, l4 = p[6], 54
		}
		switch proto {
		case 47:
			kind = "GRE"
		case 50:
			kind = "ESP"
		case 17:
			kind = "UDP"
			if binary.BigEndian.Uint16(frame[l4+2:]) == 4500 {
				kind = "ESP in UDP"
			}
		}
	}
	c.kinds[kind]++
	c.all = append(c.all, frame)
}

// stop ends the capture and returns how many packets of each kind it saw.
func (c *capture) stop() map[string]int {
	time.Sleep(100 * time.Millisecond) // what is on its way
	close(c.quit)
	c.done.Wait()
	_ = unix.Close(c.fd)
	return c.kinds
}

package ikesock

import (
	"bytes"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"greseal/platform"
)

// inNamespace runs the test on a thread of its own in a new network namespace
// with the loopback device up. The thread ends with the test and takes the
// namespace with it.
func inNamespace(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: a network namespace of its own")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Errorf("unshare: %v", err)
			return
		}
		if err := loopbackUp(); err != nil {
			t.Errorf("lo: %v", err)
			return
		}
		f(t)
	}()
	<-done
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	ifr, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr)
}

func receive(t *testing.T, s *Sockets) platform.Datagram {
	t.Helper()
	select {
	case d := <-s.IKE():
		return d
	case <-time.After(5 * time.Second):
		t.Error("no datagram arrived")
		return platform.Datagram{}
	}
}

func open(t *testing.T, c Config) *Sockets {
	t.Helper()
	s, err := Open(c)
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
	return s
}

// wire is a plain UDP socket that sees what really travels.
type wire struct{ *net.UDPConn }

func (w wire) read(t *testing.T) ([]byte, netip.AddrPort) {
	t.Helper()
	b := make([]byte, 65536)
	_ = w.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, from, err := w.ReadFromUDPAddrPort(b)
	if err != nil {
		t.Error(err)
	}
	return b[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

func listen(t *testing.T, addr string) wire {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
	if err != nil {
		t.Error(err)
		runtime.Goexit()
	}
	return wire{c}
}

var families = []struct {
	name, ours, other string
}{
	{"IPv4", "127.0.0.2", "127.0.0.1"},
	{"IPv6", "::1", "::1"},
}

func TestMessagesKeepTheirAddressesOnBothPortsAndIPVersions(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		s := open(t, Config{ReadNAT: true})
		defer s.Close()
		if !s.HasIPv6() {
			t.Error("the IPv6 sockets are missing")
		}
		for _, f := range families {
			peer := listen(t, netip.AddrPortFrom(netip.MustParseAddr(f.other), 0).String())
			peerAddr := peer.LocalAddr().(*net.UDPAddr).AddrPort()
			for _, port := range []uint16{500, 4500} {
				ours := netip.AddrPortFrom(netip.MustParseAddr(f.ours), port)
				msg := []byte("an IKE message")
				onWire := msg
				if port == 4500 {
					onWire = append([]byte{0, 0, 0, 0}, msg...)
				}

				if _, err := peer.WriteToUDPAddrPort(onWire, ours); err != nil {
					t.Fatal(err)
				}
				d := receive(t, s)
				if d.Local != ours || d.Remote != peerAddr || !bytes.Equal(d.Data, msg) {
					t.Errorf("%s port %d: got %v from %v: %q", f.name, port, d.Local, d.Remote, d.Data)
				}

				for _, df := range []bool{true, false} {
					if err := s.SendIKE(ours, peerAddr, msg, df); err != nil {
						t.Fatal(err)
					}
					got, from := peer.read(t)
					if from != ours || !bytes.Equal(got, onWire) {
						t.Errorf("%s port %d: the wire has %q from %v", f.name, port, got, from)
					}
				}
			}
			peer.Close()
		}
	})
}

func TestKeepalivesAndESPNeverReachTheInbox(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		s := open(t, Config{ReadNAT: true})
		defer s.Close()
		peer := listen(t, "127.0.0.1:0")
		defer peer.Close()
		ours := netip.MustParseAddrPort("127.0.0.1:4500")
		for _, b := range [][]byte{{0xff}, {}, {0, 0, 0}, {0, 0, 0, 0}, []byte("\x00\x00\x10\x00\x00\x00\x00\x01 an ESP packet"), {0, 0, 0, 0, 'i'}} {
			if _, err := peer.WriteToUDPAddrPort(b, ours); err != nil {
				t.Fatal(err)
			}
		}
		if d := receive(t, s); string(d.Data) != "i" {
			t.Errorf("got %q, want the one IKE message", d.Data)
		}
		if n := len(s.IKE()); n != 0 {
			t.Errorf("%d more datagrams came through", n)
		}
	})
}

func TestKeepaliveIsOneOctetFromTheNATPort(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		s := open(t, Config{})
		defer s.Close()
		peer := listen(t, "127.0.0.1:0")
		defer peer.Close()
		to := peer.LocalAddr().(*net.UDPAddr).AddrPort()
		if err := s.SendKeepalive(netip.MustParseAddrPort("127.0.0.1:4500"), to); err != nil {
			t.Fatal(err)
		}
		if got, from := peer.read(t); !bytes.Equal(got, []byte{0xff}) || from.Port() != 4500 {
			t.Errorf("got %x from %v", got, from)
		}
		if err := s.SendKeepalive(netip.MustParseAddrPort("127.0.0.1:500"), to); err == nil {
			t.Error("a keepalive left from port 500")
		}
	})
}

func TestFullInboxDropsAndCounts(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		s := open(t, Config{Inbox: 3})
		peer := listen(t, "127.0.0.1:0")
		defer peer.Close()
		for range 10 {
			if _, err := peer.WriteToUDPAddrPort([]byte("x"), netip.MustParseAddrPort("127.0.0.1:500")); err != nil {
				t.Fatal(err)
			}
		}
		for i := 0; s.IKEDropped() < 7 && i < 500; i++ {
			time.Sleep(10 * time.Millisecond)
		}
		s.Close()
		if s.IKEDropped() != 7 || len(s.IKE()) != 3 {
			t.Errorf("%d dropped, %d kept; want 7 and 3", s.IKEDropped(), len(s.IKE()))
		}
	})
}

func TestNATPortIsLeftToTheCallersReader(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		s := open(t, Config{})
		defer s.Close()
		peer := listen(t, "127.0.0.1:0")
		defer peer.Close()
		if _, err := peer.WriteToUDPAddrPort([]byte("\x00\x00\x00\x00ike"), netip.MustParseAddrPort("127.0.0.1:4500")); err != nil {
			t.Fatal(err)
		}
		fd := s.NATSocket(false).FD
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 5000); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100)
		if n, _, err := unix.Recvfrom(fd, b, 0); err != nil || string(b[:n]) != "\x00\x00\x00\x00ike" {
			t.Errorf("got %q, %v", b[:max(n, 0)], err)
		}
	})
}

func TestPortInUseNamesItsHolder(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		other := listen(t, "127.0.0.1:500")
		defer other.Close()
		_, err := Open(Config{})
		if err == nil {
			t.Fatal("a port was shared with another socket")
		}
		comm, _ := os.ReadFile("/proc/self/comm")
		for _, want := range []string{"UDP port 500", strings.TrimSpace(string(comm)), "stop it"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not say %q", err, want)
			}
		}
	})
}

func TestDFIsSetForEachDatagram(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		s := open(t, Config{})
		defer s.Close()
		raw, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(raw)
		_ = unix.SetsockoptTimeval(raw, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5})
		local, remote := netip.MustParseAddrPort("127.0.0.1:500"), netip.MustParseAddrPort("127.0.0.1:9")
		for _, df := range []bool{true, false, false, true} {
			if err := s.SendIKE(local, remote, []byte("x"), df); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 100)
			if _, _, err := unix.Recvfrom(raw, b, 0); err != nil {
				t.Fatal(err)
			}
			if got := b[6]&0x40 != 0; got != df {
				t.Errorf("DF on the wire is %v, want %v", got, df)
			}
		}
	})
}

func TestSendRefusesWhatItCannotDo(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		s := open(t, Config{})
		remote := netip.MustParseAddrPort("127.0.0.1:9")
		if err := s.SendIKE(netip.MustParseAddrPort("127.0.0.1:501"), remote, []byte("x"), true); err == nil {
			t.Error("a port that was never opened sends")
		}
		if err := s.SendIKE(netip.MustParseAddrPort("192.0.2.1:500"), remote, []byte("x"), true); err == nil {
			t.Error("an address that is not ours sends")
		}
		if err := s.SendIKE(netip.MustParseAddrPort("127.0.0.1:500"), remote, make([]byte, 70000), true); err == nil {
			t.Error("70000 octets were sent")
		}
		s.Close()
		if err := s.SendIKE(netip.MustParseAddrPort("127.0.0.1:500"), remote, []byte("x"), true); err == nil {
			t.Error("a closed socket sends")
		}
	})
}

func TestPortInodesReadsTheKernelsTable(t *testing.T) {
	const table = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  101: 00000000:01F4 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 0
  102: 0100007F:1194 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0000000000000000 0
short line
`
	if got := portInodes(table, 500); len(got) != 1 || got[0] != "4711" {
		t.Errorf("port 500: %v", got)
	}
	if got := portInodes(table, 4500); len(got) != 1 || got[0] != "4712" {
		t.Errorf("port 4500: %v", got)
	}
	if got := portInodes(table, 501); got != nil {
		t.Errorf("port 501: %v", got)
	}
}

// Closing ends the reader, which has nothing to complain about.
func TestCloseEndsTheReaderInSilence(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		var log bytes.Buffer
		s := open(t, Config{ReadNAT: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		for range 2 {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
		if log.Len() > 0 {
			t.Errorf("it says %q", log.String())
		}
	})
}

// What anybody can send waits by itself: however much of it comes, a message of an
// IKE SA finds room. Neither inbox holds more than a few messages of full length.
func TestRequestsOfStrangersWaitByThemselves(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		s := open(t, Config{PortIKE: 10500, PortNAT: 14500, Inbox: 64})
		defer s.Close()
		message := func(exchange, flags byte, spi byte, octets int) platform.Datagram {
			b := make([]byte, octets)
			b[0], b[8], b[18], b[19] = 1, spi, exchange, flags
			return platform.Datagram{Data: b}
		}
		for range 1000 {
			s.Deliver(message(34, 0x08, 0, 300))
		}
		if n := len(s.IKEOpening()); n != 32 || len(s.IKE()) != 0 {
			t.Errorf("%d requests wait, %d other messages", n, len(s.IKE()))
		}
		for name, d := range map[string]platform.Datagram{
			"IKE_SA_INIT response": message(34, 0x20, 7, 300), "INFORMATIONAL": message(37, 0x08, 7, 80), "short": {Data: []byte("x")},
		} {
			if !s.Deliver(d) {
				t.Errorf("%s is dropped", name)
			}
		}
		for range 1000 {
			s.Deliver(message(35, 0x08, 7, 60_000))
		}
		if n := len(s.IKE()); n != 16 {
			t.Errorf("%d messages wait, most of them long", n)
		}
		if !s.Deliver(message(37, 0x08, 7, 80)) {
			t.Error("long messages keep out a short one")
		}
	})
}

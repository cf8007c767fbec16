package userspace

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"greseal/build/packet"
	"greseal/platform"
	"greseal/platform/userspace/vnet"
)

func unsafeBytes(v *unix.Iovec) []byte { return unsafe.Slice(v.Base, int(v.Len)) }

// oldKernel is the real kernel without some of what it can do, or with calls
// that fail.
type oldKernel struct {
	linux
	noOption  map[int]bool // options of UDP that are unknown
	offloads  int          // bits TUNSETOFFLOAD takes
	sendError func(m *mmsghdr) unix.Errno
	mangles   bool    // runs of datagrams
	noVnet    bool    // TUN has no vnet header
	noRun     []uint8 // gso_types that a write to the TUN may not have
}

func (k *oldKernel) openTUN(name string, ethernet, header bool) (int, error) {
	if header && k.noVnet {
		return -1, errKind
	}
	return k.linux.openTUN(name, ethernet, header)
}

func (k *oldKernel) manglesRuns() (string, bool) { return "7.0.3", k.mangles }

func (k *oldKernel) Writev(fd int, iov []unix.Iovec) (int, unix.Errno) {
	if slices.Contains(k.noRun, unsafeBytes(&iov[0])[1]) {
		return 0, unix.EINVAL
	}
	return k.linux.Writev(fd, iov)
}

func (k *oldKernel) setsockopt(fd, level, opt, value int) error {
	if level == unix.IPPROTO_UDP && k.noOption[opt] {
		return unix.ENOPROTOOPT
	}
	return k.linux.setsockopt(fd, level, opt, value)
}

func (k *oldKernel) setOffload(tun, flags int) error {
	if flags&^k.offloads != 0 {
		return unix.EINVAL
	}
	return k.linux.setOffload(tun, flags)
}

func (k *oldKernel) sendmmsg(fd int, m []mmsghdr) (int, unix.Errno) {
	if k.sendError == nil {
		return k.linux.sendmmsg(fd, m)
	}
	// As the kernel does: what came before the failing message has been sent.
	n := 0
	for n < len(m) {
		if e := k.sendError(&m[n]); e != 0 {
			if n == 0 {
				return 0, e
			}
			break
		}
		n++
	}
	return k.linux.sendmmsg(fd, m[:n])
}

// isRun reports that a message asks for UDP segmentation.
func isRun(m *mmsghdr) bool {
	if m.hdr.Controllen == 0 {
		return false
	}
	ctl := unsafe.Slice(m.hdr.Control, int(m.hdr.Controllen))
	for {
		level, typ, _, rest, ok := nextControl(ctl)
		if !ok {
			return false
		}
		if level == unix.IPPROTO_UDP && typ == unix.UDP_SEGMENT {
			return true
		}
		ctl = rest
	}
}

const allOffloads = 0xff

func TestEveryOffloadHasAFallback(t *testing.T) {
	for _, c := range []struct {
		name   string
		off    Offload
		kernel func() *oldKernel
		note   string // a word of the line in status, empty for none
	}{
		{"all that there is", 0, func() *oldKernel { return &oldKernel{offloads: allOffloads} }, ""},
		{"TSO refused by the user", OffTSO, nil, ""},
		{"USO refused by the user", OffUSO, nil, ""},
		{"UDP segmentation refused by the user", OffGSO, nil, ""},
		{"UDP receive merging refused by the user", OffGRO, nil, ""},
		{"joining refused by the user", OffMerge, nil, ""},
		{"no vnet header", OffVnet, nil, ""},
		{"nothing at all", OffTSO | OffUSO | OffGSO | OffGRO | OffMerge | OffVnet, nil, ""},
		{"kernel without UDP_SEGMENT", 0, func() *oldKernel {
			return &oldKernel{offloads: allOffloads, noOption: map[int]bool{unix.UDP_SEGMENT: true}}
		}, "Linux 4.18"},
		{"kernel that mangles runs", 0, func() *oldKernel {
			return &oldKernel{offloads: allOffloads, mangles: true, sendError: func(m *mmsghdr) unix.Errno {
				if isRun(m) {
					return unix.EBADMSG // what is dropped fails the test
				}
				return 0
			}}
		}, "Linux 7.0.3 sends runs"},
		{"kernel without UDP_GRO", 0, func() *oldKernel {
			return &oldKernel{offloads: allOffloads, noOption: map[int]bool{unix.UDP_GRO: true}}
		}, "Linux 5.0"},
		{"kernel without USO", 0, func() *oldKernel {
			return &oldKernel{offloads: tunCsum | tunTSO4 | tunTSO6 | tunTSOECN}
		}, "Linux 6.2"},
		{"kernel without any TUN offload", 0, func() *oldKernel { return &oldKernel{} }, "no segmentation for TUN"},
		{"kernel without vnet header", 0, func() *oldKernel { return &oldKernel{noVnet: true} }, "no vnet header"},
		{"EINVAL for TCP runs to the interface", 0, func() *oldKernel {
			return &oldKernel{offloads: allOffloads, noRun: []uint8{vnet.GSOTCP4, vnet.GSOTCP6}}
		}, "joining TCP packets for the interface is off"},
		{"EINVAL for UDP runs to the interface", 0, func() *oldKernel {
			return &oldKernel{offloads: allOffloads, noRun: []uint8{vnet.GSOUDP}}
		}, "joining UDP packets for the interface is off"},
		{"EIO for runs", 0, func() *oldKernel {
			return &oldKernel{offloads: allOffloads, sendError: func(m *mmsghdr) unix.Errno {
				if isRun(m) {
					return unix.EIO
				}
				return 0
			}}
		}, "each packet is sent by itself"},
		{"EINVAL for runs", 0, func() *oldKernel {
			return &oldKernel{offloads: allOffloads, sendError: func(m *mmsghdr) unix.Errno {
				if isRun(m) {
					return unix.EINVAL
				}
				return 0
			}}
		}, "each packet is sent by itself"},
		{"EAGAIN and EINTR now and then", 0, func() *oldKernel {
			n := 0
			return &oldKernel{offloads: allOffloads, sendError: func(*mmsghdr) unix.Errno {
				n++
				switch n % 7 {
				case 3:
					return unix.EAGAIN
				case 5:
					return unix.EINTR
				}
				return 0
			}}
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := twoHosts(t)
			f := form{encap: true}
			var logs [2]bytes.Buffer
			for i, h := range []*host{a, b} {
				var k kernel = linux{}
				if c.kernel != nil {
					k = c.kernel()
				}
				h.must(func() (err error) {
					h.dp, err = open(Options{Off: c.off, Logger: slog.New(slog.NewTextHandler(&logs[i], nil))}, k)
					return err
				})
				t.Cleanup(h.stop)
			}
			f.links(a, b)
			a.ping(inner4(2), 3, 56)
			a.transfer(b, inner4(2), 4<<20)
			b.transfer(a, inner6(1), 4<<20)
			a.datagrams(b, inner4(2), []int{0, 1, 63, 64, 1000, innerMTU - 28, 9000})
			a.segmentedUDP(b, inner4(2))
			b.segmentedUDP(a, inner4(1))
			for i, h := range []*host{a, b} {
				notes := strings.Join(h.dp.Notes(), "\n")
				if c.note == "" && notes != "" || !strings.Contains(notes, c.note) {
					t.Errorf("notes %q do not say %q", notes, c.note)
				}
				if strings.Count(notes, c.note) > 2 && c.note != "" {
					t.Errorf("said more than once for each IP version: %s", notes)
				}
				if d := h.drops(); d != (platform.Drops{}) {
					t.Errorf("dropped %+v", d)
				}
				h.stop() // nobody writes to the log any more
				if lines := strings.Count(logs[i].String(), "WARN"); lines != strings.Count(notes, "\n")+min(len(notes), 1) {
					t.Errorf("the log has %d warnings for the notes %q:\n%s", lines, notes, &logs[i])
				}
			}
		})
	}
}

// segmentedUDP sends runs of datagrams by UDP_SEGMENT, so that the TUN gives
// large packets, and compares what arrives.
func (h *host) segmentedUDP(peer *host, to string) {
	h.t.Helper()
	var rx, tx int
	addr := netip.MustParseAddr(to)
	peer.must(func() (err error) {
		rx, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		_ = unix.SetsockoptInt(rx, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
		_ = unix.SetsockoptTimeval(rx, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 3})
		return unix.Bind(rx, &unix.SockaddrInet4{Port: 5001})
	})
	defer unix.Close(rx)
	h.must(func() (err error) {
		tx, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		return unix.Connect(tx, &unix.SockaddrInet4{Port: 5001, Addr: addr.As4()})
	})
	defer unix.Close(tx)
	b := make([]byte, 70000)
	for _, c := range []struct{ size, total int }{{1, 60}, {64, 64 * 60}, {500, 20003}, {1292, 1292 * 40}, {1000, 1000}} {
		if err := unix.SetsockoptInt(tx, unix.IPPROTO_UDP, unix.UDP_SEGMENT, c.size); err != nil {
			h.t.Skip("the kernel has no UDP segmentation to make large packets with")
		}
		data := packet.Pattern(c.total, c.size)
		if _, err := unix.Write(tx, data); err != nil {
			h.t.Errorf("%+v: %v", c, err)
			continue
		}
		for off := 0; off < c.total; off += c.size {
			want := data[off:min(off+c.size, c.total)]
			n, _, err := unix.Recvfrom(rx, b, 0)
			for err == unix.EINTR {
				n, _, err = unix.Recvfrom(rx, b, 0)
			}
			if err != nil || !bytes.Equal(b[:n], want) {
				h.t.Errorf("%+v at %d: %d octets, %v", c, off, n, err)
				break
			}
		}
	}
}

func TestKernelsThatMangleRuns(t *testing.T) {
	for release, bad := range map[string]bool{
		"6.18.44-fc-v669": false, "6.12.71": false, "7.0.0": true, "7.0.14-pve": true, "7.1-rc4": true,
		"7.1.4-arch1-1": true, "7.1.5": false, "7.2.0": false, "17.0.1": false, "": false, "router": false,
	} {
		if manglesRuns(release) != bad {
			t.Errorf("%q: %v", release, !bad)
		}
	}
}

// fakeNet is a kernel whose sockets keep what is sent, cut as the kernel would.
type fakeNet struct {
	kernel
	sent  [][]byte
	calls int
	fail  func(m *mmsghdr) unix.Errno
}

func (f *fakeNet) sendmmsg(_ int, m []mmsghdr) (int, unix.Errno) {
	f.calls++
	for i := range m {
		if f.fail != nil {
			if e := f.fail(&m[i]); e != 0 {
				if i == 0 {
					return 0, e
				}
				return i, 0
			}
		}
		b := unsafeBytes(m[i].hdr.Iov)
		size := len(b)
		ctl := unsafe.Slice(m[i].hdr.Control, int(m[i].hdr.Controllen))
		for {
			level, typ, value, rest, ok := nextControl(ctl)
			if !ok {
				break
			}
			if level == unix.IPPROTO_UDP && typ == unix.UDP_SEGMENT {
				size = int(value[0]) | int(value[1])<<8
				if nativeBig {
					size = int(value[1]) | int(value[0])<<8
				}
			}
			ctl = rest
		}
		if (len(b)+size-1)/size > vnet.MaxSegments || len(b) > maxUDPPayload {
			return 0, unix.EINVAL
		}
		for len(b) > 0 {
			n := min(size, len(b))
			f.sent = append(f.sent, bytes.Clone(b[:n]))
			b = b[n:]
		}
	}
	return len(m), 0
}

var nativeBig = func() bool { x := uint16(1); return *(*byte)(unsafe.Pointer(&x)) == 0 }()

// The bytes that leave are the same whatever the kernel refuses.
func TestOutboxSendsTheSameBytesWhateverFails(t *testing.T) {
	sizes := []int{1400, 1400, 1400, 300, 300, 64, 64, 64, 1400, 20, 1400}
	for range 6 {
		sizes = append(sizes, sizes...)
	}
	for range 60 {
		sizes = append(sizes, 1432)
	}
	for _, c := range []struct {
		name   string
		gso    bool
		df     bool
		fail   func() func(m *mmsghdr) unix.Errno
		gsoOff bool
		lost   int
	}{
		{"runs", true, true, nil, false, 0},
		{"without segmentation", false, true, nil, false, 0},
		{"EIO", true, true, func() func(m *mmsghdr) unix.Errno {
			return func(m *mmsghdr) unix.Errno {
				if isRun(m) {
					return unix.EIO
				}
				return 0
			}
		}, true, 0},
		{"EINVAL on a path that may fragment", true, false, func() func(m *mmsghdr) unix.Errno {
			return func(m *mmsghdr) unix.Errno {
				if isRun(m) {
					return unix.EINVAL
				}
				return 0
			}
		}, false, 0},
		{"too large packets alone are lost", true, true, func() func(m *mmsghdr) unix.Errno {
			return func(m *mmsghdr) unix.Errno {
				b := unsafeBytes(m.hdr.Iov)
				if isRun(m) && len(b) > 1432 && len(b)%1432 == 0 || len(b) == 1432 {
					return unix.EMSGSIZE
				}
				return 0
			}
		}, false, 60},
		{"ENOBUFS for the first run", true, true, func() func(m *mmsghdr) unix.Errno {
			done := false
			return func(m *mmsghdr) unix.Errno {
				if !done {
					done = true
					return unix.ENOBUFS
				}
				return 0
			}
		}, false, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			net := new(fakeNet)
			if c.fail != nil {
				net.fail = c.fail()
			}
			o := newOutbox(net, func(int) bool { return true })
			told := 0
			sock := &outSocket{udp: true, off: func(unix.Errno) { told++ }}
			sock.gso.Store(c.gso)
			r, dev := &route{sock: sock, df: c.df}, new(device)
			var want []string
			for i, n := range sizes {
				p := packet.Pattern(n, i)
				copy(o.room(n), p)
				o.commit(r, dev, n, uint8(i/300))
				want = append(want, string(p))
				if o.full() && i%5 == 0 {
					o.flush()
				}
			}
			o.flush()
			at, missing := 0, 0
			for _, p := range want {
				if at < len(net.sent) && string(net.sent[at]) == p {
					at++
				} else {
					missing++
				}
			}
			if at != len(net.sent) || missing != c.lost {
				t.Errorf("%d of %d packets, %d missing, %d not in order", len(net.sent), len(want), missing, len(net.sent)-at)
			}
			if sock.gso.Load() == (c.gsoOff || !c.gso) || c.gsoOff && told != 1 || !c.gsoOff && told != 0 {
				t.Errorf("segmentation on: %v, told %d times", sock.gso.Load(), told)
			}
			lost := dev.tx.tooBig + dev.tx.sendErrors
			if dev.tx.sent != uint64(len(net.sent)) || lost != uint64(c.lost) {
				t.Errorf("counted %+v", dev.tx)
			}
			if c.name == "runs" && net.calls > len(sizes)/20 {
				t.Errorf("%d calls for %d packets", net.calls, len(sizes))
			}
		})
	}
}

func TestNothingIsAllocatedForAPacket(t *testing.T) {
	net := new(fakeNet)
	net.fail = func(*mmsghdr) unix.Errno { return unix.ENOBUFS } // keeps nothing
	w, err := newWorker()
	if err != nil {
		t.Fatal(err)
	}
	defer w.release()
	a := &host{v4: netip.MustParseAddr("192.0.2.1")}
	b := &host{v4: netip.MustParseAddr("192.0.2.2")}
	for _, f := range []form{{encap: true}, {encap: true, transport: true, esn: true, encr: chacha, link: platform.Link{HasKey: true, Sequence: true, Checksum: true}}} {
		dev, sa := testSA(t, &f, a, b)
		dev.Header = true
		e := &egress{worker: w, k: net, events: nil, out: newOutbox(net, w.writable)}
		big := packet.Spec{Flags: vnet.TcpACK, TTL: 64, Payload: packet.Pattern(50000, 0)}.Build()
		p := make([]byte, vnet.HeaderLen, vnet.HeaderLen+len(big))
		h := vnet.Header{Flags: vnet.NeedsCsum, GSOType: vnet.GSOTCP4, GSOSize: 1300, CsumStart: 20, CsumOffset: 16}
		h.Write(p)
		p = append(p, big...)
		if n := testing.AllocsPerRun(50, func() { e.packet(dev, p); e.out.flush() }); n != 0 {
			t.Errorf("%+v: %v allocations for a large packet", f, n)
		}
		if sa.count.Packets != 51*39 {
			t.Errorf("%+v", sa.count)
		}
	}
}

func BenchmarkEgress(b *testing.B) {
	for _, c := range []struct {
		name  string
		total int
	}{{"64 KB of TCP", 57200}, {"64 octets", 36}} {
		b.Run(c.name, func(b *testing.B) {
			net := new(fakeNet)
			net.fail = func(*mmsghdr) unix.Errno { return unix.ENOBUFS }
			w, err := newWorker()
			if err != nil {
				b.Fatal(err)
			}
			defer w.release()
			f := form{encap: true}
			dev, _ := testSA(b, &f, &host{v4: netip.MustParseAddr("192.0.2.1")}, &host{v4: netip.MustParseAddr("192.0.2.2")})
			dev.Header = true
			e := &egress{worker: w, k: net, out: newOutbox(net, w.writable)}
			p := make([]byte, vnet.HeaderLen)
			h := vnet.Header{Flags: vnet.NeedsCsum, GSOType: vnet.GSOTCP4, GSOSize: 1300, CsumStart: 20, CsumOffset: 16}
			h.Write(p)
			p = append(p, packet.Spec{Flags: vnet.TcpACK, TTL: 64, Payload: packet.Pattern(c.total, 0)}.Build()...)
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				e.packet(dev, p)
				if e.out.full() {
					e.out.flush()
				}
			}
		})
	}
}

// testSA is an outbound SA on a device, without a datapath.
func testSA(t testing.TB, f *form, a, b *host) (*device, *outSA) {
	t.Helper()
	link := f.link
	link.Name = ifName
	dev := &device{name: ifName}
	dev.link.Store(&link)
	s := f.sa(a, b, true, spiAB)
	d := &Datapath{}
	sock := &outSocket{udp: true}
	sock.gso.Store(true)
	d.sockets = []boundSocket{{sock, inOne, false}}
	sa, err := d.makeOut(&s, dev)
	if err != nil {
		t.Fatal(fmt.Errorf("an SA: %w", err))
	}
	dev.out.Store(sa)
	return dev, sa
}

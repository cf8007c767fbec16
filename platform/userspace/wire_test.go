package userspace

import (
	"fmt"
	"testing"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"greseal/platform"
)

// Commands of SIOCETHTOOL (linux/ethtool.h).
const (
	ethtoolSTSO = 0x1f
	ethtoolSGSO = 0x24
	ethtoolSGRO = 0x2c
)

// ethtool sets a feature of the host's end of the wire.
func (h *host) ethtool(cmd uint32, on bool) {
	h.t.Helper()
	value := struct{ cmd, data uint32 }{cmd: cmd}
	if on {
		value.data = 1
	}
	req := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: unsafe.Pointer(&value)}
	copy(req.name[:], "wire")
	h.must(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req))); e != 0 {
			return fmt.Errorf("SIOCETHTOOL %#x: %w", cmd, e)
		}
		return nil
	})
}

// The same bytes arrive however the wire treats large packets: as they are, cut
// into segments by the sender's kernel, or cut and joined again by the
// receiver's.
func TestIntegrityOnEveryKindOfWire(t *testing.T) {
	for _, wire := range []struct {
		name     string
		gso, gro bool
	}{{"plain", true, false}, {"segmented", false, false}, {"segmented and joined again", false, true}} {
		for _, f := range []form{{name: "UDP", encap: true}, {name: "raw ESP"}, {name: "Ethernet", encap: true, link: platform.Link{Ethernet: true, Sequence: true}}} {
			t.Run(wire.name+", "+f.name, func(t *testing.T) {
				a, b := twoHosts(t)
				for _, h := range []*host{a, b} {
					h.ethtool(ethtoolSGRO, wire.gro)
					if !wire.gso {
						h.ethtool(ethtoolSTSO, false)
						h.ethtool(ethtoolSGSO, false)
					}
				}
				f.tunnel(a, b)
				a.transfer(b, inner4(2), 16<<20)
				b.transfer(a, inner6(1), 8<<20)
				a.segmentedUDP(b, inner4(2))
				var sizes []int
				for n := 0; n <= innerMTU-28; n += 13 {
					sizes = append(sizes, n)
				}
				a.datagrams(b, inner4(2), sizes)
				for _, h := range []*host{a, b} {
					if d := h.drops(); d.GRE+d.Key+d.NoSA+d.TooBig != 0 {
						t.Errorf("dropped %+v", d)
					}
					for _, note := range h.dp.Notes() {
						t.Errorf("an offload went off: %s", note)
					}
				}
				for _, c := range []platform.Counters{b.counters(false, spiAB), a.counters(false, spiBA)} {
					if c.Replay+c.Integrity+c.Selector+c.Malformed != 0 {
						t.Errorf("%+v", c)
					}
				}
			})
		}
	}
}

// setGSOMaxSegs has a device take one segment at a time.
func setGSOMaxSegs(index int) error {
	l, err := netlink.LinkByIndex(index)
	if err != nil {
		return err
	}
	return netlink.LinkSetGSOMaxSegs(l, 1)
}

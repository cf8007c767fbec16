package userspace

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"greseal/crypto/rate"
	"greseal/platform"
	"greseal/platform/gre"
	"greseal/platform/netlink"
	"greseal/platform/rtnl"
	"greseal/platform/userspace/vnet"
)

// device is the TUN or TAP of one link.
type device struct {
	vnet.Device
	name  string
	index int

	link atomic.Pointer[platform.Link]
	out  atomic.Pointer[outSA] // the SA that carries the traffic
	lost atomic.Bool           // the interface was deleted

	opened time.Time // from which refusals counts

	// Of the loop.
	outs    []*outSA // in the order of their installation
	carrier bool     // as it was last set
	gsoMax  int      // likewise, bytes; 0 without a vnet header

	egress *egress
	token  int32 // among the egress worker's devices
	active bool  // of the egress worker: has something to read

	greSeq   uint32      // of the egress worker
	tx       txCounters  // of the egress worker
	tooBigAt time.Time   // of the egress worker: when the kernel's refusal was told
	refusals rate.Bucket // of the egress worker
	bounce   chan []byte // answers to the peer's keepalives, from ingress to egress
	events   *eventQueue // LinkLost

	// mu is held by the ingress worker that has packets of the link's SAs, and
	// by whoever looks at what these hold.
	mu    sync.Mutex
	order gre.Order
	rx    rxCounters
}

// txCounters count packets on their way out.
type txCounters struct {
	sent       uint64
	noSA       uint64 // there was no outbound SA
	malformed  uint64 // neither IPv4 nor IPv6, or a wrong vnet header
	tooBig     uint64 // more than the path takes
	sendErrors uint64 // refused by the kernel
	answered   uint64 // keepalives of the peer
}

// rxCounters count packets behind the inbound checks of the SA.
type rxCounters struct {
	key      uint64 // GRE key missing, unexpected or wrong
	checksum uint64 // wrong GRE checksum
	sequence uint64 // out of sequence (RFC 2890)
	protocol uint64 // a protocol type this link does not carry
	ecn      uint64 // congestion marked on a packet that knows no ECN (RFC 6040)
	returned uint64 // own keepalives that came back
}

// Offload bits of TUNSETOFFLOAD (linux/if_tun.h).
const (
	tunCsum   = 0x01
	tunTSO4   = 0x02
	tunTSO6   = 0x04
	tunTSOECN = 0x08
	tunUSO4   = 0x20
	tunUSO6   = 0x40
)

// errBusy says that another process has the TUN.
var errBusy = errors.New("another process has opened the interface: is a second greseal running in this network namespace?")

// errKind says that an interface of that name is no TUN, or TAP instead of TUN.
var errKind = errors.New("the interface is of another kind")

// openTUN opens, or makes, the TUN or TAP of a name.
func openTUN(name string, ethernet, header bool) (int, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	switch {
	case err == unix.ENOENT || err == unix.ENODEV || err == unix.ENXIO:
		return -1, fmt.Errorf("/dev/net/tun: the kernel has no TUN, install or load it (kmod-tun) (%w)", err)
	case err != nil:
		return -1, fmt.Errorf("/dev/net/tun: %w", err)
	}
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		flags := uint16(unix.IFF_TUN | unix.IFF_NO_PI)
		if ethernet {
			flags = unix.IFF_TAP | unix.IFF_NO_PI
		}
		if header {
			flags |= unix.IFF_VNET_HDR
		}
		ifr.SetUint16(flags)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if err == nil && header {
		err = unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, vnet.HeaderLen)
	}
	if err == nil {
		return fd, nil
	}
	_ = unix.Close(fd)
	switch err {
	case unix.EBUSY:
		return -1, errBusy
	case unix.EINVAL:
		return -1, errKind
	case unix.EPERM:
		return -1, fmt.Errorf("interface %s: run as root or with CAP_NET_ADMIN (%w)", name, err)
	}
	return -1, fmt.Errorf("interface %s: %w", name, err)
}

// setCarrier shows link state. A device loses its carrier with its daemon, so the link
// mode tells the next one what it was. Kernels before 5.0 have no TUNSETCARRIER.
func (d *device) setCarrier(n *netlink.Conn, on bool) error {
	d.carrier = on
	value := 0
	if on {
		value = 1
	}
	if err := rtnl.SetDormant(n, d.index, !on); err != nil {
		return err
	}
	if err := unix.IoctlSetPointerInt(d.FD, unix.TUNSETCARRIER, value); err == nil {
		return nil
	}
	return rtnl.ChangeLink(n, d.index, 0, 0, nl.NewRtAttr(unix.IFLA_CARRIER, []byte{byte(value)}))
}

func (d *device) setGSOMax(n *netlink.Conn) error {
	return rtnl.ChangeLink(n, d.index, 0, 0, nl.NewRtAttr(unix.IFLA_GSO_MAX_SIZE, nl.Uint32Attr(uint32(d.gsoMax))))
}

// gone notes that the interface was deleted under us.
func (d *device) gone() {
	if d.lost.CompareAndSwap(false, true) {
		d.events.post(platform.Event{Kind: platform.LinkLost, Link: d.name})
	}
}

// tellTooBig says that the kernel's own interface has become too small, once
// in a while.
func (d *device) tellTooBig() {
	if now := time.Now(); d.events != nil && now.Sub(d.tooBigAt) > tooBigAgain {
		d.tooBigAt = now
		d.events.post(platform.Event{Kind: platform.OuterTooBig, Link: d.name, Out: true})
	}
}

// sendFailed counts packets that the outer socket refused.
func (d *device) sendFailed(e unix.Errno, n int) {
	if e == unix.EMSGSIZE {
		d.tx.tooBig += uint64(n)
		d.tellTooBig()
		return
	}
	d.tx.sendErrors += uint64(n)
}

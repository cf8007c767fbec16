package labnet

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// NS is a network namespace: a thread that lives in it and runs what it is
// given, one after the other.
type NS struct {
	Name string
	lab  *Lab
	work chan func()
	fd   int // of the namespace itself
}

// NewNS makes an empty network namespace with lo up. The thread has its own
// mount namespace too, with a /sys that shows the namespace's interfaces and
// nothing that leaks out.
func (l *Lab) NewNS(name string) *NS {
	n := &NS{Name: name, lab: l, work: make(chan func()), fd: -1}
	ready := make(chan error)
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		ready <- n.enter()
		for f := range n.work {
			f()
		}
	}()
	l.Must(<-ready, "make namespace "+name)
	l.Defer(func() {
		close(n.work)
		<-done
		unix.Close(n.fd)
	})
	return n
}

func (n *NS) enter() error {
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare: %w (namespaces need root)", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return fmt.Errorf("mount /sys: %w", err)
	}
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	n.fd = fd
	// No duplicate address detection: addresses, link-local ones included, are
	// usable at once.
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/default/accept_dad", []byte("0"), 0); err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// Do runs f on the namespace's thread: what it opens or starts belongs to the
// namespace. f must not block for long and must not fail the scenario itself.
func (n *NS) Do(f func() error) error {
	result := make(chan error, 1)
	n.work <- func() { result <- f() }
	return <-result
}

// Must is Do that ends the scenario on an error.
func (n *NS) Must(doing string, f func() error) {
	if err := n.Do(f); err != nil {
		n.lab.Failf("%s in namespace %s: %v", doing, n.Name, err)
	}
}

// Sysctl writes a value below /proc/sys.
func (n *NS) Sysctl(key, value string) {
	n.Must("sysctl "+key, func() error {
		return os.WriteFile("/proc/sys/"+strings.ReplaceAll(key, ".", "/"), []byte(value), 0)
	})
}

// Veth joins two namespaces.
func (l *Lab) Veth(a *NS, aName string, b *NS, bName string) {
	a.Must("make veth "+aName, func() error {
		return netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: aName, MTU: 1500, TxQLen: 1000}, PeerName: bName, PeerNamespace: netlink.NsFd(b.fd)})
	})
	a.LinkUp(aName)
	b.LinkUp(bName)
}

// LinkUp sets an interface up.
func (n *NS) LinkUp(name string) {
	n.Must("set "+name+" up", func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(link)
	})
}

// LinkDown sets an interface down.
func (n *NS) LinkDown(name string) {
	n.Must("set "+name+" down", func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return netlink.LinkSetDown(link)
	})
}

// DeleteLink deletes an interface.
func (n *NS) DeleteLink(name string) {
	n.Must("delete "+name, func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return netlink.LinkDel(link)
	})
}

// LinkIndex returns the interface's index, 0 when there is none of that name.
func (n *NS) LinkIndex(name string) int {
	index := 0
	n.Do(func() error {
		if link, err := netlink.LinkByName(name); err == nil {
			index = link.Attrs().Index
		}
		return nil
	})
	return index
}

// Addr puts an address with prefix on an interface, usable at once.
func (n *NS) Addr(name, cidr string) {
	n.Must("add address "+cidr+" to "+name, func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr(cidr)
		if err != nil {
			return err
		}
		if addr.IP.To4() == nil {
			addr.Flags = unix.IFA_F_NODAD
		}
		return netlink.AddrAdd(link, addr)
	})
}

// DelAddr takes an address off again.
func (n *NS) DelAddr(name, cidr string) {
	n.Must("delete address "+cidr+" from "+name, func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr(cidr)
		if err != nil {
			return err
		}
		return netlink.AddrDel(link, addr)
	})
}

// Route adds a route; dst "" is the default route of gw's family, gw "" a
// route straight to the interface.
func (n *NS) Route(dst, gw, dev string) {
	n.Must("add route to "+dst, func() error {
		route := &netlink.Route{}
		if gw != "" {
			route.Gw = net.ParseIP(gw)
		}
		if dev != "" {
			link, err := netlink.LinkByName(dev)
			if err != nil {
				return err
			}
			route.LinkIndex = link.Attrs().Index
		}
		if dst == "" {
			dst = "0.0.0.0/0"
			if route.Gw.To4() == nil {
				dst = "::/0"
			}
		}
		prefix, err := netip.ParsePrefix(dst)
		if err != nil {
			return err
		}
		route.Dst = &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())}
		return netlink.RouteReplace(route)
	})
}

// Readdress replaces an interface's address, as a new lease does; routes by gw
// come back.
func (n *NS) Readdress(name, from, to, gw string) {
	n.DelAddr(name, from)
	n.Addr(name, to)
	n.Route("", gw, name)
}

// Hosts makes names known to the programs that are started in the namespace and
// to those that run already: pairs of name and address.
func (n *NS) Hosts(pairs ...string) {
	text := ""
	for i := 0; i+1 < len(pairs); i += 2 {
		text += pairs[i+1] + " " + pairs[i] + "\n"
	}
	n.file("/etc/hosts", text)
}

// NameServer is the one that programs in the namespace ask.
func (n *NS) NameServer(addr string) { n.file("/etc/resolv.conf", "nameserver "+addr+"\n") }

// file gives the namespace's programs a file of their own in the place of one.
func (n *NS) file(path, text string) {
	own := n.lab.File(filepath.Base(path)+"-"+n.Name, text)
	n.lab.Must(os.Chmod(own, 0o644), "make the file readable")
	n.Must("mount "+path, func() error {
		_ = unix.Unmount(path, unix.MNT_DETACH) // an earlier one
		return unix.Mount(own, path, "", unix.MS_BIND, "")
	})
}

// sysProc makes a child its own process group that dies with the namespace.
func sysProc() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// MTU sets an interface's MTU.
func (n *NS) MTU(name string, mtu int) {
	n.Must("set MTU of "+name, func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return netlink.LinkSetMTU(link, mtu)
	})
}

// NoSegmentation makes an interface send packets as they go over a real wire.
// A veth device otherwise hands over several segments as one large packet,
// which the capture would show as such.
func (n *NS) NoSegmentation(name string) {
	n.Must("switch segmentation offload off on "+name, func() error {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		return netlink.LinkSetGSOMaxSegs(link, 1)
	})
}

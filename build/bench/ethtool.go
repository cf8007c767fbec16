package main

import (
	"fmt"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Commands of SIOCETHTOOL (linux/ethtool.h).
const (
	ethtoolSTSO = 0x1f
	ethtoolSGRO = 0x2c
)

// segmentation switches a device's own segmentation, of TCP and of UDP, on or
// off; with it off, GRO is on.
func segmentation(name string, on bool) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	segments := 1
	if on {
		segments = 65535
	}
	if err := netlink.LinkSetGSOMaxSegs(link, segments); err != nil {
		return err
	}
	if err := ethtool(name, ethtoolSTSO, on); err != nil {
		return err
	}
	return ethtool(name, ethtoolSGRO, !on)
}

func ethtool(name string, cmd uint32, on bool) error {
	value := struct{ cmd, data uint32 }{cmd: cmd}
	if on {
		value.data = 1
	}
	req := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: unsafe.Pointer(&value)}
	copy(req.name[:], name)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req))); e != 0 {
		return fmt.Errorf("ethtool command %#x on %s: %w", cmd, name, e)
	}
	return nil
}

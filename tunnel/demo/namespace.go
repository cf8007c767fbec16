package demo

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"

	"greseal/platform/netlink"
	"greseal/platform/rtnl"
)

// namespace is a network namespace without a name: it lives as long as fd is open
// or a process is in it, so nothing can be left behind.
type namespace struct {
	name string // for messages
	fd   *os.File
}

// newNamespace makes one with its loopback interface up.
func newNamespace(name string) (*namespace, error) {
	n := &namespace{name: name}
	err := onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		var err error
		n.fd, err = os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
		return err
	})
	switch {
	case errors.Is(err, unix.EPERM):
		return nil, errors.New("may not make network namespaces; run the demo as root, in a container with CAP_SYS_ADMIN")
	case errors.Is(err, unix.EINVAL):
		return nil, errors.New("this kernel has no network namespaces (CONFIG_NET_NS)")
	case err != nil:
		return nil, fmt.Errorf("make a network namespace: %w", err)
	}
	if err := n.netlink(func(h *netlink.Conn) error {
		lo, err := rtnl.LinkByName(h, "lo")
		if err != nil {
			return err
		}
		return rtnl.SetUp(h, lo.Index, true)
	}); err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

func (n *namespace) close() { n.fd.Close() }

// onOwnThread runs f on a thread that ends with it, whatever f did to it.
func onOwnThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread dies here
		done <- f()
	}()
	return <-done
}

// do runs f inside the namespace. Sockets that f opens stay in it.
func (n *namespace) do(f func() error) error {
	return onOwnThread(func() error {
		if err := n.enter(); err != nil {
			return err
		}
		return f()
	})
}

func (n *namespace) enter() error {
	if err := unix.Setns(int(n.fd.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the namespace of %s: %w", n.name, err)
	}
	return nil
}

// netlink runs f with a routing netlink socket of the namespace.
func (n *namespace) netlink(f func(*netlink.Conn) error) error {
	return n.do(func() error {
		h, err := netlink.Open(unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		defer h.Close()
		return f(h)
	})
}

// start starts cmd in the namespace. The channel yields its end. The thread that
// started it waits for it, since the death signal of a child is tied to its
// parent's thread.
func (n *namespace) start(cmd *exec.Cmd) (<-chan error, error) {
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := n.enter()
		if err == nil {
			err = cmd.Start()
		}
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	return ended, <-started
}

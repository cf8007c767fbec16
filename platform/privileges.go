package platform

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// keptCapabilities are what a running daemon needs: interfaces, addresses,
// routes, XFRM and sysctls of the network; raw sockets; UDP port 500 again after
// an address change. As root it still reads files that belong to root.
const keptCapabilities = 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_RAW | 1<<unix.CAP_NET_BIND_SERVICE

// ForbidCoreDumps keeps this process's memory, and the secrets in it, out of core
// dumps and away from debuggers that are not root.
func ForbidCoreDumps() error {
	return errors.Join(
		unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0),
		unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}),
	)
}

// DropPrivileges gives up, in every thread and for good, all capabilities but
// keptCapabilities, and with no_new_privs also what a program run from here could
// gain. Children keep the three. An error means that something could not be given
// up; the daemon can go on.
//
// Linux keeps capabilities for each thread, so this goes through the runtime's
// AllThreadsSyscall, which a binary linked with cgo does not have.
func DropPrivileges() error {
	if err := allThreads(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0); err != nil {
		if errors.Is(err, unix.ENOTSUP) {
			return errors.New("privileges are kept: this binary was built with cgo; build it with CGO_ENABLED=0")
		}
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	// The bounding set first: this needs CAP_SETPCAP, which is dropped below.
	// Without it no_new_privs already prevents gaining any.
	var bounding error
	for c := uintptr(0); c < 64; c++ {
		if keptCapabilities&(1<<c) != 0 {
			continue
		}
		err := allThreads(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0)
		if errors.Is(err, unix.EINVAL) {
			break // this kernel's last one was before
		}
		if err != nil && !errors.Is(err, unix.EPERM) {
			bounding = fmt.Errorf("limit the capabilities of children: %w", err)
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		return fmt.Errorf("read the capabilities: %w", err)
	}
	for i := range sets {
		kept := uint32(uint64(keptCapabilities) >> (32 * i))
		sets[i].Permitted &= kept
		sets[i].Effective = sets[i].Permitted
		sets[i].Inheritable &= kept
	}
	if err := allThreads(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&sets[0])), 0); err != nil {
		return fmt.Errorf("give up capabilities: %w", err)
	}
	return bounding
}

//go:uintptrescapes
func allThreads(trap, a1, a2, a3 uintptr) error {
	// prctl takes five arguments, and wants those it does not use to be zero.
	if _, _, e := syscall.AllThreadsSyscall6(trap, a1, a2, a3, 0, 0, 0); e != 0 {
		return e
	}
	return nil
}

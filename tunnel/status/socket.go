package status

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// DefaultSocket is where a daemon answers unless its config says otherwise.
const DefaultSocket = "/var/run/greseal/status.sock"

// maxSocketPath is what sun_path holds less its closing zero.
const maxSocketPath = 107

// listenUnix makes the socket at path. It is born with mode 0600, or 0660 for a
// group: the mode is set on the socket before bind gives it a name, which somebody
// could give to another file afterwards. A file left by a daemon that is gone is
// replaced, anything else is left alone.
func listenUnix(path, group string) (*net.UnixListener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("status socket %s: the path is longer than %d bytes; choose a shorter one", path, maxSocketPath)
	}
	gid, mode := -1, uint32(0o600)
	if group != "" {
		mode = 0o660
		var err error
		if gid, err = lookupGroup(group); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("status socket: %w", err)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if cerr := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), mode) }); cerr != nil {
			return cerr
		}
		return err
	}}
	umask := syscall.Umask(0o117) // a service manager's may take the group's right away
	l, err := lc.Listen(context.Background(), "unix", path)
	syscall.Umask(umask)
	if err != nil {
		return nil, fmt.Errorf("status socket: %w", err)
	}
	ul := l.(*net.UnixListener)
	if gid >= 0 {
		if err := os.Lchown(path, -1, gid); err != nil {
			ul.Close()
			return nil, fmt.Errorf("status socket: give it to group %s: %w", group, err)
		}
	}
	return ul, nil
}

func lookupGroup(name string) (int, error) {
	if gid, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(gid), nil
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, fmt.Errorf("status_group %q: %w; make it or leave status_group out", name, ErrNoGroup)
	}
	return strconv.Atoi(g.Gid)
}

// ErrNoGroup is wrapped by Listen's error when status_group is not known.
var ErrNoGroup = errors.New("no such group on this machine")

// ErrAnswered is wrapped by Listen's error when a daemon answers at the path.
var ErrAnswered = errors.New("another greseal answers there")

// removeStale removes the socket of a daemon that no longer listens.
func removeStale(path string) error {
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("status socket: %w", err)
	}
	if fi.Mode()&fs.ModeSocket == 0 {
		return fmt.Errorf("status socket %s: a file of that name is not a socket; remove it or choose another --socket", path)
	}
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err == nil {
		defer c.Close()
		if err := known(c, path); err != nil {
			return err // and not a daemon whose networks are its own business
		}
		return fmt.Errorf("status socket %s: %w; stop it, or give this one its own --socket", path, ErrAnswered)
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("status socket %s: cannot tell whether a daemon answers there: %w", path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("status socket: %w", err)
	}
	return nil
}

// peer returns who is at the other end as the kernel knows it.
func peer(c *net.UnixConn) (*unix.Ucred, error) {
	rc, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var cerr error
	if err := rc.Control(func(fd uintptr) {
		cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return nil, err
	}
	return cred, cerr
}

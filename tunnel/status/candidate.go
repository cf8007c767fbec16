package status

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Candidate is where a config waits to be run on trial by the daemon that
// answers at socket: a file beside the socket, mode 0600, in memory and not on
// flash. Who writes it holds a lock on it (flock) until the daemon has taken it,
// and nobody removes it: it is cut to nothing when it is done with.
func Candidate(socket string) string { return socket + ".candidate" }

// MaxCandidate bounds the candidate in bytes, for the daemon and its client alike;
// the limit of a config is less.
const MaxCandidate = 8 << 20

// OpenCandidate opens it with the flags of open(2). Others may be able to write to
// the socket's folder (--socket /tmp/…), so that no name in it is trusted: the file
// is root's or the caller's own, for its owner alone, and no link to another.
func OpenCandidate(socket string, flags int) (*os.File, error) {
	return openOwn(Candidate(socket), flags)
}

func openOwn(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("%s is a symbolic link, which greseal did not make; remove it", path)
	}
	if errors.Is(err, unix.ENXIO) { // a FIFO or a socket
		return nil, trusted(path, &unix.Stat_t{})
	}
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(int(f.Fd()), &st); err == nil {
		err = trusted(path, &st)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func trusted(path string, st *unix.Stat_t) error {
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return fmt.Errorf("%s is not a regular file; remove it", path)
	case st.Uid != 0 && int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to user %d, who could read and change what is tried; remove it, and choose a folder for --socket that only root can write to", path, st.Uid)
	case st.Mode&0o077 != 0:
		return fmt.Errorf("%s is accessible to others (mode %04o); remove it", path, st.Mode&0o777)
	case st.Nlink > 1:
		return fmt.Errorf("%s has another name as well; remove it", path)
	}
	return nil
}

// OthersMayReplace reports whether others than root and the caller can replace what
// is in the folder of a socket.
func OthersMayReplace(socket string) bool {
	var st unix.Stat_t
	if unix.Stat(filepath.Dir(socket), &st) != nil {
		return false
	}
	if st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return true
	}
	return st.Mode&0o022 != 0 && st.Mode&unix.S_ISVTX == 0
}

// Digest is the SHA-256 of a config file in hex, by which daemon and client know
// it again.
func Digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

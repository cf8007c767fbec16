package syntax

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// Load reads the file at path, whose name is the package's, under the shared
// lock that libuci takes. A file that is not there is an error that wraps
// fs.ErrNotExist.
func Load(path string) (*Package, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file, as a UCI package must be", path)
	}
	if err := lock(f, syscall.LOCK_SH); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return Parse(path, filepath.Base(path), data)
}

func lock(f *os.File, how int) error {
	for {
		err := syscall.Flock(int(f.Fd()), how)
		switch {
		case err == nil, errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.ENOTSUP):
			return nil // a file system without locks, as libuci takes it
		case !errors.Is(err, syscall.EINTR):
			return fmt.Errorf("locking %s: %w", f.Name(), err)
		}
	}
}

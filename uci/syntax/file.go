package syntax

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
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
		return nil, fmt.Errorf("%s is no regular file; a package of UCI is one", path)
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

// Save writes the package to path as "uci commit" does: under an exclusive lock
// on the old file, into a new one beside it that takes its place when it is
// whole and on the disk. An old file keeps its mode and owner, a new one is made
// 0600. A symbolic link stays one. The old comments are lost.
func Save(path string, p *Package) error {
	data, err := p.Bytes()
	if err != nil {
		return err
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	old, err := os.OpenFile(path, os.O_RDWR, 0)
	switch {
	case err == nil:
		defer old.Close()
		if err := lock(old, syscall.LOCK_EX); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return replace(path, old, data)
}

// replace puts data in the place of old, which is nil when there is none.
func replace(path string, old *os.File, data []byte) (err error) {
	// The leading dot keeps libuci from taking it for a package.
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".uci-*")
	if err != nil {
		return err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if old != nil {
		info, err := old.Stat()
		if err != nil {
			return err
		}
		if owner, ok := info.Sys().(*syscall.Stat_t); ok {
			// Only root can give a file away; who is not keeps it.
			if err := f.Chown(int(owner.Uid), int(owner.Gid)); err != nil && !errors.Is(err, fs.ErrPermission) {
				return err
			}
		}
		if err := f.Chmod(info.Mode().Perm()); err != nil {
			return err
		}
	}
	if _, err = f.Write(data); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err = f.Sync(); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
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

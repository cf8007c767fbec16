package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"greseal/tunnel/config"
)

// keptConfigs is how many good configs are kept.
const keptConfigs = 5

// history is the folder with the last good configs of one file, for root alone:
// FILE.1, FILE.2 and so on, the highest number being the newest.
type history struct{ dir, base string }

// kept is one config in it.
type kept struct {
	number int
	path   string
	when   time.Time
	size   int64
}

func historyOf(file string) history {
	return history{filepath.Join(filepath.Dir(file), "history"), filepath.Base(file)}
}

// list returns what is kept, newest first.
func (h history) list() ([]kept, error) {
	dir, err := os.Open(h.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var all []kept
	for _, name := range names {
		number, ok := strings.CutPrefix(name, h.base+".")
		n, err := strconv.Atoi(number)
		if !ok || err != nil || n < 1 {
			continue
		}
		path := filepath.Join(h.dir, name)
		if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() {
			all = append(all, kept{n, path, info.ModTime(), info.Size()})
		}
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].number > all[j].number })
	return all, nil
}

// add keeps a config unless it is the newest already, and lets the oldest go.
func (h history) add(data []byte) error {
	all, err := h.list()
	if err != nil {
		return err
	}
	if blank(data) || h.newestIs(data) {
		return nil
	}
	next := 1
	if len(all) > 0 {
		next = all[0].number + 1
	}
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return err
	}
	if err := replace(filepath.Join(h.dir, h.base+"."+strconv.Itoa(next)), data, nil); err != nil {
		return err
	}
	for i, k := range all {
		if i >= keptConfigs-1 {
			os.Remove(k.path)
		}
	}
	return nil
}

// newestIs reports whether this is the newest config that is kept.
func (h history) newestIs(data []byte) bool {
	all, err := h.list()
	if err != nil || len(all) == 0 {
		return false
	}
	newest, err := os.ReadFile(all[0].path)
	return err == nil && bytes.Equal(newest, data)
}

// errNoneBefore says that there is nothing to go back to.
var errNoneBefore = errors.New("no earlier config is kept")

// before returns the newest config that differs from current.
func (h history) before(current []byte) (kept, []byte, error) {
	all, err := h.list()
	if err != nil {
		return kept{}, nil, err
	}
	for _, k := range all {
		if data, err := os.ReadFile(k.path); err == nil && !bytes.Equal(data, current) {
			return k, data, nil
		}
	}
	return kept{}, nil, errNoneBefore
}

// remember keeps good configs, oldest first. It is not worth failing for.
func remember(env *Env, file string, configs ...[]byte) {
	h := historyOf(file)
	if h.newestIs(configs[len(configs)-1]) {
		return
	}
	for _, data := range configs {
		if data == nil {
			continue
		}
		if err := h.add(data); err != nil {
			fmt.Fprintf(env.Stderr, "greseal: this config is not kept in %s: %v\n", h.dir, err)
			return
		}
	}
}

// Replace puts data in the place of a file so that after a crash or a power cut
// there is the old or the new one whole, for its owner alone.
func Replace(path string, data []byte) error { return replace(path, data, nil) }

// replace is Replace with owner and mode of like, unless that is nil.
func replace(path string, data []byte, like fs.FileInfo) error {
	err := swap(path, data, func(f *os.File) error {
		if like == nil {
			return f.Sync()
		}
		if st, ok := like.Sys().(*syscall.Stat_t); ok && (int(st.Uid) != os.Geteuid() || int(st.Gid) != os.Getegid()) {
			if err := f.Chown(int(st.Uid), int(st.Gid)); err != nil {
				return err
			}
		}
		return errors.Join(f.Chmod(like.Mode().Perm()), f.Sync())
	})
	if err != nil {
		return err
	}
	if dir, err := os.Open(filepath.Dir(path)); err == nil {
		dir.Sync() // some file systems cannot; the file itself is safe
		dir.Close()
	}
	return nil
}

// swap replaces a file atomically by data, after finish.
// Until then its name begins with a dot, and its mode is 0600.
func swap(path string, data []byte, finish func(*os.File) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(data); err != nil {
		return err
	}
	if err = finish(f); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// replaceConfig is replace for a config file: a mode that would let others read
// its secrets is not kept.
func replaceConfig(path string, data []byte) error {
	like, err := os.Stat(path)
	if err != nil {
		like = nil
	} else if _, err := config.Parse(path, data, like.Mode().Perm()); err != nil {
		like = nil
	}
	err = replace(path, data, like)
	if err != nil && ownMount(path) {
		err = overwrite(path, data)
	}
	if err != nil {
		return fmt.Errorf("%s stays as it was: %w", path, err)
	}
	return nil
}

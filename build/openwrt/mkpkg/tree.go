package main

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// node is a file, link or folder of a package.
type node struct {
	path string      // without a slash at the beginning
	mode fs.FileMode // permission bits, and ModeDir or ModeSymlink
	data []byte
	link string
}

// tree is what a package installs, sorted by path, every folder listed.
type tree []node

func (t *tree) add(n node) {
	for dir := path.Dir(n.path); dir != "."; dir = path.Dir(dir) {
		if t.find(dir) < 0 {
			*t = append(*t, node{path: dir, mode: fs.ModeDir | 0o755})
		}
	}
	if i := t.find(n.path); i >= 0 {
		(*t)[i] = n
	} else {
		*t = append(*t, n)
	}
	slices.SortFunc(*t, func(a, b node) int { return strings.Compare(a.path, b.path) })
}

func (t tree) find(path string) int {
	return slices.IndexFunc(t, func(n node) bool { return n.path == path })
}

// overlay takes in everything below a folder of the checkout. A file is
// executable or not, as git has it; what else a mode may say is set by private.
func (t *tree) overlay(from, to string) error {
	return filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		n := node{path: path.Join(to, filepath.ToSlash(rel)), mode: 0o644}
		st, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case st.Mode()&fs.ModeSymlink != 0:
			n.mode = fs.ModeSymlink | 0o777
			n.link, err = os.Readlink(name)
		case !st.Mode().IsRegular():
			return fmt.Errorf("%s is neither file nor link", name)
		default:
			if st.Mode()&0o100 != 0 {
				n.mode = 0o755
			}
			n.data, err = os.ReadFile(name)
		}
		if err == nil {
			t.add(n)
		}
		return err
	})
}

// private sets the mode of what only root may read.
func (t tree) private(path string, mode fs.FileMode) {
	if i := t.find(path); i >= 0 {
		t[i].mode = t[i].mode&fs.ModeType | mode
	}
}

// size is what the files take up unpacked, in bytes.
func (t tree) size() (n int64) {
	for _, f := range t {
		n += int64(len(f.data))
	}
	return n
}

// files are the absolute paths of what is no folder.
func (t tree) files() (list []string) {
	for _, n := range t {
		if !n.mode.IsDir() {
			list = append(list, "/"+n.path)
		}
	}
	return list
}

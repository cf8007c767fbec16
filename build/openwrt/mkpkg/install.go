package main

import (
	"archive/tar"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// unpacked is a package read back: by the descriptions of the formats, and by
// nothing that wrote it.
type unpacked struct {
	tree    tree
	fields  map[string]string // of control, or of pkginfo by its names
	lists   map[string][]string
	scripts map[string]string
	sum     [32]byte // .apk: of the ADB payload
}

// install unpacks a package into a root folder, as opkg or apk does, without its
// scripts: an existing conffile stays as it is.
func install(file, root string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	u, err := unpack(data)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for _, n := range u.tree {
		if strings.HasPrefix(n.path, "lib/apk/packages/") && strings.HasSuffix(n.path, ".conffiles") {
			u.lists["conffiles"] = strings.Fields(string(n.data))
		}
	}
	for _, n := range u.tree {
		if err := u.put(n, root); err != nil {
			return err
		}
	}
	// Where OpenWrt's helper functions look for the package's files. apk has its scripts
	// in an archive; here they lie beside the list.
	info := filepath.Join(root, "lib/apk/packages", u.fields["name"])
	if strings.HasSuffix(file, ".ipk") {
		info = filepath.Join(root, "usr/lib/opkg/info", u.fields["Package"])
		u.scripts["list"] = strings.Join(u.tree.files(), "\n") + "\n"
	}
	if err := os.MkdirAll(filepath.Dir(info), 0o755); err != nil {
		return err
	}
	for script, text := range u.scripts {
		if err := os.WriteFile(info+"."+script, []byte(text), 0o755); err != nil {
			return err
		}
	}
	return nil
}

func (u *unpacked) put(n node, root string) error {
	if !filepath.IsLocal(n.path) && n.path != "" {
		return fmt.Errorf("the path %q leads out of the root", n.path)
	}
	to := filepath.Join(root, filepath.FromSlash(n.path))
	switch {
	case n.mode.IsDir():
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
		return os.Chmod(to, n.mode.Perm())
	case n.mode&fs.ModeSymlink != 0:
		if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return os.Symlink(n.link, to)
	}
	for _, c := range u.lists["conffiles"] {
		if c == "/"+n.path && exists(to) {
			return nil
		}
	}
	if err := os.WriteFile(to+".new", n.data, n.mode.Perm()); err != nil {
		return err
	}
	if err := os.Chmod(to+".new", n.mode.Perm()); err != nil {
		return err
	}
	return os.Rename(to+".new", to) // the old one may be running
}

func unpack(data []byte) (*unpacked, error) {
	switch {
	case bytes.HasPrefix(data, []byte{0x1f, 0x8b}):
		return unpackIPK(data)
	case bytes.HasPrefix(data, []byte("ADB")):
		return unpackAPK(data)
	}
	return nil, errors.New("neither an .ipk nor an .apk of version 3")
}

func untar(data []byte) (tree, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	var t tree
	r := tar.NewReader(z)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return t, nil
		}
		if err != nil {
			return nil, err
		}
		n := node{path: strings.TrimPrefix(path.Clean(h.Name), "/"), mode: fs.FileMode(h.Mode).Perm(), link: h.Linkname}
		switch h.Typeflag {
		case tar.TypeDir:
			n.mode |= fs.ModeDir
		case tar.TypeSymlink:
			n.mode |= fs.ModeSymlink
		case tar.TypeReg:
			if n.data, err = io.ReadAll(r); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("%s: type %q", h.Name, h.Typeflag)
		}
		if h.Uid != 0 || h.Gid != 0 {
			return nil, fmt.Errorf("%s belongs to %d:%d, not to root", h.Name, h.Uid, h.Gid)
		}
		if n.path != "." {
			t = append(t, n)
		}
	}
}

func unpackIPK(data []byte) (*unpacked, error) {
	outer, err := untar(data)
	if err != nil {
		return nil, err
	}
	u := &unpacked{fields: map[string]string{}, lists: map[string][]string{}, scripts: map[string]string{}}
	for _, n := range outer {
		switch n.path {
		case "debian-binary":
			if string(n.data) != "2.0\n" {
				return nil, fmt.Errorf("version %q of the format", n.data)
			}
		case "data.tar.gz":
			if u.tree, err = untar(n.data); err != nil {
				return nil, err
			}
		case "control.tar.gz":
			control, err := untar(n.data)
			if err != nil {
				return nil, err
			}
			for _, c := range control {
				switch c.path {
				case "control":
					u.fields = stanza(string(c.data))
				case "conffiles":
					u.lists["conffiles"] = strings.Fields(string(c.data))
				default:
					u.scripts[c.path] = string(c.data)
				}
			}
		default:
			return nil, fmt.Errorf("an unknown member %s", n.path)
		}
	}
	return u, nil
}

// stanza reads one description of Packages or control.
func stanza(text string) map[string]string {
	fields := map[string]string{}
	last := ""
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		if strings.HasPrefix(line, " ") {
			fields[last] += "\n" + line[1:]
			continue
		}
		name, value, _ := strings.Cut(line, ": ")
		fields[name], last = value, name
	}
	return fields
}

// adbReader looks values up in an ADB's payload.
type adbReader []byte

var errADB = errors.New("malformed ADB")

func (r adbReader) at(off, n int) []byte {
	if off < 0 || n < 0 || off+n > len(r) {
		panic(errADB)
	}
	return r[off : off+n]
}

func (r adbReader) blob(v uint32) []byte {
	off := int(v & (1<<28 - 1))
	switch v >> 28 {
	case 0:
		return nil
	case 0x8:
		return r.at(off+1, int(r.at(off, 1)[0]))
	case 0x9:
		return r.at(off+2, int(binary.LittleEndian.Uint16(r.at(off, 2))))
	case 0xa:
		return r.at(off+4, int(binary.LittleEndian.Uint32(r.at(off, 4))))
	}
	panic(errADB)
}

func (r adbReader) number(v uint32) uint64 {
	off := int(v & (1<<28 - 1))
	switch v >> 28 {
	case 0:
		return 0
	case 1:
		return uint64(off)
	case 2:
		return uint64(binary.LittleEndian.Uint32(r.at(off, 4)))
	case 3:
		return binary.LittleEndian.Uint64(r.at(off, 8))
	}
	panic(errADB)
}

// slots are those of an object or list, from number 1 on.
func (r adbReader) slots(v uint32) []uint32 {
	if v == 0 {
		return nil
	}
	if v>>28 != 0xe && v>>28 != 0xd {
		panic(errADB)
	}
	off := int(v & (1<<28 - 1))
	n := int(binary.LittleEndian.Uint32(r.at(off, 4))) - 1
	raw := r.at(off+4, 4*n)
	out := make([]uint32, n)
	for i := range out {
		out[i] = binary.LittleEndian.Uint32(raw[4*i:])
	}
	return out
}

// slot is the n-th, 0 when it was cut off.
func slot(slots []uint32, n int) uint32 {
	if n > len(slots) {
		return 0
	}
	return slots[n-1]
}

// adbBlocks takes an ADB file apart.
func adbBlocks(data []byte) (schema uint32, payload []byte, sigs, content [][]byte, err error) {
	if bytes.HasPrefix(data, []byte("ADBd")) {
		if data, err = io.ReadAll(flate.NewReader(bytes.NewReader(data[4:]))); err != nil {
			return 0, nil, nil, nil, err
		}
	}
	if len(data) < 8 || !bytes.HasPrefix(data, []byte("ADB.")) {
		return 0, nil, nil, nil, errADB
	}
	schema = binary.LittleEndian.Uint32(data[4:])
	for data = data[8:]; len(data) > 0; {
		if len(data) < 4 {
			return 0, nil, nil, nil, errADB
		}
		h := binary.LittleEndian.Uint32(data)
		n := int(h & (1<<30 - 1))
		padded := (n + 7) &^ 7
		if n < 4 || padded > len(data) {
			return 0, nil, nil, nil, errADB
		}
		switch body := data[4:n]; h >> 30 {
		case blockADB:
			payload = body
		case blockSig:
			sigs = append(sigs, body)
		case blockData:
			content = append(content, body)
		default:
			return 0, nil, nil, nil, errADB
		}
		data = data[padded:]
	}
	return schema, payload, sigs, content, nil
}

func unpackAPK(data []byte) (u *unpacked, err error) {
	defer func() {
		if r := recover(); r == errADB {
			err = errADB
		} else if r != nil {
			panic(r)
		}
	}()
	schema, payload, _, content, err := adbBlocks(data)
	if err != nil {
		return nil, err
	}
	if schema != schemaPackage {
		return nil, errADB
	}
	r := adbReader(payload)
	root := r.slots(binary.LittleEndian.Uint32(r.at(4, 4)))
	u = &unpacked{scripts: map[string]string{}, sum: sha256.Sum256(payload)}
	u.fields, u.lists = r.info(slot(root, 1))

	// The identity counts the payload with zeroes in its place.
	hash := r.blob(slot(r.slots(slot(root, 1)), 3))
	bare := bytes.Replace(bytes.Clone(payload), hash, make([]byte, len(hash)), 1)
	if sum := sha256.Sum256(bare); len(hash) > len(sum) || !bytes.Equal(hash, sum[:len(hash)]) {
		return nil, errors.New("the package's identity does not fit its content")
	}
	for i, name := range []string{"trigger", "pre-install", "post-install", "pre-deinstall", "post-deinstall", "pre-upgrade", "post-upgrade"} {
		if text := r.blob(slot(r.slots(slot(root, 3)), i+1)); text != nil {
			u.scripts[name] = string(text)
		}
	}
	for i, d := range r.slots(slot(root, 2)) {
		dir := r.slots(d)
		name := string(r.blob(slot(dir, 1)))
		if name != "" {
			u.tree = append(u.tree, node{path: name, mode: fs.ModeDir | r.mode(slot(dir, 2))})
		}
		for j, v := range r.slots(slot(dir, 3)) {
			file := r.slots(v)
			n := node{path: path.Join(name, string(r.blob(slot(file, 1)))), mode: r.mode(slot(file, 2))}
			if target := r.blob(slot(file, 6)); len(target) >= 2 {
				n.mode, n.link = n.mode|fs.ModeSymlink, string(target[2:])
			} else {
				if size := r.number(slot(file, 3)); size > 0 {
					if len(content) == 0 || binary.LittleEndian.Uint32(content[0]) != uint32(i+1) || binary.LittleEndian.Uint32(content[0][4:]) != uint32(j+1) {
						return nil, fmt.Errorf("%s: its content is not where it belongs", n.path)
					}
					n.data, content = content[0][8:], content[1:]
				}
				if sum := sha256.Sum256(n.data); !bytes.Equal(sum[:], r.blob(slot(file, 5))) {
					return nil, fmt.Errorf("%s: its content has another hash", n.path)
				}
			}
			u.tree = append(u.tree, n)
		}
	}
	return u, nil
}

func (r adbReader) mode(v uint32) fs.FileMode {
	return fs.FileMode(r.number(slot(r.slots(v), 1))).Perm()
}

// info reads a package's description.
func (r adbReader) info(v uint32) (map[string]string, map[string][]string) {
	slots := r.slots(v)
	fields, lists := map[string]string{}, map[string][]string{}
	for n, name := range map[int]string{1: "name", 2: "version", 3: "hashes", 4: "description", 5: "arch", 6: "license", 7: "origin"} {
		fields[name] = string(r.blob(slot(slots, n)))
	}
	for n, name := range map[int]string{11: "build-time", 12: "installed-size", 13: "file-size"} {
		fields[name] = fmt.Sprint(r.number(slot(slots, n)))
	}
	for n, name := range map[int]string{15: "depends", 19: "recommends"} {
		for _, d := range r.slots(slot(slots, n)) {
			lists[name] = append(lists[name], string(r.blob(slot(r.slots(d), 1))))
		}
	}
	return fields, lists
}

package main

import (
	"crypto/sha256"
	"encoding/binary"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// apkFile is a finished .apk and what the index says of it.
type apkFile struct {
	name string
	data []byte
	sum  [32]byte // of the ADB payload
	info func(a *adb, hashes uint32, fileSize uint64) uint32
}

// apk packs for apk 3. It is unsigned, as OpenWrt's packages are: the index
// vouches for it.
func (p *pkg) apk(mtime time.Time) (apkFile, error) {
	f := apkFile{name: p.name + "-" + p.version + ".apk"}
	t := p.apkTree()
	f.info = func(a *adb, hashes uint32, fileSize uint64) uint32 { return p.info(a, t, mtime, hashes, fileSize) }

	a := newADB()
	paths, data := apkPaths(a, t, mtime)
	scripts := a.object(0, 0,
		a.text(p.apkScript("default_postinst", p.postinst, false)),
		a.text(p.apkScript("default_prerm", p.prerm, false)),
		a.text("#!/bin/sh\n"+live(p.postrm)), 0,
		a.text(p.apkScript("default_postinst", p.postinst, true)))
	// The identity is a hash of the payload with zeroes in its own place.
	hashes := a.blob(make([]byte, 20))
	at := int(hashes&(1<<28-1)) + 1
	payload := a.root(a.object(f.info(a, hashes, 0), paths, scripts))
	f.sum = sha256.Sum256(payload)
	copy(payload[at:], f.sum[:20])
	f.sum = sha256.Sum256(payload)

	out := block(adbHeader(schemaPackage), blockADB, payload)
	for _, d := range data {
		out = block(out, blockData, d.head, d.content)
	}
	var err error
	f.data, err = deflated(out)
	return f, err
}

// info is the package's description, in the package and in the index.
func (p *pkg) info(a *adb, t tree, mtime time.Time, hashes uint32, fileSize uint64) uint32 {
	arch := p.arch
	if arch == "all" {
		arch = "noarch"
	}
	size := uint32(0)
	if fileSize > 0 {
		size = a.integer(fileSize)
	}
	return a.object(
		a.text(p.name),
		a.text(p.version),
		hashes,
		a.text(p.title),
		a.text(arch),
		a.text(license),
		a.text(origin),
		0, 0, 0, // maintainer, url, commit
		a.integer(uint64(mtime.Unix())),
		a.integer(uint64(max(t.size(), 1))),
		size,
		0,
		dependencies(a, p.depends),
		0, 0, 0,
		dependencies(a, p.recommends),
	)
}

func dependencies(a *adb, names []string) uint32 {
	var slots []uint32
	for _, n := range slices.Sorted(slices.Values(names)) {
		slots = append(slots, a.object(a.text(n)))
	}
	return a.object(slots...)
}

// apkData is the content of one file.
type apkData struct{ head, content []byte }

// apkPaths writes the folders with their files, both sorted, and returns what is
// in them in the same order.
func apkPaths(a *adb, t tree, mtime time.Time) (paths uint32, data []apkData) {
	dirs := []node{{path: "", mode: fs.ModeDir | 0o755}}
	for _, n := range t {
		if n.mode.IsDir() {
			dirs = append(dirs, n)
		}
	}
	slices.SortFunc(dirs, func(x, y node) int { return strings.Compare(x.path, y.path) })
	acls := map[fs.FileMode]uint32{}
	acl := func(mode fs.FileMode) uint32 {
		if acls[mode] == 0 {
			acls[mode] = a.object(a.integer(uint64(mode.Perm())), a.text("root"), a.text("root"))
		}
		return acls[mode]
	}
	var list []uint32
	for i, d := range dirs {
		var in []node
		for _, n := range t {
			dir := path.Dir(n.path)
			if dir == "." {
				dir = ""
			}
			if !n.mode.IsDir() && dir == d.path {
				in = append(in, n)
			}
		}
		slices.SortFunc(in, func(x, y node) int { return strings.Compare(x.path, y.path) })
		var files []uint32
		for j, n := range in {
			base, when := a.text(path.Base(n.path)), a.integer(uint64(mtime.Unix()))
			if n.mode&fs.ModeSymlink != 0 {
				target := a.blob(append(binary.LittleEndian.AppendUint16(nil, 0xa000), n.link...))
				files = append(files, a.object(base, acl(0o777), 0, when, 0, target))
				continue
			}
			sum := sha256.Sum256(n.data)
			size := uint32(0)
			if len(n.data) > 0 {
				size = a.integer(uint64(len(n.data)))
				head := binary.LittleEndian.AppendUint32(nil, uint32(i+1))
				data = append(data, apkData{binary.LittleEndian.AppendUint32(head, uint32(j+1)), n.data})
			}
			files = append(files, a.object(base, acl(n.mode), size, when, a.blob(sum[:])))
		}
		list = append(list, a.object(a.text(d.path), acl(d.mode), a.object(files...)))
	}
	return a.object(list...), data
}

// apkScript is a script as OpenWrt's include/package-pack.mk writes it.
func (p *pkg) apkScript(helper, own string, upgrade bool) string {
	s := "#!/bin/sh\n[ \"${IPKG_NO_SCRIPT}\" = \"1\" ] && exit 0\n"
	if upgrade {
		s += "export PKG_UPGRADE=1\n"
	}
	s += "[ -s ${IPKG_INSTROOT}/lib/functions.sh ] || exit 0\n. ${IPKG_INSTROOT}/lib/functions.sh\n" +
		"export root=\"${IPKG_INSTROOT}\"\nexport pkgname=\"" + p.name + "\"\n"
	if helper == "default_prerm" {
		return s + strings.TrimSuffix(live(own), "exit 0\n") + helper + "\nexit 0\n"
	}
	return s + "add_group_and_user\n" + helper + "\n" + live(own)
}

// apkIndex is packages.adb of a feed, signed.
func apkIndex(files []apkFile, k keys) ([]byte, error) {
	files = slices.SortedFunc(slices.Values(files), func(x, y apkFile) int { return strings.Compare(x.name, y.name) })
	a := newADB()
	var list []uint32
	for _, f := range files {
		list = append(list, f.info(a, a.blob(f.sum[:]), uint64(len(f.data))))
	}
	payload := a.root(a.object(a.text("greseal"), a.object(list...)))
	sig, err := signature(k, schemaIndex, payload)
	if err != nil {
		return nil, err
	}
	out := block(adbHeader(schemaIndex), blockADB, payload)
	return deflated(block(out, blockSig, sig))
}

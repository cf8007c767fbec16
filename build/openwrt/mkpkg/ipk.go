package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// ipkFile is a finished .ipk.
type ipkFile struct {
	name    string
	data    []byte
	control string
}

// ipk packs for opkg: a gzip'd tar of debian-binary, data.tar.gz and
// control.tar.gz, as OpenWrt's scripts/ipkg-build does.
func (p *pkg) ipk(mtime time.Time) (ipkFile, error) {
	f := ipkFile{name: p.name + "_" + p.version + "_" + p.arch + ".ipk", control: p.control()}
	var control tree
	file := func(name, text string, mode fs.FileMode) {
		if text != "" {
			control.add(node{path: name, mode: mode, data: []byte(text)})
		}
	}
	wrapper := func(helper string) string {
		return "#!/bin/sh\n[ \"${IPKG_NO_SCRIPT}\" = \"1\" ] && exit 0\n[ -s ${IPKG_INSTROOT}/lib/functions.sh ] || exit 0\n" +
			". ${IPKG_INSTROOT}/lib/functions.sh\n" + helper + " $0 $@\n"
	}
	file("control", f.control, 0o644)
	if len(p.conffiles) > 0 {
		file("conffiles", strings.Join(p.conffiles, "\n")+"\n", 0o644)
	}
	file("postinst", wrapper("default_postinst"), 0o755)
	file("prerm", wrapper("default_prerm"), 0o755)
	file("postinst-pkg", live(p.postinst), 0o755)
	file("prerm-pkg", live(p.prerm), 0o755)
	if p.postrm != "" {
		file("postrm", "#!/bin/sh\n"+live(p.postrm), 0o755)
	}

	dataTar, err := tarball(p.tree, mtime)
	if err != nil {
		return f, err
	}
	controlTar, err := tarball(control, mtime)
	if err != nil {
		return f, err
	}
	// opkg takes any order; this is ipkg-build's.
	f.data, err = packed(mtime, []node{
		{path: "debian-binary", mode: 0o644, data: []byte("2.0\n")},
		{path: "data.tar.gz", mode: 0o644, data: dataTar},
		{path: "control.tar.gz", mode: 0o644, data: controlTar},
	})
	return f, err
}

// control is the package's description for opkg. The fields SourceName and
// SourceDateEpoch that OpenWrt adds are left out: opkg takes both for Source.
func (p *pkg) control() string {
	var b strings.Builder
	field := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	field("Package", p.name)
	field("Version", p.version)
	field("Depends", strings.Join(p.depends, ", "))
	field("Recommends", strings.Join(p.recommends, ", "))
	field("License", license)
	field("Section", p.section)
	field("Architecture", p.arch)
	field("Installed-Size", fmt.Sprint(p.tree.size()))
	field("Description", strings.Join(append([]string{p.title}, p.description...), "\n "))
	return b.String()
}

// tarball is a tar of a tree as ipkg-build makes it: a "./" before each name,
// the root folder first, everything root's.
func tarball(t tree, mtime time.Time) ([]byte, error) {
	return packed(mtime, append([]node{{path: "", mode: fs.ModeDir | 0o755}}, t...))
}

func packed(mtime time.Time, nodes []node) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, n := range nodes {
		h := &tar.Header{Name: "./" + n.path, Mode: int64(n.mode.Perm()), ModTime: mtime, Format: tar.FormatGNU}
		switch {
		case n.mode.IsDir():
			h.Typeflag = tar.TypeDir
			h.Name = strings.TrimSuffix(h.Name, "/") + "/"
		case n.mode&fs.ModeSymlink != 0:
			h.Typeflag, h.Linkname = tar.TypeSymlink, n.link
		default:
			h.Typeflag, h.Size = tar.TypeReg, int64(len(n.data))
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(n.data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return gzipped(b.Bytes())
}

// gzipped is gzip -9n.
func gzipped(data []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// ipkIndex is the Packages file of a feed.
func ipkIndex(files []ipkFile) []byte {
	var b strings.Builder
	for _, f := range files {
		head, description, _ := strings.Cut(f.control, "Description: ")
		fmt.Fprintf(&b, "%sFilename: %s\nSize: %d\nSHA256sum: %x\nDescription: %s\n", head, f.name, len(f.data), sha256.Sum256(f.data), description)
	}
	return []byte(b.String())
}

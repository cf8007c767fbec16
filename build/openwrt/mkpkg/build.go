package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// builder makes everything below out.
type builder struct {
	top, out         string
	version, release string // of greseal, of the packages
	time             time.Time
	keys             keys
	binaries         map[string][]byte
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// compile builds one static binary; architectures share them.
func (b *builder) compile(a arch) ([]byte, error) {
	if data := b.binaries[a.binary()]; data != nil {
		return data, nil
	}
	out, err := filepath.Abs(filepath.Join(b.out, "bin", a.binary()))
	if err != nil {
		return nil, err
	}
	fmt.Println("  go build", a.binary())
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -buildid= -X main.version="+b.version, "-o", out, ".")
	cmd.Dir = b.top
	cmd.Env = append(os.Environ(), append(strings.Fields(a.env), "CGO_ENABLED=0", "GOOS=linux")...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("go build: %w", err)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		return nil, err
	}
	if b.binaries == nil {
		b.binaries = map[string][]byte{}
	}
	b.binaries[a.binary()] = data
	return data, nil
}

// architecture makes the folder of one architecture, a feed for opkg and for apk.
func (b *builder) architecture(a arch) error {
	binary, err := b.compile(a)
	if err != nil {
		return err
	}
	list, err := b.packages(a, binary)
	if err != nil {
		return err
	}
	dir := filepath.Join(b.out, a.name)
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var ipks []ipkFile
	var apks []apkFile
	for _, p := range list {
		i, err := p.ipk(b.time)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		k, err := p.apk(b.time)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		for name, data := range map[string][]byte{i.name: i.data, k.name: k.data} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
				return err
			}
		}
		ipks, apks = append(ipks, i), append(apks, k)
		if p.arch != "all" {
			fmt.Printf("  %-28s %8d bytes unpacked, .ipk %8d, .apk %8d\n", a.name, p.tree.size(), len(i.data), len(k.data))
		}
	}
	index := ipkIndex(ipks)
	packed, err := gzipped(index)
	if err != nil {
		return err
	}
	adb, err := apkIndex(apks, b.keys)
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{
		"Packages": index, "Packages.gz": packed, "Packages.sig": b.keys.usign(index), "packages.adb": adb,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// writeKeys puts the public keys beside the feeds, by the names that opkg and apk
// want them in /etc/opkg/keys and /etc/apk/keys.
func (b *builder) writeKeys() error {
	pem, err := b.keys.apkPublic()
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{b.keys.fingerprint(): b.keys.usignPublic(), "greseal.pem": pem} {
		if err := os.WriteFile(filepath.Join(b.out, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

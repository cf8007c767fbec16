package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// builder makes everything below out.
type builder struct {
	top, out, binaries string
	release            string // version of the packages
	time               time.Time
	keys               keys
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// binary reads what make has built for an architecture.
func (b *builder) binary(a arch) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(b.binaries, "greseal-linux-"+a.target))
	if err != nil {
		return nil, fmt.Errorf("%w; run: make packages", err)
	}
	return data, nil
}

// architecture makes the folder of one architecture, a feed for opkg and for apk.
func (b *builder) architecture(a arch) error {
	binary, err := b.binary(a)
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

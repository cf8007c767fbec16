// Command mkpkg builds greseal's packages for OpenWrt without its SDK: .ipk for
// opkg and .apk (format 3) for apk, for every architecture name, with signed
// indexes, one folder an architecture that can serve as a feed as it is. The same
// commit gives the same bytes.
//
//	mkpkg build [flags]        packages and indexes into -out
//	mkpkg install FILE ROOT    unpack one package as opkg or apk does
//
// The facts about both formats: OpenWrt's scripts/ipkg-build and
// include/package-pack.mk, and apk-tools' doc/apk-v3.5.scd.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mkpkg:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 3 && args[0] == "install" {
		return install(args[1], args[2])
	}
	if len(args) == 0 || args[0] != "build" {
		return fmt.Errorf("use: mkpkg build [flags], or mkpkg install FILE ROOT")
	}
	home, _ := os.UserHomeDir()
	b := builder{}
	fs := flag.NewFlagSet("build", flag.ContinueOnError)
	fs.StringVar(&b.top, "top", ".", "`FOLDER` of the checkout")
	fs.StringVar(&b.out, "out", "out/packages", "`FOLDER` for the result")
	fs.StringVar(&b.binaries, "binaries", "out", "`FOLDER` of the binaries that make has built")
	version := fs.String("version", "", "`VERSION` as git describe gives it")
	keys := fs.String("keys", filepath.Join(home, ".config/greseal-packages"), "`FOLDER` of the signing keys, made on first use")
	epoch := fs.Int64("epoch", 0, "`SECONDS` since 1970 of the commit, the time of every file")
	only := fs.String("arch", "", "only these architectures, `NAMES` with commas between")
	if err := fs.Parse(args[1:]); err != nil {
		return err
	}
	if *version == "" || *epoch <= 0 {
		return fmt.Errorf("-version and -epoch are needed: those of the commit")
	}
	b.time = time.Unix(*epoch, 0).UTC()
	var err error
	if b.release, err = packageVersion(*version, b.time); err != nil {
		return err
	}
	if b.keys, err = loadKeys(*keys); err != nil {
		return err
	}
	names := strings.Split(*only, ",")
	for _, a := range architectures {
		if *only != "" && !contains(names, a.name) {
			continue
		}
		if err := b.architecture(a); err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
	}
	return b.writeKeys()
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

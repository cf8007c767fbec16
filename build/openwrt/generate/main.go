// Command generate writes what OpenWrt's packages say of each key of the
// schema: the options that the protocol handler declares to netifd, the table of
// LuCI's form, and then the translation templates of the LuCI packages and what
// the translations have of them.
package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
)

//go:generate go run .

func main() {
	for _, f := range files {
		if err := f.update(); err != nil {
			fmt.Fprintln(os.Stderr, "generate:", err)
			os.Exit(1)
		}
	}
}

// file is one that is generated as a whole or in part, made from what it is now.
type file struct {
	name string
	make func(now []byte) ([]byte, error)
}

// files are in the order in which they are made: templates hold what the form says.
var files = slices.Concat([]file{
	{"../root/greseal/lib/netifd/proto/greseal.sh", func(now []byte) ([]byte, error) {
		return between(now, "\t# BEGIN GENERATED options\n", "\t# END GENERATED\n", declarations())
	}},
	{"../luci/luci-proto-greseal/htdocs/luci-static/resources/protocol/greseal.js", func(now []byte) ([]byte, error) {
		return between(now, "/* BEGIN GENERATED options */\n", "/* END GENERATED */\n", table())
	}},
}, translations("../luci/luci-app-greseal", "greseal"), translations("../luci/luci-proto-greseal", "luci-proto-greseal"))

func (f *file) update() error {
	now, err := os.ReadFile(f.name)
	if err != nil {
		return err
	}
	text, err := f.make(now)
	if err != nil {
		return fmt.Errorf("%s: %w", f.name, err)
	}
	return os.WriteFile(f.name, text, 0o644)
}

// between replaces what stands between two lines.
func between(text []byte, from, to, middle string) ([]byte, error) {
	before, rest, ok := bytes.Cut(text, []byte(from))
	_, after, ok2 := bytes.Cut(rest, []byte(to))
	if !ok || !ok2 {
		return nil, fmt.Errorf("no place between %q and %q", from, to)
	}
	return fmt.Appendf(nil, "%s%s%s%s%s", before, from, middle, to, after), nil
}

package main

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"greseal/build/openwrt/po"
)

// pkg is one package before it takes either format.
type pkg struct {
	name, version, arch string // arch "all" for one without machine code
	section             string
	title               string   // one line
	description         []string // more lines
	depends, recommends []string
	tree                tree
	conffiles           []string // shipped files that a user edits
	postinst, prerm     string   // shell, on a running router only
	postrm              string
}

const (
	license = "MIT"
	origin  = "greseal"
)

// recommended is what the datapaths need of the kernel. None is required: with
// kmod-tun alone everything works in userspace, without it in the kernel, and
// greseal status says what is missing.
var recommended = []string{
	"kmod-crypto-chacha20poly1305", "kmod-crypto-gcm", "kmod-gre", "kmod-gre6", "kmod-ipsec4", "kmod-ipsec6", "kmod-tun",
}

// Removing the package takes away what an update leaves: guards and unreachable
// routes.
const gresealPrerm = `[ "$PKG_UPGRADE" = 1 ] || /usr/sbin/greseal down --all --open >/dev/null 2>&1
`

const gresealPostinst = `[ -x /etc/init.d/rpcd ] && /etc/init.d/rpcd reload
[ "$PKG_UPGRADE" = 1 ] || echo "greseal: for interfaces with proto greseal run once: /etc/init.d/network restart"
`

// The same on the way in and out.
const luciPostinst = `rm -f /tmp/luci-indexcache.*
rm -rf /tmp/luci-modulecache
[ -x /etc/init.d/rpcd ] && /etc/init.d/rpcd reload
`

// rpcd keeps objects and access lists of files that have gone until it is told.
const rpcdPostrm = `[ -x /etc/init.d/rpcd ] && /etc/init.d/rpcd reload
`

// packages are those of one architecture.
func (b *builder) packages(a arch, binary []byte) ([]*pkg, error) {
	at := func(folder string) string { return filepath.Join(b.top, "build/openwrt", folder) }
	main := &pkg{
		name: "greseal", arch: a.name, section: "net",
		title: "GRE and IPsec in one",
		description: []string{
			"Tunnels of GRE in IPsec (IKEv2 and ESP), each a network interface that",
			"is keyed, encrypted and kept up by one daemon. Uses the kernel's GRE and",
			"XFRM where they are installed, else a datapath of its own.",
		},
		recommends: recommended,
		conffiles:  []string{"/etc/config/greseal"},
		postinst:   gresealPostinst, prerm: gresealPrerm, postrm: rpcdPostrm,
	}
	if err := main.tree.overlay(at("root/greseal"), ""); err != nil {
		return nil, err
	}
	main.tree.add(node{path: "usr/sbin/greseal", mode: 0o755, data: binary})
	main.tree.add(node{path: "etc/greseal", mode: fs.ModeDir | 0o755})
	main.tree.private("etc/greseal", 0o700)
	main.tree.private("etc/config/greseal", 0o600)

	app := &pkg{
		name: "luci-app-greseal", arch: "all", section: "luci",
		title:       "LuCI: status of GRE over IPsec tunnels",
		description: []string{"The page Status, GRE/IPsec: every tunnel, why one is down, and what to do."},
		depends:     []string{"greseal", "luci-base"}, postinst: luciPostinst, postrm: luciPostinst,
	}
	proto := &pkg{
		name: "luci-proto-greseal", arch: "all", section: "luci",
		title:       "LuCI: interfaces with the protocol GRE over IPsec",
		description: []string{"The protocol GRE over IPsec in Network, Interfaces."},
		depends:     []string{"greseal", "luci-base"}, postinst: luciPostinst, postrm: luciPostinst,
	}
	for _, p := range []*pkg{app, proto} {
		for folder, to := range map[string]string{"htdocs": "www", "root": "", "ucode": "usr/share/ucode/luci"} {
			from := filepath.Join(at("luci"), p.name, folder)
			if exists(from) {
				if err := p.tree.overlay(from, to); err != nil {
					return nil, err
				}
			}
		}
	}
	all := []*pkg{main, app, proto}
	for _, l := range po.Languages {
		p, err := translation(at("luci"), l)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	var list []*pkg
	for _, p := range all {
		p.version = b.release
		if len(p.tree) > 0 {
			list = append(list, p)
		}
	}
	return list, nil
}

// translation is the package of one language, named and filled as luci.mk does, but
// with what is said in both LuCI packages. Like those of LuCI it has no script of
// its own: default_postinst runs what it finds in uci-defaults.
func translation(luci string, l po.Language) (*pkg, error) {
	p := &pkg{
		name: "luci-i18n-greseal-" + l.Code, arch: "all", section: "luci",
		title:       "luci-app-greseal, luci-proto-greseal - " + l.Code + " translation",
		description: []string{"Translation for luci-app-greseal and luci-proto-greseal - " + l.Title},
		depends:     []string{"luci-app-greseal"},
	}
	files, err := filepath.Glob(filepath.Join(luci, "*/po", l.Folder, "*.po"))
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		entries, err := po.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		lmo, err := po.LMO(entries)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		name := strings.TrimSuffix(filepath.Base(f), "po") + l.Code + ".lmo"
		p.tree.add(node{path: "usr/lib/lua/luci/i18n/" + name, mode: 0o644, data: lmo})
	}
	p.tree.add(node{path: "etc/uci-defaults/" + p.name, mode: 0o644, data: []byte(
		"uci set luci.languages." + strings.ReplaceAll(l.Code, "-", "_") + "='" + l.Title + "'; uci commit luci\n")})
	return p, nil
}

// scripts are those of a package, run with PKG_UPGRADE=1 and arguments as
// OpenWrt does. An image builder has set root: nothing runs there.
func live(script string) string {
	if script == "" {
		return ""
	}
	return "[ -n \"${IPKG_INSTROOT}\" ] || {\n\t" + strings.ReplaceAll(strings.TrimSuffix(script, "\n"), "\n", "\n\t") + "\n}\nexit 0\n"
}

// apkTree is the tree of an .apk: it carries the lists that OpenWrt's helper
// functions read in place of opkg's.
func (p *pkg) apkTree() tree {
	t := append(tree{}, p.tree...)
	info := "lib/apk/packages/" + p.name
	list := p.tree.files()
	add := func(suffix, text string) {
		t.add(node{path: info + suffix, mode: 0o644, data: []byte(text)})
	}
	if len(p.conffiles) > 0 {
		add(".conffiles", strings.Join(p.conffiles, "\n")+"\n")
		static := ""
		for _, f := range p.conffiles {
			if i := p.tree.find(strings.TrimPrefix(f, "/")); i >= 0 {
				static += fmt.Sprintf("%s %x\n", f, sha256.Sum256(p.tree[i].data))
			}
		}
		add(".conffiles_static", static)
	}
	add(".list", strings.Join(list, "\n")+"\n")
	return t
}

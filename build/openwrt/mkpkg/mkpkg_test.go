package main

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"greseal/build/openwrt/po"
)

var commit = time.Unix(1795452907, 0).UTC()

// made builds the packages of one architecture around a stand-in for the binary.
func made(t *testing.T, keyDir string, binary []byte) (*builder, string) {
	t.Helper()
	k, err := loadKeys(keyDir)
	if err != nil {
		t.Fatal(err)
	}
	b := &builder{top: "../../..", out: t.TempDir(), binaries: t.TempDir(), time: commit, release: "1.2.3-r1", keys: k}
	a := arch{"mipsel_24kc", "mipsle-softfloat"}
	if err := os.WriteFile(filepath.Join(b.binaries, "greseal-linux-"+a.target), binary, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := b.architecture(a); err != nil {
		t.Fatal(err)
	}
	return b, filepath.Join(b.out, a.name)
}

func read(t *testing.T, parts ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// listing is what a root folder holds, a line for each thing.
func listing(t *testing.T, root string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == root {
			return err
		}
		rel, _ := filepath.Rel(root, name)
		st, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%v %s", st.Mode(), rel)
		switch {
		case st.Mode()&fs.ModeSymlink != 0:
			link, _ := os.Readlink(name)
			fmt.Fprintf(&b, " -> %s", link)
		case st.Mode().IsRegular():
			data, _ := os.ReadFile(name)
			fmt.Fprintf(&b, " %x", sha256.Sum256(data))
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestBuiltTwiceTheBytesAreTheSame(t *testing.T) {
	keys := t.TempDir()
	_, one := made(t, keys, []byte("binary"))
	_, two := made(t, keys, []byte("binary"))
	if a, b := listing(t, one), listing(t, two); a != b {
		t.Errorf("first\n%s\nsecond\n%s", a, b)
	}
}

func TestBothFormatsInstallTheSameTree(t *testing.T) {
	_, dir := made(t, t.TempDir(), bytes.Repeat([]byte("binary"), 20000))
	roots := map[string]string{}
	for _, file := range []string{"greseal_1.2.3-r1_mipsel_24kc.ipk", "greseal-1.2.3-r1.apk"} {
		root := t.TempDir()
		if err := install(filepath.Join(dir, file), root); err != nil {
			t.Fatal(err)
		}
		roots[filepath.Ext(file)] = root
		for path, mode := range map[string]fs.FileMode{
			"usr/sbin/greseal": 0o755, "etc/init.d/greseal": 0o755, "lib/netifd/proto/greseal.sh": 0o755,
			"etc/config/greseal": 0o600, "etc/greseal": fs.ModeDir | 0o700, "etc/hotplug.d/iface/90-greseal": 0o644,
			"usr/libexec/rpcd/luci.greseal": fs.ModeSymlink | 0o777, "lib/upgrade/keep.d/greseal": 0o644,
		} {
			st, err := os.Lstat(filepath.Join(root, path))
			if err != nil || st.Mode() != mode {
				t.Errorf("%s: %s is %v, %v, want %v", file, path, st, err, mode)
			}
		}
		if got, err := filepath.EvalSymlinks(filepath.Join(root, "usr/libexec/rpcd/luci.greseal")); err != nil || got != filepath.Join(root, "usr/sbin/greseal") {
			t.Errorf("%s: the plugin leads to %s, %v", file, got, err)
		}
	}
	ipk, apk := listing(t, roots[".ipk"]), listing(t, roots[".apk"])
	without := func(s, what string) string {
		var keep []string
		for line := range strings.SplitSeq(s, "\n") {
			if !strings.Contains(line, what) {
				keep = append(keep, line)
			}
		}
		return strings.Join(keep, "\n")
	}
	if a, b := without(ipk, " usr/lib"), without(without(apk, "lib/apk"), " usr/lib "); without(a, " usr/libexec") != without(b, " usr/libexec") {
		t.Errorf("ipk\n%s\napk\n%s", a, b)
	}
	list := string(read(t, roots[".apk"], "lib/apk/packages/greseal.list"))
	if !strings.Contains(list, "/etc/init.d/greseal\n") || strings.Contains(list, "lib/apk") {
		t.Errorf("the list that default_postinst reads: %s", list)
	}
	if got := string(read(t, roots[".apk"], "lib/apk/packages/greseal.conffiles")); got != "/etc/config/greseal\n" {
		t.Errorf("conffiles: %q", got)
	}
}

func TestAnUpgradeKeepsWhatTheUserConfigured(t *testing.T) {
	_, dir := made(t, t.TempDir(), []byte("binary"))
	for _, file := range []string{"greseal_1.2.3-r1_mipsel_24kc.ipk", "greseal-1.2.3-r1.apk"} {
		root := t.TempDir()
		config := filepath.Join(root, "etc/config/greseal")
		for i := range 2 {
			if err := install(filepath.Join(dir, file), root); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				os.WriteFile(config, []byte("config tunnel 'mine'\n"), 0o600)
			}
		}
		if got := string(read(t, config)); got != "config tunnel 'mine'\n" {
			t.Errorf("%s: %q", file, got)
		}
	}
}

func TestDescriptionsRecommendTheKernelsModulesAndRequireNone(t *testing.T) {
	_, dir := made(t, t.TempDir(), []byte("binary"))
	ipk, err := unpack(read(t, dir, "greseal_1.2.3-r1_mipsel_24kc.ipk"))
	if err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]string{
		"Package": "greseal", "Version": "1.2.3-r1", "Architecture": "mipsel_24kc", "License": "MIT", "Depends": "",
		"Recommends": strings.Join(recommended, ", "),
	} {
		if got := ipk.fields[field]; got != want {
			t.Errorf("%s: %q, want %q", field, got, want)
		}
	}
	if !strings.HasPrefix(ipk.fields["Description"], "GRE and IPsec in one\n") {
		t.Errorf("description %q", ipk.fields["Description"])
	}
	if got := ipk.lists["conffiles"]; !slices.Equal(got, []string{"/etc/config/greseal"}) {
		t.Errorf("conffiles %q", got)
	}
	apk, err := unpack(read(t, dir, "greseal-1.2.3-r1.apk"))
	if err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]string{"name": "greseal", "version": "1.2.3-r1", "arch": "mipsel_24kc", "license": "MIT", "build-time": "1795452907"} {
		if got := apk.fields[field]; got != want {
			t.Errorf("%s: %q, want %q", field, got, want)
		}
	}
	if !slices.Equal(apk.lists["recommends"], recommended) || apk.lists["depends"] != nil {
		t.Errorf("recommends %q, depends %q", apk.lists["recommends"], apk.lists["depends"])
	}
}

// TestScriptsAreOpenWrts runs every script of both formats by busybox ash with
// stand-ins for OpenWrt's helper functions.
func TestScriptsCallOpenWrtsHelpers(t *testing.T) {
	sh, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("busybox is not installed: apt-get install busybox-static")
	}
	_, dir := made(t, t.TempDir(), []byte("binary"))
	root := t.TempDir()
	os.MkdirAll(filepath.Join(root, "lib"), 0o755)
	os.WriteFile(filepath.Join(root, "lib/functions.sh"), []byte(
		"default_postinst() { echo default_postinst $#; }\ndefault_prerm() { echo default_prerm $#; }\nadd_group_and_user() { echo add_group_and_user; }\n"), 0o644)
	play := func(script string) string {
		file := filepath.Join(t.TempDir(), "script")
		os.WriteFile(file, []byte(script), 0o755)
		cmd := exec.Command(sh, "ash", file, "configure")
		cmd.Env = append(os.Environ(), "IPKG_INSTROOT="+root)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%v: %s\n%s", err, out, script)
		}
		return string(out)
	}
	ipk, err := unpack(read(t, dir, "greseal_1.2.3-r1_mipsel_24kc.ipk"))
	if err != nil {
		t.Fatal(err)
	}
	apk, err := unpack(read(t, dir, "greseal-1.2.3-r1.apk"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ script, want string }{
		{ipk.scripts["postinst"], "default_postinst 2\n"},
		{ipk.scripts["prerm"], "default_prerm 2\n"},
		{ipk.scripts["postinst-pkg"], ""}, // in an image builder nothing runs
		{ipk.scripts["prerm-pkg"], ""},
		{apk.scripts["post-install"], "add_group_and_user\ndefault_postinst 0\n"},
		{apk.scripts["post-upgrade"], "add_group_and_user\ndefault_postinst 0\n"},
		{apk.scripts["pre-deinstall"], "default_prerm 0\n"},
		{ipk.scripts["postrm"], ""},
		{apk.scripts["post-deinstall"], ""},
	} {
		if got := play(c.script); got != c.want {
			t.Errorf("got %q, want %q of\n%s", got, c.want, c.script)
		}
	}
	for _, name := range []string{"greseal_1.2.3-r1_mipsel_24kc.ipk", "luci-app-greseal_1.2.3-r1_all.ipk", "luci-proto-greseal-1.2.3-r1.apk"} {
		u, err := unpack(read(t, dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if left := u.scripts["postrm"] + u.scripts["post-deinstall"]; !strings.Contains(left, "/etc/init.d/rpcd reload") {
			t.Errorf("%s: after its removal rpcd still has what it had: %q", name, left)
		}
	}
	if !strings.Contains(apk.scripts["post-upgrade"], "export PKG_UPGRADE=1\n") || strings.Contains(apk.scripts["post-install"], "export PKG_UPGRADE") {
		t.Error("PKG_UPGRADE is what tells an upgrade from an installation")
	}
}

// TestLuCIFindsEveryTranslation looks each text up as LuCI does: by the hash in a
// binary search of the index that the end of the file points at.
func TestLuCIFindsEveryTranslation(t *testing.T) {
	_, dir := made(t, t.TempDir(), []byte("binary"))
	for _, l := range po.Languages {
		name := "luci-i18n-greseal-" + l.Code
		ipk, err := unpack(read(t, dir, name+"_1.2.3-r1_all.ipk"))
		if err != nil {
			t.Fatal(err)
		}
		apk, err := unpack(read(t, dir, name+"-1.2.3-r1.apk"))
		if err != nil {
			t.Fatal(err)
		}
		if ipk.fields["Depends"] != "luci-app-greseal" || ipk.fields["Architecture"] != "all" || apk.fields["arch"] != "noarch" {
			t.Errorf("%v, %v", ipk.fields, apk.fields)
		}
		for _, u := range []*unpacked{ipk, apk} {
			file := func(path string) []byte {
				if i := u.tree.find(path); i >= 0 {
					return u.tree[i].data
				}
				t.Errorf("%s: no %s", name, path)
				return make([]byte, 4)
			}
			for pkg, base := range map[string]string{"luci-app-greseal": "greseal", "luci-proto-greseal": "luci-proto-greseal"} {
				lmo := file("usr/lib/lua/luci/i18n/" + base + "." + l.Code + ".lmo")
				texts, err := po.Parse(read(t, "../luci", pkg, "po", l.Folder, base+".po"))
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range texts[1:] {
					if got, ok := lookup(lmo, e.Key); got != e.Text && (ok || e.Text != e.Key) {
						t.Errorf("%s: %s: %q is %q, %v, want %q", name, base, e.Key, got, ok, e.Text)
					}
				}
				if got, ok := lookup(lmo, "no such text"); ok {
					t.Errorf("%s: %q", name, got)
				}
			}
			script, code := string(file("etc/uci-defaults/"+name)), strings.ReplaceAll(l.Code, "-", "_")
			if want := "uci set luci.languages." + code + "='" + l.Title + "'; uci commit luci\n"; script != want {
				t.Errorf("%s: %q, want %q", name, script, want)
			}
		}
	}
}

// lookup finds a text in a file of translations.
func lookup(lmo []byte, key string) (string, bool) {
	number := binary.BigEndian.Uint32
	index := lmo[number(lmo[len(lmo)-4:]) : len(lmo)-4]
	hash := po.Hash(key)
	i, found := slices.BinarySearchFunc(slices.Collect(slices.Chunk(index, 16)), hash, func(e []byte, h uint32) int {
		return cmp.Compare(number(e), h)
	})
	if !found {
		return "", false
	}
	e := index[16*i:]
	return string(lmo[number(e[8:]):][:number(e[12:])]), true
}

func TestIndexesListEveryPackageWithItsHash(t *testing.T) {
	_, dir := made(t, t.TempDir(), []byte("binary"))
	files, _ := filepath.Glob(filepath.Join(dir, "*.ipk"))
	text := strings.TrimSuffix(string(read(t, dir, "Packages")), "\n\n")
	stanzas := strings.Split(text, "\n\n")
	if len(stanzas) != len(files) {
		t.Fatalf("%d stanzas for %d packages", len(stanzas), len(files))
	}
	for _, s := range stanzas {
		f := stanza(s)
		data := read(t, dir, f["Filename"])
		if f["Size"] != fmt.Sprint(len(data)) || f["SHA256sum"] != fmt.Sprintf("%x", sha256.Sum256(data)) || f["Description"] == "" {
			t.Errorf("%s: %v", f["Filename"], f)
		}
	}
	schema, payload, _, _, err := adbBlocks(read(t, dir, "packages.adb"))
	if err != nil || schema != schemaIndex {
		t.Fatalf("schema %x, %v", schema, err)
	}
	r := adbReader(payload)
	list := r.slots(slot(r.slots(binary.LittleEndian.Uint32(r.at(4, 4))), 2))
	if len(list) != len(files) {
		t.Errorf("%d packages in packages.adb, want %d", len(list), len(files))
	}
	for _, v := range list {
		f, _ := r.info(v)
		data := read(t, dir, f["name"]+"-"+f["version"]+".apk")
		u, err := unpack(data)
		if err != nil {
			t.Fatal(err)
		}
		if f["hashes"] != string(u.sum[:]) || f["file-size"] != fmt.Sprint(len(data)) {
			t.Errorf("%s: hash %x of %x, size %s of %d", f["name"], f["hashes"], u.sum, f["file-size"], len(data))
		}
	}
}

func TestIndexesAreSignedByTheKeysBesideThem(t *testing.T) {
	b, dir := made(t, t.TempDir(), []byte("binary"))
	if err := b.writeKeys(); err != nil {
		t.Fatal(err)
	}
	body := func(text []byte) []byte {
		_, line, _ := strings.Cut(string(text), "\n")
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(line))
		if err != nil || !bytes.HasPrefix(raw, []byte("Ed")) {
			t.Fatalf("%v: %q", err, text)
		}
		return raw
	}
	public, sig := body(read(t, b.out, b.keys.fingerprint())), body(read(t, dir, "Packages.sig"))
	if !bytes.Equal(public[2:10], sig[2:10]) || fmt.Sprintf("%x", public[2:10]) != b.keys.fingerprint() {
		t.Errorf("key %x, signature by %x", public[2:10], sig[2:10])
	}
	if !ed25519.Verify(public[10:], read(t, dir, "Packages"), sig[10:]) {
		t.Error("Packages.sig does not fit")
	}
	schema, payload, sigs, _, err := adbBlocks(read(t, dir, "packages.adb"))
	if err != nil || len(sigs) != 1 {
		t.Fatalf("%v, %d signatures", err, len(sigs))
	}
	sum := sha512.Sum512(payload)
	message := append(binary.LittleEndian.AppendUint32(nil, schema), sigs[0][:18]...)
	hash := sha512.Sum512(append(message, sum[:]...))
	if !ecdsa.VerifyASN1(&b.keys.apk.PublicKey, hash[:], sigs[0][18:]) {
		t.Error("the signature of packages.adb does not fit")
	}
}

func TestKeysAreMadeOnceAndAreTheirOwnersOnly(t *testing.T) {
	dir := t.TempDir()
	one, err := loadKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	two, err := loadKeys(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !one.opkg.Equal(two.opkg) || !one.apk.Equal(two.apk) {
		t.Error("other keys the second time")
	}
	for _, name := range []string{"opkg.pem", "apk.pem"} {
		if st, err := os.Stat(filepath.Join(dir, name)); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, st.Mode(), err)
		}
	}
}

func TestVersionsAreOfApksGrammar(t *testing.T) {
	for describe, want := range map[string]string{
		"v1.2.3":                    "1.2.3-r1",
		"v1.2.3-dirty":              "1.2.3-r1",
		"v1.2.3-rc.2":               "1.2.3_rc2-r1",
		"v1.2.3-5-gabc1234":         "1.2.3_git20261123~abc1234-r1",
		"v0.1-rc1-5-gabc1234-dirty": "0.1_rc1_git20261123~abc1234-r1",
		"e00965f":                   "0_git20261123~e00965f-r1",
		"e00965f-dirty":             "0_git20261123~e00965f-r1",
		"dev":                       "",
		"v1.2.3/../../etc":          "",
	} {
		got, err := packageVersion(describe, commit)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%s: %q, %v, want %q", describe, got, err, want)
		}
	}
}

func TestDamagedPackagesAreRefused(t *testing.T) {
	_, dir := made(t, t.TempDir(), []byte("binary"))
	apk := read(t, dir, "greseal-1.2.3-r1.apk")
	for i := 4; i < len(apk); i += 7 {
		bad := bytes.Clone(apk)
		bad[i] ^= 0x10
		if u, err := unpack(bad); err == nil {
			good, _ := unpack(apk)
			if listed(u) != listed(good) {
				t.Fatalf("a change of byte %d goes unnoticed", i)
			}
		}
	}
	for _, data := range [][]byte{nil, []byte("ADB."), []byte("ADBd"), apk[:len(apk)/2], read(t, dir, "Packages.gz"), read(t, dir, "packages.adb")} {
		if u, err := unpack(data); err == nil && len(u.tree) > 0 {
			t.Errorf("%.20q is taken for a package", data)
		}
	}
}

func listed(u *unpacked) string {
	s := ""
	for _, n := range u.tree {
		s += fmt.Sprintf("%v %s %s %x\n", n.mode, n.path, n.link, sha256.Sum256(n.data))
	}
	return s
}

// TestOpkgItselfTakesThem runs where OpenWrt's opkg is installed.
func TestOpkgItselfTakesThem(t *testing.T) {
	opkg, err := exec.LookPath("opkg-cl")
	if err != nil {
		if opkg, err = exec.LookPath("opkg"); err != nil {
			t.Skip("opkg is not installed; the format is checked by the tests above alone")
		}
	}
	_, dir := made(t, t.TempDir(), []byte("binary"))
	root := t.TempDir()
	for _, d := range []string{"tmp", "var/lock", "var/opkg-lists", "usr/lib/opkg", "lib"} {
		os.MkdirAll(filepath.Join(root, d), 0o755)
	}
	conf := filepath.Join(root, "opkg.conf")
	os.WriteFile(conf, []byte("dest root /\nlists_dir ext /var/opkg-lists\narch all 1\narch mipsel_24kc 10\nsrc/gz greseal file://"+dir+"\n"), 0o644)
	for _, args := range [][]string{{"update"}, {"install", "greseal"}} {
		if out, err := exec.Command(opkg, append([]string{"-f", conf, "-o", root}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("opkg %s: %v\n%s", args, err, out)
		}
	}
	if got := string(read(t, root, "usr/sbin/greseal")); got != "binary" {
		t.Errorf("installed %q", got)
	}
	if st, _ := os.Stat(filepath.Join(root, "etc/greseal")); st.Mode().Perm() != 0o700 {
		t.Errorf("mode %v", st.Mode())
	}
}

// TestApkItselfTakesThem runs where apk-tools 3 is installed.
func TestApkItselfTakesThem(t *testing.T) {
	apk, err := exec.LookPath("apk")
	if err != nil {
		t.Skip("apk-tools 3 is not installed; the format is checked by the tests above alone")
	}
	b, dir := made(t, t.TempDir(), []byte("binary"))
	if err := b.writeKeys(); err != nil {
		t.Fatal(err)
	}
	keys, root := t.TempDir(), t.TempDir()
	os.WriteFile(filepath.Join(keys, "greseal.pem"), read(t, b.out, "greseal.pem"), 0o644)
	for _, args := range [][]string{
		{"verify", "--allow-untrusted", filepath.Join(dir, "greseal-1.2.3-r1.apk")},
		{"--root", root, "--initdb", "--arch", "mipsel_24kc", "--keys-dir", keys, "--no-network", "add", "--no-scripts",
			"-X", filepath.Join(dir, "packages.adb"), "greseal"},
	} {
		if out, err := exec.Command(apk, args...).CombinedOutput(); err != nil {
			t.Fatalf("apk %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	if got := string(read(t, root, "usr/sbin/greseal")); got != "binary" {
		t.Errorf("installed %q", got)
	}
	if st, _ := os.Stat(filepath.Join(root, "etc/config/greseal")); st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", st.Mode())
	}
}

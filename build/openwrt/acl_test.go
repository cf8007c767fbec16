package openwrt

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"greseal/uci/rpcd"
)

// changing are the methods that a login which may only read must not call: those
// that change something, give out a key, or look at files that the caller names.
var changing = []string{"up", "down", "restart", "reload", "doctor_start", "genpsk", "genkey", "store", "check", "peer_preview", "confirm", "rollback", "network_restart"}

func TestAccessIsSplitAndNamesMethodsThereAre(t *testing.T) {
	var out strings.Builder
	if code := new(rpcd.Plugin).Main([]string{"list"}, nil, &out); code != 0 {
		t.Fatalf("code %d", code)
	}
	var methods map[string]any
	if err := json.Unmarshal([]byte(out.String()), &methods); err != nil {
		t.Fatal(err)
	}
	granted := map[string]bool{}
	for _, name := range []string{"luci-app-greseal", "luci-proto-greseal"} {
		data, err := os.ReadFile(filepath.Join("luci", name, "root/usr/share/rpcd/acl.d", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		type scope struct {
			Ubus map[string][]string
			UCI  []string
		}
		var acl map[string]struct {
			Description string
			Read, Write scope
		}
		if err := json.Unmarshal(data, &acl); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		group, ok := acl[name]
		if !ok || len(acl) != 1 || group.Description == "" {
			t.Errorf("%s: the group must be called like the package, and described", name)
		}
		for _, m := range group.Read.Ubus[rpcd.Name] {
			if slices.Contains(changing, m) {
				t.Errorf("%s: %s changes something and is granted for reading", name, m)
			}
			granted[m] = true
		}
		for _, m := range group.Write.Ubus[rpcd.Name] {
			granted[m] = true
		}
	}
	for m := range granted {
		if _, ok := methods[m]; !ok {
			t.Errorf("%s is granted and does not exist", m)
		}
	}
	for m := range methods {
		if !granted[m] {
			t.Errorf("nobody may call %s", m)
		}
	}
}

// TestTheFeedInstallsWhatMakePackagesPacks runs the SDK's recipe of installation
// with make, the SDK's variables being stand-ins.
func TestTheFeedInstallsWhatMakePackagesPacks(t *testing.T) {
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("make is not installed")
	}
	dir := t.TempDir()
	sdk := filepath.Join(dir, "sdk")
	for _, d := range []string{"include", "feeds/packages/lang/golang"} {
		os.MkdirAll(filepath.Join(sdk, d), 0o755)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(sdk, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("rules.mk", "INCLUDE_DIR:=$(TOPDIR)/include\nINSTALL_DIR:=install -d -m0755\nINSTALL_BIN:=install -m0755\nCP:=cp -fpR\n")
	write("include/package.mk", "GO_PKG_BUILD_BIN_DIR:=$(TOPDIR)/bin\n"+
		"define BuildPackage\ninstall:\n\t$$(call Package/$(1)/install,$(OUT))\n\nconffiles:\n\t@echo $$(Package/$(1)/conffiles)\nendef\n")
	write("feeds/packages/lang/golang/golang-package.mk", "GoBinPackage=\n")
	os.MkdirAll(filepath.Join(sdk, "bin"), 0o755)
	write("bin/greseal", "binary")
	out := filepath.Join(dir, "out")
	run := func(target string) string {
		cmd := exec.Command("make", "-s", "-C", "feed/greseal", "TOPDIR="+sdk, "OUT="+out, target)
		text, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("make %s: %v\n%s", target, err, text)
		}
		return string(text)
	}
	run("install")
	var want []string
	filepath.WalkDir("root/greseal", func(name string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			want = append(want, strings.TrimPrefix(name, "root/greseal/"))
		}
		return err
	})
	for _, name := range append(want, "usr/sbin/greseal") {
		if _, err := os.Lstat(filepath.Join(out, name)); err != nil {
			t.Errorf("not installed: %v", err)
		}
	}
	for name, mode := range map[string]os.FileMode{"etc/greseal": os.ModeDir | 0o700, "etc/config/greseal": 0o600, "etc/init.d/greseal": 0o755} {
		if st, err := os.Stat(filepath.Join(out, name)); err != nil || st.Mode() != mode {
			t.Errorf("%s: %v, %v", name, st, err)
		}
	}
	if got := strings.TrimSpace(run("conffiles")); got != "/etc/config/greseal" {
		t.Errorf("conffiles: %q", got)
	}
}

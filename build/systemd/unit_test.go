// Package systemd holds the unit for machines that have systemd, and the tests
// that the sandbox in it is tight and that the daemon works in it.
package systemd

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// maxExposure is what systemd-analyze security may say at most, of 10. Below
// that the daemon would lack what it needs: the network's own settings, sockets,
// a device.
const maxExposure = 3.5

// analyze copies the unit with a program that is there, and runs systemd-analyze.
func analyze(t *testing.T, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	unit, err := os.ReadFile("greseal.service")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "greseal.service")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(unit), "/usr/sbin/greseal", "/bin/true")), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("systemd-analyze", append(args, path)...).CombinedOutput()
	if err != nil {
		t.Fatalf("systemd-analyze %s: %v\n%s", args[0], err, out)
	}
	return string(out)
}

func TestUnitIsFreeOfMistakes(t *testing.T) {
	if out := analyze(t, "verify", "--man=no"); strings.Contains(out, "greseal.service") {
		t.Error(out)
	}
}

func TestSandboxIsTight(t *testing.T) {
	out := analyze(t, "security", "--offline=yes")
	m := regexp.MustCompile(`exposure level for greseal.service: ([0-9.]+)`).FindStringSubmatch(out)
	if m == nil {
		t.Fatal(out)
	}
	if level, err := strconv.ParseFloat(m[1], 64); err != nil || level > maxExposure {
		t.Errorf("exposure %s, want at most %v", m[1], maxExposure)
	}
}

func build(t *testing.T, dir string) string {
	t.Helper()
	binary := filepath.Join(dir, "greseal")
	build := exec.Command("go", "build", "-o", binary, "greseal")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

// make install puts everything where the unit, man and bash look for it, and
// make uninstall leaves what is the owner's.
func TestInstallAndUninstall(t *testing.T) {
	for _, need := range []string{"make", "install"} {
		if _, err := exec.LookPath(need); err != nil {
			t.Skipf("%s is not installed", need)
		}
	}
	dir := t.TempDir()
	binary, root := build(t, dir), filepath.Join(dir, "root of a package")
	do := func(target string) {
		t.Helper()
		cmd := exec.Command("make", "-C", "../..", target, "DESTDIR="+root, "BINARY="+binary)
		cmd.Env = append(os.Environ(), "MAKEFLAGS=")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("make %s: %v\n%s", target, err, out)
		}
	}
	files := func() (found []string) {
		err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				info, _ := d.Info()
				found = append(found, strings.TrimPrefix(path, root)+" "+info.Mode().Perm().String())
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	want := []string{
		"/usr/lib/systemd/system/greseal.service -rw-r--r--", "/usr/sbin/greseal -rwxr-xr-x",
		"/usr/share/bash-completion/completions/greseal -rw-r--r--",
		"/usr/share/man/man5/greseal.toml.5 -rw-r--r--", "/usr/share/man/man8/greseal.8 -rw-r--r--",
	}
	do("install")
	if got := files(); !slices.Equal(got, want) {
		t.Errorf("installed are %q", got)
	}
	if st, err := os.Stat(filepath.Join(root, "etc/greseal")); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("/etc/greseal: %v, %v", st, err)
	}
	if text, err := os.ReadFile(filepath.Join(root, "usr/share/bash-completion/completions/greseal")); err != nil || !strings.Contains(string(text), "complete -F _greseal greseal") {
		t.Errorf("completion: %v, %s", err, text)
	}
	config := filepath.Join(root, "etc/greseal/greseal.toml")
	if err := os.WriteFile(config, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	do("install")
	do("uninstall")
	if got := files(); !slices.Equal(got, []string{"/etc/greseal/greseal.toml -rw-------"}) {
		t.Errorf("left are %q", got)
	}
}

// The unit is booted by a real systemd: in namespaces, on a throw-away copy of
// this machine's files, with nothing else.
func TestDaemonWorksInItsSandbox(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("booting systemd in namespaces needs root")
	}
	for _, need := range []string{"/lib/systemd/systemd", "/dev/net/tun", "/bin/systemctl"} {
		if _, err := os.Stat(need); err != nil {
			t.Skipf("%s is not there", need)
		}
	}
	dir := t.TempDir()
	binary := build(t, dir)
	config := filepath.Join(dir, "greseal.toml")
	if err := os.WriteFile(config, []byte("[daemon]\nstatus_group = \"adm\"\n[[tunnel]]\nname = \"lab\"\nremote = \"192.0.2.99\"\n"+
		"psk = \"GJTxJYV3W2/9C51ui5Pb1tFyyNiQvMHc3WTxLurJqLM=\"\naddress = [\"10.255.0.2/30\"]\nroutes = [\"10.77.0.0/16\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--fork", "--pid", "--mount", "--net", "--uts", "--ipc", "--cgroup", "--kill-child", "./boot", binary, config)
	cmd.WaitDelay = time.Second
	out, _ := cmd.CombinedOutput() // ends by a signal, however it ends
	text := string(out)
	if strings.Contains(text, "mount:") || strings.Contains(text, "unshare:") {
		t.Skipf("this machine does not let a systemd boot in namespaces:\n%s", text)
	}
	for name, want := range map[string]string{
		"capabilities": "0000000000003400", "seccomp": "2", "socket": "660 adm", "state": "waiting", "unreachable": "1",
		"reload": "fine", "history": "1", "restart": "fine", "stop": "success 0", "closed": "1", "end": "fine",
	} {
		m := regexp.MustCompile(`(?m)^` + name + `: (.*)$`).FindStringSubmatch(text)
		if m == nil || strings.TrimSpace(m[1]) != want {
			t.Errorf("%s: %q, want %q\n%s", name, m, want, text)
		}
	}
}

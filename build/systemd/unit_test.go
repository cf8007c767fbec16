// Package systemd holds the unit for machines that have systemd, and the tests
// that the sandbox in it is tight and that the daemon works in it.
package systemd

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
	binary := filepath.Join(dir, "greseal")
	build := exec.Command("go", "build", "-o", binary, "greseal")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
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

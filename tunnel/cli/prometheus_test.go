package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMetricsGoToATextfileAtOnce(t *testing.T) {
	socket, _ := daemonStub(t, show)
	dir := t.TempDir()
	file := filepath.Join(dir, "greseal.prom")
	code, out, errs := call(t, "status", "--socket", socket, "--prometheus", "--textfile", file)
	if code != ExitOK || out != "" || errs != "" {
		t.Fatalf("exit %d, %q, %q", code, out, errs)
	}
	data, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(data), `greseal_tunnel_up{tunnel="hq"} 1`) {
		t.Errorf("%q, %v", data, err)
	}
	if st, _ := os.Stat(file); st.Mode().Perm() != 0o644 {
		t.Errorf("mode %v: node_exporter is another user", st.Mode())
	}
	code, out, _ = call(t, "status", "--socket", socket, "--prometheus")
	if code != ExitOK || out != string(data) {
		t.Errorf("exit %d, %q", code, out)
	}
	if code, _, _ := call(t, "status", "hq", "--socket", socket, "--prometheus"); code != ExitUsage {
		t.Errorf("with a name: exit %d", code)
	}

	// A daemon that is gone is seen in the metrics, and told by the exit code.
	code, _, errs = call(t, "status", "--socket", filepath.Join(dir, "none.sock"), "--textfile", file)
	data, _ = os.ReadFile(file)
	if code != ExitFailed || !strings.Contains(errs, "no daemon") || !strings.Contains(string(data), "\ngreseal_up 0\n") {
		t.Errorf("exit %d, %q, %q", code, errs, data)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("something is left behind: %v", files)
	}
}

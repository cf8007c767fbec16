package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// bash completes line and prints the words it offers.
func complete(t *testing.T, script string, line ...string) []string {
	t.Helper()
	program := script + `
greseal() { echo hq; echo branch-1; }
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_greseal
printf '%s\n' "${COMPREPLY[@]}"
`
	out, err := exec.Command("bash", append([]string{"-c", program, "bash"}, line...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.Fields(string(out))
}

func TestBashCompletesCommandsFlagsAndNames(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("no bash here")
	}
	code, script, errs := call(t, "completion")
	if code != ExitOK || errs != "" {
		t.Fatalf("exit %d, %q", code, errs)
	}
	for _, c := range []struct {
		line []string
		want []string
	}{
		{[]string{"greseal", "sta"}, []string{"status"}},
		{[]string{"greseal", "status", "--pro"}, []string{"--prometheus"}},
		{[]string{"greseal", "status", ""}, []string{"hq", "branch-1"}},
		{[]string{"greseal", "down", "--open", "b"}, []string{"branch-1"}},
		{[]string{"greseal", "genpsk", ""}, nil},
		{[]string{"greseal", "genpsk", "--"}, nil},
	} {
		if got := complete(t, script, c.line...); !slices.Equal(got, c.want) {
			t.Errorf("%q gives %q, want %q", c.line, got, c.want)
		}
	}
	if got := complete(t, script, "greseal", ""); len(got) != len(table) {
		t.Errorf("%d of %d commands are offered", len(got), len(table))
	}
}

func TestCompletionNamesTheTunnelsOfAFileWithMistakes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "greseal.toml")
	if err := os.WriteFile(path, []byte("[[tunnel]]\nname = \"hq\"\nmode = 7\n[[tunnel]]\nname = \"lab\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := call(t, "completion", "--names", "-c", path); code != ExitOK || out != "hq\nlab\n" {
		t.Errorf("exit %d, %q, %q", code, out, errs)
	}
}
